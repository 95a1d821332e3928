"""``etl drop``: what is published of a collection is removed again."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli import tables
from pipeline.cli.options import AsJson, Wait
from pipeline.cli.output import say, show
from pipeline.cli.sessions import connected
from pipeline.errors import UsageError
from pipeline.text.printable import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.replication.drop import Dropped


def drop(
    collections: Annotated[list[str], typer.Argument(metavar="COLLECTION", help="Such as Orders or orders.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Remove collections from both stores: their tables, their quarantine, and what the books tell of them.

    MongoDB is not touched, and their contracts may be gone. Something of yours that
    is built on a table in PostgreSQL, such as a view, keeps it from being removed.

    Examples:
      etl drop Orders
      etl drop Orders Customers --yes
    """
    from pipeline.replication.drop import drop as remove
    from pipeline.replication.drop import find_dropped

    with connected(wait=wait) as connections:
        if not yes:
            _ask(find_dropped(connections, collections), can_answer=sys.stdin.isatty() and not as_json)
        dropped = remove(connections, collections)
    rows = [(one.collection, ", ".join(one.targets), one.rows, one.quarantined) for one in dropped]
    part = tables.table("Dropped", ("collection", "target", "documents", "in quarantine"), rows)
    show({"dropped": dropped}, part, as_json=as_json)


def _ask(found: "Sequence[Dropped]", *, can_answer: bool) -> None:
    """Let the user say whether to go on.

    Raises:
        UsageError: Nobody is there to ask.
        Exit: The answer is no.
    """
    if not can_answer:
        raise UsageError("etl drop asks before it removes anything; where nobody can answer, add --yes")
    for one in found:
        where = " and ".join(one.targets) or "neither store"
        say(visible(f"{one.collection}: {one.rows:,} documents in {where}, {one.quarantined:,} in quarantine"))
    if not typer.confirm("Remove that from the stores and the books? MongoDB is not touched.", err=True):
        say("nothing was removed")
        raise typer.Exit(UsageError.exit_code)
