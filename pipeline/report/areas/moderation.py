"""Whether the queue of reviews is fast, and fair to all stars."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from pipeline.report import charts
from pipeline.report.drawn import Draw, Drawing
from pipeline.report.language import Language
from pipeline.report.source import Source
from pipeline.report.telling import Columns, by_day, day_table, has_running, says, says_most, share, table, words

_DAILY = "moderation_daily"
_OUTCOMES = ("approved_count", "rejected_count", "pending_count", "other_count")
_AGES = ((1, "pending_1d"), (3, "pending_3d"), (7, "pending_7d"), (28, "pending_28d"), (None, "pending_older"))
_HOUR = 3_600


def outcomes(source: Source) -> Drawing | None:
    """Draw what became of the reviews that were submitted on each day."""
    language, frame = source.language, source.days(_DAILY, "submitted_on", *_OUTCOMES)
    if not len(frame):
        return None
    summed = frame.group_by("day").agg(pl.col(*_OUTCOMES).sum(), pl.col("is_complete").all()).sort("day")
    shown = [name for name in _OUTCOMES if summed[name].sum()]
    rows = by_day(summed, language)
    series = {name: language.label(name) for name in shown}
    chart = charts.bars(rows, series, words=words(language, "day", "reviews", "outcome"))
    told = day_table(rows, language, dict.fromkeys(shown))
    return Drawing([charts.panel(chart)], told, says(rows, shown[0], language), has_running(rows)) if shown else None


def pending_by_age(source: Source) -> Drawing | None:
    """Draw how old the reviews are that nobody has decided."""
    language = source.language
    if source.today is None:
        return None
    there = source.frame(_DAILY, "submitted_on", "pending_count").filter(pl.col("pending_count") > 0)
    age = (pl.lit(source.today) - pl.col("submitted_on")).dt.total_days()
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
    wanted = there.filter(pl.col("submitted_on").is_between(source.end - timedelta(days=89), source.end))
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


def decision_times(source: Source) -> Drawing | None:
    """Draw how long decisions took that a copy has seen; the largest of the stars' quantiles."""
    language = source.language
    frame = source.days(_DAILY, "submitted_on", "p50_decision_s", "p95_decision_s", "observed_decision_count")
    seen = frame.filter(pl.col("observed_decision_count") > 0)
    if not len(seen):
        return None
    of = seen.group_by("day").agg(
        decision_p50=pl.col("p50_decision_s").max() / _HOUR,
        decision_p95=pl.col("p95_decision_s").max() / _HOUR,
        observed_decision_count=pl.col("observed_decision_count").sum(),
        is_complete=pl.col("is_complete").all(),
    )
    rows = by_day(of.sort("day"), language)
    series = {name: language.label(name) for name in ("decision_p50", "decision_p95")}
    chart = charts.lines(rows, series, unit=language.label("h"), words=words(language, "day", "hours", "quantile"))

    def spelled(value: float) -> str:
        return language.span(None if value is None else value * _HOUR)

    told = day_table(rows, language, {**dict.fromkeys(series, spelled), "observed_decision_count": None})
    return Drawing([charts.panel(chart)], told, says(rows, "decision_p50", language, spelled), has_running(rows))


PLOTS: dict[Draw, str] = {
    outcomes: _DAILY,
    pending_by_age: _DAILY,
    rejected_by_stars: _DAILY,
    flags: _DAILY,
    decision_times: _DAILY,
}
