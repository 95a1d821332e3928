"""Fill MongoDB with made-up documents: the only use case that writes there."""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

from bson import Binary, CodecOptions
from pymongo import WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database

from contracts.schema.entity import Entity
from contracts.schema.namespace import Namespace
from generators import DEFECTS, World, rows_at
from generators import generate as documents_of
from generators.world import END
from pipeline.errors import UsageError
from pipeline.runtime.progress import Progress, tell_nobody
from pipeline.runtime.timings import ACTIVITY
from pipeline.stores.mongo.errors import translated
from transforms.gc_pause import gc_paused

MARKS = "_etl_generated"  # which collections are ours to replace; not among them, so it is never replicated
MOST_DOCUMENTS = 1_000_000_000  # 1 GB of memory for the users and products that they are about
WRITERS = 2  # batches on their way to the server while the next one is drawn: more gain nothing on two cores
_YEARS = range(1980, 2200)  # what both stores can hold, and two years before as well
MAJORITY = WriteConcern("majority")  # so that a read at a cluster time sees every document


@dataclass(frozen=True)
class GeneratedCollection:
    """What was written to one collection.

    Attributes:
        collection: Its name.
        documents: How many documents it has now, broken ones included.
        defects: How many of them are broken, by the name of the defect.
        seconds: How long it took.
    """

    collection: str
    documents: int
    defects: dict[str, int]
    seconds: float

    def expected(self, outcome: str) -> int:
        """Return how many broken documents must end as ``mended`` or as ``quarantined``."""
        return sum(count for name, count in self.defects.items() if DEFECTS[name].outcome == outcome)


@dataclass(frozen=True)
class Generated:
    """What ``generate`` wrote.

    Attributes:
        seed: The seed it came from.
        collections: One entry per collection that was written.
    """

    seed: int
    collections: tuple[GeneratedCollection, ...]

    @property
    def documents(self) -> int:
        """All documents."""
        return sum(one.documents for one in self.collections)

    def as_json(self) -> dict[str, Any]:
        """Return the same as plain values, by collection."""
        return {
            "seed": self.seed,
            "documents": self.documents,
            "collections": {
                one.collection: asdict(one)
                | {"mended": one.expected("mended"), "quarantined": one.expected("quarantined")}
                for one in self.collections
            },
        }


def generate(
    database: Database[Any],
    entities: Mapping[str, Entity],
    *,
    scale: float = 1.0,
    rows: Mapping[str, int] | None = None,
    seed: int = 0,
    defects: float = 0.0,
    until: date | None = None,
    replace: bool = False,
    progress: Progress[str] = tell_nobody,
) -> Generated:
    """Replace collections by made-up documents; the same arguments give the same documents.

    Args:
        database: Where to write.
        entities: The contracts by collection.
        scale: 1 makes about 100,000 documents over the seven collections.
        rows: Exact numbers for some collections, by their names or their tables', instead of the scale's; 0 leaves a
            collection alone.
        seed: Decides every value; not negative.
        defects: Share of the documents (0 to 1) that break their contract in a known way.
        until: The day (UTC) before which all happens; 2026-06-30 if None, for no clock is asked.
        replace: Also replace collections that were not made by this function.
        progress: Is told the documents of each collection, and how many of them are written.

    Raises:
        UsageError: An argument makes no sense, or a collection is not ours to replace; nothing was written.
        ServerError: MongoDB can't be reached or refuses.
    """
    plan = _plan(entities, scale, rows or {}, seed, defects)
    world = World.sized(entities, plan, seed, _end(until))
    database = database.with_options(codec_options=CodecOptions())  # the caller's may read UUIDs as another type
    with translated(address(database)):
        if not replace:
            _check_ours(database, plan)
        written = [_fill(database, entities[name], count, world, defects, progress) for name, count in plan.items()]
    return Generated(seed, tuple(written))


def _end(until: date | None) -> int:
    if until is None:
        return END
    if not _YEARS.start <= until.year < _YEARS.stop:
        raise UsageError(f"the world ends in a year from {_YEARS.start} to {_YEARS.stop - 1}, not in {until.year}")
    return int(datetime(until.year, until.month, until.day, tzinfo=UTC).timestamp()) * 1_000


