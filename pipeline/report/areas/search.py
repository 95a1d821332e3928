"""What people look for, and whether they find it."""

import polars as pl

from pipeline.report import charts
from pipeline.report.drawn import Draw, Drawing
from pipeline.report.source import Source
from pipeline.report.telling import Columns, by_day, day_table, has_running, says, table, words
from pipeline.text.printable import visible

_DAILY = "search_quality_daily"
_TERMS, _PAIRS = 300, 20


def zero_results(source: Source) -> Drawing | None:
    """Draw which part of the searches finds nothing, and which is refined, by day."""
    language = source.language
    frame = source.days(_DAILY, "searched_on", "zero_result_pct", "refined_pct", "search_count")
    if not len(frame):
        return None
    rows = by_day(source.gapless(_DAILY, frame, "search_count"), language)
    series = {name: language.label(name) for name in ("zero_result_pct", "refined_pct")}
    chart = charts.lines(rows, series, unit="%", words=words(language, "day", "share", "outcome"))
    told = day_table(rows, language, {**dict.fromkeys(series, language.percent), "search_count": None})
    seen = says(rows, "zero_result_pct", language, language.percent)
    return Drawing([charts.panel(chart)], told, seen, has_running(rows))


def searches(source: Source) -> Drawing | None:
    """Draw searches by day."""
    language = source.language
    counts = ("search_count", "user_count")
    frame = source.days(_DAILY, "searched_on", *counts)
    if not len(frame):
        return None
    rows = by_day(source.gapless(_DAILY, frame, *counts), language)
    label = {"search_count": language.label("search_count")}
    chart = charts.bars(rows, label, words=words(language, "day", "search_count"), height=140)
    told = day_table(rows, language, {"search_count": None, "user_count": None})
    return Drawing([charts.panel(chart)], told, says(rows, "search_count", language), has_running(rows))


def terms(source: Source) -> Drawing | None:
    """Draw how often terms are searched for, and how often nothing is found."""
    language = source.language
    there = source.frame("search_terms", "search_term", "search_count", "zero_result_count", "zero_result_pct")
    found = there.sort("search_count", "search_term", descending=[True, False]).head(_TERMS).collect()
    if not len(found):
        return None
    rows = [
        {
            "x": one["search_count"],
            "y": one["zero_result_pct"],
            "told": charts.shortened(visible(one["search_term"])),
            "zero": one["zero_result_count"],
            "v": f"{language.number(one['search_count'])}; {language.percent(one['zero_result_pct'])}",
        }
        for one in found.iter_rows(named=True)
    ]
    names = {"x": language.label("search_term"), "v": language.label("searches_and_zero")}
    chart = charts.points(rows, x=language.label("search_count"), y=language.label("zero_result_pct"), words=names)
    columns: Columns = {
        "told": (language.label("search_term"), str),
        "x": (language.label("search_count"), language.number),
        "zero": (language.label("zero_result_count"), language.number),
        "y": (language.label("zero_result_pct"), language.percent),
    }
    seen = language.say(
        "says.terms", terms=language.number(len(rows)), term=rows[0]["told"], value=language.number(rows[0]["x"])
    )
    return Drawing([charts.panel(chart)], table(rows, columns, newest_first=False), seen)


def refinements(source: Source) -> Drawing | None:
    """Draw by which terms searches are followed within five minutes: candidates for synonyms."""
    language = source.language
    there = source.frame("search_terms", "search_term", "top_next_term", "top_next_count", "refined_count")
    order = ["top_next_count", "search_term"]
    found = there.filter(pl.col("top_next_count") > 0).sort(order, descending=[True, False]).head(_PAIRS).collect()
    rows = [
        {
            "x": f"{visible(one['search_term'])} \N{RIGHTWARDS ARROW} {visible(one['top_next_term'] or '')}",
            "v": one["top_next_count"],
            "text": language.number(one["top_next_count"]),
            "refined": one["refined_count"],
        }
        for one in found.iter_rows(named=True)
    ]
    if not rows:
        return None
    chart = charts.ranked(rows[:10], unit="", words=words(language, "pair", "times"))
    columns: Columns = {
        "x": (language.label("pair"), str),
        "v": (language.label("times"), language.number),
        "refined": (language.label("refined_count"), language.number),
    }
    seen = language.say("says.pair", pair=rows[0]["x"], value=rows[0]["text"])
    return Drawing([charts.panel(chart)], table(rows, columns, newest_first=False), seen)


PLOTS: dict[Draw, str] = {
    zero_results: _DAILY,
    searches: _DAILY,
    terms: "search_terms",
    refinements: "search_terms",
}
