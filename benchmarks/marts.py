"""Marts, computed whole, beside the same question in SQL, in both stores.

The SQL is that which the tests hold the marts against: written by another road, from the copies alone. So a mart that
reads others is computed with them here, from the copies as well. Each writes a table of its own.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import record, world
from benchmarks.measure import servers_cpu_s
from pipeline.connections import Connections, connect
from pipeline.errors import EtlError
from pipeline.marts.build import build
from pipeline.replication.replicate import replicate
from pipeline.settings import Settings
from tests.sql.rendering import rendered, settings_of

OTHERS_PART = 20  # so many times fewer documents of the other collections than sessions
LIMIT_S = 60  # of a query; of one that takes longer, or more memory than it is given, only that is told
TEMPORARY = "bench_sql"
STORES = ("postgres", "clickhouse")
Taken = dict[str, float]


def run(rows: int) -> dict[str, Any]:
    """Fill stores, measure, save and return the results; what was measured is saved mart by mart."""
    with world.engines() as (home, uris):
        others = ("SearchQueries", "SupportTickets", "ModerationQueue", "EventLogs", "ProductPriceHistory")
        sizes = {"UserSessions": rows, **dict.fromkeys((*others, "UserRecommendations"), max(rows // OTHERS_PART, 10))}
        world.fill(uris, "etl", sizes)
        given = {"mongo_uri": uris.mongo, "postgres_uri": uris.postgres, "clickhouse_uri": uris.clickhouse}
        with connect(Settings.load(home=home, mongo_database="etl", **given)) as connections:
            replicate(connections)
            found = world.surroundings() | {"sessions": rows, "limit_s": LIMIT_S, "marts": {}}
            measure(connections, home, found)
    return found


def measure(connections: Connections, home: Path, found: dict[str, Any]) -> None:
    """Measure on stores that hold the copies, and enter it in what was found, saved after each step."""
    found["all"] = _taken(home, lambda: build(connections, full=True))
    record.save("marts", found)
    for name in connections.marts:
        one = {"ours": _taken(home, lambda name=name: _ours(connections, name))}
        for store, ask in (("postgres", _postgres), ("clickhouse", _clickhouse)):
            one[store] = _taken(home, lambda name=name, ask=ask: ask(connections, name))
        found["marts"][name] = one
        record.save("marts", found)
        print(name, one, file=sys.stderr)


def ratios(found: dict[str, Any], store: str, what: str) -> list[float]:
    """Return how many times what ours took a store took for its SQL, mart by mart; of one that was given up at least.

    Args:
        found: What was measured.
        store: Of which store.
        what: ``wall_s`` or ``cpu_s``.
    """
    return [one[store][what] / one["ours"][what] for one in found["marts"].values() if one["ours"][what]]


def _taken(home: Path, work: Callable[[], Any]) -> Taken:
    """Return the seconds that something takes, and the processors', with the servers', and if it was given up."""
    before, began = _cpu_s(home), time.perf_counter()
    given_up = {}
    try:
        work()
    except EtlError as error:
        if not any(limit in str(error).lower() for limit in ("timeout", "memory limit exceeded")):
            raise
        given_up = {"gave_up": True}
    wall = time.perf_counter() - began
    return {"wall_s": round(wall, 2), "cpu_s": round(_cpu_s(home) - before, 2)} | given_up


def _cpu_s(home: Path) -> float:
    return sum(os.times()[:4]) + servers_cpu_s(home)


def _ours(connections: Connections, name: str) -> None:
    """Compute a mart, with those that it reads, into tables that are not there yet, as a query makes its own."""
    with connections.postgres.transaction():
        tables = ", ".join(f'marts."{one}"' for one in connections.marts)
        connections.postgres.execute(f"DROP TABLE IF EXISTS {tables}")
    build(connections, [name], ["postgres"], full=True)


def _postgres(connections: Connections, name: str) -> None:
    sql = _sql(connections, name, "postgres")
    with connections.postgres.transaction():
        connections.postgres.execute(
            f"DROP SCHEMA IF EXISTS {TEMPORARY} CASCADE",
            f"CREATE SCHEMA {TEMPORARY}",
            f"SET LOCAL statement_timeout = '{LIMIT_S}s'",
            f"CREATE TABLE {TEMPORARY}.{name} AS {sql}",
        )


def _clickhouse(connections: Connections, name: str) -> None:
    connections.clickhouse.execute(
        f"CREATE DATABASE IF NOT EXISTS {TEMPORARY}",
        f"CREATE OR REPLACE TABLE {TEMPORARY}.{name} ENGINE = MergeTree ORDER BY () AS "
        f"{_sql(connections, name, 'clickhouse')} "
        f"SETTINGS max_execution_time = {LIMIT_S}, allow_suspicious_low_cardinality_types = 1",
        f"DROP DATABASE {TEMPORARY}",
    )


def _sql(connections: Connections, name: str, store: str) -> str:
    return rendered(name, store, settings_of(connections, store))
