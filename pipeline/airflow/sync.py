"""The task of the DAG ``sync``."""

import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

from pipeline import control
from pipeline.airflow import lineage
from pipeline.airflow.log_lines import change_lines, partition_lines
from pipeline.airflow.sessions import connected, moment, skip
from pipeline.connections import Connections
from pipeline.replication import sync as use_case
from pipeline.replication.sync import Synced

# A later moment that is published meanwhile ends them: a copy that comes late is refused, and what reads the stores
# can't tell any more what it has read.
HELD_UP = ("replicate", "marts", "verify")
HELD_UP_TOO = "ETL_SYNC_WAITS_FOR"  # names people's own DAGs that copy, or compute marts

log = logging.getLogger(__name__)


def skip_if_busy(count_runs: Callable[..., int], own: str = "sync") -> None:
    """Skip the task while another DAG needs the stores to stay at one moment; the next sync takes over the changes.

    Args:
        count_runs: Returns how many runs of a DAG are in some states, as a task instance of Airflow does.
        own: The DAG of the task.
    """
    others = os.environ.get(HELD_UP_TOO, "").replace(",", " ").split()
    for dag_id in (one for one in (*HELD_UP, *others) if one != own):
        if count_runs(dag_id, states=["running"]):
            skip(f"{dag_id} is running; what was changed is left to the next sync")


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
        with connections.postgres.transaction():
            shown = [one for one in control.publications(connections.postgres) if one.name in connections.entities]
        if not shown:
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
