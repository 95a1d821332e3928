"""PyMongoArrow and ADBC in forty lines: pages along the index on ``_id``, nested values as jsonb, COPY in binary form.

Event logs are decoded by PyMongo: PyMongoArrow has no type for documents of any shape.
"""

import os
from typing import Any

import orjson
import pyarrow as pa
from adbc_driver_postgresql import dbapi
from bson import ObjectId
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongoarrow.api import Schema, find_arrow_all

PAGE = 50_000  # documents at a time
MOMENT = pa.timestamp("ms", "UTC")
ACTIONS = [{"type": str, "target": str, "at": MOMENT}]
DEVICE = {"type": str, "os": str, "browser": str}
PLAIN: dict[str, dict[str, Any]] = {
    "UserSessions": {"session_id": str, "user_id": str, "start_time": MOMENT, "end_time": MOMENT},
    "EventLogs": {"event_id": pa.string(), "timestamp": MOMENT, "event_type": pa.string()},
}
NESTED: dict[str, dict[str, Any]] = {
    "UserSessions": {"pages_visited": [str], "device": DEVICE, "actions": ACTIONS},
    "EventLogs": {"details": None},
}
SCHEMA = Schema({"_id": ObjectId, **PLAIN["UserSessions"], **NESTED["UserSessions"]})


def as_jsonb(values: list[Any]) -> pa.Array:
    """Return values as PostgreSQL's binary jsonb: a version and the text."""
    return pa.array(["\x01" + orjson.dumps(value, default=str).decode() for value in values])


def page_of(collection: Collection[Any], after: ObjectId) -> pa.Table:
    """Return the next documents in the order of ``_id``."""
    name, condition, first = collection.name, {"_id": {"$gt": after}}, {"sort": [("_id", 1)], "limit": PAGE}
    if name == "UserSessions":
        table = find_arrow_all(collection, condition, schema=SCHEMA, **first)
        found: dict[str, Any] = {column: table[column].to_pylist() for column in ("_id", *NESTED[name])}
        plain = {column: table[column] for column in PLAIN[name]}
    else:
        documents = list(collection.find(condition, **first))
        found = {column: [one.get(column) for one in documents] for column in ("_id", *NESTED[name])}
        plain = {key: pa.array([one.get(key) for one in documents], kind) for key, kind in PLAIN[name].items()}
    ids = pa.array([str(one) for one in found.pop("_id")], pa.string())
    return pa.table({"_id": ids, **plain, **{column: as_jsonb(values) for column, values in found.items()}})


def main(name: str, schema: str, table: str) -> None:
    """Copy one collection."""
    texts = {"start_time": "timestamptz", "end_time": "timestamptz", "timestamp": "timestamptz"}
    columns = [f"{one} {texts.get(one, 'text')}" for one in PLAIN[name]] + [f"{one} jsonb" for one in NESTED[name]]
    with (
        MongoClient(os.environ["BENCH_MONGO"], tz_aware=True) as mongo,
        dbapi.connect(os.environ["BENCH_POSTGRES"]) as to,
    ):
        with to.cursor() as cursor:
            cursor.execute(f"CREATE TABLE {schema}.{table} (_id text, {', '.join(columns)})")
            after = ObjectId("0" * 24)
            while (page := page_of(mongo[os.environ["BENCH_DATABASE"]][name], after)).num_rows:
                cursor.adbc_ingest(table, page, mode="append", db_schema_name=schema)
                after = ObjectId(page["_id"][-1].as_py())
        to.commit()


if __name__ == "__main__":
    main(os.environ["BENCH_COLLECTION"], os.environ["BENCH_SCHEMA"], os.environ["BENCH_TABLE"])
