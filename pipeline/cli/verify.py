"""``etl verify``: what the stores hold is proven, and put right where it is not."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli import json_values as values
from pipeline.cli import tables
from pipeline.cli.history import history_parts, history_values
from pipeline.cli.options import AsJson, Collections, Targets, Wait, WorkersOption
from pipeline.cli.output import say, say_error, show
from pipeline.cli.progress import collection_bars
from pipeline.cli.sessions import connected
from pipeline.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from pipeline.connections import Connections
    from pipeline.replication.comparison import Comparison
    from pipeline.replication.history import HistoryProof
    from pipeline.replication.sample import Sample
    from pipeline.replication.verify import PartlyVerifiedError
    from pipeline.runtime.progress import Progress


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
        say_error(one.told)
    if left_out:
        from pipeline.replication.verify import why_left_out

        say_error(why_left_out(left_out))
    if error:
        say_error(str(error))
    if broken or left_out or histories:
        raise typer.Exit(VerificationError.exit_code)
    if error:
        raise typer.Exit(error.exit_code)
