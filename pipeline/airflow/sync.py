"""The task of the DAG ``sync``."""

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline import control
from pipeline.airflow import lineage
from pipeline.airflow.log_lines import change_lines, partition_lines
from pipeline.airflow.sessions import connected, moment, skip
from pipeline.airflow.variables import read_variable, write_variable
from pipeline.connections import Connections
from pipeline.control import Publication
from pipeline.errors import DataError, UsageError
from pipeline.replication import sync as use_case
from pipeline.replication.sync import Synced
from pipeline.settings import seconds

# A later moment that is published meanwhile ends them: a copy that comes late is refused, and what reads the stores
# can't tell any more what it has read.
HELD_UP = ("replicate", "marts", "verify")
HELD_UP_TOO = "ETL_SYNC_WAITS_FOR"  # names people's own DAGs that copy, or compute marts
HELD_UP_FOR = "ETL_SYNC_WAITS_AT_MOST"  # how long it is skipped without a word: the run of a paused DAG never ends
_HELD_UP_FOR = "6h"
_SINCE = "Since when sync was skipped time after time; written by its task."

log = logging.getLogger(__name__)


def skip_if_busy(count_runs: Callable[..., int], own: str = "sync") -> None:
    """Skip the task while another DAG needs the stores to stay at one moment; the next sync takes over the changes.

    Args:
        count_runs: Returns how many runs of a DAG are in some states, as a task instance of Airflow does.
        own: The DAG of the task.

    Raises:
        DataError: It has been skipped for so long that what is published is older than may be.
    """
    others = os.environ.get(HELD_UP_TOO, "").replace(",", " ").split()
    wanted = [one for one in (*HELD_UP, *others) if one != own]
    busy = next((dag_id for dag_id in wanted if count_runs(dag_id, states=["running"])), None)
    name, now = f"etl_skipped_{own}", datetime.now(UTC)
    kept = read_variable(name)
    if busy is None:
        if kept:
            write_variable(name, "", _SINCE)
        return
    limit, since = _held_up_for(), _moment_in(kept)
    if since is None:
        write_variable(name, now.isoformat(), _SINCE)
    elif now - since >= limit:
        _check_age(limit, f"{own} has been skipped since {_at(since)}, now because {busy} is running", busy)
    skip(f"{busy} is running; what was changed is left to the next sync")


def _moment_in(kept: str) -> datetime | None:
    with suppress(ValueError):
        return datetime.fromisoformat(kept).astimezone(UTC)
    return None


def _check_age(limit: timedelta, told: str, busy: str) -> None:
    """Refuse to skip once more if what is published is older than may be; a first copy may take its time.

    Raises:
        DataError: It is.
    """
    with connected() as connections:
        control.ensure_schema(connections.postgres)
        oldest = min((one.cluster_time.as_datetime() for one in _shown(connections) if one.is_pinned), default=None)
    if oldest is not None and datetime.now(UTC) - oldest >= limit:
        raise DataError(
            f"{told}, and what is published is as of {_at(oldest)}: look at the runs of {busy} that are running. One "
            f"whose DAG is paused never ends: unpause it, or mark the run as failed. If one may take so long, let "
            f"{HELD_UP_FOR} be longer than {limit.total_seconds() / 3600:g}h"
        )


def _held_up_for() -> timedelta:
    """Return for how long sync may be skipped time after time without a word.

    Raises:
        UsageError: What the environment says is no time.
    """
    given = os.environ.get(HELD_UP_FOR, "").strip() or _HELD_UP_FOR
    with suppress(OverflowError):
        if isinstance(found := seconds(given), float):
            return timedelta(seconds=found)
    raise UsageError(f"{HELD_UP_FOR} is {given!r}; it must be a time such as {_HELD_UP_FOR}")


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _shown(connections: Connections) -> list[Publication]:
    """Return what is published of collections."""
    with connections.postgres.transaction():
        return [one for one in control.publications(connections.postgres) if one.name in connections.entities]


def sync(
    collections: Iterable[str], max_quarantined: str | None, *, allow_shrink: bool = False, again: bool = False
) -> dict[str, dict[str, Any]]:
    """Bring what is published to the present moment; where nothing is replicated yet the task is skipped.

    Args:
        collections: Names of the collections; all that are published if none is named.
        max_quarantined: How many refused documents are tolerated: ``N``, or ``P%`` of the changed; None for any number.
        allow_shrink: Whether to take away more of what is published than the settings allow.
        again: Whether the task was tried before: then it may have published what nobody was told of.

    Returns:
        What there is to tell the Assets, by table: moment and numbers of all that were followed if anything is new.
    """
    with connected() as connections:
        control.ensure_schema(connections.postgres)
        if not (shown := _shown(connections)):
            skip("nothing is replicated yet")
        # What ClickHouse takes over only now was told to nobody, either.
        untold = again or not all(one.finished for one in shown)
        found = use_case.sync(connections, collections, partition_lines(), max_quarantined, allow_shrink=allow_shrink)
        changed = [one for one in found if one.changed]
        change_lines(changed)
        log.info("%s collections as of %s", len(found), found[0].cluster_time.as_datetime().isoformat())
        if changed:
            lineage.emit_copies(  # what is deleted could not be read
                lineage.Copy(connections.entities[one.collection], target, one.loaded + one.quarantined, one.loaded)
                for one in changed
                for target in one.targets
            )
        return _news(connections, found) if changed or untold else {}


def _news(connections: Connections, found: Iterable[Synced]) -> dict[str, dict[str, Any]]:
    return {
        connections.entities[one.collection].table: {
            "run_id": one.run_id,
            **moment(one.cluster_time),
            "targets": list(one.targets),
            "changed": one.changed,
            "loaded": one.loaded,
            "deleted": one.deleted,
            "quarantined": one.quarantined,
        }
        for one in found
    }
