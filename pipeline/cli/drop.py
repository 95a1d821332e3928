"""``etl drop``: what is published of a collection is removed again."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli import tables
from pipeline.cli.confirm import check_can_answer, confirm
from pipeline.cli.options import AsJson, Wait
from pipeline.cli.output import say, show
from pipeline.cli.sessions import connected
from pipeline.text.number import counted
from pipeline.text.printable import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.replication.drop import Dropped


def drop(
    collections: Annotated[list[str], typer.Argument(metavar="COLLECTION|MART", help="Such as Orders or orders.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Remove collections and marts from both stores: tables, history, quarantine, and what the books tell of them.

    MongoDB is not touched, and their contracts may be gone; a mart whose contract is
    there is built again by the next etl marts. Something of yours that is built on a
    table in PostgreSQL, such as a view, keeps it from being removed.

    Examples:
      etl drop Orders
      etl drop Orders Customers --yes
    """
    from pipeline.replication.drop import drop as remove
    from pipeline.replication.drop import find_dropped

    with connected(wait=wait) as connections:
        if not yes:
            check_can_answer("drop", as_json=as_json)
            _ask(find_dropped(connections, collections))
        dropped = remove(connections, collections)
    rows = [(one.collection, ", ".join(one.targets), one.rows, one.quarantined) for one in dropped]
    part = tables.table("Dropped", ("collection", "target", "documents", "in quarantine"), rows)
    show({"dropped": dropped}, part, as_json=as_json)


def _ask(found: "Sequence[Dropped]") -> None:
    """Show what would be removed, and let the user say whether to go on."""
    for one in found:
        where = " and ".join(one.targets) or "neither store"
        say(visible(f"{one.collection}: {counted(one.rows, 'document')} in {where}, {one.quarantined:,} in quarantine"))
    confirm("Remove that, and the history kept of it, from the stores and the books? MongoDB is not touched.")
