"""``etl generate``, ``replicate``, ``verify`` and ``marts``: the steps of the job."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli import json_values as values
from pipeline.cli import tables
from pipeline.cli.drift import drift_table
from pipeline.cli.follow import followed
from pipeline.cli.history import history_parts, history_values
from pipeline.cli.options import (
    AllowMissing,
    AllowShrink,
    AsJson,
    Collections,
    Defects,
    MaxQuarantined,
    NewSource,
    OfNoSnapshot,
    Replace,
    Scale,
    Seed,
    Targets,
    Undeclared,
    Wait,
    WithoutSnapshot,
    WorkersOption,
)
from pipeline.cli.output import say, say_error, show
from pipeline.cli.progress import collection_bars, partition_bars
from pipeline.cli.sessions import connected, source
from pipeline.errors import DataError, UsageError, VerificationError

if TYPE_CHECKING:
    from pipeline.connections import Connections
    from pipeline.replication.history import HistoryProof
    from pipeline.replication.sample import Sample
    from pipeline.replication.verify import Comparison, PartlyVerifiedError
    from pipeline.runtime.progress import Progress


def generate(
    scale: Scale = 1.0,
    rows: Annotated[
        list[str] | None,
        typer.Option("--rows", metavar="COLLECTION=N", help="Exactly N documents of one collection; may be repeated."),
    ] = None,
    defects: Defects = 0.0,
    seed: Seed = 0,
    replace: Replace = False,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="All happens before it.", show_default="2026-06-30"),
    ] = None,
    advance: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Let what was generated go on for so long, such as 7d: see below."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fill MongoDB with a made-up but coherent world: users, products, sessions, searches, tickets, reviews.

    Only collections that an earlier etl generate made are replaced.

    With --advance nothing is replaced: documents are added, changed (tickets solved
    and reopened, reviews decided, lists rewritten) and deleted, as in that time.

    Examples:
      etl generate --scale 0.1
      etl generate --scale 0 --rows UserSessions=1000000
      etl generate --defects 0.01      one in a hundred breaks its contract
      etl generate --advance 7d        a week later
    """
    from pipeline.generate import generate as fill

    if advance is not None:
        if (scale, rows, defects, seed, replace, until) != (1.0, None, 0.0, 0, False, None):
            raise UsageError("--advance goes on with what was generated, by its own seed and size; give it alone")
        _go_on(advance, as_json=as_json)
        return
    numbers = _numbers(rows or [])
    with source() as (mongo, entities), collection_bars("generate") as progress:
        made = fill(
            mongo.database,
            entities,
            scale=scale,
            rows=numbers,
            seed=seed,
            defects=defects,
            until=until,
            replace=replace,
            progress=progress,
        )
    show(made.as_json(), tables.generated(made), as_json=as_json)


def _go_on(text: str, *, as_json: bool) -> None:
    from pipeline.advance import advance, span

    seconds = span(text)
    with source() as (mongo, entities), collection_bars("generate") as progress:
        made = advance(mongo.database, entities, seconds, progress=progress)
    show(made.as_json(), tables.advanced(made), as_json=as_json)


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


