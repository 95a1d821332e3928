"""The outcome of ``etl demo``: few tables, no wider than the terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.cli import tables
from pipeline.cli.output import WIDTH_OF_A_PIPE, console, moment

if TYPE_CHECKING:
    from pipeline.cli.demo_changes import KeptVersions
    from pipeline.control import Account
    from pipeline.marts.build import BuiltMart
    from pipeline.replication.comparison import Comparison
    from pipeline.replication.sync import Synced
    from pipeline.runs.run import Run

_ROWS = 3
_TITLES = {"postgres": "PostgreSQL", "clickhouse": "ClickHouse"}


def copied(run: "Run", accounts: Sequence["Account"], found: Sequence["Comparison"]) -> Table:
    """Show what became of each collection's documents, and whether every value of them is proven in each store."""
    proven = {(one.collection, one.target): one.proven for one in found}
    rows = [
        (
            one.collection,
            one.source,
            one.loaded,
            one.quarantined,
            *(tables.verdict(proven.get((one.collection, target), False), "yes", "NO") for target in _TITLES),
        )
        for one in accounts
        if one.target == accounts[0].target  # the books are closed, so it is the same in both
    ]
    shows = tables.shown(moment(run.cluster_time))
    equal = [f"equal in\n{one}" for one in _TITLES.values()]
    headings = ("collection", "documents", "= loaded", "+ quaran-\ntined", *equal)
    return tables.table(f"Copied as of {shows} UTC, and every value compared", headings, rows)


def changed(synced: Sequence["Synced"], kept: Mapping[str, "KeptVersions"], found: Sequence["Comparison"]) -> Group:
    """Show what a sync has changed, what it kept of the past, and what that means for people."""
    rows = [
        (
            one.collection,
            one.changed,
            one.loaded,
            one.deleted,
            one.quarantined,
            kept[one.collection].versions if one.collection in kept else None,
        )
        for one in synced
        if one.changed
    ]
    again = "all is equal again" if all(one.proven for one in found) else "NOT all is equal again"
    headings = ("collection", "changed", "= loaded", "+ deleted", "+ quaran-\ntined", "versions\nkept")
    told = [f"{number:,} {what}" for one in kept.values() for what, number in one.told.items()]
    title = f"A week later: what was changed was copied, and {again}"
    return Group(tables.table(title, headings, rows), Text(f"{', '.join(told)}\n" if told else ""))


def computed(built: Sequence["BuiltMart"]) -> Text:
    """Name the marts."""
    rows = sum(one.rows for one in built)
    return Text.assemble(
        (f"Marts ({len(built)}, with {rows:,} rows): ", "bold"), ", ".join(one.name for one in built), "\n"
    )


def preview(name: str, rows: Sequence[dict[str, Any]], total: int) -> Table:
    """Show the first rows of a mart."""
    return tables.preview(name, rows[:_ROWS], total, min(WIDTH_OF_A_PIPE, console().width))
