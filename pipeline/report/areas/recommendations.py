"""Whether recommendations reach people, and get used."""

from itertools import pairwise

import polars as pl

from pipeline.report import charts
from pipeline.report.areas.users import inequality
from pipeline.report.drawn import Draw, Drawing
from pipeline.report.source import Source
from pipeline.report.telling import (
    Columns,
    by_day,
    by_week,
    day_table,
    from_a_whole_week,
    has_running,
    monday,
    says,
    says_most,
    share,
    table,
    words,
)

_DAILY, _FACTS = "recommendation_reach_daily", "recommendation_facts"
_AGES = (1, 3, 7, 14, 28, 56, 112)


def reach(source: Source) -> Drawing | None:
    """Draw which part of the active users has a list, and which part of the products is in one."""
    language, names = source.language, ("reach_pct", "catalogue_coverage_pct")
    rows = by_day(source.days(_DAILY, "reached_on", *names), language)
    if not any(row[name] is not None for row in rows for name in names):
        return None
    series = {name: language.label(name) for name in names}
    chart = charts.lines(rows, series, unit="%", words=words(language, "day", "share", "kind"))
    told = day_table(rows, language, dict.fromkeys(names, language.percent))
    return Drawing([charts.panel(chart)], told, says(rows, names[0], language, language.percent), has_running(rows))


def hits(source: Source) -> Drawing | None:
    """Draw which part of the users used what was recommended within seven days, by week, and how many they are."""
    language = source.language
    counts = ("hit_user_count", "hit_eligible_user_count")
    frame = source.days(_DAILY, "reached_on", *counts, "hit_pct", last=182)
    if not frame["hit_pct"].count():  # whether actions tell of products is not known, and so no share is
        return None
    weekly = from_a_whole_week(
        frame.filter(pl.col("day") >= source.first_monday)
        .group_by(week=monday("day"))
        .agg(pl.col("hit_user_count", "hit_eligible_user_count").sum(), first=pl.col("day").min())
        .rename({"week": "day"})
        .with_columns(hit_pct=share("hit_user_count", "hit_eligible_user_count"))
        .filter(pl.col("hit_eligible_user_count") > 0)
        .sort("day")
    )
    over = source.complete_to(_DAILY)
    rows = by_week(weekly, over, language, days=13)  # seven days after the last list of the week
    if not rows:
        return None
    names = {"hit_pct": language.label("hit_pct")}
    rate = charts.lines(rows, names, unit="%", words=words(language, "week", "share"), height=130)
    eligible = {"hit_eligible_user_count": language.label("hit_eligible_user_count")}
    number = charts.bars(rows, eligible, words=words(language, "week", "users"), height=110)
    panels = [charts.panel(rate, names["hit_pct"]), charts.panel(number, eligible["hit_eligible_user_count"])]
    told = day_table(rows, language, {"hit_pct": language.percent, "hit_eligible_user_count": None}, "week")
    return Drawing(panels, told, says(rows, "hit_pct", language, language.percent), has_running(rows))


def list_ages(source: Source) -> Drawing | None:
    """Draw how old the lists are that are valid."""
    language = source.language
    valid = source.frame(_FACTS, "listed_at", "valid_to", "product_count").filter(
        pl.col("valid_to").is_null(), pl.col("product_count") > 0
    )
    age = (pl.lit(source.at(_FACTS)) - pl.col("listed_at")).dt.total_seconds() / 86_400
    place = pl.sum_horizontal([(pl.col("age") >= limit).cast(pl.Int32) for limit in _AGES])
    found = dict(valid.select(age=age).group_by(place=place).agg(v=pl.len()).collect().iter_rows())
    if not found:
        return None
    unit = language.label("d")
    names = [f"< {_AGES[0]} {unit}"]
    names += [f"{low}\N{EN DASH}{high} {unit}" for low, high in pairwise(_AGES)]
    names += [f"\N{GREATER-THAN OR EQUAL TO} {_AGES[-1]} {unit}"]
    rows = [
        {"x": name, "told": name, "v": found.get(one, 0), "lists": found.get(one, 0), "is_running": False}
        for one, name in enumerate(names)
    ]
    chart = charts.bars(
        rows, {"lists": language.label("lists")}, words=words(language, "age", "lists"), dates=False, height=150
    )
    columns: Columns = {"told": (language.label("age"), str), "v": (language.label("lists"), language.number)}
    return Drawing([charts.panel(chart)], table(rows, columns, newest_first=False), says_most(rows, "lists", language))


def spread(source: Source) -> Drawing | None:
    """Draw which share of all recommendations goes to which share of the products that are known."""
    recommended = listed(source).group_by("product").agg(much=pl.len()).collect()
    known = source.copy("product_price_history", product_id=pl.String()).select(pl.col("product_id").unique()).collect()
    never = known.join(recommended, left_on="product_id", right_on="product", how="anti").height
    counted = recommended.group_by("much").agg(many=pl.len())
    owners = dict(counted.iter_rows()) | ({0: never} if never else {})
    return inequality(source, owners, "products", "recommendations")


def listed(source: Source) -> pl.LazyFrame:
    """Return the products of the valid lists, one a row, once for each list that they are in."""
    lists = source.copy("user_recommendations", recommended_products=pl.List(pl.String()))
    return lists.select(product=pl.col("recommended_products").list.unique()).explode("product").drop_nulls()


PLOTS: dict[Draw, str] = {
    reach: _DAILY,
    list_ages: _FACTS,
    spread: "replica.user_recommendations",
    hits: _DAILY,
}
