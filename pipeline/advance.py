"""Let the made-up world go on: new documents, changed ones and deleted ones, so that there is something to follow.

Up to when a collection tells of the world stands in its mark, beside the seed; no clock is asked. A step is announced
in the marks before it is begun, and what it does hangs on the seed and on what is there: one that was cut short is
ended by the next call, with the same outcome.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

from bson import CodecOptions
from bson.codec_options import DatetimeConversion
from pymongo import UpdateOne
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from contracts.schema.entity import Entity
from generators import World
from generators import generate as documents_of
from generators.later import Step, changed, deleted, may_be_deleted, may_change
from generators.world import END, Window
from pipeline.errors import UsageError
from pipeline.generate import MAJORITY, MARKS, address, is_ours, place
from pipeline.runtime.progress import Progress, tell_nobody
from pipeline.settings import seconds as seconds_of
from pipeline.stores.mongo.errors import translated
from transforms.gc_pause import gc_paused

_T = TypeVar("_T")
LONGEST_S = 366 * 86_400
# Some of the documents may be broken on purpose.
LENIENT = CodecOptions[Any](
    datetime_conversion=DatetimeConversion.DATETIME_CLAMP, unicode_decode_error_handler="replace"
)
_BATCH = 1_000
_IS_THERE = 11_000  # MongoDB's number for an _id that is there already


@dataclass(frozen=True)
class AdvancedCollection:
    """What became of one collection; what an earlier call did before it was cut short is not counted.

    Attributes:
        collection: Its name.
        inserted: How many documents are new.
        changed: How many were changed.
        deleted: How many were deleted.
        seconds: How long it took.
    """

    collection: str
    inserted: int
    changed: int
    deleted: int
    seconds: float


@dataclass(frozen=True)
class Advanced:
    """What ``advance`` wrote.

    Attributes:
        since: Up to when the world had gone.
        until: Up to when it has gone now.
        collections: One entry per collection that was written.
    """

    since: datetime
    until: datetime
    collections: tuple[AdvancedCollection, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the same as plain values, by collection."""
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "collections": {one.collection: asdict(one) for one in self.collections},
        }


@dataclass(frozen=True)
class _Mark:
    """A collection that was generated.

    Attributes:
        entity: Its contract.
        collection: The collection.
        marks: Where its mark is.
        world: Its users and products at the beginning.
        rows: Its documents at the beginning.
        until: Up to when it tells of the world.
        announced: Up to when it is to.
    """

    entity: Entity
    collection: Collection[Any]
    marks: Collection[Any]
    world: World
    rows: int
    until: int
    announced: int

    def note(self, **values: int) -> None:
        """Write into the mark."""
        self.marks.update_one({"_id": self.collection.name}, {"$set": values})


def span(text: str) -> float:
    """Return the seconds of a time such as ``7d`` or ``12h``.

    Raises:
        UsageError: It is none.
    """
    found = seconds_of(text)
    if not isinstance(found, float):
        raise UsageError(f"the world goes on for a time such as 7d or 12h, not {text!r}")
    return found


def advance(
    database: Database[Any],
    entities: Mapping[str, Entity],
    seconds: float,
    *,
    progress: Progress[str] = tell_nobody,
) -> Advanced:
    """Let what was generated go on for some time: the same state and seed give the same documents.

    Args:
        database: Where it was generated.
        entities: The contracts by collection.
        seconds: For how long. If an earlier call was cut short, this one ends what that one began, and no more.
        progress: Is told the new documents of each collection, and how many of them are written.

    Raises:
        UsageError: The time makes no sense, or nothing was generated; nothing was written.
        ServerError: MongoDB can't be reached or refuses.
    """
    if not 1 <= seconds <= LONGEST_S:
        raise UsageError(f"the world goes on for 1 second to 366 days at a time, not for {seconds:g} s")
    database = database.with_options(codec_options=LENIENT)
    with translated(address(database)):
        marks = _marks(database, entities)
        since = min(one.until for one in marks)
        goal = _goal(marks, round(seconds) * 1_000)
        done = [_go_on(one, goal, progress) for one in marks if one.until < goal]
    return Advanced(_moment(since), _moment(goal), tuple(done))


