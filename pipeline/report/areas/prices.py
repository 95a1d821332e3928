"""Which prices fell, and whether they really did."""

from datetime import timedelta
from itertools import pairwise

import polars as pl

from pipeline.report import charts
from pipeline.report.drawn import Draw, Drawing
from pipeline.report.source import Source
from pipeline.report.telling import Columns, by_week, day_table, has_running, monday, says, says_most, table, words

_DEPTHS = (0, 5, 10, 15, 20, 30, 40, 50)


def drops(source: Source) -> Drawing | None:
    """Draw the drops of prices by week: those that are some, and those that are none."""
    language, since = source.language, source.end - timedelta(days=181)
    there = source.frame("price_drops", "dropped_on", "is_genuine")
    weekly = (
        there.filter(pl.col("dropped_on").is_between(since, source.end))
        .group_by(day=monday("dropped_on"))
        .agg(genuine=pl.col("is_genuine").sum(), not_genuine=(~pl.col("is_genuine")).sum())
        .sort("day")
        .collect()
    )
    if not len(weekly):
        return None
    rows = by_week(weekly, source.last_complete, language)
    series = {name: language.label(name) for name in ("genuine", "not_genuine")}
    chart = charts.bars(rows, series, words=words(language, "week", "drops", "kind"))
    told = day_table(rows, language, dict.fromkeys(series), "week")
    return Drawing([charts.panel(chart)], told, says(rows, "not_genuine", language), has_running(rows))


def depths(source: Source) -> Drawing | None:
    """Draw by how much prices fell below the lowest of the 30 days before."""
    language, since = source.language, source.end - timedelta(days=89)
    there = source.frame("price_drops", "dropped_on", "reduction_pct")
    place = pl.sum_horizontal([(pl.col("reduction_pct") > limit).cast(pl.Int32) for limit in _DEPTHS])
    counted = there.filter(pl.col("dropped_on").is_between(since, source.end)).group_by(place=place).agg(v=pl.len())
    found = dict(counted.collect().iter_rows())
    if not found:
        return None
    names = [language.label("no_reduction")]
    names += [f"{low}\N{EN DASH}{high} %" for low, high in pairwise(_DEPTHS)]
    names += [f"> {_DEPTHS[-1]} %"]
    rows = [
        {"x": name, "told": name, "v": found.get(one, 0), "drops": found.get(one, 0), "is_running": False}
        for one, name in enumerate(names)
    ]
    chart = charts.bars(rows, {"drops": language.label("drops")}, words=words(language, "class", "drops"), dates=False)
    columns: Columns = {"told": (language.label("reduction_pct"), str), "v": (language.label("drops"), language.number)}
    return Drawing([charts.panel(chart)], table(rows, columns, newest_first=False), says_most(rows, "drops", language))


PLOTS: dict[Draw, str] = {drops: "price_drops", depths: "price_drops"}
