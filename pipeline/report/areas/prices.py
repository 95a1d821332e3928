"""Which prices fell, and whether they really did."""

from bisect import bisect_left, bisect_right
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import polars as pl

from contracts.marts.price_drops import WINDOW_DAYS
from pipeline.report import charts, curves
from pipeline.report.drawn import Draw, Drawing
from pipeline.report.language import Language
from pipeline.report.source import Source
from pipeline.report.telling import Columns, by_week, day_table, has_running, monday, says, says_most, table, words
from pipeline.text.printable import visible

_DROPS, _CHANGES = "price_drops", "replica.product_price_history_price_changes"
_DEPTHS = (0, 5, 10, 15, 20, 30, 40, 50)
_PRODUCTS, _SHOWN_DAYS = 4, 90


def drops(source: Source) -> Drawing | None:
    """Draw the drops of prices by week: genuine and doubtful ones."""
    language = source.language
    there = source.frame(_DROPS, "dropped_on", "is_genuine")
    weekly = (
        there.filter(pl.col("dropped_on").is_between(source.first_monday, source.end_of(_DROPS)))
        .group_by(day=monday("dropped_on"))
        .agg(genuine=pl.col("is_genuine").sum(), not_genuine=(~pl.col("is_genuine")).sum())
        .sort("day")
        .collect()
    )
    if not len(weekly):
        return None
    series = {name: language.label(name) for name in ("genuine", "not_genuine")}
    rows = by_week(source.gapless(_DROPS, weekly, *series, every="1w"), source.complete_to(_DROPS), language)
    chart = charts.bars(rows, series, words=words(language, "week", "drops", "kind"))
    told = day_table(rows, language, dict.fromkeys(series), "week")
    return Drawing([charts.panel(chart)], told, says(rows, "not_genuine", language), has_running(rows))


def depths(source: Source) -> Drawing | None:
    """Draw by how much prices fell below the lowest of the 30 days before."""
    language, end = source.language, source.end_of(_DROPS)
    there = source.frame(_DROPS, "dropped_on", "reduction_pct")
    place = pl.sum_horizontal([(pl.col("reduction_pct") > limit).cast(pl.Int32) for limit in _DEPTHS])
    recent = there.filter(pl.col("dropped_on").is_between(end - timedelta(days=89), end))
    counted = recent.group_by(place=place).agg(v=pl.len())
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


def price_steps(source: Source) -> Drawing | None:
    """Draw the prices of the products with the newest doubtful drops, with the lowest of the 30 days before."""
    language, end = source.language, source.end_of(_CHANGES)
    names = ("product_id", "dropped_on", "price", "lowest_price_30d", "reduction_pct", "is_genuine", "is_new_arrival")
    found = source.frame(_DROPS, *names).filter(pl.col("dropped_on") <= source.end_of(_DROPS)).collect()
    doubtful = found.filter(~pl.col("is_genuine"), ~pl.col("is_new_arrival"))
    ordered = doubtful.sort("dropped_on", "reduction_pct", "product_id", descending=[True, False, False])
    if not len(ordered):
        return None
    chosen = ordered["product_id"].unique(maintain_order=True).head(_PRODUCTS).to_list()
    periods = _periods(source, chosen)
    since = end - timedelta(days=_SHOWN_DAYS - 1)
    series = {"price": language.label("price"), "lowest": language.label("lowest_price_30d")}
    kinds = [language.label("genuine"), language.label("not_genuine")]
    panels, told = [], []
    for product in chosen:
        own = found.filter(pl.col("product_id") == product, pl.col("dropped_on") >= since).sort("dropped_on")
        marks = [
            {"x": day.isoformat(), "told": language.day(day), "v": float(price), "s": kinds[not genuine]}
            for day, price, genuine in own.select("dropped_on", "price", "is_genuine").iter_rows()
        ]
        prices = _by_day(periods.get(product, []), since, end, language)
        if prices:
            chart = curves.steps(prices, marks, series, kinds, words={**words(language, "day", "price"), "s": " "})
            panels.append(charts.panel(chart, visible(product)))
            told += [{**row, "product": product} for row in prices if row["is_changed"]]
    if not panels:
        return None
    columns: Columns = {
        "product": (language.label("product"), str),
        "told": (language.label("day"), str),
        "price": (series["price"], lambda value: language.number(value, 2)),
        "lowest": (series["lowest"], lambda value: language.number(value, 2)),
    }
    newest = ordered.row(0, named=True)
    seen = language.say(
        "says.price_steps",
        product=visible(newest["product_id"]),
        day=language.day(newest["dropped_on"]),
        price=language.number(newest["price"], 2),
        lowest=language.number(newest["lowest_price_30d"], 2),
    )
    return Drawing(panels, table(told, columns, newest_first=False), seen)


def _periods(source: Source, products: list[str]) -> dict[str, list[tuple[date, float]]]:
    """Return from which day on which price was asked, by product, in the order in which prices changed."""
    text, money, moment = pl.String(), pl.Decimal(12, 2), pl.Datetime("ms", "UTC")
    known = source.copy("product_price_history", _id=text, product_id=text).filter(pl.col("product_id").is_in(products))
    product_of = dict(known.collect().iter_rows())
    changes = source.copy(
        "product_price_history_price_changes", _id=text, _position=pl.Int64(), changed_at=moment, price=money
    ).filter(pl.col("_id").is_in([*product_of]), pl.col("price") > 0)
    day = pl.col("changed_at").dt.convert_time_zone(str(source.language.zone)).dt.date()
    ordered = changes.sort("changed_at", "_position").select("_id", day.alias("day"), pl.col("price").cast(pl.Float64))
    periods: dict[str, list[tuple[date, float]]] = {}
    for _id, changed, price in ordered.collect().iter_rows():
        periods.setdefault(product_of[_id], []).append((changed, price))
    return periods


def _by_day(periods: list[tuple[date, float]], since: date, until: date, language: Language) -> list[dict[str, Any]]:
    """Return the price at the end of each day, and the lowest of the 30 days before it."""
    days = [since + timedelta(days=number) for number in range(-WINDOW_DAYS - 1, (until - since).days + 1)]
    asked = [_asked(periods, day) for day in days]  # the last one of a day is that of its end
    rows: list[dict[str, Any]] = []
    for place in range(WINDOW_DAYS + 1, len(days)):
        before = [price for prices in asked[place - WINDOW_DAYS : place] for price in prices]
        price = asked[place][-1] if asked[place] else None
        rows.append(
            {
                "x": days[place].isoformat(),
                "told": language.day(days[place]),
                "price": price,
                "lowest": min(before, default=None),
                "is_changed": not rows or price != rows[-1]["price"],
            }
        )
    return rows if any(row["price"] is not None for row in rows) else []


def _asked(periods: list[tuple[date, float]], day: date) -> list[float]:
    """Return the prices in force on a day: the one that it began with, and those that came on it."""
    days = [one for one, _ in periods]
    first, end = bisect_left(days, day), bisect_right(days, day)
    return [price for _, price in periods[max(0, first - 1) : end]]


PLOTS: dict[Draw, str] = {
    drops: _DROPS,
    depths: _DROPS,
    price_steps: _CHANGES,
}
