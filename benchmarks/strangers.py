"""Collections that nobody has described: what ours and dlt make of each, and which values are not there any more.

Each value of a document (not null, no document, no array) is looked for in the tables that a tool has made, by its type
and its text: it is kept, kept as another type (a reader must know what it was), or gone. Nulls and empty documents and
arrays are counted apart: there is nothing of them in a table that has no column for them.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from bson import Decimal128, Int64, ObjectId, json_util
from pymongo import MongoClient

from benchmarks import comparison, record, world
from benchmarks.contenders import LOADERS, Job
from benchmarks.environments import environment
from benchmarks.measure import measure
from pipeline.stores.postgres.store import Postgres

DATABASE, SCHEMA = "bench_strangers", "peer_strangers"
Document = dict[str, Any]
Typed = tuple[str, str]  # what kind of value, and its text
_NUMBERS = ("smallint", "integer", "bigint", "double precision", "real", "numeric")


def run(samples: Path) -> dict[str, Any]:
    """Load each file of a folder as a collection, copy it by both, save, and return what was found.

    Args:
        samples: Files of Extended JSON, one collection each: an array of documents, or a document per line.
    """
    found: dict[str, Any] = world.surroundings() | {"collections": {}}
    files = sorted(samples.glob("*.json"))
    with world.engines() as (home, uris), MongoClient[Document](uris.mongo, tz_aware=True) as client:
        for file in files:
            documents = _read(file)
            client[DATABASE][file.stem].drop()
            client[DATABASE][file.stem].insert_many(documents)
            job = Job(uris, home, DATABASE, file.stem, SCHEMA, len(documents))
            outcome = {"documents": len(documents), "ours": _ours(job), "dlt": _dlt(job, documents)}
            found["collections"][file.stem] = outcome
            print(file.stem, json.dumps(outcome), file=sys.stderr)
    record.save("strangers", found)
    comparison.write()
    return found


def _read(file: Path) -> list[Document]:
    text = file.read_text(encoding="utf-8").strip()
    try:
        found = json_util.loads(text)
    except json.JSONDecodeError:
        found = [json_util.loads(line) for line in text.splitlines() if line.strip()]
    return found if isinstance(found, list) else [found]


def _ours(job: Job) -> Document:
    """Infer a contract, copy and prove; what is proven is equal, value for value, type for type."""
    contracts = job.home / "contracts"
    variables = job.variables | {"ETL_CONTRACTS": str(contracts)}
    program = [sys.executable, "-m", "pipeline.cli"]
    steps = {
        "infer": ["contract", "infer", job.collection, "-o", str(contracts), "--replace"],
        "replicate": ["replicate", job.collection],
        "verify": ["verify", job.collection],
    }
    told, seconds = {}, 0.0
    for step, arguments in steps.items():
        measured, said = measure([*program, *arguments], variables, job.home)
        seconds += measured.wall_s
        told[step] = measured.exit_code
        if measured.exit_code:
            return {"error": said[-300:], "step": step}
    table = _tables_of(job, contracts)
    with closing(Postgres(job.uris.postgres)) as postgres:
        refused = int(postgres.rows("SELECT count(*) FROM etl.quarantine WHERE collection = $1", job.collection)[0][0])
        columns = _columns(postgres, "replica", table)
    gone = 0 if told["verify"] == 0 else None
    return {
        "tables": len(columns),
        "columns": sum(map(len, columns.values())),
        "quarantined": refused,
        "proven": told["verify"] == 0,
        "gone": gone,
        "other_type": gone,
        "empties_gone": gone,
        "seconds": round(seconds, 1),
    }


def _tables_of(job: Job, contracts: Path) -> list[str]:
    from contracts.schema.registry import entities

    return [table.name for table in entities([contracts])[job.collection].tables]


def _dlt(job: Job, documents: Sequence[Document]) -> Document:
    """Copy by dlt as it comes, and look for each value."""
    with closing(Postgres(job.uris.postgres)) as postgres, postgres.transaction():
        postgres.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE", f"DROP SCHEMA IF EXISTS {SCHEMA}_staging CASCADE")
    command = [str(environment("dlt") / "python"), str(LOADERS / "dlt_objects.py")]
    measured, said = measure(command, job.variables, job.home)
    if measured.exit_code:
        return {"error": said[-300:]}
    with closing(Postgres(job.uris.postgres)) as postgres:
        names = [
            str(name)
            for (name,) in postgres.rows("SELECT tablename::text FROM pg_tables WHERE schemaname = $1", SCHEMA)
            if not str(name).startswith("_dlt_")
        ]
        columns = _columns(postgres, SCHEMA, names)
        there = _values_of_tables(postgres, columns)
    wanted, empties = _values_of_documents(documents)
    kept = wanted & there
    gone, others = wanted - kept, Counter(_texts(there - kept))
    as_other = sum(min(count, others[text]) for text, count in Counter(_texts(gone)).items())
    return {
        "tables": len(columns),
        "columns": sum(map(len, columns.values())),
        "variants": sum("__v_" in name for kinds in columns.values() for name in kinds),
        "values": wanted.total(),
        "gone": gone.total() - as_other,
        "other_type": as_other,
        "empties": empties,
        "empties_gone": empties,
        "seconds": round(measured.wall_s, 1),
        "such_as": [f"{kind} {text[:40]}" for kind, text in sorted(gone)[:5]],
    }


def _texts(values: Counter[Typed]) -> Iterator[str]:
    return (text for (_, text), count in values.items() for _ in range(count))


def _columns(postgres: Postgres, schema: str, tables: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the columns of tables with their types, without what a tool keeps for itself."""
    query = (
        "SELECT column_name::text, data_type::text FROM information_schema.columns "
        "WHERE table_schema = $1 AND table_name = $2"
    )
    return {
        table: {name: kind for name, kind in postgres.rows(query, schema, table) if not name.startswith("_dlt_")}
        for table in tables
    }


def _values_of_tables(postgres: Postgres, columns: dict[str, dict[str, str]]) -> Counter[Typed]:
    found: Counter[Typed] = Counter()
    for table, kinds in columns.items():
        for name, kind in kinds.items():
            query = f'SELECT "{name}"::text FROM {SCHEMA}."{table}" WHERE "{name}" IS NOT NULL'
            found.update(_of_column(kind, text) for (text,) in postgres.rows(query))
    return found


def _of_column(kind: str, text: str) -> Typed:
    if kind in _NUMBERS:
        return "number", _number(Decimal(text))
    if kind == "boolean":
        return "boolean", text
    if kind.startswith("timestamp"):
        return "date", _moment(datetime.fromisoformat(text))
    return "text", text


def _values_of_documents(documents: Sequence[Document]) -> tuple[Counter[Typed], int]:
    found: Counter[Typed] = Counter()
    empties = 0
    for document in documents:
        for value in _leaves(document):
            if value is None or value in ({}, []):
                empties += 1
            else:
                found[_typed(value)] += 1
    return found, empties


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list) and value:
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    else:
        yield value


def _typed(value: Any) -> Typed:
    if isinstance(value, bool):
        return "boolean", str(value).lower()
    if isinstance(value, int | Int64 | float):
        return "number", _number(Decimal(repr(float(value))) if isinstance(value, float) else Decimal(int(value)))
    if isinstance(value, Decimal128):
        return "number", _number(value.to_decimal())
    if isinstance(value, datetime):
        return "date", _moment(value)
    return "text", str(value) if isinstance(value, ObjectId | str) else repr(value)


def _number(number: Decimal) -> str:
    return format(number.normalize(), "f") if number.is_finite() else str(number)


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
