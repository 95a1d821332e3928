"""Lists to act on: each row has an id by which it is found."""

from datetime import timedelta
from typing import Any

import polars as pl

from pipeline.report import todo_copy
from pipeline.report.drawn import Draw, Drawing, Spark
from pipeline.report.language import NOTHING
from pipeline.report.source import Source
from pipeline.report.telling import ROWS_OF_LIST, Columns, list_table, share

_SEARCHES, _EVENTS = "search_facts", "event_types_daily"
_MISSING_DAYS, _TREND_WEEKS = 28, 12
_UNUSUAL_DAYS = 28


def waiting(source: Source) -> Drawing | None:
    """List the tickets whose users wait longest for an answer."""
    language = source.language
    names = ("ticket_id", "user_id", "issue_type", "status", "message_count", "waiting_since")
    there = source.frame("ticket_resolution", *names).filter(pl.col("waiting_since").is_not_null())
    found = there.sort("waiting_since", "ticket_id").collect()
    if not len(found):
        return None
    at = source.at("ticket_resolution")
    rows: list[dict[str, Any]] = [
        {**row, "waits": language.span((at - row["waiting_since"]).total_seconds() if at else None)}
        for row in found.head(ROWS_OF_LIST).iter_rows(named=True)
    ]
    columns: Columns = {
        "ticket_id": (language.label("ticket"), str),
        "waits": (language.label("waits"), str),
        "waiting_since": (language.label("waiting_since"), language.moment),
        "issue_type": (language.label("issue_type"), str),
        "status": (language.label("status"), str),
        "message_count": (language.label("messages"), language.number),
        "user_id": (language.label("user"), str),
    }
    return Drawing((), list_table(rows, columns, len(found)), "")


def missing_terms(source: Source) -> Drawing | None:
    """List the searches that lately found nothing most often, with their weeks and what was searched for next."""
    language, last = source.language, source.complete_to(_SEARCHES)
    since = last - timedelta(days=_MISSING_DAYS - 1)
    there = source.frame(
        _SEARCHES, "search_term", "user_id", "searched_on", "is_zero_result", "is_final", "next_term"
    ).filter(pl.col("is_final"), pl.col("searched_on").is_between(since, last))
    counted = there.group_by("search_term").agg(
        zero_result_count=pl.col("is_zero_result").cast(pl.Int64).sum(),
        search_count=pl.len(),
        user_count=pl.col("user_id").n_unique(),
    )
    order = ["zero_result_count", "search_count", "search_term"]
    found = (
        counted.filter(pl.col("zero_result_count") > 0)
        .with_columns(zero_result_pct=share("zero_result_count", "search_count"))
        .sort(order, descending=[True, True, False])
        .collect()
    )
    if not len(found):
        return None
    shown = found["search_term"].head(ROWS_OF_LIST).to_list()
    trends, followed = _trends(source, shown), _next_terms(there.filter(pl.col("search_term").is_in(shown)))
    rows = [
        {**row, "trend": Spark(trends[row["search_term"]]), "top_next_term": followed.get(row["search_term"])}
        for row in found.head(ROWS_OF_LIST).iter_rows(named=True)
    ]
    columns: Columns = {
        "search_term": (language.label("search_term"), str),
        "zero_result_count": (language.label("zero_result_count"), language.number),
        "zero_result_pct": (language.label("of_searches"), language.percent),
        "user_count": (language.label("users"), language.number),
        "trend": (language.say("says.weeks", weeks=language.number(_TREND_WEEKS)), lambda spark: spark),
        "top_next_term": (language.label("top_next_term"), lambda value: NOTHING if value is None else str(value)),
    }
    return Drawing((), list_table(rows, columns, len(found)), "")


