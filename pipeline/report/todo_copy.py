"""Lists to act on that no mart has: they are found in the copied tables themselves."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl

from pipeline.report.areas.recommendations import listed
from pipeline.report.drawn import Draw, Drawing
from pipeline.report.source import NotBuiltError, Source
from pipeline.report.telling import ROWS_OF_LIST, Columns, list_table

_NEW_DAYS = 28
_JSON = pl.String()  # which is how a frame has it
# Which keys the details of late events have, and those of them that no event of the type had before: of each key the
# first event without it is passed over, so that a key that was there all along is found at once.
_IS_JSON = "SELECT data_type = 'jsonb' FROM information_schema.columns WHERE table_schema = 'replica' " + (
    "AND table_name = 'event_logs' AND column_name = 'details'"
)
_NEW_KEYS = """
WITH late AS (
    SELECT event_type, key, count(*) AS events, min("timestamp") AS first_at,
        (array_agg(event_id ORDER BY "timestamp", event_id))[1] AS first_id
    FROM replica.event_logs,
        jsonb_object_keys(CASE jsonb_typeof(details) WHEN 'object' THEN details ELSE '{}' END) AS key
    WHERE "timestamp" >= $1 AND "timestamp" < $2
    GROUP BY event_type, key
)
SELECT event_type, key, events, first_at, first_id FROM late
WHERE (
    SELECT true FROM replica.event_logs AS before
    WHERE before.event_type = late.event_type AND before."timestamp" < $1 AND before.details ? late.key
    LIMIT 1
) IS NULL
ORDER BY first_at DESC, event_type, key
LIMIT 1000
"""


def new_keys(source: Source) -> Drawing | None:
    """List the keys in the details of events that no event of the type had before the last 28 days."""
    language = source.language
    moment = pl.Datetime("ms", "UTC")
    source.copy("event_logs", event_id=pl.String(), event_type=pl.String(), timestamp=moment, details=_JSON)
    if source.rows(_IS_JSON) == [(False,)]:  # a contract of one's own may have texts there
        raise NotBuiltError("replica.event_logs")
    since = source.end - timedelta(days=_NEW_DAYS - 1)
    found = source.rows(_NEW_KEYS, _midnight(source, since), _midnight(source, source.end + timedelta(days=1)))
    known = _types_before(source, since)
    names = ("event_type", "key", "events", "first_at", "first_id")
    rows: list[dict[str, Any]] = [
        dict(zip(names, row, strict=True)) for row in found if row[0] in known
    ]  # of a type that is new itself all keys are
    columns: Columns = {
        "event_type": (language.label("event_type"), str),
        "key": (language.label("key"), str),
        "first_at": (language.label("first_seen"), language.moment),
        "events": (language.label("events"), language.number),
        "first_id": (language.label("first_event"), str),
    }
    return Drawing((), list_table(rows, columns, len(rows)), "") if rows else None


def never_touched(source: Source) -> Drawing | None:
    """List the products that are recommended most, and that nobody has ever acted on or reviewed."""
    language = source.language
    counted = listed(source).group_by("product").agg(lists=pl.len())
    acted = source.copy("user_sessions_actions", target=pl.String()).select(product="target")
    reviewed = source.copy("moderation_queue", product_id=pl.String()).select(product="product_id")
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


def _midnight(source: Source, day: date) -> datetime:
    return datetime.combine(day, time(), source.language.zone).astimezone(UTC)


def _types_before(source: Source, day: date) -> set[str]:
    """Return the types of events that were there before a day."""
    there = source.frame("event_types_daily", "event_on", "event_type", "event_count")
    before = there.filter(pl.col("event_on") < day, pl.col("event_count") > 0)
    return set(before.select(pl.col("event_type").cast(pl.String).unique()).collect()["event_type"])


LISTS: dict[Draw, str] = {
    never_touched: "replica.user_recommendations",
    new_keys: "replica.event_logs",
}
