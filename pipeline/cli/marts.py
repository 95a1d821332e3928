"""``etl marts``: built, listed and tried; without a command's name they are built."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text
from typer.core import TyperGroup

from pipeline.cli import json_values as values
from pipeline.cli import tables
from pipeline.cli.options import AsJson, OfNoSnapshot, Targets, Wait, WorkersOption
from pipeline.cli.output import say_error, show
from pipeline.cli.progress import collection_bars
from pipeline.cli.sessions import bookkeeper, connected
from pipeline.errors import DataError
from pipeline.text.number import counted
from pipeline.text.printable import visible

if TYPE_CHECKING:
    from pipeline.marts.check import Checked
    from pipeline.marts.listing import ListedMart


class BuildingGroup(TyperGroup):
    """A group of commands of which one is meant where none is named.

    Attributes:
        meant: Its name.
    """

    meant = "build"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the command's name where there is none."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = [self.meant, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=BuildingGroup)
Marts = Annotated[list[str] | None, typer.Argument(metavar="MART", help="Such as user_activity.", show_default="all")]


@app.callback()
def group() -> None:
    """Compute the marts from the replicated tables and write them to the stores; list them; try your own.

    Without the name of a command they are built: etl marts is etl marts build.
    ETL_MARTS names folders of marts of your own. All take --json.

    Examples:
      etl marts
      etl marts user_activity ticket_resolution
      etl marts list
      etl marts check
    """


@app.command("build")
def build(
    names: Marts = None,
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
    from pipeline.marts.build import build as compute
    from pipeline.marts.sources import empty_sources
    from pipeline.marts.trace import Trace

    trace = Trace() if explain else None
    with connected(wait=wait, workers=workers) as connections, collection_bars("marts", "rows") as progress:
        built = compute(
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


@app.command("list")
def list_marts(as_json: AsJson = False) -> None:
    """List the marts: the question that each answers, what a row is, what it reads, and which moment it shows.

    Examples:
      etl marts list
      etl marts list --json | jq '.marts[].name'
    """
    from contracts.schema.registry import entities
    from contracts.schema.registry import marts as known
    from pipeline.marts.listing import list_marts as listed
    from pipeline.settings import Settings

    settings = Settings.load()
    with bookkeeper() as postgres:
        found = listed(entities(settings.contracts), known(settings.marts), postgres)
    show({"marts": found}, *(_block(one) for one in found), *_none(found), as_json=as_json)


@app.command("check")
def check(names: Marts = None, as_json: AsJson = False) -> None:
    """Try marts of your own by what guards those of the demo, without a server.

    Names and words are complete, the function asks no clock and nothing else from
    outside, and gives what the contract declares: from nothing, from made-up documents,
    from the same in another order, and in pieces. Exit code 1 if something is wrong.

    Examples:
      etl marts check
      etl marts check orders_daily
    """
    from contracts.schema.registry import entities
    from contracts.schema.registry import marts as known
    from pipeline.marts.check import check as hold
    from pipeline.settings import Settings

    settings = Settings.load()
    found = hold(entities(settings.contracts), known(settings.marts), names or ())
    show({"marts": found}, _checks(found), *_mistakes(found), as_json=as_json)
    if wrong := sum(len(one.mistakes) for one in found):
        say_error(f"{counted(wrong, 'thing')} to mend in {', '.join(one.mart for one in found if one.mistakes)}")
        raise typer.Exit(DataError.exit_code)


def _block(one: "ListedMart") -> RenderableType:
    """Show a mart in a few lines, which are folded where the terminal is narrow."""
    whose = " (your own)" if one.own else ""
    head = Text.assemble((visible(one.name), "bold"), whose, f"  {_freshness(one)}")
    grain = f"one row per {', '.join(one.key)}; reads {', '.join(one.sources)}"
    lines = [Text(visible(text)) for text in (one.question, grain) if text]
    return Group(head, *(Padding(line, (0, 0, 0, 2)) for line in lines))


def _freshness(one: "ListedMart") -> str:
    if one.lacks:
        return f"can't be built: {visible(one.lacks)}"
    if one.shows_at is None:
        return "not built"
    behind = ", behind its sources" if one.is_behind else ""
    rows = "" if one.rows is None else f", {one.rows:,} rows"
    return f"as of {tables.shown(one.shows_at)} UTC{rows}{behind}"


def _none(found: "list[ListedMart]") -> list[Text]:
    demo = "the word demo in ETL_CONTRACTS adds the contracts of the demo, and with them its marts"
    return [] if found else [Text(f"There are no marts: no contract declares what they read; {demo}.")]


def _checks(found: "list[Checked]") -> RenderableType:
    rows = [(one.mart, one.rows, tables.verdict(not one.mistakes, "yes", "NO")) for one in found]
    return tables.table("Marts, tried on made-up documents", ("mart", "rows", "in order"), rows)


def _mistakes(found: "list[Checked]") -> list[Text]:
    return [Text(visible(f"{one.mart}: {says}")) for one in found for says in one.mistakes]
