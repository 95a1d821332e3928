"""The tasks of the DAG ``marts``: each takes and gives plain JSON values, plans and counts only."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from contracts.schema.history import HISTORY, versions_of
from pipeline.airflow import lineage
from pipeline.airflow.log_lines import finished_lines
from pipeline.airflow.sessions import connected, moment, run_task, skip, still_shown
from pipeline.connections import Connections
from pipeline.errors import UsageError
from pipeline.marts import build as use_case
from pipeline.marts.build import BuiltMart, MartRun
from pipeline.marts.sources import with_their_marts
from pipeline.runs.published import MARTS, REPLICA
from pipeline.runs.recovery import recover
from transforms.marts import sources

log = logging.getLogger(__name__)


def open_run(
    names: Sequence[str], known: Sequence[str] = (), *, full: bool = False, without_snapshot: bool = False
) -> dict[str, Any]:
    """Choose the moment that all sources of the marts show, and open a run.

    Args:
        names: The marts, to which those that they read are added; all that are known if none is named.
        known: The marts that have a task here, and so can be loaded; any if none is named.
        full: Whether all rows are computed, and not those alone that may have changed.
        without_snapshot: Whether marts may read what was copied at no one moment, such as capped collections.

    Returns:
        The run, ``marts`` among its values.
    """
    with connected() as connections:
        recover(connections)
        chosen = names or (_with_tasks(connections, known) if known else ())
        run = use_case.open_run(connections, chosen, single_process=False, full=full, without_snapshot=without_snapshot)
    at = run.cluster_time.as_datetime().isoformat()
    log.info("run %s: %s marts from the replica in %s as of %s", run.id, len(run.marts), run.source, at)
    return run.as_json()


def _with_tasks(connections: Connections, known: Sequence[str]) -> list[str]:
    """Return the marts that can be computed and have a task, and tell of those that have none.

    Raises:
        UsageError: No mart has both.
    """
    there = [mart.name for mart in with_their_marts(connections, [])]
    if others := sorted(set(there) - set(known)):
        log.warning("no task here computes %s: the DAG was read when they were not there yet", ", ".join(others))
    if not (found := [name for name in there if name in known]):
        raise UsageError("no mart that can be computed has a task here; let the DAG be read again")
    return found


def load(run: dict[str, Any], mart: str) -> None:
    """Compute one mart of a run, check it and stage it; one that is loaded is left alone, one of others skipped."""
    if mart not in run["marts"]:
        skip(f"{mart} is not among the marts of this run: {', '.join(run['marts'])}")
    with run_task(opened := MartRun.from_json(run)) as connections:
        use_case.load(connections, opened, [mart], finished_lines("rows"))


def publish(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Show all marts of a run together; doing it again does nothing.

    Returns:
        What there is to tell the Assets, by mart: rows and moment, of what is shown still.
    """
    with run_task(opened := MartRun.from_json(run)) as connections:
        published = use_case.publish(connections, opened)
        shown = {name for name, _ in still_shown(connections, opened)}
        built = [one for one in published if one.name in shown]
        _tell_lineage(connections, opened, built)
    log.info("run %s is published to %s", opened.id, " and ".join(opened.targets))
    about = {"run_id": opened.id, **moment(opened.cluster_time)}
    return {mart.name: {**about, "rows": mart.rows} for mart in built}


def _tell_lineage(connections: Connections, run: MartRun, built: Iterable[BuiltMart]) -> None:
    known = connections.marts
    lineage.tell(
        _read(connections, run),
        [lineage.Dataset(to, MARTS, known[one.name].table, one.rows) for one in built for to in run.targets],
    )


def _read(connections: Connections, run: MartRun) -> list[lineage.Dataset]:
    """Return what the marts of a run read, tables of the replica and of the history alike."""
    names = {source for name in run.marts for source in sources(connections.marts[name])}
    entities = connections.entities.values()
    tables = [(REPLICA, table) for entity in entities for table in entity.tables]
    tables += [(HISTORY, table) for entity in entities for table in versions_of(entity)]
    there = (lineage.Dataset(run.source, schema, table) for schema, table in tables if table.name in names)
    return sorted(there, key=lambda one: one.table.name)