def _plan(
    entities: Mapping[str, Entity], scale: float, rows: Mapping[str, int], seed: int, defects: float
) -> dict[str, int]:
    """Return how many documents to make of which collection."""
    if not 0 <= scale < math.inf:
        raise UsageError(f"the scale must be a number from 0 up, not {scale}")
    if not 0 <= defects <= 1:
        raise UsageError(f"the share of defects must be between 0 and 1, not {defects}")
    if seed < 0:
        raise UsageError(f"the seed must not be negative, as {seed} is")
    tables = {entity.table: name for name, entity in entities.items()} | {name: name for name in entities}
    for name, count in rows.items():
        if name not in tables:
            raise UsageError(
                f"there is no collection {name!r} to make rows of; there are {', '.join(sorted(entities))}"
            )
        if count < 0:
            raise UsageError(f"the number of rows of {name} must not be negative, as {count} is")
    rows = {tables[name]: count for name, count in rows.items()}
    planned = {name: rows.get(name, rows_at(entity, scale)) for name, entity in entities.items()}
    if (total := sum(planned.values())) > MOST_DOCUMENTS:
        raise UsageError(
            f"{total:,} documents are too many to make: at most {MOST_DOCUMENTS:,}, which is a scale of 10000"
        )
    return {name: count for name, count in planned.items() if count}


def _fill(
    database: Database[Any], entity: Entity, rows: int, world: World, defects: float, progress: Progress[str]
) -> GeneratedCollection:
    """Make one collection anew."""
    began = time.perf_counter()
    collection = _fresh(*place(database, entity.collection), world, rows)
    counted: Counter[str] = Counter()
    written = 0
    with gc_paused(), writer(collection) as write:
        for batch in documents_of(entity, rows, world=world, defects=defects):
            counted += batch.defects
            with ACTIVITY.at(entity.collection, "mongo"):
                written += write(batch.documents)
            progress(entity.collection, rows, written)
    progress(entity.collection, rows, rows)
    return GeneratedCollection(entity.collection, rows, dict(sorted(counted.items())), time.perf_counter() - began)


@contextmanager
def writer(collection: Collection[Any]) -> Iterator[Callable[[list[Mapping[str, Any]]], int]]:
    """Yield a function that sends a batch and returns how many documents have arrived since the last call.

    The batch is sent by another thread, so that the server stores it while the next one is drawn.
    """
    waiting: deque[Future[int]] = deque()

    def insert(documents: list[Mapping[str, Any]]) -> int:
        collection.insert_many(documents, ordered=False)
        return len(documents)

    with ThreadPoolExecutor(WRITERS, thread_name_prefix="generate") as threads:

        def write(documents: list[Mapping[str, Any]]) -> int:
            arrived = waiting.popleft().result() if len(waiting) == WRITERS else 0
            waiting.append(threads.submit(insert, documents))
            return arrived

        yield write
        for future in waiting:
            future.result()


def _fresh(database: Database[Any], name: str, world: World, rows: int) -> Collection[Any]:
    """Return a new, empty collection that bears our mark, whenever a crash comes."""
    marks = database.get_collection(MARKS, write_concern=MAJORITY)
    database.drop_collection(name)
    # Announced first: if we die before the mark is complete, what is there then is empty and expected.
    about = {
        "seed": world.seed,
        "rows": rows,
        "users": world.user_count,
        "products": world.product_count,
        "end": world.end,
        "until": world.end,
    }
    marks.replace_one({"_id": name}, about | {"uuid": None}, upsert=True)
    database.create_collection(name)
    marks.update_one({"_id": name}, {"$set": {"uuid": _uuid(database, name)}})
    return database.get_collection(name, write_concern=MAJORITY)


def _check_ours(database: Database[Any], names: Mapping[str, int]) -> None:
    """Raise if a collection was not made by us, or was dropped and made again by someone else since."""
    others = [name for name in names if not is_ours(*place(database, name))]
    if others:
        raise UsageError(
            f"the collections {', '.join(others)} in the database {database.name!r} were not generated; "
            "add --replace to drop them and what they hold, or choose another database by ETL_MONGO_DATABASE"
        )


def place(database: Database[Any], collection: str) -> tuple[Database[Any], str]:
    """Return in which database a collection is, and what it is called there."""
    if isinstance(collection, Namespace):
        return database.client.get_database(collection.database, database.codec_options), collection.name
    return database, collection


def is_ours(database: Database[Any], name: str) -> bool:
    """Return whether a collection is one that this module made, or may make: none is there."""
    uuid = _uuid(database, name)
    if uuid is None:
        return True
    mark = database[MARKS].find_one({"_id": name})
    if mark is None:
        return False
    if mark["uuid"] is None:
        return database[name].find_one({}, {"_id": 1}) is None
    return bool(mark["uuid"] == uuid)


def _uuid(database: Database[Any], name: str) -> Binary | None:
    """Return the identity that MongoDB gave a collection when it was made; ``None`` if there is none of that name."""
    found = next(iter(database.list_collections(filter={"name": name})), None)
    return None if found is None else found["info"].get("uuid", Binary(b""))  # a view has none


def address(database: Database[Any]) -> str:
    """Return the servers' addresses, which hold no password."""
    servers = database.client.topology_description.server_descriptions()
    return ", ".join(sorted(f"{host}:{port}" for host, port in servers)) or "the given URI"
