"""The life of a run: opened, known to be alive, given up if it fails, and let go of."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from bson import Timestamp

from pipeline import control
from pipeline.connections import Connections
from pipeline.engines import embedded
from pipeline.errors import EtlError, reason_of
from pipeline.runs import unrecorded
from pipeline.runs.publish import create_staging
from pipeline.runs.run import HasId
from pipeline.stores.staging import Staging
from pipeline.text.redaction import redacted

_R = TypeVar("_R", bound=HasId)
_P = ParamSpec("_P")
_T = TypeVar("_T")


@contextmanager
def started(connections: Connections, kind: str, moment: Timestamp, targets: Iterable[str]) -> Iterator[str]:
    """Open a run that this process does from its beginning to its end; yields its name.

    Args:
        connections: The open connections.
        kind: What it does: ``sync``, ``replay`` or ``repair``.
        moment: The moment that it reads at.
        targets: Names of the stores.
    """
    targets = tuple(targets)
    with connections.postgres.transaction():
        run_id = control.open_run(connections.postgres, kind, moment, targets, single_process=True)
    with running(connections, run_id, targets):
        yield run_id


@contextmanager
def running(connections: Connections, run_id: str, targets: Iterable[str]) -> Iterator[None]:
    """Do all of a run that this process has opened: if it fails it is given up, and it is let go of in any case."""
    try:
        yield
    except BaseException as error:
        abandon(connections, run_id, targets, reason_of(error))
        raise
    finally:
        control.release_run(connections.postgres, run_id)


def holding_run_lock(
    function: Callable[Concatenate[Connections, _R, _P], _T],
) -> Callable[Concatenate[Connections, _R, _P], _T]:
    """Return a part of the work on a run that shows, as long as it goes on, that the run is alive."""

    @wraps(function)
    def holding(connections: Connections, run: _R, /, *arguments: _P.args, **options: _P.kwargs) -> _T:
        with control.hold_run_lock(connections.postgres, run.id):
            return function(connections, run, *arguments, **options)

    return holding


def open_staging(connections: Connections, staging: Staging, targets: Iterable[str]) -> None:
    """Create the staging areas of a run that was opened; if that fails the run is given up."""
    postgres, names = connections.postgres, tuple(targets)
    try:
        with postgres.transaction():
            control.lock_publishing(postgres)  # of two runs at once only one may create the schema
            create_staging(connections, staging, names)
    except BaseException as error:
        abandon(connections, staging.run_id, names, reason_of(error))
        raise


def abandon(connections: Connections, run_id: str, targets: Iterable[str], message: str) -> None:
    """Give a run up: nothing of it is published, its staging is removed, and this process lets go of it.

    A run that PostgreSQL has committed stays as it is: ClickHouse still has to follow, and needs the staging for it.
    What a server that is gone or full keeps us from doing here, the next command does; so the reason is kept for it.
    """
    postgres, is_told = connections.postgres, False
    postgres.undo()  # in a transaction that has failed nothing could be entered
    with suppress(EtlError), postgres.transaction():
        control.fail_run(postgres, run_id, message)
        # Asked afterwards: somebody else may be about to publish it, and then we waited for the commit.
        if control.is_published(postgres, run_id):
            return
        is_told = True
    discard_staging(connections, run_id, targets)
    if not is_told:
        reason = "; ".join(filter(None, (message, embedded.full_disk(connections.home))))
        unrecorded.keep(connections.home, run_id, redacted(reason))
    control.release_run(postgres, run_id)


def discard_staging(connections: Connections, run_id: str, targets: Iterable[str]) -> None:
    """Drop the staging areas of a run that is over; what can't be dropped now the next command drops."""
    for name in connections.named(targets):
        with suppress(EtlError), connections.postgres.transaction():
            (target,) = connections.targets([name])  # one that was never reached can't be reached now either
            target.discard(run_id)