def verify(
    collections: Collections = None,
    target: Targets = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Read what differs again, put it right, and verify it again.")
    ] = False,
    sample: Annotated[
        str | None,
        typer.Option(metavar="N|P%", help="Only random ranges of each collection.", show_default="all documents"),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="The same seed takes the same sample.", show_default="another one each time"),
    ] = None,
    workers: WorkersOption = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Prove that the stores hold exactly what MongoDB held, by comparing every value.

    MongoDB is read at the moment that was published, by a decoder that the copy
    doesn't use. What differs is shown, and the exit code is 1.

    Examples:
      etl verify
      etl verify SupportTickets --target postgres
      etl verify --repair
      etl verify --sample 1%           random ranges of _id: seconds, for a cron job
    """
    from pipeline.connections import TARGETS
    from pipeline.replication.history import prove_history
    from pipeline.replication.sample import Sample
    from pipeline.replication.verify import left_out

    if seed is not None and sample is None:
        raise UsageError("--seed chooses a sample, so it goes with --sample")
    drawn = None if sample is None else Sample.drawn(sample, seed)
    with connected(wait=wait, workers=workers) as connections, collection_bars("verify") as progress:
        found, error = _compared(connections, collections or (), target or TARGETS, progress, drawn)
        if repair and (mended := _mended(connections, found)):
            say(f"{sum(len(one.broken) for one in mended):,} documents were read again; verifying once more")
            found, error = _compared(connections, collections or (), target or TARGETS, progress, drawn)
        unproven = left_out(connections, collections or (), target or TARGETS, found)
        kept = prove_history(connections, collections or (), target or TARGETS) if drawn is None else []
    shown = values.verified(found, drawn) | {"left_out": unproven, "history": history_values(kept)}
    shown["proven"] = shown["proven"] and all(one.proven for one in kept)
    if error:
        unproven = [name for name in unproven if name not in error.names]
        shown |= {"left_out": unproven, "proven": False, "error": str(error)}
    show(shown, *tables.verification(found, drawn), *history_parts(kept), as_json=as_json)
    end_by(found, unproven, error, [one for one in kept if not one.proven])


def marts(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="MART", help="Such as user_activity.", show_default="all"),
    ] = None,
    target: Targets = None,
    full: Annotated[
        bool, typer.Option("--full", help="Compute all rows, not those alone that may have changed.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also tell why so much was computed, what was read and what took long.")
    ] = False,
    without_snapshot: OfNoSnapshot = False,
    workers: WorkersOption = None,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Compute the marts from the replicated tables and write them to the stores.

    Marts that they read are built with them. All show one moment, that of their
    sources. After a sync only the rows are computed that may have changed, where that
    can be told. Of your own, those that can't be built are named, and the exit code is 1.

    Examples:
      etl marts
      etl marts user_activity ticket_resolution
      etl marts --explain session_facts
      etl marts --target postgres
    """
    from pipeline.connections import TARGETS
    from pipeline.marts.available import left_out
    from pipeline.marts.build import build
    from pipeline.marts.sources import empty_sources
    from pipeline.marts.trace import Trace

    trace = Trace() if explain else None
    with connected(wait=wait, workers=workers) as connections, collection_bars("marts", "rows") as progress:
        built = build(
            connections,
            names or (),
            target or TARGETS,
            progress,
            full=full,
            without_snapshot=without_snapshot,
            trace=trace,
        )
        lacking = {} if names else left_out(connections)
        empty = empty_sources(connections, [one.name for one in built])
    shown = values.marts(built) | {
        "left_out": lacking,
        "empty_sources": empty,
        "explained": values.explained(trace),
    }
    told = tables.explained(built, trace) if trace else []
    show(shown, tables.marts(built), *told, *tables.empty_sources(empty), as_json=as_json)
    if lacking:
        say_error("not built: " + "; ".join(f"{name}: {says}" for name, says in lacking.items()))
        raise typer.Exit(DataError.exit_code)


def _compared(
    connections: "Connections",
    collections: Sequence[str],
    targets: Sequence[str],
    progress: "Progress[str]",
    sample: "Sample | None",
) -> tuple[Sequence["Comparison"], "PartlyVerifiedError | None"]:
    """Return what was found, and why of some collections nothing was, while of others something was."""
    from pipeline.replication.verify import PartlyVerifiedError
    from pipeline.replication.verify import verify as compare

    try:
        return compare(connections, collections, targets, progress, sample), None
    except PartlyVerifiedError as error:
        if not error.found:
            raise
        return error.found, error


def _mended(connections: "Connections", found: Sequence["Comparison"]) -> Sequence["Comparison"]:
    """Put broken documents right and return what was; the copy's way is imported for that alone."""
    from pipeline.replication.repair import repair

    return repair(connections, found)


def end_by(
    found: Sequence["Comparison"],
    left_out: Sequence[str] = (),
    error: "PartlyVerifiedError | None" = None,
    histories: Sequence["HistoryProof"] = (),
) -> None:
    """End with exit code 1 unless everything is proven, and nothing that is published was left out.

    Args:
        found: What was compared.
        left_out: The published collections that were not.
        error: Why others could not be; by itself it means exit code 2.
        histories: What was found of histories that are not as they must be.
    """
    if broken := [one for one in found if not one.proven]:
        pairs = ", ".join(f"{one.collection} in {one.target}" for one in broken)
        say_error(f"not proven: {pairs}; etl verify --repair or etl replicate mends it")
    for one in histories:
        say_error(f"the history of {one.collection} in {one.target} is not proven: {'; '.join(one.faults)}")
    if left_out:
        say_error(f"not proven: {', '.join(left_out)}, left out since MongoDB has no such collection any more")
    if error:
        say_error(str(error))
    if broken or left_out or histories:
        raise typer.Exit(VerificationError.exit_code)
    if error:
        raise typer.Exit(error.exit_code)


def _numbers(rows: Iterable[str]) -> dict[str, int]:
    """Read ``--rows COLLECTION=N``."""
    numbers = {}
    for one in rows:
        name, _, number = one.partition("=")
        if not number.strip().isdecimal():
            raise UsageError(f"--rows takes COLLECTION=N, such as UserSessions=1000, not {one!r}")
        numbers[name] = int(number)
    return numbers
