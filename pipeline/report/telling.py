"""From frames to what plots and tables take: rows with their days in words, tables, and a sentence of what is seen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl

from pipeline.report.drawn import Table
from pipeline.report.language import Language

ROWS, ROWS_OF_LIST = 31, 12  # of a table, and of a list to act on
Format = Callable[[Any], Any]
Columns = Mapping[str, tuple[str, Format]]  # heading and format of each column


def by_day(frame: pl.DataFrame, language: Language) -> list[dict[str, Any]]:
    """Return the rows of a frame with ``day`` (a day, or the first day of a week) and ``is_complete``, to be drawn."""
    return [
        {
            **{name: value for name, value in row.items() if name not in ("day", "is_complete")},
            "x": row["day"].isoformat(),
            "told": language.day(row["day"]),
            "is_running": not row["is_complete"],
        }
        for row in frame.iter_rows(named=True)
    ]


def words(language: Language, x: str, v: str, s: str = "") -> dict[str, str]:
    """Return what coordinates are called where one points at a mark."""
    return {"x": language.label(x), "v": language.label(v), "s": language.label(s) if s else ""}


def table(rows: Sequence[Mapping[str, Any]], columns: Columns, *, newest_first: bool = True) -> Table:
    """Return rows as a table.

    Args:
        rows: In the order of the plot.
        columns: Heading and format of each column, by name.
        newest_first: Whether the last rows come first, and the table ends where it is too long.
    """
    ordered = [*reversed(rows)] if newest_first else [*rows]
    told = [[form(row[name]) for name, (_, form) in columns.items()] for row in ordered[:ROWS]]
    numeric = frozenset(
        place
        for place, name in enumerate(columns)
        if any(isinstance(row[name], int | float) and not isinstance(row[name], bool) for row in rows)
    )
    return Table([heading for heading, _ in columns.values()], told, numeric, max(0, len(rows) - ROWS))


def list_table(rows: Sequence[Mapping[str, Any]], columns: Columns, total: int) -> Table:
    """Return the first rows of a list to act on, and how many there are beside them."""
    made = table(rows[:ROWS_OF_LIST], columns, newest_first=False)
    return replace(made, further=total - min(len(rows), ROWS_OF_LIST))


def day_table(
    rows: Sequence[Mapping[str, Any]], language: Language, columns: Mapping[str, Format | None], x: str = "day"
) -> Table:
    """Return rows of days as a table; what is running says so.

    Args:
        rows: As ``by_day`` gives them.
        language: Of the headings.
        columns: How each column is written; None for a whole number.
        x: What the first column is called.
    """
    marked = [{**row, "told": f"{row['told']} {_running(row, language)}".strip()} for row in rows]
    formats = {name: (language.label(name), form or language.number) for name, form in columns.items()}
    return table(marked, {"told": (language.label(x), str), **formats})


def says(rows: Sequence[Mapping[str, Any]], column: str, language: Language, form: Format | None = None) -> str:
    """Return a sentence that says what a line or bars show: the last complete value, its change, and the range."""
    form = form or language.number
    known = [row for row in rows if row[column] is not None and not row["is_running"]]
    if not known:
        return language.say("says.nothing")
    last, values = known[-1], [row[column] for row in known]
    return language.say(
        "says.series",
        what=language.label(column),
        last=form(last[column]),
        day=last["told"],
        first=form(known[0][column]),
        since=known[0]["told"],
        low=form(min(values)),
        high=form(max(values)),
    )


def says_most(rows: Sequence[Mapping[str, Any]], what: str, language: Language, total: float | None = None) -> str:
    """Return a sentence that says which of named rows has most.

    Args:
        rows: With ``x`` or ``told``, and ``v``.
        what: What they have, among the labels.
        language: Of the sentence.
        total: What all have together, where these rows are not all.
    """
    known = [row for row in rows if row["v"]]
    if not known:
        return language.say("says.nothing")
    most = max(known, key=lambda row: row["v"])
    total = sum(row["v"] for row in known) if total is None else total
    return language.say(
        "says.most",
        what=language.label(what),
        most=most.get("told", most["x"]),
        value=language.number(most["v"], 0 if float(most["v"]).is_integer() else 1),
        total=language.number(total, 0 if float(total).is_integer() else 1),
    )


def has_running(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a row is of a period that is not over."""
    return any(row["is_running"] for row in rows)


def monday(day: str | pl.Expr) -> pl.Expr:
    """Return the first day of the week of a day."""
    return (pl.col(day) if isinstance(day, str) else day).dt.truncate("1w")


def by_week(frame: pl.DataFrame, end: date, language: Language, *, days: int = 6) -> list[dict[str, Any]]:
    """Return the rows of weeks as :func:`by_day` does.

    Args:
        frame: With ``day``, the first of each week.
        end: The last complete day.
        language: How days are written.
        days: How many after its first a week's figures are complete.
    """
    return by_day(frame.with_columns(is_complete=pl.col("day") + timedelta(days=days) <= end), language)


def from_a_whole_week(weekly: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of weeks but those of the first one, if the data begin in its midst and others follow.

    Args:
        weekly: With ``day``, the first of each week, and ``first``, the first one in it that has data.
    """
    earliest = weekly.filter(pl.col("day") == pl.col("day").min())
    is_part = weekly["day"].n_unique() > 1 and not (earliest["first"] == earliest["day"]).any()
    kept = weekly.filter(pl.col("day") > pl.col("day").min()) if is_part else weekly
    return kept.drop("first")


def share(part: str, whole: str) -> pl.Expr:
    """Return how many of a hundred a part is; null of nothing."""
    return pl.when(pl.col(whole) > 0).then(100 * pl.col(part) / pl.col(whole))


def _running(row: Mapping[str, Any], language: Language) -> str:
    return f"({language.say('page.running')})" if row["is_running"] else ""
