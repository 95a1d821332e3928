"""A part of a run that fails by what passes (a lost connection, a failover, a deadlock) is done again, not the run."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from pipeline import control
from pipeline.connections import Connections
from pipeline.runs.run import HasId
from pipeline.runtime.retries import retry

_R = TypeVar("_R", bound=HasId)
_P = ParamSpec("_P")
_T = TypeVar("_T")


def retrying(
    function: Callable[Concatenate[Connections, _R, _P], _T],
) -> Callable[Concatenate[Connections, _R, _P], _T]:
    """Return a part of the work on a run that is done again when it fails by what passes.

    It must be one that doubles nothing when it is done twice: what Airflow may retry as a task.
    """

    @wraps(function)
    def trying(connections: Connections, run: _R, /, *arguments: _P.args, **options: _P.kwargs) -> _T:
        told = " ".join(str(one.label) for one in arguments if hasattr(one, "label"))
        what = f"{function.__name__} {told}".strip()
        return with_retries(connections, run.id, what, lambda: function(connections, run, *arguments, **options))

    return trying


def with_retries(connections: Connections, run_id: str | None, what: str, work: Callable[[], _T]) -> _T:
    """Do a part of the work on a run, again when it fails by what passes; each retry is entered into its receipt.

    Args:
        connections: The open connections; PostgreSQL's is opened anew if it was lost.
        run_id: The run; None if it is not about one.
        what: What people call it.
        work: What is to be done; done twice it must come to the same.

    Raises:
        EtlError: It fails by something that does not pass, or another command has given the run up meanwhile.
    """
    entered = 0

    def attempt(waits: tuple[float, ...]) -> _T:
        nonlocal entered
        if waits:
            _resume(connections, run_id, waits[entered:])
            entered = len(waits)
        return work()

    return retry(attempt, what, connections.retry)


def _resume(connections: Connections, run_id: str | None, waits: tuple[float, ...]) -> None:
    """Come to where work can begin again: what was begun is over and undone, and the run is still ours."""
    postgres = connections.postgres
    postgres.revive()
    if run_id is None:
        return
    control.rejoin_run(postgres, run_id)
    if "clickhouse" in control.targets_of(postgres, run_id):
        # An exchange that goes on without us would be done a second time, which undoes it.
        connections.clickhouse.await_exchanges(run_id)
    with postgres.transaction():
        control.record_retries(postgres, run_id, waits)
