"""The outcomes as tables: numbers to the right, with separators; no wider than a hundred columns."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from pipeline.cli.output import moment
from pipeline.text.number import counted
from pipeline.text.printable import visible

if TYPE_CHECKING:
    from pipeline.advance import Advanced
    from pipeline.control import Account
    from pipeline.control.status import Status
    from pipeline.generate import Generated
    from pipeline.marts.build import BuiltMart
    from pipeline.marts.run import Plan
    from pipeline.marts.trace import Trace
    from pipeline.replication.comparison import Comparison
    from pipeline.replication.sample import Sample
    from pipeline.replication.sync import Synced
    from pipeline.runs.run import Run

_HEADER_WIDTH = 14
_VALUE_WIDTH = 60
# A column of ids or names is folded beyond this, so that the others keep their room; a cell has an end.
_COLUMN_WIDTH, _CELL_CHARACTERS = 40, 1_000
_GAP = 2
_LEAST_WIDTH = 10  # of a column of texts
_NARROW = 80  # columns of a terminal in which names are not broken as long as something else can be
_STAGES = {"mongo": "MongoDB", "careful": "slow path", "postgres": "PostgreSQL", "clickhouse": "ClickHouse"}
_GOOD, _BAD = "green", "bold red"


class Titled(Table):
    """A table whose title may be wider than it is, and which is written as a list where it would not fit.

    Attributes:
        heading: The title.
        least: How many columns of the terminal it takes at least, with its texts in several lines.
    """

    heading: Text = Text()
    least: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the title, as wide as the terminal, and the table."""
        yield self.heading
        if self.least <= options.max_width:
            yield from super().__rich_console__(console, options)
        else:
            yield from self._listed()

    def _listed(self) -> RenderResult:
        """Yield each row as a list of headings and values."""
        for row in zip(*(column.cells for column in self.columns), strict=True):
            made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
            made.add_column(no_wrap=True)
            made.add_column(overflow="fold")
            for column, value in zip(self.columns, row, strict=True):
                made.add_row(str(column.header).replace("-\n", "").replace("\n", " "), value)
            yield made
            yield Text()