def _marks(database: Database[Any], entities: Mapping[str, Entity]) -> list[_Mark]:
    """Return the collections that were generated, and are still those."""
    found = list[_Mark]()
    for name, entity in entities.items():
        where, bare = place(database, name)
        marks = where.get_collection(MARKS, write_concern=MAJORITY)
        mark = marks.find_one({"_id": bare})
        if mark is None or not mark["uuid"] or not is_ours(where, bare):
            continue
        sized = World.sized(entities, {name: mark["rows"]}, mark["seed"])
        world = World(mark["seed"], mark.get("users", sized.user_count), mark.get("products", sized.product_count))
        world = replace(world, end=mark.get("end", END))
        collection, until = where.get_collection(bare, write_concern=MAJORITY), mark.get("until", END)
        found.append(_Mark(entity, collection, marks, world, mark["rows"], until, mark.get("announced", until)))
    if not found:
        raise UsageError(f"nothing in the database {database.name!r} was generated that could go on; run etl generate")
    return found


def _goal(marks: list[_Mark], milliseconds: int) -> int:
    """Return up to when the world is to go, announced in all marks; what was announced and not done comes first."""
    if unfinished := [one.announced for one in marks if one.announced > one.until]:
        goal = max(unfinished)
    else:
        goal = max(one.until for one in marks) + milliseconds
    for one in marks:
        one.note(announced=goal)
    return goal


def _go_on(mark: _Mark, goal: int, progress: Progress[str]) -> AdvancedCollection:
    """Bring one collection up to a moment."""
    began, window = time.perf_counter(), Window(mark.until, goal)
    step = Step(mark.entity, mark.world.at(goal), window)
    with gc_paused():
        gone, others = _delete(mark.collection, step), _change(mark.collection, step)
        new = _insert(mark, step, progress)
    mark.note(until=goal)
    return AdvancedCollection(mark.entity.collection, new, others, gone, time.perf_counter() - began)


def _delete(collection: Collection[Any], step: Step) -> int:
    ids = (one["_id"] for one in collection.find(may_be_deleted(step), {"_id": 1}))
    return sum(collection.delete_many({"_id": {"$in": some}}).deleted_count for some in _batches(deleted(step, ids)))


def _change(collection: Collection[Any], step: Step) -> int:
    """Change documents; the filter of each is that of all, so what was changed already is left alone."""
    query = may_change(step)
    if query is None:
        return 0
    # All are read before the first is written, or one could be seen twice.
    found = [(one["_id"], changed(step, one)) for one in collection.find(query)]
    updates = [UpdateOne({"_id": key, **query}, update) for key, update in found if update is not None]
    return sum(collection.bulk_write(some, ordered=False).modified_count for some in _batches(updates))


def _insert(mark: _Mark, step: Step, progress: Progress[str]) -> int:
    """Write what is new; what is there already was written by a call that was cut short."""
    before, after = (mark.world.grown(mark.entity, mark.rows, moment) for moment in step.window)
    rows, written, seen = after - before, 0, 0
    for batch in documents_of(mark.entity, rows, world=step.world, window=step.window, before=before):
        for some in _batches(batch.documents):
            written += _inserted(mark.collection, some)
            seen += len(some)
            progress(mark.entity.collection, rows, seen)
    return written


def _inserted(collection: Collection[Any], documents: list[Mapping[str, Any]]) -> int:
    try:
        return len(collection.insert_many(documents, ordered=False).inserted_ids)
    except BulkWriteError as error:
        if any(one["code"] != _IS_THERE for one in error.details["writeErrors"]):
            raise
        return int(error.details["nInserted"])


def _batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    iterator = iter(items)
    while some := list(islice(iterator, _BATCH)):
        yield some


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1_000, UTC)
