"""``etl history``: former versions of documents, counted, and removed for good."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from pipeline.cli import tables
from pipeline.cli.confirm import check_can_answer, confirm
from pipeline.cli.options import AsJson, Collections, Wait
from pipeline.cli.output import show
from pipeline.cli.sessions import connected
from pipeline.errors import UsageError
from pipeline.text.printable import visible

if TYPE_CHECKING:
    from pipeline.replication.history import HistoryProof, Removed

app = typer.Typer(no_args_is_help=False, invoke_without_command=True)
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.callback()
def history(context: typer.Context, as_json: AsJson = False) -> None:
    """Look at the former versions of documents, remove old ones, forget a document.

    They are kept of collections whose contract says history=True, in history.TABLE
    of both stores; history.TABLE_versions shows the current ones as well.

    Examples:
      etl history list
      etl history prune --before 2026-01-01
      etl history forget SupportTickets 65f0c0ffee65f0c0ffee65f0
    """
    if context.invoked_subcommand is None:
        listing(as_json=as_json)


@app.command("list")
def listing(as_json: AsJson = False) -> None:
    """Count the former versions by collection and store, and tell from when on they are kept."""
    from pipeline.replication.history import kept

    with connected() as connections:
        found = kept(connections)
    rows = [
        (
            one.collection,
            one.target,
            tables.shown(one.observed_since),
            "" if one.observed_until is None else tables.shown(one.observed_until),
            one.versions,
            "" if one.earliest is None else tables.shown(one.earliest),
        )
        for one in found
    ]
    headings = ("collection", "target", "kept since (UTC)", "until (UTC)", "former\nversions", "first shown (UTC)")
    nothing = Text("no former versions are kept; history=True in a contract keeps them")
    show({"history": found}, tables.table("History", headings, rows) if rows else nothing, as_json=as_json)


@app.command("prune")
def prune(
    collections: Collections = None,
    before: Annotated[
        str, typer.Option(metavar="MOMENT", help="ISO 8601, such as 2026-01-31 or 2026-01-31T10:00Z; UTC.")
    ] = "",
    yes: Yes = False,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Remove the versions that ended by a moment, from both stores and for good.

    Examples:
      etl history prune --before 2026-01-01
      etl history prune SupportTickets --before 2026-01-01 --yes
    """
    from pipeline.replication.history import prune_history

    moment = _moment(before)
    _ask("history prune", f"Remove all former versions that ended by {tables.shown(moment)} UTC?", yes, as_json)
    with connected(wait=wait) as connections:
        removed = prune_history(connections, moment, collections or ())
    show({"before": moment, "removed": removed}, _removed(removed), as_json=as_json)


@app.command("forget")
def forget(
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="Such as SupportTickets.")],
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="The _id as the stores have it; may be several.")],
    yes: Yes = False,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Remove all former versions of some documents, from both stores and for good.

    A document that is published still keeps its current version: delete it in
    MongoDB and run etl sync before.

    Examples:
      etl history forget SupportTickets 65f0c0ffee65f0c0ffee65f0 --yes
    """
    from pipeline.replication.history import forget as remove

    _ask("history forget", f"Remove all former versions of {len(ids):,} of {visible(collection)}?", yes, as_json)
    with connected(wait=wait) as connections:
        removed = remove(connections, collection, ids)
    parts: list[RenderableType] = [_removed(removed)]
    if any(one.still_published for one in removed):
        parts.append(
            Text(
                f"{max(one.still_published for one in removed):,} are published still: what is shown of them now "
                "becomes a former version when they are changed or deleted; delete them in MongoDB, sync, "
                "and do this again"
            )
        )
    show({"removed": removed}, *parts, as_json=as_json)


def history_parts(found: Sequence["HistoryProof"]) -> list[RenderableType]:
    """Return what a verification shows of histories; nothing where none is kept."""
    rows = [(one.collection, one.target, one.versions, "yes" if one.proven else "NO") for one in found]
    headings = ("collection", "target", "former versions", "proven")
    title = "History: the versions of each document follow each other, and the newest is current"
    return [tables.table(title, headings, rows)] if rows else []


def history_values(found: Sequence["HistoryProof"]) -> list[dict[str, Any]]:
    """Return what a verification tells of histories as JSON values."""
    return [{**vars(one), "proven": one.proven} for one in found]


def _removed(removed: Sequence["Removed"]) -> RenderableType:
    rows = [(one.collection, one.target, one.versions) for one in removed]
    return tables.table("Removed for good", ("collection", "target", "former versions"), rows)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        said = f"{text!r} is no moment" if text else "there is no moment"
        raise UsageError(f"{said}; one is given as ISO 8601, such as 2026-01-31 or 2026-01-31T10:00Z") from None
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC)


def _ask(command: str, question: str, yes: bool, as_json: bool) -> None:
    """Let the user say whether to go on."""
    if not yes:
        check_can_answer(command, as_json=as_json)
        confirm(question)
