"""Exactness: what becomes of one odd document among a hundred plain ones, in each tool's copy in PostgreSQL."""

import re
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS
from pymongo import MongoClient
from pymongo.collection import Collection

from benchmarks import record, world
from benchmarks.contenders import CONTENDERS, Contender, Job
from benchmarks.measure import measure
from pipeline.stores.postgres.store import Postgres

DATABASE, COLLECTION, PLAIN = "bench_odd", "EventLogs", 100
NAMES = ("postgres", "handwritten", "ingestr", "sling", "dlt_arrow", "dlt_objects")
YEAR_18029 = DatetimeMS(506_790_000_000_000)
Document = dict[str, Any]


@dataclass(frozen=True)
class Oddity:
    """One odd thing.

    Attributes:
        name: For people.
        change: Makes a plain document odd.
        kept: Pattern of a row's JSON text if the value is there, with its type.
        as_text: Pattern of it if the value is there as a text, so that a reader must know what it was.
    """

    name: str
    change: Callable[[Document], Document]
    kept: str
    as_text: str = "(?!)"


def _inside(**fields: Any) -> Callable[[Document], Document]:
    return lambda document: document | {"details": document["details"] | fields}


def _outside(**fields: Any) -> Callable[[Document], Document]:
    return lambda document: document | fields


ODDITIES = (
    Oddity("NaN in a free-form field", _inside(odd=float("nan")), r'numberDouble": "NaN"', "NaN"),
    Oddity("date in the year 18029 in a free-form field", _inside(odd=YEAR_18029), r"date.*506790000000000", "18029"),
    Oddity("date in the year 18029 in a declared field", _outside(timestamp=YEAR_18029), r"18029|506790000000000"),
    Oddity("NUL in a text", _inside(odd="a\x00b"), r"a\\+u0000b"),
    Oddity("text where all others have a number", _inside(code="E17"), r"E17"),
    Oddity("number in a declared text field", _outside(event_type=7), r'event_type": 7\b', r'event_type": "7"'),
    Oddity("field that only the last document has", _outside(odd="late"), r"late"),
    Oddity("integer 2^53 + 1", _inside(odd=Int64(2**53 + 1)), r"9007199254740993"),
    Oddity("Decimal128 1.10", _inside(odd=Decimal128("1.10")), r'numberDecimal": "1\.10"|\b1\.10[,}]', r'"1\.10'),
    Oddity("names that differ in case only", _inside(UserId="one", userId="two"), r"one.*two|two.*one"),
    Oddity("null where all others have a document", _outside(details=None), r'"details": null'),
)


def run() -> dict[str, Any]:
    """Try every oddity with everyone, save, and return what was found."""
    found: dict[str, Any] = world.surroundings() | {"plain": PLAIN, "oddities": {}}
    with world.engines() as (home, uris), MongoClient[Document](uris.mongo, tz_aware=True) as client:
        collection = client[DATABASE][COLLECTION]
        for name in NAMES:
            one = CONTENDERS[name]
            job = Job(uris, home, DATABASE, COLLECTION, f"peer_{name}", PLAIN + 1)
            one.prepare(job)
            for oddity in ODDITIES:
                outcome = _tried(one, job, collection, oddity)
                found["oddities"].setdefault(oddity.name, {})[name] = outcome
                print(f"{one.title:32} {oddity.name:46} {outcome['verdict']}: {outcome['text']}", file=sys.stderr)
        record.save("fidelity", found)
    return found


def _tried(one: Contender, job: Job, collection: Collection[Document], oddity: Oddity) -> Document:
    """Copy the plain documents if their copy isn't there, then all with the odd one, and look."""
    documents = _plain()
    if _count(job, one) < PLAIN:
        one.prepare(job)
        _store(collection, documents)
        measure(one.command(job), job.variables, job.home)
    _store(collection, [*documents, oddity.change(documents[-1] | {"_id": _id(PLAIN), "event_id": "odd"})])
    measured, said = measure(one.command(job), job.variables, job.home)
    if measured.exit_code:
        left = "old copy kept" if (rows := _count(job, one)) >= PLAIN else f"{rows} rows left"
        return {"verdict": f"load fails, {left}", "text": _last_words(said)}
    if one.lands == "etl" and (reasons := _refused(job)):
        return {"verdict": "quarantined whole", "text": reasons}
    row = _odd_row(job, one)
    if row is None:
        return {"verdict": "lost", "text": f"{_count(job, one)} rows, none with its key"}
    if re.search(oddity.kept, row):
        return {"verdict": "kept", "text": row}
    return {"verdict": "kept as text" if re.search(oddity.as_text, row) else "changed", "text": row}


def _plain() -> list[Document]:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        {
            "_id": _id(number),
            "event_id": f"E{number}",
            "timestamp": start + timedelta(minutes=number),
            "event_type": "error",
            "details": {"code": number, "note": "plain"},
        }
        for number in range(PLAIN)
    ]


def _id(number: int) -> ObjectId:
    return ObjectId(number.to_bytes(12, "big"))


def _store(collection: Collection[Document], documents: list[Document]) -> None:
    collection.delete_many({})
    collection.insert_many(documents)


def _table(job: Job, one: Contender) -> str:
    return f"{'replica' if one.lands == 'etl' else job.schema}.{job.table}"


def _count(job: Job, one: Contender) -> int:
    with closing(Postgres(job.uris.postgres)) as postgres:
        if postgres.rows(f"SELECT to_regclass('{_table(job, one)}')::text")[0][0] is None:
            return 0
        return int(postgres.rows(f"SELECT count(*) FROM {_table(job, one)}")[0][0])


def _odd_row(job: Job, one: Contender) -> str | None:
    key = "data->>'event_id'" if one.lands == "sling" else "event_id"
    query = f"SELECT to_jsonb(t)::text FROM {_table(job, one)} t WHERE {key} = 'odd'"
    with closing(Postgres(job.uris.postgres)) as postgres:
        found = postgres.rows(query)
    return str(found[0][0]) if found else None


def _refused(job: Job) -> str:
    with closing(Postgres(job.uris.postgres)) as postgres:
        found = postgres.rows("SELECT reasons::text FROM etl.quarantine WHERE resolved_at IS NULL")
    return str(found[0][0]) if found else ""


def _last_words(said: str) -> str:
    """Return the line that tells what was wrong, of whatever form a tool says it in."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", re.sub(r"\w+://\S+", "(uri)", said))
    lines = [
        line.strip() for line in plain.splitlines() if re.search("error|invalid|out of range|exception", line, re.I)
    ]
    telling = [line for line in lines if len(line) > 40] or lines
    return telling[-1][:300] if telling else ""
