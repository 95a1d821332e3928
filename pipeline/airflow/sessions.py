"""What a task works with: open connections, and the run that it is part of."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from bson import Timestamp

from contracts.schema.entity import ContractError
from pipeline import control
from pipeline.airflow.callbacks import told_when_late
from pipeline.airflow.connections import settings
from pipeline.airflow.expected import in_one_line
from pipeline.connections import Connections, connect
from pipeline.engines.embedded import engines
from pipeline.errors import DataError, EtlError, SnapshotError, UsageError
from pipeline.marts.build import MartRun
from pipeline.runs.lifecycle import abandon, discard_staging
from pipeline.runs.run import Run
from pipeline.runtime.memory import tune_allocators
from pipeline.settings import Settings
from pipeline.text.redaction import known_secrets, remember

log = logging.getLogger(__name__)


@contextmanager
def connected(*, writing: bool = False) -> Iterator[Connections]:
    """Open the servers that Airflow's Connections name, for one task; meanwhile its run is told if it is late.

    Args:
        writing: Whether MongoDB is written to; Airflow may have another Connection for it.

    Raises:
        UsageError: A Connection or a contract is wrong.
        ServerError: A server can't be reached or refuses.
    """
    with complete_settings(writing=writing) as complete, connect(complete) as connections:
        yield connections


@contextmanager
def complete_settings(*, writing: bool = False) -> Iterator[Settings]:
    """Return where the servers are that Airflow's Connections name, for one task that opens them itself.

    Args:
        writing: Whether MongoDB is written to; Airflow may have another Connection for it.

    Raises:
        UsageError: A Connection or a contract is wrong.
    """
    in_one_line()
    try:
        with told_when_late(), engines(settings(writing=writing)) as complete:
            _hide_in_logs(complete)
            tune_allocators(complete.memory)
            yield complete
    except ContractError as error:  # of the error tree that the tasks' retry policy knows
        raise UsageError(str(error)) from error


@contextmanager
def run_task(run: Run | MartRun) -> Iterator[Connections]:
    """Open the servers for a task that is part of a run.

    When the task fails in a way that no retry can mend the run is given up; after any other failure what is loaded
    stays, so that the task can be retried or cleared.

    Raises:
        SnapshotError: The run was given up.
    """
    with connected() as connections:
        _check_not_given_up(connections, run)
        try:
            yield connections
        except DataError as error:
            abandon(connections, run.id, run.targets, str(error))
            raise
        except SnapshotError as error:
            abandon(connections, run.id, run.targets, str(error))
            raise SnapshotError(f"{error}; in Airflow: {_way_out(run)}") from error
        except EtlError:
            connections.postgres.undo()
            # Another task may have given it up meanwhile: then its staging is gone, and that is not the news.
            _check_not_given_up(connections, run)
            raise


def skip(reason: str) -> NoReturn:
    """Skip the running task; its XCom ``skipped`` tells the reason in the UI, and its log does."""
    from airflow.sdk import get_current_context
    from airflow.sdk.exceptions import AirflowSkipException

    with suppress(RuntimeError):  # no task is running
        get_current_context()["ti"].xcom_push("skipped", reason)
    raise AirflowSkipException(reason)


def still_shown(connections: Connections, run: Run | MartRun) -> set[tuple[str, str]]:
    """Return which collections or marts show, in which targets, the moment of a run that is published.

    What was published since is not among them: the task that cleared an old run has nothing new to tell.
    """
    with connections.postgres.transaction():
        shown = control.publications(connections.postgres)
    found = {(one.name, one.target) for one in shown if one.cluster_time == run.cluster_time}
    if not found:
        log.info("run %s is shown no more, a later one was published since: the Assets are told nothing", run.id)
    return found


def _hide_in_logs(complete: Settings) -> None:
    """Tell Airflow what is secret: it logs whole tracebacks, with what the drivers' exceptions say."""
    from airflow.sdk.log import mask_secret

    for uri in (complete.mongo_uri, complete.postgres_uri, complete.clickhouse_uri):
        if uri is not None:
            remember(uri.get_secret_value())
    mask_secret([*known_secrets()])


def _check_not_given_up(connections: Connections, run: Run | MartRun) -> None:
    if control.is_given_up(connections.postgres, run.id):
        discard_staging(connections, run.id, run.targets)  # of which other tasks held a part when it was given up
        reason = control.why_failed(connections.postgres, run.id)
        raise SnapshotError(f"run {run.id} was given up{f' ({reason})' if reason else ''}: {_way_out(run)}")
    if control.is_pruned(connections.postgres, run.id):
        raise SnapshotError(f"run {run.id} was published so long ago that its plan was pruned: {_way_out(run)}")


def _way_out(run: Run | MartRun) -> str:
    first = "open_run" if isinstance(run, MartRun) else "snapshot"
    return f"clear from the task {first}, which opens a new run"


def moment(cluster_time: Timestamp) -> dict[str, Any]:
    """Return a cluster time as plain JSON values, exactly and as a date."""
    return {
        "cluster_time": [cluster_time.time, cluster_time.inc],
        "cluster_time_at": cluster_time.as_datetime().isoformat(),
    }
