"""Marts of rows written by hand, and what must hold of any rows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from contracts.schema.frame import pandera_schema
from contracts.schema.history import versions_table
from contracts.schema.registry import entities, marts
from transforms.marts import Context, compute, sources

MARTS = sorted(marts())
# Just what the marts read: a transform that needs more than this of a table would have the pipeline read more.
READ = {
    "user_sessions": [
        "_id",
        "user_id",
        "start_time",
        "end_time",
        "pages_visited_count",
        "actions_count",
        "device_type",
        "session_id",
    ],
    "user_sessions_actions": ["_id", "type", "at", "_position", "target"],
    "search_queries": ["user_id", "timestamp", "results_count", "query_text", "_id", "query_id"],
    "support_tickets": [
        *("_id", "ticket_id", "user_id", "status", "issue_type", "messages_count", "created_at", "updated_at")
    ],
    "support_tickets_messages": ["_id", "sender", "sent_at", "_position"],
    "moderation_queue": [
        "user_id",
        "submitted_at",
        "rating",
        "moderation_status",
        "flags_count",
        "product_id",
        "_id",
        "review_id",
    ],
    "event_logs": ["timestamp", "event_type"],
    "product_price_history": ["_id", "product_id", "currency"],
    "product_price_history_price_changes": ["_id", "_position", "changed_at", "price"],
    "user_recommendations": ["_id", "user_id", "recommended_products", "last_updated"],
    # The past: none is kept, unless a test says so.
    "support_tickets_versions": [
        *(
            "_id",
            "_valid_from",
            "_valid_to",
            "status",
            "updated_at",
            "_removed",
            "created_at",
            "ticket_id",
            "issue_type",
        )
    ],
    "moderation_queue_versions": ["_id", "_valid_from", "_valid_to", "moderation_status", "_removed"],
    "user_recommendations_versions": [
        *("_id", "_valid_from", "_valid_to", "user_id", "recommended_products", "last_updated", "_removed")
    ],
}
TABLES = {
    table.name: table for entity in entities().values() for one in entity.tables for table in (one, versions_table(one))
}


def at(text: str, **after: float) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(**after)


class _Marts(dict[str, pl.DataFrame]):
    """Marts that are computed when they are asked for, each after those it reads.

    What must hold whatever the rows are is checked of each that is computed.
    """

    def __init__(self, tables: dict[str, pl.LazyFrame], context: Context) -> None:
        super().__init__()
        self._tables, self._context = tables, context

    def __missing__(self, name: str) -> pl.DataFrame:
        mart, context = marts()[name], self._context
        read = {one: self[one].lazy() if one in MARTS else self._tables[one] for one in sources(mart)}
        lazy = compute(mart, read, context)
        frame = lazy.collect()
        assert lazy.collect(engine="streaming").equals(frame)
        assert frame.schema == mart.table.frame_schema
        pandera_schema(mart.table).validate(frame)
        assert frame.equals(frame.sort(mart.key))
        assert frame.select(pl.struct(mart.key).is_unique().all()).item()
        assert (frame["as_of"].drop_nulls() == context.as_of).all()
        self[name] = frame
        return frame


def compute_from(
    replica: dict[str, list[tuple[Any, ...]]],
    as_of: str = "2024-06-01 12:00:00",
    timezone: str = "UTC",
    **settings: Any,
) -> dict[str, pl.DataFrame]:
    """Return the marts of rows with the columns of READ, each as it is asked for; the last columns may be left out."""
    schemas = {
        name: {column: TABLES[name].frame_schema[column] for column in columns} for name, columns in READ.items()
    }
    tables = {name: _frame(replica.get(name, []), schemas[name]) for name in READ}
    return _Marts(tables, Context(at(as_of), timezone, **settings))


def _frame(rows: list[tuple[Any, ...]], schema: dict[str, pl.DataType]) -> pl.LazyFrame:
    """Return rows as a table; what is left out at their ends is made up."""
    made_up = {pl.String(): "x", pl.Int64(): 0, pl.Datetime("ms", "UTC"): at("2024-01-01"), pl.Boolean(): False}
    filled = [
        (*row, *(n if name == "_position" else made_up[dtype] for name, dtype in [*schema.items()][len(row) :]))
        for n, row in enumerate(rows)
    ]
    numbered = [tuple(f"{n}" if value == "x" else value for value in row) for n, row in enumerate(filled)]
    return pl.LazyFrame(numbered, schema, orient="row")
