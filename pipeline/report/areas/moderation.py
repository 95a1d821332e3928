"""Whether the queue of reviews is fast, and fair to all stars."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

import polars as pl

from pipeline.report import charts
from pipeline.report.areas.spans import durations
from pipeline.report.drawn import Draw, Drawing
from pipeline.report.language import Language
from pipeline.report.source import Source
from pipeline.report.telling import Columns, by_day, day_table, has_running, says, says_most, share, table, words
from pipeline.text.printable import visible

_DAILY, _QUEUE = "moderation_daily", "replica.moderation_queue"
_OUTCOMES = ("approved_count", "rejected_count", "pending_count", "other_count")
_AGES = ((1, "pending_1d"), (3, "pending_3d"), (7, "pending_7d"), (28, "pending_28d"), (None, "pending_older"))
_FLAGS = 8  # that are told apart


def outcomes(source: Source) -> Drawing | None:
    """Draw what became of the reviews that were submitted on each day."""
    language, frame = source.language, source.days(_DAILY, "submitted_on", *_OUTCOMES)
    if not len(frame):
        return None
    summed = frame.group_by("day").agg(pl.col(*_OUTCOMES).sum(), pl.col("is_complete").all()).sort("day")
    shown = [name for name in _OUTCOMES if summed[name].sum()]
    rows = by_day(source.gapless(_DAILY, summed, *_OUTCOMES), language)
    series = {name: language.label(name) for name in shown}
    chart = charts.bars(rows, series, words=words(language, "day", "reviews", "outcome"))
    told = day_table(rows, language, dict.fromkeys(shown))
    return Drawing([charts.panel(chart)], told, says(rows, shown[0], language), has_running(rows)) if shown else None


def pending_by_age(source: Source) -> Drawing | None:
    """Draw how old the reviews are that nobody has decided."""
    language = source.language
    there = source.frame(_DAILY, "submitted_on", "pending_count").filter(pl.col("pending_count") > 0)
    age = (pl.lit(source.day_of(_DAILY)) - pl.col("submitted_on")).dt.total_days()
    ages = there.select(age=age, pending="pending_count").collect().rows()
    rows, low = [], None
    for high, name in _AGES:
        number = sum(n for age, n in ages if (low is None or age >= low) and (high is None or age < high))
        label = language.label(name)
        rows.append({"x": label, "told": label, "v": number, "pending": number, "is_running": False})
        low = high
    if not any(row["v"] for row in rows):
        return None
    chart = charts.bars(
        rows,
        {"pending": language.label("pending_count")},
        words=words(language, "age", "reviews"),
        dates=False,
        height=150,
    )
    columns: Columns = {"told": (language.label("age"), str), "v": (language.label("reviews"), language.number)}
    return Drawing(
        [charts.panel(chart)], table(rows, columns, newest_first=False), says_most(rows, "reviews", language)
    )


def rejected_by_stars(source: Source) -> Drawing | None:
    """Draw which part of the decided reviews is rejected, by stars."""
    language = source.language
    summed = _by_stars(source, "rejected_count", "decided_count", "submitted_count").with_columns(
        v=share("rejected_count", "decided_count"), decided=share("decided_count", "submitted_count")
    )
    rows = [
        {
            **row,
            "text": language.say(
                "says.of", part=language.percent(row["v"]), whole=language.number(row["decided_count"])
            ),
        }
        for row in summed.iter_rows(named=True)
        if row["v"] is not None
    ]
    more: Columns = {
        "decided_count": (language.label("decided_count"), language.number),
        "decided": (language.label("decided_pct"), language.percent),
    }
    return _ranked(language, rows, "reject_pct", more)


def flags(source: Source) -> Drawing | None:
    """Draw in which part of the reviews something was found, by stars."""
    language = source.language
    summed = _by_stars(source, "flagged_count", "submitted_count").with_columns(
        v=share("flagged_count", "submitted_count")
    )
    rows = [{**row, "text": language.percent(row["v"])} for row in summed.iter_rows(named=True)]
    counts = ("flagged_count", "submitted_count")
    return _ranked(language, rows, "flagged_pct", {name: (language.label(name), language.number) for name in counts})


def _by_stars(source: Source, *counts: str) -> pl.DataFrame:
    """Return sums of counts of the last 90 days, by stars, the most of them first."""
    there = source.frame(_DAILY, "submitted_on", "rating", *counts)
    end = source.end_of(_DAILY)
    wanted = there.filter(pl.col("submitted_on").is_between(end - timedelta(days=89), end))
    return wanted.group_by("rating").agg(pl.col(counts).sum()).sort("rating", descending=True).collect()


def _ranked(language: Language, rows: Sequence[Mapping[str, Any]], what: str, more: Columns) -> Drawing | None:
    """Draw a share (``v``) by stars, and say the largest."""
    if not rows:
        return None
    drawn = [{**row, "x": f"{row['rating']} \N{BLACK STAR}"} for row in rows]
    chart = charts.ranked(drawn, unit="%", words=words(language, "stars", what))
    columns: Columns = {"x": (language.label("stars"), str), "v": (language.label(what), language.percent), **more}
    most = max(drawn, key=lambda row: row["v"])
    seen = language.say("says.stars", stars=most["x"], value=language.percent(most["v"]))
    return Drawing([charts.panel(chart)], table(drawn, columns, newest_first=False), seen)


def flag_outcomes(source: Source) -> Drawing | None:
    """Draw what became of the reviews in which something was found, by what that was."""
    language, found = source.language, _flagged(source)
    if not found:
        return None
    cells = _cells(language, found)
    xs, ys = ([*dict.fromkeys(str(cell[axis]) for cell in cells)] for axis in "xy")
    called = words(language, "outcome", "of_flag")
    chart = charts.heat(cells, xs=xs, ys=ys, unit="", words=called, texts=True, row_height=30)
    columns: Columns = {
        "y": (language.label("flag"), str),
        "x": (language.label("outcome"), str),
        "number": (language.label("reviews"), language.number),
        "v": (language.label("of_flag"), language.percent),
    }
    most = max((cell for cell in cells if cell["is_rejected"]), key=lambda cell: cell["v"], default=cells[0])
    seen = language.say("says.flag", flag=most["y"], outcome=most["x"], value=language.percent(most["v"]))
    return Drawing([charts.panel(chart)], table(cells, columns, newest_first=False), seen)


def _cells(language: Language, found: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    """Return a cell for each flag, none at the end, and outcome."""
    flags = _most_frequent({names: number for names, number in found.items() if names[0]}, 0)[:_FLAGS]
    cells = []
    for flag in [*flags, *([""] if any(not flag for flag, _ in found) else [])]:
        of = sum(number for (one, _), number in found.items() if one == flag)
        name = charts.shortened(visible(flag)) if flag else language.label("no_flag")
        for status in _most_frequent(found, 1)[:_FLAGS]:
            number = found.get((flag, status), 0)
            outcome = language.label(f"{status}_count") if f"{status}_count" in _OUTCOMES else visible(status)
            told = {"text": language.percent(100 * number / of, 0), "told": f"{name}, {outcome}"}
            cell = {"x": outcome, "y": name, "v": 100 * number / of, "number": number, **told}
            cells.append({**cell, "is_rejected": status == "rejected"})
    return cells


def _flagged(source: Source) -> dict[tuple[str, str], int]:
    """Return how many reviews of 90 days have a flag and an outcome; those without a flag have an empty one."""
    since = source.end_of(_QUEUE) - timedelta(days=89)
    first = datetime.combine(since, time(), source.language.zone).astimezone(UTC)
    moment = pl.Datetime("ms", "UTC")
    there = source.copy(
        "moderation_queue", flags=pl.List(pl.String()), moderation_status=pl.String(), submitted_at=moment
    ).filter(pl.col("submitted_at") >= first)
    each = there.select("moderation_status", flag=pl.col("flags")).explode("flag")
    counted = each.group_by(pl.col("flag").fill_null(""), "moderation_status").agg(pl.len()).collect()
    return {(flag, status): number for flag, status, number in counted.iter_rows()}


def _most_frequent(found: Mapping[tuple[str, str], int], place: int) -> list[str]:
    """Return the first or the second names of some counts, the most frequent first."""
    sums: Counter[str] = Counter()
    for names, number in found.items():
        sums[names[place]] += number
    return sorted(sums, key=lambda name: (-sums[name], name))


def decision_times(source: Source) -> Drawing | None:
    """Draw which share of the decisions that copies have seen took how long."""
    there = source.frame("review_facts", "decision_s").filter(pl.col("decision_s").is_not_null())
    taken = there.select(span="decision_s", age=pl.lit(math.inf)).collect()  # all of them are decided
    return durations(source, {"decided_within": taken}, "reviews")


PLOTS: dict[Draw, str] = {
    outcomes: _DAILY,
    pending_by_age: _DAILY,
    rejected_by_stars: _DAILY,
    flags: _DAILY,
    flag_outcomes: _QUEUE,
    decision_times: "review_facts",
}
