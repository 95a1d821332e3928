"""Marts: computed whole beside the same question in SQL, in both stores; and in part after few changes.

The SQL is that which the tests hold the marts against: written by another road, from the copies alone. So a mart that
reads others is computed with them here, from the copies as well. Each writes a table of its own.
"""

import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from benchmarks import record, world
from pipeline import control
from pipeline.connections import Connections, connect
from pipeline.errors import EtlError
from pipeline.marts.build import build
from pipeline.replication.replicate import replicate
from pipeline.replication.sync import sync
from pipeline.settings import Settings

SQL = Path(__file__).parent.parent / "tests" / "sql" / "marts"
OTHERS_PART = 20  # so many times fewer documents of the other collections than sessions
LIMIT_S = 600  # of a query; of one that takes longer only that is told
CHANGED = 1_000  # sessions, before marts are computed in part
TEMPORARY = "bench_sql"


def run(rows: int) -> dict[str, Any]:
    """Fill stores, measure, save and return the results."""
    with world.engines() as (home, uris):
        others = ("SearchQueries", "SupportTickets", "ModerationQueue", "EventLogs", "ProductPriceHistory")
        sizes = {"UserSessions": rows, **dict.fromkeys((*others, "UserRecommendations"), max(rows // OTHERS_PART, 10))}
        world.fill(uris, "etl", sizes)
        given = {"mongo_uri": uris.mongo, "postgres_uri": uris.postgres, "clickhouse_uri": uris.clickhouse}
        with connect(Settings.load(home=home, mongo_database="etl", **given)) as connections:
            replicate(connections)
            found = world.surroundings() | {"sessions": rows} | measure(connections)
    record.save("marts", found)
    return found


def measure(connections: Connections) -> dict[str, Any]:
    """Measure on stores that hold the copies."""
    build(connections, full=True)
    found: dict[str, Any] = {"marts": {}}
    for name in connections.marts:
        found["marts"][name] = {
            "ours": _seconds(lambda name=name: _ours(connections, name)),
            "postgres": _seconds(lambda name=name: _postgres(connections, name)),
            "clickhouse": _seconds(lambda name=name: _clickhouse(connections, name)),
        }
        print(name, found["marts"][name], file=sys.stderr)
    pairs = [(one["postgres"], one["ours"]) for one in found["marts"].values()]
    found["postgres_by_ours"] = median((LIMIT_S if sql is None else sql) / ours for sql, ours in pairs if ours)
    return found | {"in_part": in_part(connections)}


def in_part(connections: Connections) -> dict[str, float | None]:
    """Change few sessions, and measure how long all marts take in part, and whole."""
    sessions = connections.mongo.database["UserSessions"]
    ids = [one["_id"] for one in sessions.aggregate([{"$sample": {"size": CHANGED}}, {"$project": {"_id": 1}}])]
    shift = random.Random(0).randint(1, 1000)
    later = {name: {"$add": [f"${name}", shift]} for name in ("start_time", "end_time")}
    sessions.update_many({"_id": {"$in": ids}}, [{"$set": later}])
    build(connections, full=True)
    sync(connections)
    part = _seconds(lambda: build(connections))
    return {"part": part, "whole": _seconds(lambda: build(connections, full=True))}


def _seconds(work: Callable[[], Any]) -> float | None:
    """Return how long something takes; None if it was given up."""
    began = time.perf_counter()
    try:
        work()
    except EtlError as error:
        print(error, file=sys.stderr)
        return None
    return round(time.perf_counter() - began, 2)


def _ours(connections: Connections, name: str) -> None:
    """Compute a mart, with those that it reads, into tables that are not there yet, as a query makes its own."""
    with connections.postgres.transaction():
        tables = ", ".join(f'marts."{one}"' for one in connections.marts)
        connections.postgres.execute(f"DROP TABLE IF EXISTS {tables}")
    build(connections, [name], ["postgres"], full=True)


def _postgres(connections: Connections, name: str) -> None:
    with connections.postgres.transaction():
        connections.postgres.execute(
            f"DROP SCHEMA IF EXISTS {TEMPORARY} CASCADE",
            f"CREATE SCHEMA {TEMPORARY}",
            f"SET LOCAL statement_timeout = '{LIMIT_S}s'",
            f"CREATE TABLE {TEMPORARY}.{name} AS {_sql(connections, name, 'postgres')}",
        )


def _clickhouse(connections: Connections, name: str) -> None:
    connections.clickhouse.execute(
        f"CREATE DATABASE IF NOT EXISTS {TEMPORARY}",
        f"CREATE OR REPLACE TABLE {TEMPORARY}.{name} ENGINE = MergeTree ORDER BY () AS "
        f"{_sql(connections, name, 'clickhouse')} SETTINGS max_execution_time = {LIMIT_S}",
        f"DROP DATABASE {TEMPORARY}",
    )


def _sql(connections: Connections, name: str, store: str) -> str:
    """Return the SQL of a mart; [[other]] in it stands for that of another mart."""
    with connections.postgres.transaction():
        shown = control.publications(connections.postgres)
    moment = max(one.cluster_time.as_datetime() for one in shown if one.name in connections.entities)
    text, zone = f"{moment:%Y-%m-%d %H:%M:%S}", connections.timezone
    values = {
        "as_of": f"timestamptz '{text}Z'" if store == "postgres" else f"toDateTime64('{text}', 3, 'UTC')",
        "today": moment.astimezone(ZoneInfo(zone)).date().isoformat(),
        "tz": zone,
        "sla": f"{connections.support_sla['']:.0f}",
        "sla_billing": f"{connections.support_sla['']:.0f}",
    }
    sql = (SQL / f"{name}.{store}.sql").read_text()
    for key, value in values.items():
        sql = sql.replace("{" + key + "}", value)
    return re.sub(r"\[\[(\w+)\]\]", lambda other: f"(\n{_sql(connections, other[1], store)})", sql)
