"""dlt, at its fastest: Arrow tables of an explicit schema, through Parquet files, into PostgreSQL by ADBC.

dlt's PostgreSQL destination takes no nested Arrow columns, so they become JSON texts here. Its own MongoDB source does
not run with today's dlt and PyMongoArrow, so the resource is written after the documentation of both.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import bson
import dlt
import orjson
import pyarrow as pa
from bson import CodecOptions, ObjectId
from pymongo import MongoClient
from pymongoarrow.api import Schema, find_arrow_all

MOMENT = pa.timestamp("ms", "UTC")
SESSIONS = Schema(
    {
        "_id": ObjectId,
        "session_id": str,
        "user_id": str,
        "start_time": MOMENT,
        "end_time": MOMENT,
        "pages_visited": [str],
        "device": {"type": str, "os": str, "browser": str},
        "actions": [{"type": str, "target": str, "at": MOMENT}],
    }
)
EVENTS = {"_id": pa.string(), "event_id": pa.string(), "timestamp": MOMENT, "event_type": pa.string()}


class OneBatch:
    """Gives PyMongoArrow a batch of BSON that has come already, as if it were a collection."""

    codec_options = CodecOptions(tz_aware=True)

    class database:  # noqa: N801
        """Asked for, not used."""

        class client:  # noqa: N801
            """Asked for, not used."""

            append_metadata = None

    def __init__(self, batch: bytes) -> None:
        self._batch = batch

    def find_raw_batches(self, *_: Any, **__: Any) -> Iterator[bytes]:
        """Yield it."""
        yield self._batch


def as_json(values: list[Any]) -> pa.Array:
    """Return nested values as JSON texts."""
    return pa.array([None if value is None else orjson.dumps(value, default=str).decode() for value in values])


def sessions(batch: bytes) -> pa.Table:
    """Decode sessions in Arrow; nested columns go through Python, as dlt can't load them."""
    table = find_arrow_all(OneBatch(batch), {}, schema=SESSIONS)
    columns = {name: table[name] for name in table.column_names}
    columns["_id"] = pa.array([str(value) for value in table["_id"].to_pylist()])
    return pa.table(
        columns | {name: as_json(table[name].to_pylist()) for name in ("pages_visited", "device", "actions")}
    )


def events(batch: bytes) -> pa.Table:
    """Decode events in Python: Arrow has no type for documents of any shape, and a guessed one loses values."""
    documents = bson.decode_all(batch, CodecOptions(tz_aware=True, tzinfo=UTC))
    for document in documents:
        document["_id"] = str(document["_id"])
    columns = {name: pa.array([d.get(name) for d in documents], kind) for name, kind in EVENTS.items()}
    return pa.table(columns | {"details": as_json([document.get("details") for document in documents])})


def tables(name: str) -> Iterator[pa.Table]:
    """Yield the collection, one batch of the server's at a time."""
    with MongoClient(os.environ["BENCH_MONGO"]) as client:
        collection = client[os.environ["BENCH_DATABASE"]][name]
        for batch in collection.find_raw_batches(batch_size=100_000):
            yield {"UserSessions": sessions, "EventLogs": events}[name](batch)


if __name__ == "__main__":
    began = datetime.now(UTC)
    pipeline = dlt.pipeline(
        f"{os.environ['BENCH_SCHEMA']}_{began:%H%M%S}",
        destination=dlt.destinations.postgres(os.environ["BENCH_POSTGRES"]),
        dataset_name=os.environ["BENCH_SCHEMA"],
        pipelines_dir=os.getcwd(),
    )
    resource = dlt.resource(tables, name=os.environ["BENCH_TABLE"], write_disposition="replace")
    print(pipeline.run(resource(os.environ["BENCH_COLLECTION"]), loader_file_format="parquet"))
