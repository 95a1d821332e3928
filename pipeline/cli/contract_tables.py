"""What the commands of ``etl contract`` show."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from pipeline.cli import tables
from pipeline.cli.drift import drift_table
from pipeline.cli.output import moment
from pipeline.text.printable import visible

if TYPE_CHECKING:
    from pipeline.inference.check import Check
    from pipeline.inference.diff import Diff, Diffs
    from pipeline.inference.infer import Inference

_SHOWN = 20  # of what was left out


def inferred(found: "Inference", following: str | None) -> Iterator[RenderableType]:
    """Show the contracts that were found."""
    rows = [
        (
            one.collection,
            one.documents,
            one.fields,
            f"{one.tables:,} / {one.columns:,}",
            one.as_json,
            one.in_extra,
            Text(f"{one.refused:,}", style=_colour(one.refused)),
            one.to_decide,
        )
        for one in found.contracts
    ]
    headings = ("collection", "documents", "fields", "tables /\ncolumns", "JSON", "in\n_extra", "would be\nrefused")
    if rows:
        title = f"Contracts in {found.folder}, from all documents as of {tables.shown(moment(found.cluster_time))} UTC"
        yield tables.table(title, (*headings, "to\ndecide"), rows)
    reasons = [
        (one.collection, reason.rule, reason.path, reason.documents)
        for one in found.contracts
        for reason in one.reasons
    ]
    if reasons:
        yield tables.table("Why documents would be refused", ("collection", "rule", "first path", "documents"), reasons)
    if found.kept:
        yield Text(
            f"Kept, since {found.folder} has their contracts already: {_listed(found.kept)}; --replace writes anew"
        )
    for name, why in list(found.left_out.items())[:_SHOWN]:
        yield Text(visible(f"No contract of {name}: {why}"))
    if (more := len(found.left_out) - _SHOWN) > 0:
        yield Text(f"and {more:,} more have none either")
    if mostly := [one.collection for one in found.contracts if one.is_mostly_refused]:
        yield Text(f"Not in the command below, since a copy would refuse most of their documents: {_listed(mostly)}")
    if following:
        yield Text("Look at the files where there is something to decide; then:")
        yield Text(following, no_wrap=True)


def _listed(names: Sequence[str]) -> str:
    return visible(", ".join(names[:_SHOWN])) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")


def checked(found: "Check") -> Iterator[RenderableType]:
    """Show what would become of documents under their contracts."""
    from pipeline.control import CollectionDrift  # heavy, and etl --help needs none of it

    rows = [
        (one.collection, one.documents, one.slow, Text(f"{one.refused:,}", style=_colour(one.refused)))
        for one in found.collections
    ]
    title = f"Tried by their contracts, as of {tables.shown(moment(found.cluster_time))} UTC; nothing was written"
    headings = ("collection", "documents", "beyond the\ncontract", "would be\nrefused")
    yield tables.table(title, headings, rows)
    reasons = [
        (one.collection, reason.rule, reason.path, reason.documents, ", ".join(reason.ids))
        for one in found.collections
        for reason in one.reasons
    ]
    if reasons:
        title = "Why documents would be refused"
        yield tables.table(title, ("collection", "rule", "first path", "documents", "such as"), reasons, ["such as"])
    yield from drift_table(
        CollectionDrift(one.collection, **asdict(drift)) for one in found.collections for drift in one.drift
    )
    yield from _not_looked_at(found.missing, found.undeclared)


def differences(found: "Diffs") -> Iterator[RenderableType]:
    """Show in what documents differ from their contracts, and the lines that are proposed."""
    rows = [
        (one.collection, change.path, change.change, change.seen, change.first_id)
        for one in found.collections
        for change in one.changes
    ]
    at = f"as of {tables.shown(moment(found.cluster_time))} UTC"
    if rows:
        headings = ("collection", "field", "change", "seen", "first _id")
        yield tables.table(f"What has changed against the contracts, {at}", headings, rows, ["field", "seen"])
    else:
        names = ", ".join(one.collection for one in found.collections)
        yield Text(visible(f"Nothing has changed against the contracts of {names}, {at}"))
    for one in found.collections:
        yield from _proposed(one)
    yield from _not_looked_at(found.missing, found.undeclared)


def words(found: Iterable[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Show words with an example of each."""
    for one in found:
        yield Text(f"{one['word']}: {one['effect']}", style="bold")
        yield Text("\n".join(f"    {line}" for line in one["example"]), no_wrap=True)


def _proposed(diff: "Diff") -> Iterator[RenderableType]:
    proposed = [change for change in diff.changes if change.lines]
    if proposed:
        yield Text(visible(f"Proposed for {diff.path}:"))
    for change in proposed:
        around = f", within {'.'.join(change.names[:-1])}" if len(change.names) > 1 else ""
        lines = [f"# {change.change}{around}", *change.lines]
        yield Text("\n".join(f"    {visible(line)}" for line in lines), no_wrap=True)


def _not_looked_at(missing: Sequence[str], undeclared: Sequence[str]) -> Iterator[RenderableType]:
    if missing:
        yield Text(f"Not in the database: {_listed(missing)}")
    if undeclared:
        yield Text(f"No contract declares: {_listed(undeclared)}")


def _colour(refused: int) -> str:
    return "bold red" if refused else "green"