def table(title: str, headings: Iterable[str], rows: Iterable[Sequence[Any]], wraps: Collection[str] = ()) -> Table:
    """Return a table; what holds numbers is aligned to the right.

    Args:
        title: Above the table.
        headings: One per column; may have several lines.
        rows: Values, or texts that are styled already.
        wraps: Headings of columns that are broken into lines where the terminal is too narrow.
    """
    rows = list(rows)
    cells = [[one if isinstance(one, Text) else Text(_cell(one)) for one in row] for row in rows]
    made = Titled(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    made.heading = Text(visible(title), style="bold")
    for place, heading in enumerate(headings):
        numbers = any(_is_number(row[place]) for row in rows)
        longest = max((len(row[place]) for row in cells), default=0)
        folds = heading not in wraps and longest > _COLUMN_WIDTH
        made.add_column(
            Text(heading),
            justify="right" if numbers else "left",
            overflow="fold",
            no_wrap=numbers,  # where the terminal is too narrow texts take several lines, and nothing is cut off
            max_width=_COLUMN_WIDTH if folds else None,
        )
        made.least += _GAP + (max(longest, _width(heading)) if numbers else min(longest, _LEAST_WIDTH))
    for row in cells:
        made.add_row(*row)
    _keep_names_whole(made)
    return made


def _keep_names_whole(made: Titled) -> None:
    """Have what consists of words, such as moments, take several lines before names do."""
    for column in made.columns:
        plain = [str(cell) for cell in column.cells]
        longest, least = max(map(len, plain), default=0), _width(str(column.header))
        if column.no_wrap or any(" " in one for one in plain) or longest > _COLUMN_WIDTH:
            continue
        more = max(longest, least) - min(longest, _LEAST_WIDTH)
        if made.least + more <= _NARROW:
            column.no_wrap = True
            made.least += more


def _width(heading: str) -> int:
    return max(map(len, heading.split("\n")))


def shown(value: Any) -> str:
    """Return a value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return str(value)


def _cell(value: Any) -> str:
    text = shown(value)
    return visible(text if len(text) <= _CELL_CHARACTERS else f"{text[:_CELL_CHARACTERS]}…")


def verdict(good: bool, yes: str, no: str) -> Text:
    """Return a word that shows at a glance whether all is well."""
    return Text(yes, style=_GOOD) if good else Text(no, style=_BAD)


def generated(outcome: "Generated") -> Table:
    """Show what ``generate`` wrote."""
    title = f"Generated: {counted(outcome.documents, 'document')} (seed {outcome.seed})"
    rows = [
        (one.collection, one.documents, one.expected("mended"), one.expected("quarantined"), one.seconds)
        for one in outcome.collections
    ]
    return table(title, ("collection", "documents", "to be mended", "to be quarantined", "seconds"), rows)


def advanced(outcome: "Advanced") -> Table:
    """Show how the made-up world went on."""
    title = f"Advanced: the world has gone on from {shown(outcome.since)} to {shown(outcome.until)} UTC"
    rows = [(one.collection, one.inserted, one.changed, one.deleted, one.seconds) for one in outcome.collections]
    return table(title, ("collection", "inserted", "changed", "deleted", "seconds"), rows)


def books(run: "Run", accounts: Iterable["Account"]) -> Table:
    """Show the books of a run."""
    return accounts_table(f"Books of run {run.id}, as of {shown(moment(run.cluster_time))} UTC", accounts)


def accounts_table(title: str, accounts: Iterable["Account"]) -> Table:
    """Show accounts: every document of the source is loaded or in quarantine."""
    rows = [(one.collection, one.target, *_amounts(one)) for one in accounts]
    return table(title, ("collection", "target", "source", "= loaded", "+ quarantined", "books"), rows)


def _amounts(one: "Account") -> tuple[Any, ...]:
    if one.uncounted:  # the run is under way, or ended before its books could be closed
        return None, None, None, Text("unfinished", style=_BAD)
    return one.source, one.loaded, one.quarantined, verdict(one.closed, "closed", "OPEN")


def synced(found: Sequence["Synced"]) -> Table:
    """Show what became of changed documents."""
    at = f", now as of {shown(moment(found[0].cluster_time))} UTC" if found else ""
    rows = [
        (one.collection, " ".join(one.targets), one.changed, one.loaded, one.deleted, one.quarantined) for one in found
    ]
    headings = ("collection", "targets", "changed", "= loaded", "+ deleted", "+ quarantined")
    return table(f"Changed documents{at}", headings, rows)


def change(one: "Synced") -> str:
    """Tell in a line what became of a collection's changes."""
    told = f"{one.changed:,} changed = {one.loaded:,} loaded + {one.deleted:,} deleted"
    return f"{shown(moment(one.cluster_time))} {one.collection}: {told} + {one.quarantined:,} quarantined"


def receipt(seconds: Mapping[str, float], retries: int) -> Text:
    """Tell where the time of a run went, and how often a part of it was tried again."""
    told = ", ".join(f"{_STAGES.get(stage, stage)} {duration:.1f} s" for stage, duration in seconds.items())
    times = f"; tried again: {'once' if retries == 1 else f'{retries} times'}" if retries else ""
    return Text(f"At work, some of it at the same time: {told}{times}")


def undeclared(collections: Sequence[str]) -> list[Text]:
    """Name the collections that no contract declares, if there are any."""
    if not collections:
        return []
    return [Text(f"Not copied, since no contract declares them: {visible(', '.join(collections))}")]


def unpinned(run: "Run") -> list[Text]:
    """Say what is not promised of collections that were read at no one moment, if there are any."""
    if not run.unpinned:
        return []
    return [
        Text(
            f"Read without a snapshot, after {shown(moment(run.cluster_time))} UTC: "
            f"{visible(', '.join(run.unpinned))}. "
            "Each document is as it was at some moment of the read; what was overwritten by then is not there."
        )
    ]


def refused(accounts: Iterable["Account | Synced"]) -> list[Text]:
    """Say loudly that documents were refused, if any were."""
    numbers = {one.collection: one.quarantined for one in accounts}
    if not (total := sum(numbers.values())):
        return []
    are = "is" if total == 1 else "are"
    return [Text(f"{counted(total, 'document')} {are} in quarantine; etl quarantine list tells why", style=_BAD)]


def verification(found: Sequence["Comparison"], sample: "Sample | None" = None) -> list[Table]:
    """Show what ``verify`` found, and the first differences if there are any."""
    return [_comparisons(found, sample), *differences(found)]


def differences(found: Sequence["Comparison"]) -> list[Table]:
    """Show the first differences that ``verify`` found, if there are any."""
    return [_differences(found)] if any(one.differences for one in found) else []


def _comparisons(found: Sequence["Comparison"], sample: "Sample | None") -> Table:
    headings = {
        "source": "source",
        "documents": "of",
        "equal": "equal",
        "missing": "missing",
        "extra": "extra",
        "different": "different",
        "quarantined": "quaran-\ntined",
        "changed_since": "changed\nsince",
    }
    if not any(one.changed_since for one in found):
        del headings["changed_since"]
    if sample is None:
        del headings["documents"]
    rows = [
        (one.collection, one.target, *(getattr(one, name) for name in headings), verdict(one.proven, "yes", "NO"))
        for one in found
    ]
    part = f" of a sample ({sample.asked}, --seed {sample.seed})" if sample else ""
    title = f"Verification{part}: every value in the stores against MongoDB"
    return table(title, ("collection", "target", *headings.values(), "proven"), rows)


def _differences(found: Iterable["Comparison"]) -> Table:
    """Show the first differences of each collection and target."""
    rows = [
        (
            one.target,
            difference.id,
            f"{difference.table}.{difference.column}",
            *map(_short, (difference.expected, difference.found)),
        )
        for one in found
        for difference in one.differences
    ]
    headings = ("target", "_id", "column", "expected", "found")
    return table("The first differences", headings, rows, wraps=headings[2:])


def _short(value: Any) -> str:
    """Return a value in a line or two; all of it is in ``--json``."""
    text = shown(value)
    return text if len(text) <= _VALUE_WIDTH else f"{text[: _VALUE_WIDTH - 1]}…"


def marts(built: Sequence["BuiltMart"]) -> Table:
    """Show which marts were built."""
    at = f", as of {shown(moment(built[0].cluster_time))} UTC" if built else ""
    rows = [
        (one.name, one.rows, one.written_rows if one.plan.base else Text("all", style="dim"), one.seconds)
        for one in built
    ]
    return table(f"Marts{at}", ("mart", "rows", "written", "seconds"), rows)


def explained(built: Sequence["BuiltMart"], trace: "Trace") -> list[Table]:
    """Show how marts were computed and why so, what was read for it, and where the time went."""
    plans = [(one.name, _computed(one.plan), one.plan.why) for one in built]
    reads = [
        (one.table, _which(one.by, others=one.others), one.rows, f"{one.bytes / 1e6:,.1f}", ", ".join(one.columns))
        for one in trace.reads
    ]
    return [
        table("Plan", ("mart", "computed", "why"), plans, ["why"]),
        table("Read", ("table", "which rows", "rows", "MB", "columns"), reads, ["columns"]),
        table("Steps", ("step", "seconds"), list(trace.watch.seconds.items())),
    ]


def _computed(plan: "Plan") -> str:
    computed = "nothing" if plan.stays else f"by {plan.column}" if plan.column else "whole"
    return f"{computed}, if at all" if plan.follows else computed


def _which(by: str, *, others: bool) -> str:
    return "all" if not by else f"{'other' if others else 'changed'} {by}"


def empty_sources(collections: Mapping[str, Sequence[str]]) -> list[Text]:
    """Say of which empty collections marts have nothing to tell, if of any."""
    return [
        Text(visible(f"{name} is empty, so these have no rows of it: {', '.join(marts)}"))
        for name, marts in collections.items()
    ]


def preview(name: str, rows: Sequence[dict[str, Any]], total: int, width: int) -> Table:
    """Show the first rows of a mart, and as many of its columns as so many characters hold."""
    columns = _fitting(rows, width)
    several = len(rows[0]) if rows else 0
    title = f"marts.{name}: {len(rows)} of {total:,} rows, {len(columns)} of {several} columns"
    return table(title, map(_folded, map(visible, columns)), [[row[column] for column in columns] for row in rows])


def state(found: "Status") -> list[Table]:
    """Show what the books say."""
    runs = [(one.kind, one.id, one.status, one.shows_at, one.finished_at, one.message or "") for one in found.runs]
    targets: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for one in found.published:
        shows = shown(moment(one.cluster_time)) + ("" if one.is_pinned else ", no snapshot")
        targets[one.name, shows, one.run_id].append(one.target if one.finished else f"({one.target})")
    published = [(name, shows, run, ", ".join(names)) for (name, shows, run), names in targets.items()]
    parts = [
        table("Last runs", ("kind", "run", "status", "shows (UTC)", "ended (UTC)", "message"), runs, ["message"]),
        table("Published", ("collection or mart", "shows (UTC)", "run", "in"), published),
    ]
    if found.ledger:
        parts.insert(1, accounts_table("Books of the last full copy", found.ledger))
    if found.quarantined:
        parts.append(table("Quarantine", ("collection", "documents"), list(found.quarantined.items())))
    return parts


def standing(found: "Status", now: datetime) -> list[Table]:
    """Show what of the books changes while somebody looks on: the last runs, and how old is what each table shows."""
    runs = [
        (one.kind, one.status, one.started_at, _span((one.finished_at or now) - one.started_at), one.message or "")
        for one in found.runs
    ]
    shown: dict[str, list[datetime]] = defaultdict(list)
    for one in found.published:
        shown[one.name].append(moment(one.cluster_time))
    refused = found.quarantined or {}
    published = [(name, min(at), _span(now - min(at)), refused.get(name)) for name, at in shown.items()]
    return [
        table("Last runs", ("kind", "status", "began (UTC)", "took", "message"), runs, ["message"]),
        table("Published", ("collection or mart", "shows (UTC)", "age", "in quarantine"), published),
    ]


def _span(span: timedelta) -> str:
    return str(timedelta(seconds=max(0, round(span.total_seconds()))))


def _fitting(rows: Sequence[dict[str, Any]], left: int) -> list[str]:
    """Choose columns from the left; moments and document ids take much room and say little."""
    chosen = []
    for column in rows[0] if rows else ():
        values = [row[column] for row in rows]
        width = _GAP + max(map(len, [*_folded(column).split("\n"), *map(shown, values)]))
        if column != "_id" and width <= left and not any(isinstance(value, datetime) for value in values):
            chosen.append(column)
            left -= width
    return chosen


def _folded(name: str) -> str:
    """Break a long column name at its underscores, so that the heading isn't wider than the values."""
    lines = [""]
    for word in name.replace("_", "_ ").split():
        if lines[-1] and len(lines[-1]) + len(word) > _HEADER_WIDTH:
            lines.append("")
        lines[-1] += word
    return "\n".join(lines)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
