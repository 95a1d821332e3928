"""``etl replicate`` and ``etl sync``: the copy, whole and of what was changed."""

from typing import Annotated

import typer

from pipeline.cli import json_values as values
from pipeline.cli import tables
from pipeline.cli.drift import drift_table
from pipeline.cli.follow import followed
from pipeline.cli.options import (
    AllowMissing,
    AllowShrink,
    AsJson,
    Collections,
    MaxQuarantined,
    NewSource,
    Targets,
    Undeclared,
    Wait,
    WithoutSnapshot,
    WorkersOption,
)
from pipeline.cli.output import show
from pipeline.cli.progress import partition_bars
from pipeline.cli.sessions import connected


def replicate(
    collections: Collections = None,
    target: Targets = None,
    max_quarantined: MaxQuarantined = None,
    allow_shrink: AllowShrink = False,
    new_source: NewSource = False,
    allow_missing: AllowMissing = False,
    undeclared: Undeclared = False,
    without_snapshot: WithoutSnapshot = False,
    workers: WorkersOption = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Copy collections into PostgreSQL and ClickHouse, all as they were at one moment.

    Every document ends in each store, value for value, or in quarantine with its
    reasons. Tables change only when the books close; doing it again changes nothing.

    Examples:
      etl replicate
      etl replicate UserSessions SupportTickets
      etl replicate --target clickhouse
      etl replicate --max-quarantined 0.1%
      etl replicate --undeclared
    """
    from pipeline import control
    from pipeline.connections import TARGETS
    from pipeline.replication.replicate import replicate as copy

    with connected(wait=wait, workers=workers) as connections, partition_bars() as progress:
        run, accounts = copy(
            connections,
            collections or (),
            target or TARGETS,
            progress,
            max_quarantined,
            new_source=new_source,
            allow_shrink=allow_shrink,
            allow_missing=allow_missing,
            undeclared=undeclared,
            without_snapshot=without_snapshot,
        )
        left_out = [one.collection for one in connections.chosen(collections or ()) if one.collection not in run.uuids]
        drift, strangers = control.drift(connections.postgres, run.id), connections.undeclared()
        receipt, retries = control.timings(connections.postgres, run.id), control.retries(connections.postgres, run.id)
    found = values.replicated(run, accounts) | {
        "drift": drift,
        "undeclared_collections": strangers,
        "left_out": left_out,
        "without_snapshot": list(run.unpinned),
        "receipt": receipt,
        "retries": retries,
    }
    notes = (
        tables.receipt(receipt, retries),
        *tables.unpinned(run),
        *tables.undeclared(strangers),
        *tables.refused(accounts),
    )
    show(found, tables.books(run, accounts), *drift_table(drift), *notes, as_json=as_json)


def sync(
    collections: Collections = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.0, help="How long --follow rests in between.")] = 5.0,
    max_quarantined: MaxQuarantined = None,
    allow_shrink: AllowShrink = False,
    workers: WorkersOption = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Bring the copies to the present moment: only documents that were changed since are read.

    MongoDB's change streams tell which ones; they are read at one new moment, proven
    and published together. It begins where the last replicate or sync ended.

    Examples:
      etl sync
      etl sync SupportTickets
      etl sync --follow --every 30
    """
    from pipeline import control
    from pipeline.replication.sync import sync as take_over

    with connected(wait=wait, workers=workers) as connections:
        if follow:
            found, drift = followed(connections, collections or (), every, max_quarantined, allow_shrink), []
            retries = 0  # each was a line
        else:
            with partition_bars("sync", equal=False) as progress:
                found = take_over(connections, collections or (), progress, max_quarantined, allow_shrink=allow_shrink)
            runs = sorted({one.run_id for one in found if one.run_id})
            retries = sum(control.retries(connections.postgres, run_id) for run_id in runs)
            drift = [one for run_id in runs for one in control.drift(connections.postgres, run_id)]
    shown = values.synced(found) | {"drift": drift, "retries": retries}
    show(shown, tables.synced(found), *drift_table(drift), *tables.refused(found), as_json=as_json)