def false_drops(source: Source) -> Drawing | None:
    """List the products with the newest drops to a price that is not lower than the lowest of the 30 days before."""
    language = source.language
    prices = ("price", "prior_price", "lowest_price_30d")
    names = ("product_id", "dropped_on", "currency", *prices, "reduction_pct", "is_genuine", "history_days")
    there = source.frame("price_drops", *names)
    found = there.filter(~pl.col("is_genuine"), pl.col("dropped_on") <= source.end_of("price_drops"))
    newest = found.sort("dropped_on", "reduction_pct", "product_id", descending=[True, False, False])
    ordered = newest.unique("product_id", keep="first", maintain_order=True).collect()
    if not len(ordered):
        return None
    rows = [
        {**row, **{name: f"{language.number(row[name], 2)} {row['currency']}" for name in prices}}
        for row in ordered.head(ROWS_OF_LIST).iter_rows(named=True)
    ]
    columns: Columns = {
        "product_id": (language.label("product"), str),
        "dropped_on": (language.label("day"), language.day),
        "price": (language.label("price"), str),
        "prior_price": (language.label("prior_price"), str),
        "lowest_price_30d": (language.label("lowest_price_30d"), str),
        "reduction_pct": (language.label("reduction_pct"), language.percent),
        "history_days": (language.label("history_days"), language.number),
    }
    return Drawing((), list_table(rows, columns, len(ordered)), "")


def unusual_events(source: Source) -> Drawing | None:
    """List the days on which a type of event was unusually frequent or rare."""
    language, end = source.language, source.end_of(_EVENTS)
    names = ("event_on", "event_type", "event_count", "mean_14d_count", "z_score", "is_unusual")
    is_recent = pl.col("event_on").is_between(end - timedelta(days=_UNUSUAL_DAYS - 1), end)
    there = source.frame(_EVENTS, *names).filter(pl.col("is_unusual").fill_null(False), is_recent)
    found = there.sort("event_on", "event_type", descending=[True, False]).collect()
    if not len(found):
        return None
    rows = [
        {**row, "judged": language.label("more" if row["z_score"] > 0 else "less")}
        for row in found.head(ROWS_OF_LIST).iter_rows(named=True)
    ]
    columns: Columns = {
        "event_type": (language.label("event_type"), str),
        "event_on": (language.label("day"), language.day),
        "judged": (language.label("judged"), str),
        "event_count": (language.label("events"), language.number),
        "mean_14d_count": (language.label("mean_14d_count"), lambda value: language.number(value, 1)),
        "z_score": (language.label("z_score"), lambda value: language.number(value, 1)),
    }
    return Drawing((), list_table(rows, columns, len(found)), "")


def _trends(source: Source, terms: list[str]) -> dict[str, list[float]]:
    """Return in how many searches of each week some terms found nothing."""
    last = source.complete_to(_SEARCHES)
    first = last - timedelta(days=7 * _TREND_WEEKS - 1)
    there = source.frame(_SEARCHES, "search_term", "searched_on", "is_zero_result", "is_final")
    counted = (
        there.filter(
            pl.col("is_zero_result"),
            pl.col("is_final"),
            pl.col("searched_on").is_between(first, last),
            pl.col("search_term").is_in(terms),
        )
        .group_by("search_term", week=(pl.col("searched_on") - pl.lit(first)).dt.total_days() // 7)
        .agg(v=pl.len())
        .collect()
    )
    found = {term: [0.0] * _TREND_WEEKS for term in terms}
    for term, week, number in counted.iter_rows():
        found[term][week] = float(number)
    return found


def _next_terms(searches: pl.LazyFrame) -> dict[str, str]:
    """Return by which term each was followed most often; of equally many by the first by code point."""
    pairs = searches.drop_nulls("next_term").group_by("search_term", "next_term").agg(times=pl.len()).collect()
    most = pairs.sort("times", "next_term", descending=[False, True]).select("search_term", "next_term")
    return dict(most.iter_rows())  # of each term the last row stays


LISTS: dict[Draw, str] = {
    waiting: "ticket_resolution",
    missing_terms: _SEARCHES,
    false_drops: "price_drops",
    unusual_events: _EVENTS,
    **todo_copy.LISTS,
}
