"""Lists to act on that no mart has: they are found in the copied tables themselves."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl

from pipeline.report import charts
from pipeline.report.areas.recommendations import listed
from pipeline.report.drawn import Draw, Drawing
from pipeline.report.source import NotBuiltError, Source
from pipeline.report.telling import ROWS_OF_LIST, Columns, list_table
from pipeline.text.printable import visible

_EVENTS = "replica.event_logs"
_NEW_DAYS = 28
_KEYS = 200  # of a type in these days: where there are more, keys are data, and new ones nothing to act on
_JSON = pl.String()  # which is how a frame has it
_IS_JSON = "SELECT data_type = 'jsonb' FROM information_schema.columns WHERE table_schema = 'replica' " + (
    "AND table_name = 'event_logs' AND column_name = 'details'"
)
_EACH = "jsonb_object_keys(CASE jsonb_typeof(details) WHEN 'object' THEN details ELSE '{}' END) AS key"
# Which keys the details of late events have, and those of them that no event of the type had before. Earlier events are
# gone through once, however many keys there are, and only if those of the days just before don't have one of them.
_NEW_KEYS = f"""
WITH late AS MATERIALIZED (
    SELECT event_type, key, count(*) AS events, min("timestamp") AS first_at,
        (array_agg(event_id ORDER BY "timestamp", event_id))[1] AS first_id,
        count(*) OVER (PARTITION BY event_type) AS keys
    FROM replica.event_logs, {_EACH}
    WHERE "timestamp" >= $2 AND "timestamp" < $3
    GROUP BY event_type, key
),
asked AS MATERIALIZED (
    SELECT event_type, key FROM late WHERE keys <= $4
    EXCEPT
    SELECT event_type, key FROM replica.event_logs, {_EACH} WHERE "timestamp" >= $1 AND "timestamp" < $2
),
known AS MATERIALIZED (
    SELECT DISTINCT event_type, key
    FROM (SELECT event_type, array_agg(key) AS keys FROM asked GROUP BY event_type) AS of_type
    JOIN replica.event_logs USING (event_type), {_EACH}
    WHERE "timestamp" < $1 AND details ?| keys AND key = ANY (keys)
),
unknown AS (SELECT event_type, key FROM asked EXCEPT SELECT event_type, key FROM known)
SELECT event_type, key, events, first_at, first_id FROM late JOIN unknown USING (event_type, key)
UNION ALL
SELECT event_type, NULL, max(keys), NULL, NULL FROM late WHERE keys > $4 GROUP BY event_type
ORDER BY first_at DESC, event_type, key
LIMIT 1000
"""


def new_keys(source: Source) -> Drawing | None:
    """List the keys in the details of events that no event of the type had before the last 28 days."""
    language = source.language
    moment = pl.Datetime("ms", "UTC")
    source.copy("event_logs", event_id=pl.String(), event_type=pl.String(), timestamp=moment, details=_JSON)
    if source.rows(_IS_JSON) == [(False,)]:  # a contract of one's own may have texts there
        raise NotBuiltError(_EVENTS)
    end = source.end_of(_EVENTS)
    since = end - timedelta(days=_NEW_DAYS - 1)
    days = (since - timedelta(days=_NEW_DAYS), since, end + timedelta(days=1))
    found = source.rows(_NEW_KEYS, *(_midnight(source, day) for day in days), _KEYS)
    known = _types_before(source, since)  # of a type that is new itself all keys are
    names = ("event_type", "key", "events", "first_at", "first_id")
    rows: list[dict[str, Any]] = [
        dict(zip(names, row, strict=True)) for row in found if row[0] in known and row[1] is not None
    ]
    left_out = sorted({visible(kind) for kind, key, *_ in found if key is None and kind in known})
    columns: Columns = {
        "event_type": (language.label("event_type"), str),
        "key": (language.label("key"), str),
        "first_at": (language.label("first_seen"), language.moment),
        "events": (language.label("events"), language.number),
        "first_id": (language.label("first_event"), str),
    }
    says = language.say("says.new_keys", types=_named(left_out)) if left_out else ""
    return Drawing((), list_table(rows, columns, len(rows)), says) if rows or says else None


def _named(names: Sequence[str]) -> str:
    """Return the first of some names, and whether there are more."""
    return ", ".join([charts.shortened(one) for one in names[:ROWS_OF_LIST]] + ["…"] * (len(names) > ROWS_OF_LIST))


def never_touched(source: Source) -> Drawing | None:
    """List the products that are recommended most, and that nobody has ever acted on or reviewed."""
    language = source.language
    counted = listed(source).group_by("product").agg(lists=pl.len())
    acted = source.copy("user_sessions_actions", target=pl.String()).select(product="target")
    reviewed = source.copy("moderation_queue", product_id=pl.String()).select(product="product_id")
    if not _are_products(source, acted, counted):
        return None
    touched = pl.concat([acted, reviewed]).unique()
    untouched = counted.join(touched, on="product", how="anti").sort("lists", "product", descending=[True, False])
    found = untouched.collect(engine="streaming")  # all actions are looked at, and never are all in memory
    if not len(found):
        return None
    lists = source.copy("user_recommendations", user_id=pl.String()).select(pl.len()).collect().item()
    shown = found["product"].head(ROWS_OF_LIST).to_list()
    priced = source.copy("product_price_history", product_id=pl.String()).filter(pl.col("product_id").is_in(shown))
    known = set(priced.collect()["product_id"])
    rows = [
        {
            **row,
            "share": 100 * row["lists"] / lists,
            "known": language.label("yes" if row["product"] in known else "no"),
        }
        for row in found.head(ROWS_OF_LIST).iter_rows(named=True)
    ]
    columns: Columns = {
        "product": (language.label("product"), str),
        "lists": (language.label("lists"), language.number),
        "share": (language.label("of_lists"), lambda value: language.percent(value, 2)),
        "known": (language.label("has_price"), str),
    }
    return Drawing((), list_table(rows, columns, len(found)), "")


def _are_products(source: Source, acted: pl.LazyFrame, counted: pl.LazyFrame) -> bool:
    """Return whether any product is acted on: where pages and buttons alone are, of no product it is known."""
    priced = source.copy("product_price_history", product_id=pl.String()).select(product="product_id")
    products = pl.concat([counted.select("product"), priced]).unique()
    return not acted.join(products, on="product", how="semi").head(1).collect(engine="streaming").is_empty()


def _midnight(source: Source, day: date) -> datetime:
    return datetime.combine(day, time(), source.language.zone).astimezone(UTC)


def _types_before(source: Source, day: date) -> set[str]:
    """Return the types of events that were there before a day."""
    there = source.frame("event_types_daily", "event_on", "event_type", "event_count")
    before = there.filter(pl.col("event_on") < day, pl.col("event_count") > 0)
    return set(before.select(pl.col("event_type").cast(pl.String).unique()).collect()["event_type"])


LISTS: dict[Draw, str] = {
    never_touched: "replica.user_recommendations",
    new_keys: _EVENTS,
}
