"""Who takes part: how each is run as a whole process, what its target must be like before, and what it leaves there."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pymongo import MongoClient

from benchmarks import measure, stores
from benchmarks.environments import environment
from pipeline.engines.embedded import Uris

LOADERS = Path(__file__).with_name("loaders")
TABLES = {"UserSessions": "user_sessions", "EventLogs": "event_logs"}
BUSINESS_KEYS = {"UserSessions": "session_id", "EventLogs": "event_id"}
# Nobody is to call home, or to wait because it can't.
QUIET = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "INGESTR_DISABLE_TELEMETRY": "true",
    "DISABLE_TELEMETRY": "true",
    "SLING_DISABLE_TELEMETRY": "TRUE",
}


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes:
        uris: Where the servers are.
        home: Folder of the servers.
        database: MongoDB database to read.
        collection: What to copy.
        schema: PostgreSQL schema to write to, for those that can be told.
        documents: How many there are to read.
    """

    uris: Uris
    home: Path
    database: str
    collection: str
    schema: str
    documents: int

    @property
    def table(self) -> str:
        """The table's name in the target."""
        return TABLES.get(self.collection, self.collection.lower())

    @property
    def variables(self) -> dict[str, str]:
        """What the commands find in their environment."""
        return {
            "BENCH_MONGO": self.uris.mongo,
            "BENCH_POSTGRES": self.uris.postgres,
            "BENCH_DATABASE": self.database,
            "BENCH_COLLECTION": self.collection,
            "BENCH_SCHEMA": self.schema,
            "BENCH_TABLE": self.table,
            "BENCH_LIMIT": str(self.documents),
            "ETL_MONGO_URI": self.uris.mongo,
            "ETL_POSTGRES_URI": self.uris.postgres,
            "ETL_CLICKHOUSE_URI": self.uris.clickhouse,
            "ETL_MONGO_DATABASE": self.database,
            "ETL_HOME": str(self.home),
            "HOME": str(self.home),
            **QUIET,
        }


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: Short, for results.
        title: For people.
        command: Program and arguments for a job.
        prepare: Puts the targets into the state that the run begins with.
        settings: What a reader must know to do the same.
        environment: Its own environment; ours if none.
        lands: Dialect of what it leaves in PostgreSQL, for `benchmarks.equality`; none if it leaves nothing there.
        most: Documents at most: a slow one is measured on fewer.
        rounds: In how many rounds at most: one that no target speaks of needs no median.
    """

    name: str
    title: str
    command: Callable[[Job], list[str]]
    prepare: Callable[[Job], None]
    settings: str
    environment: str | None = None
    lands: str | None = None
    most: int | None = None
    rounds: int | None = None


def _etl(*arguments: str) -> Callable[[Job], list[str]]:
    return lambda job: [measure.ETL, *arguments, job.collection, "--json"]


def _generate(job: Job) -> list[str]:
    rows = f"{job.collection}={job.documents}"
    into = ["env", "ETL_MONGO_DATABASE=bench_generated"]
    return [*into, measure.ETL, "generate", "--scale", "0", "--rows", rows, "--replace", "--json"]


def _loader(name: str, own: str | None = None) -> Callable[[Job], list[str]]:
    def command(job: Job) -> list[str]:
        python = environment(own) / "python" if own else Path(sys.executable)
        return [str(python), str(LOADERS / f"{name}.py")]

    return command


def _ingestr(job: Job) -> list[str]:
    source = ["--source-uri", job.uris.mongo, "--source-table", f"{job.database}.{job.collection}"]
    target = ["--dest-uri", job.uris.postgres, "--dest-table", f"{job.schema}.{job.table}"]
    return [str(environment("ingestr") / "ingestr"), "ingest", *source, *target, "--yes"]


def _sling(job: Job) -> list[str]:
    separator = "&" if urlsplit(job.uris.postgres).query else "?"
    postgres = f"{job.uris.postgres}{separator}sslmode=disable"
    program = next((environment("sling").parent / "lib").rglob("sling-linux-amd64"), environment("sling") / "sling")
    source = ["--src-conn", job.uris.mongo, "--src-stream", f"{job.database}.{job.collection}"]
    target = ["--tgt-conn", postgres, "--tgt-object", f"{job.schema}.{job.table}"]
    return [str(program), "run", *source, *target, "--mode", "full-refresh"]


def _fresh(job: Job) -> None:
    stores.forget_ours(job.uris)


def _as_is(job: Job) -> None:
    stores.settle(job.uris)


def _few_changed(job: Job) -> None:
    """Change one in a hundred documents."""
    name = BUSINESS_KEYS[job.collection]
    with MongoClient[dict[str, Any]](job.uris.mongo) as client:
        longer = {"$set": {name: {"$concat": [f"${name}", "x"]}}}
        client[job.database][job.collection].update_many({"$sampleRate": 0.01}, [longer])
    stores.settle(job.uris)


def _own_schema(job: Job) -> None:
    stores.empty_schema(job.uris, job.schema)


ETL = "defaults (ETL_MEMORY=1GiB); gate, Pandera, child tables, primary keys and indexes, books, atomic publish"
# In this order in each round: the repeated copies and the proof need what the first copy left.
CONTENDERS: Mapping[str, Contender] = {
    one.name: one
    for one in (
        Contender("generate", "etl generate", _generate, _as_is, "one collection, drawn and stored"),
        Contender(
            "floor",
            "floor: only read",
            _loader("floor"),
            _as_is,
            "find_arrow_all of the whole collection, dropped; of EventLogs only the scalar fields",
        ),
        Contender(
            "polars_mongo",
            "polars-mongo: only read the scalars",
            _loader("polars_reader", "polars_mongo"),
            _as_is,
            "scan_mongo(...).select(scalar fields).collect(), dropped; it fails on subdocuments (0.3.1)",
            "polars_mongo",
            most=200_000,
            rounds=1,
        ),
        Contender("both_first", "etl replicate, both stores, first", _etl("replicate"), _fresh, ETL),
        Contender("both_again", "etl replicate, both stores, again", _etl("replicate"), _as_is, ETL),
        Contender(
            "both_changed",
            "etl replicate, both stores, 1 % changed",
            _etl("replicate"),
            _few_changed,
            f"{ETL}; a text was changed in one of a hundred documents",
        ),
        Contender("verify", "etl verify, both stores", _etl("verify"), _as_is, "every value, by another decoder"),
        Contender(
            "postgres",
            "etl replicate, PostgreSQL only",
            _etl("replicate", "--target", "postgres"),
            _fresh,
            ETL,
            lands="etl",
        ),
        Contender(
            "handwritten",
            "hand-written COPY",
            _loader("handwritten", "handwritten"),
            _own_schema,
            "pymongo and psycopg 3; one table, nested values as jsonb, no key",
            "handwritten",
            "documents",
        ),
        Contender(
            "arrow_adbc",
            "PyMongoArrow and ADBC",
            _loader("arrow_adbc", "arrow"),
            _own_schema,
            "forty lines, a batch at a time; one table, nested values as jsonb, no key",
            "arrow",
            "documents",
            rounds=1,
        ),
        Contender(
            "ingestr",
            "ingestr",
            _ingestr,
            _own_schema,
            "defaults; one table, nested values as jsonb, primary key _id",
            "ingestr",
            "documents",
        ),
        Contender(
            "sling",
            "Sling",
            _sling,
            _own_schema,
            "full-refresh; one column of jsonb, no key (flatten fails on EventLogs)",
            "sling",
            "sling",
        ),
        Contender(
            "dlt_arrow",
            "dlt, Arrow",
            _loader("dlt_arrow", "dlt"),
            _own_schema,
            "own resource; explicit schema, parquet files, ADBC; nested values as JSON in varchar, no key",
            "dlt",
            "documents",
        ),
        Contender(
            "dlt_objects",
            "dlt, defaults",
            _loader("dlt_objects", "dlt"),
            _own_schema,
            "own resource; Python objects, INSERT statements, child tables",
            "dlt",
            "dlt_objects",
            most=100_000,
            rounds=1,
        ),
    )
}


def versions(name: str) -> str:
    """Return what is installed for a contender."""
    from benchmarks.environments import PACKAGES

    own = CONTENDERS[name].environment
    return ", ".join(PACKAGES[own]) if own else f"this tree, Python {sys.version.split()[0]} on {os.uname().sysname}"
