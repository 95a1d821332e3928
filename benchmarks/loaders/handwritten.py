"""What an engineer writes in an afternoon: pymongo reads, psycopg copies, nested values become jsonb."""

import json
import os
from datetime import datetime

import psycopg
from pymongo import MongoClient

COLUMNS = {
    "UserSessions": "session_id text, user_id text, start_time timestamptz, end_time timestamptz, "
    "pages_visited jsonb, device jsonb, actions jsonb",
    "EventLogs": "event_id text, timestamp timestamptz, event_type text, details jsonb",
}


def plain(value: object) -> str:
    """Return what JSON has no type for as text."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def main(name: str, table: str) -> None:
    """Copy one collection."""
    names = [column.split()[0] for column in COLUMNS[name].split(", ")]
    with (
        MongoClient(os.environ["BENCH_MONGO"], tz_aware=True) as mongo,
        psycopg.connect(os.environ["BENCH_POSTGRES"]) as postgres,
    ):
        postgres.execute(f"DROP TABLE IF EXISTS {table}")
        postgres.execute(f"CREATE TABLE {table} (_id text, {COLUMNS[name]})")
        with postgres.cursor().copy(f"COPY {table} (_id, {', '.join(names)}) FROM STDIN") as copy:
            for document in mongo[os.environ["BENCH_DATABASE"]][name].find():
                values = (document.get(column) for column in names)
                row = (json.dumps(v, default=plain) if isinstance(v, list | dict) else v for v in values)
                copy.write_row((str(document["_id"]), *row))


if __name__ == "__main__":
    main(os.environ["BENCH_COLLECTION"], f"{os.environ['BENCH_SCHEMA']}.{os.environ['BENCH_TABLE']}")
