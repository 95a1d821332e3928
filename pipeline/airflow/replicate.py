"""The tasks of the DAG ``replicate``: each takes and gives plain JSON values, plans and counts only."""

import logging
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from pipeline.airflow import lineage
from pipeline.airflow.log_lines import account_lines, partition_lines
from pipeline.airflow.sessions import connected, moment, run_task, still_shown
from pipeline.connections import Connections
from pipeline.control import Account
from pipeline.replication import replicate as use_case
from pipeline.runs.reconcile import close_books
from pipeline.runs.recovery import recover
from pipeline.runs.run import Partition, Run

log = logging.getLogger(__name__)


def open_run(
    collections: Iterable[str],
    targets: Iterable[str],
    *,
    new_source: bool = False,
    allow_shrink: bool = False,
    allow_missing: bool = False,
    undeclared: bool = False,
    without_snapshot: bool = False,
) -> dict[str, Any]:
    """Choose the moment and open a run.

    Args:
        collections: Names of the collections; all if none is named.
        targets: Names of the targets.
        new_source: Whether to take over what was copied from another server or database.
        allow_shrink: Whether to take away more of what is published than the settings allow.
        allow_missing: Whether collections that are not there are copied as empty.
        undeclared: Whether collections without a contract are copied as well, each document whole, now and later on.
        without_snapshot: Whether capped collections are copied as well, which can't be read at one moment.

    Returns:
        The run.
    """
    with connected() as connections:
        recover(connections, targets)
        run = use_case.open_run(
            connections,
            collections,
            targets,
            single_process=False,
            new_source=new_source,
            allow_shrink=allow_shrink,
            allow_missing=allow_missing,
            undeclared=undeclared,
            without_snapshot=without_snapshot,
        )
    log.info("run %s: %s collections as of %s", run.id, len(run.uuids), run.cluster_time.as_datetime().isoformat())
    return run.as_json()


def plan(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Cut the collections of a run into partitions; a plan that was made already is kept."""
    with run_task(opened := Run.from_json(run)) as connections:
        partitions = use_case.plan(connections, opened)
    log.info("run %s: %s partitions", opened.id, len(partitions))
    return [partition.as_json() for partition in partitions]


def load(run: dict[str, Any], partition: dict[str, Any]) -> None:
    """Copy one partition into staging; one that is loaded is left alone."""
    with run_task(opened := Run.from_json(run)) as connections:
        use_case.load(connections, opened, Partition.from_json(partition), partition_lines())


def prove(run: dict[str, Any], max_quarantined: str | None) -> None:
    """Hold what is staged against what MongoDB counts; if the books are open, or too much is refused, the run ends.

    Args:
        run: A run whose partitions are loaded.
        max_quarantined: How many refused documents are tolerated: ``N``, or ``P%`` of all; None for any number.
    """
    with run_task(opened := Run.from_json(run)) as connections:
        account_lines(close_books(connections, opened, max_quarantined))


def publish(run: dict[str, Any], max_quarantined: str | None) -> dict[str, dict[str, Any]]:
    """Show the tables of a run, provided that its books are closed still; doing it again does nothing.

    Returns:
        What there is to tell the Assets, by table: rows by target, moment and books, of what is shown still.
    """
    with run_task(opened := Run.from_json(run)) as connections:
        published = use_case.publish(connections, opened, max_quarantined)
        log.info("run %s is published to %s", opened.id, " and ".join(opened.targets))
        shown = still_shown(connections, opened)
        accounts = [one for one in published if (one.collection, one.target) in shown]
        lineage.emit_copies(
            lineage.Copy(connections.entities[one.collection], one.target, one.source, one.loaded) for one in accounts
        )
        return _news(connections, opened, accounts)


def _news(connections: Connections, run: Run, accounts: Iterable[Account]) -> dict[str, dict[str, Any]]:
    told: dict[str, dict[str, Any]] = {}
    for account in accounts:
        table = connections.entities[account.collection].table
        about = told.setdefault(table, {"run_id": run.id, **moment(run.cluster_time), "rows": {}, "books": []})
        about["rows"][account.target] = account.loaded
        about["books"].append(asdict(account))
    return told
