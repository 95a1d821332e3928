"""How fast changes are followed, and what small commands take: ``python -m benchmarks.following [ROWS]``.

Of ROWS (200,000) UserSessions, copied into both stores: how many changes a second one `etl sync` of all of them brings
there; how long one change takes from its write until both stores show it, with `etl sync --follow --every 0` beside it;
and the processor time of small commands, the servers given.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import SecretStr

from benchmarks import world
from benchmarks.contenders import Job
from benchmarks.measure import ETL, measure_etl
from pipeline.connections import Connections, connect
from pipeline.engines.embedded import Uris
from pipeline.settings import Settings

ROWS, ROUNDS, PATIENCE_S = 200_000, 5, 120.0
COLLECTION, EMPTY = "UserSessions", "SupportTickets"
SHOWN = "SELECT count(*) FROM replica.user_sessions WHERE session_id = '{}'"


def main(rows: int) -> None:
    """Measure and print."""
    with world.engines() as (home, uris):
        job = Job(uris, home, "bench", COLLECTION, "", rows)
        world.fill(uris, job.database, {COLLECTION: rows})
        with connect(_settings(uris, home, job.database)) as connections:
            connections.mongo.database.create_collection(EMPTY)
            _run(job, "replicate", COLLECTION, EMPTY)
            for command in (["status"], ["verify", EMPTY], ["sync"]):
                taken = [_run(job, *command) for _ in range(ROUNDS)]
                print(f"etl {' '.join(command)}: {median(cpu for _, cpu in taken):.2f} s of its processor time")
            sessions = connections.mongo.database[COLLECTION]
            sessions.update_many({}, [{"$set": {"session_id": {"$concat": ["$session_id", "x"]}}}])
            wall, cpu = _run(job, "sync")
            print(f"{rows:,} changes: {rows / wall:,.0f} a second; etl sync takes {wall:.1f} s, {cpu:.1f} s of CPU")
            with _follower(job):
                _until_seen(connections, "first")  # it has started by then
                seen = [_until_seen(connections, f"number {one}") for one in range(ROUNDS)]
            print(f"from a write until both stores show it: {median(seen):.1f} s ({min(seen):.1f} to {max(seen):.1f})")


def _settings(uris: Uris, home: Path, database: str) -> Settings:
    mongo, postgres, clickhouse = map(SecretStr, (uris.mongo, uris.postgres, uris.clickhouse))
    return Settings.load(
        home=home, mongo_uri=mongo, postgres_uri=postgres, clickhouse_uri=clickhouse, mongo_database=database
    )


def _run(job: Job, *arguments: str) -> tuple[float, float]:
    """Run a command of ours; return the seconds by the clock and its own processor time."""
    measured = measure_etl(arguments, job.variables, job.home)
    return measured.wall_s, measured.cpu_s


@contextmanager
def _follower(job: Job) -> Iterator[None]:
    """Follow the changes in a process of its own."""
    command: Sequence[str] = ["env", *(f"{name}={value}" for name, value in job.variables.items()), ETL, "sync"]
    with subprocess.Popen([*command, "--follow", "--every", "0"], stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def _until_seen(connections: Connections, text: str) -> float:
    """Change a document, and return in how many seconds both stores show it."""
    sessions: Any = connections.mongo.database[COLLECTION]
    began = time.perf_counter()
    sessions.update_one({}, {"$set": {"session_id": text}})
    while not all(store.rows(SHOWN.format(text))[0][0] for store in connections.targets()):
        connections.postgres.commit()  # or it would go on looking at one state
        if time.perf_counter() - began > PATIENCE_S:
            raise SystemExit(f"a change was not shown within {PATIENCE_S:.0f} s")
        time.sleep(0.02)
    return time.perf_counter() - began


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
