"""The source: MongoDB, read at one cluster time and never written to."""

import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import bson
import pymongo
from bson import CodecOptions, Timestamp
from bson.codec_options import DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo import CursorType
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from tenacity import retry, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_fixed

from contracts.schema.entity import ID, Entity
from contracts.schema.mongo import gate
from contracts.schema.namespace import Namespace
from contracts.schema.omitted import Path, is_all_left_out, omitted, projection, without
from pipeline.errors import LostError, OvertakenError, ServerError, SnapshotError
from pipeline.runtime.waits import SILENCE_S
from pipeline.stores.mongo.errors import HEARTBEATS, NAMESPACE_NOT_FOUND, UNAUTHORIZED, first_line, translated
from pipeline.stores.mongo.listing import Listed, listed
from pipeline.stores.mongo.spool import Spool, spool
from pipeline.stores.selection import Ids, Range
from pipeline.stores.source import Source
from pipeline.text.redaction import remember
from transforms.bson.documents import DECODING, split_documents
from transforms.bson.edit import with_id_first
from transforms.bson.identity import cut_id
from transforms.ingest.omit import without_omitted

Document = dict[str, Any]
RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
FAR_DATES: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
_SAMPLES_PER_PARTITION = 20
_SAMPLED_AT_RANDOM = 0.05  # of a collection; of a larger part MongoDB makes a scan
_IDS_PER_QUERY = 1_000
_LONGEST_ID = 8_000  # bytes of an _id in such a query, which may have 16 MB
# Of a batch. A server sends up to 16 MB at once, but then the copies that the driver makes of it leave the processor's
# cache, and their memory comes anew from the system each time: measured, three times the time.
_BATCH_BYTES = 2**20
_BATCH_ROWS = 1_000
_IS_A_VIEW = 166  # CommandNotSupportedOnView
_LENGTH = 4  # bytes before the first element of a document; one more stands after the last
_PATIENCE = 5
# The stores order texts by their bytes; a collection with a collation of its own would not, and must be sorted.
_BYTEWISE: dict[str, Any] = {"collation": {"locale": "simple"}, "allow_disk_use": True}
_ALL = Range()
_HISTORY_S = 300  # MongoDB's default
_SECONDS_TO_ELECT = 15.0  # an election takes 10 to 12 s by default
_OVERTAKEN = 5  # times that a read is begun which MongoDB's overwriting has overtaken
_AWAIT_MS = 100  # for which the server waits for changes where there are none


@dataclass(frozen=True)
class History:
    """How much of its past MongoDB can read.

    Attributes:
        seconds: For how long it remembers; its default if that could not be read.
        unread: Why it could not be read; None if it was.
    """

    seconds: int
    unread: str | None = None

    def outlived_by(self, work: str, seconds: float) -> str | None:
        """Return a warning if work at one moment is likely to take longer than that moment can be read.

        Args:
            work: What people call it.
            seconds: How long it is likely to take.

        Returns:
            One sentence that tells both times and how to raise the limit; None if all is well.
        """
        if seconds < self.seconds:
            return None
        assumed = f" (its default, assumed because the limit could not be read: {self.unread})" if self.unread else ""
        return (
            f"{work} is likely to take {seconds / 60:,.0f} minutes, but MongoDB can read a moment of the past for "
            f"{self.seconds / 60:,.0f} minutes only{assumed}; raise it on every node, and the oplog with it: "
            f"setParameter minSnapshotHistoryWindowInSeconds={int(seconds * 2)}"
        )


@dataclass(frozen=True)
class Extent:
    """How much a collection holds, as MongoDB's statistics say.

    Attributes:
        size: Bytes of BSON.
        documents: How many there are.
    """

    size: int
    documents: int


class _TimedReadConcern(ReadConcern):
    """A read concern that names a cluster time, which several processes can share."""

    def __init__(self, level: str, word: str, cluster_time: Timestamp) -> None:
        super().__init__(level)
        self._named = {word: cluster_time}

    @property
    def document(self) -> Document:
        """The read concern as the server takes it."""
        return {"level": self.level, **self._named}


class SnapshotReadConcern(_TimedReadConcern):
    """Read concern ``snapshot``: as it was at a given cluster time."""

    def __init__(self, cluster_time: Timestamp) -> None:
        super().__init__("snapshot", "atClusterTime", cluster_time)


class AfterReadConcern(_TimedReadConcern):
    """Read concern ``majority``, for what can't be read at one moment: not as it was before a given cluster time."""

    def __init__(self, cluster_time: Timestamp) -> None:
        super().__init__("majority", "afterClusterTime", cluster_time)


class _NoPrimaryYetError(LostError):
    """The server has just started, or another one is about to be elected."""


class Mongo:
    """One MongoDB database as a source.

    Args:
        uri: Connection string; the server must be a member of a replica set (or a mongos).
        database: Name of the database.
        silence: Seconds that the server may be silent; there is nobody to ask whether it is still at work, so one
            answer may take five times as long. That the server is gone altogether the driver finds in half a minute.
    """

    def __init__(self, uri: str, database: str, silence: float = SILENCE_S) -> None:
        self._shown = remember(uri)
        waiting = _bounds(uri, silence)
        with translated(self._shown):
            self.client = _client(uri, tz_aware=True, appname="etl", **waiting)
        self.database = self.client[database]
        self._elsewhere: dict[str, Namespace] = {}
        self._special: set[str] = set()  # views and time series, as far as they were read
        self._unpinned: set[str] | None = None  # what can't be read at one moment, as listed last

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    @retry(
        retry=retry_if_exception_type(_NoPrimaryYetError),
        wait=wait_fixed(0.2),
        stop=stop_after_delay(_SECONDS_TO_ELECT),
        reraise=True,
    )
    def cluster_time(self) -> Timestamp:
        """Return the server's newest cluster time; a read at it waits until a majority has it.

        Raises:
            ServerError: The server can't be reached, refuses, or is no member of a replica set.
        """
        with self._translated():
            answer = self.client.admin.command("hello")
            self.client.admin.command("listDatabases", nameOnly=True)  # refused credentials show here, not later
            if "setName" not in answer and answer.get("msg") != "isdbgrid":
                raise ServerError(
                    f"MongoDB at {self._shown} is no replica set, so it can't be read at one moment in time; "
                    "start it with --replSet and run rs.initiate() (one node will do)"
                )
            if "operationTime" not in answer:
                raise _NoPrimaryYetError(f"MongoDB at {self._shown} has no primary yet")
            return Timestamp(answer["operationTime"].time, answer["operationTime"].inc)

    def uuids(self) -> dict[str, str]:
        """Return the identity of everything that the database has by a name."""
        return {name: one.uuid for name, one in self.listed().items()}

    def listed(self) -> dict[str, Listed]:
        """Return everything that the database has by a name, views and special collections as well."""
        with self._translated():
            there = listed(self.database.list_collections())
            for database in {one.database for one in self._elsewhere.values()}:
                others = listed(self.client[database].list_collections())
                for called, one in self._elsewhere.items():
                    if one.database == database and one.name in others:
                        there[called] = others[one.name]
                        if database == self.database.name:
                            there.pop(one.name, None)
            self._unpinned = {name for name, one in there.items() if not one.is_pinned}
            return there

    def know(self, collections: Iterable[str]) -> None:
        """Learn which collections are in other databases, so that their names stand for these."""
        self._elsewhere |= {one: one for one in collections if isinstance(one, Namespace)}

    def all_of(self, database: str) -> list[Namespace]:
        """Return the names of all that another database has."""
        with self._translated():
            return [Namespace(database, name) for name in self.client[database].list_collection_names()]

    def database_of(self, collection: str) -> str:
        """Return the name of the database that a collection is in."""
        return self._collection(collection).database.name

    def source(self) -> Source:
        """Return where this database is, as far as whoever may read it is told; of no collection yet."""
        with self._translated():
            # The replica set's id takes a right that people who only read lack, but it comes along with any answer
            # that is asked for what the members of a set tell each other.
            answer = self.client.admin.command({"hello": 1, "$replData": 1})
            set_id = answer.get("$replData", {}).get("replicaSetId") or self._cluster_id()
            members = [*answer.get("hosts", ()), *answer.get("passives", ())]
            hosts = members or [f"{host}:{port}" for host, port in self.client.nodes]
        set_id, name = str(set_id) if set_id else None, answer.get("setName")
        return Source(set_id, name, tuple(sorted(hosts)), self.database.name, uuid=None)

    def count(self, collection: str, cluster_time: Timestamp, selection: Range | Ids) -> int:
        """Count documents, by the server, at a cluster time."""
        stages: list[Document] = [{"$match": selection.match}, {"$count": "documents"}]
        with self._translated():
            hint: dict[str, Any] = {} if self._is_special(collection) else {"hint": {ID: 1}}
            found = list(self._at(collection, cluster_time).aggregate(stages, **hint))
        return int(found[0]["documents"]) if found else 0

    def ids(self, collection: str, cluster_time: Timestamp, selection: Range | Ids) -> Iterator[bytes]:
        """Yield the BSON of ``{"_id": ...}`` of each of some documents."""
        source = self._at(collection, cluster_time).with_options(codec_options=RAW)
        with self._translated():
            for document in source.find(**self._find(collection, selection, {}), projection={ID: 1}):
                yield bytes(document.raw)

    def read(self, entity: Entity, cluster_time: Timestamp, selection: Ids) -> Iterator[bytes]:
        """Yield the BSON of each of some documents, in the order of the index."""
        source = self._at(entity.collection, cluster_time).with_options(codec_options=RAW)
        with self._translated():
            for document in source.find(**self._find(entity.collection, selection, {}), projection=projection(entity)):
                yield self._kept(document.raw, entity)

    def exact(self, collection: str, cluster_time: Timestamp, ids: Ids) -> Ids:
        """Tell ids that a collection has from those that it lacks, where it takes unequal ones for equal.

        By a collation of its own a collection may take "a" for "A". Of such ids it has one at a time; but a query by
        the other one finds it too, and two queries find it twice.
        """
        if not self._is_collated(collection):
            return ids
        there = {raw[_LENGTH:-1] for raw in self.ids(collection, cluster_time, ids)}
        parts = ([one for one in ids.elements if (one in there) is wanted] for wanted in (True, False))
        return Ids(*map(tuple, parts))

    def documents(self, entity: Entity, ids: Sequence[Any], cluster_time: Timestamp | None = None) -> Iterator[bytes]:
        """Yield the BSON of the documents that have these ``_id``s, at a cluster time or as they are now."""
        name = entity.collection
        self._is_special(name)
        source = self._collection(name) if cluster_time is None else self._at(name, cluster_time)
        with self._translated():
            for start in range(0, len(ids), _IDS_PER_QUERY):
                some = {ID: {"$in": list(ids[start : start + _IDS_PER_QUERY])}}
                for document in source.with_options(codec_options=RAW).find(some, projection(entity)):
                    yield self._kept(document.raw, entity)

    def omitted(
        self, entity: Entity, cluster_time: Timestamp, selection: Range | Ids
    ) -> Iterator[tuple[Path, int, bytes]]:
        """Count, by the server, how many of some documents have each field that their contract omits.

        Yields:
            The field, how many documents have it, and of the first of them the BSON of ``{"_id": ...}``.
        """
        source = self._at(entity.collection, cluster_time).with_options(codec_options=RAW)
        counting = {"$group": {ID: None, "documents": {"$sum": 1}, "first": {"$min": f"${ID}"}}}
        for path in omitted(entity):
            having = {"$match": {"$and": [selection.match, {"$nor": [{"$jsonSchema": without(path)}]}]}}
            only: Document = {"$project": {ID: "$first", "documents": 1}}
            with self._translated():
                for found in source.aggregate([having, counting, only]):
                    yield path, int(found["documents"]), cut_id(bytes(found.raw))

    def extent(self, collection: str) -> Extent:
        """Return how much a collection holds now; nothing if there is none."""
        with self._translated():
            try:
                found = list(self._collection(collection).aggregate([{"$collStats": {"storageStats": {"scale": 1}}}]))
            except OperationFailure as error:
                if error.code not in (NAMESPACE_NOT_FOUND, _IS_A_VIEW):
                    raise
                found = []
            stats = found[0].get("storageStats", {}) if found else {}
            return Extent(int(stats.get("size", 0)), int(stats.get("count", 0)))

    def id_bounds(self, collection: str) -> tuple[Any, Any]:
        """Return the least and the greatest ``_id`` of a collection now; None and None of an empty one."""
        source = self._collection(collection).with_options(codec_options=DECODING)
        with self._translated():
            first, last = (next(source.find({}, {ID: 1}).sort(ID, way).limit(1), {ID: None}) for way in (1, -1))
        return first.get(ID), last.get(ID)  # a view's documents may have none

    def has_ids(self, collection: str, *types: str) -> bool:
        """Tell whether a collection has an ``_id`` of some types of BSON now."""
        with self._translated():
            return (
                self._collection(collection).find_one({ID: {"$type": list(types)}}, {ID: 1}, hint={ID: 1}) is not None
            )

    def repeated_ids(self, collection: str, cluster_time: Timestamp) -> tuple[int, bytes] | None:
        """Return how many ``_id``s stand more than once, as only views and time series have them, and one of them.

        Returns:
            Their number, and the BSON of ``{"_id": ...}`` of one; None if each stands once.
        """
        each: Document = {"$group": {ID: f"${ID}", "documents": {"$sum": 1}}}
        repeated: list[Document] = [each, {"$match": {"documents": {"$gt": 1}}}]
        all_of_them: Document = {"$group": {ID: None, "number": {"$sum": 1}, "one": {"$min": f"${ID}"}}}
        shown: Document = {"$project": {ID: "$one", "number": 1}}
        source = self._at(collection, cluster_time).with_options(codec_options=RAW)
        with self._translated():
            for found in source.aggregate([*repeated, all_of_them, shown], allowDiskUse=True):
                return int(found["number"]), cut_id(bytes(found.raw))
        return None

    def history(self) -> History:
        """Return for how long MongoDB remembers its past; its default is assumed if it does not tell this user."""
        with self._translated():
            try:
                answer = self.client.admin.command("getParameter", 1, minSnapshotHistoryWindowInSeconds=1)
            except OperationFailure as error:
                if error.code == UNAUTHORIZED:
                    return History(_HISTORY_S, "the user lacks the right getParameter")
                return History(_HISTORY_S, first_line(error))
            return History(int(answer["minSnapshotHistoryWindowInSeconds"]))

    def ranges(self, collection: str, extent: Extent, partition_bytes: int) -> list[Range]:
        """Cut a collection into ranges of about equal size, complete over every BSON type of ``_id``.

        The bounds come from the ids alone, mostly a sample: no documents are scanned, no special right is needed.

        Args:
            collection: Name of the collection.
            extent: How much it holds.
            partition_bytes: BSON bytes that a range should hold, about.
        """
        source = self._collection(collection)
        if (wanted := -(-extent.size // partition_bytes)) < 2 or not extent.documents:
            return [Range()]
        sampling: list[Document] = [
            {"$sample": {"size": wanted * _SAMPLES_PER_PARTITION}},
            {"$project": {ID: 1}},
            {"$sort": {ID: 1}},
        ]
        with self._translated():
            raw = source.with_options(codec_options=RAW)
            if wanted * _SAMPLES_PER_PARTITION < extent.documents * _SAMPLED_AT_RANDOM:
                step, sample = _SAMPLES_PER_PARTITION, list(raw.aggregate(sampling, allowDiskUse=True))
            else:  # few large documents: of them all, the ids alone are read, from their index
                step, found = -(-extent.documents // wanted), raw.find({}, {ID: 1}, sort=[(ID, 1)], hint=[(ID, 1)])
                sample = list(found)
        cuts = [cut for document in sample[step::step] if (cut := _bound(document))]
        distinct = [cut for number, cut in enumerate(cuts) if number == 0 or cut != cuts[number - 1]]
        return [Range(lower, upper) for lower, upper in zip([None, *distinct], [*distinct, None], strict=True)]

    def refused(self, entity: Entity, cluster_time: Timestamp, selection: Range | Ids) -> Iterator[bytes]:
        """Yield the BSON of each of some documents that the contract's gate refuses."""
        condition = {"$nor": [{"$jsonSchema": gate(entity)}]}
        source, rows = self._at(entity.collection, cluster_time), self._batch_rows(entity.collection)
        with self._translated():
            query = self._find(entity.collection, selection, condition)
            query |= {"projection": projection(entity), "batch_size": rows}
            for batch in source.find_raw_batches(**query):
                yield from split_documents(self._kept(batch, entity))

    def admitted(self, entity: Entity, cluster_time: Timestamp, selection: Range | Ids) -> Iterator[bytes]:
        """Yield those of some documents that the contract's gate lets pass, as the server sends them.

        Each item is the BSON of some documents, one after the other; a megabyte where they are about equally large.
        """
        return self._sent(entity, cluster_time, selection, {"$jsonSchema": gate(entity)})

    def ungated(self, entity: Entity, cluster_time: Timestamp, selection: Range | Ids) -> Generator[bytes, None, None]:
        """Yield some documents as :meth:`admitted` does, those as well that the contract's gate refuses."""
        return self._sent(entity, cluster_time, selection, {})

    def passing(self, entity: Entity, cluster_time: Timestamp, raws: Sequence[bytes]) -> set[bytes]:
        """Return those of some documents that the contract's gate lets pass, as the server tells by their ``_id``.

        Args:
            entity: The contract.
            cluster_time: When they were read.
            raws: Their BSON. Of one whose ``_id`` is too long for a query the gate is not asked: no key is so long.
        """
        elements = [element for raw in raws if len(element := cut_id(raw)[_LENGTH:-1]) <= _LONGEST_ID]
        found: set[bytes] = set()
        for start in range(0, len(elements), _IDS_PER_QUERY):
            ids = Ids(tuple(elements[start : start + _IDS_PER_QUERY]))
            found.update(*map(split_documents, self.admitted(entity, cluster_time, ids)))
        return found

    def is_plain(self, collection: str) -> bool:
        """Tell whether a collection is neither a view nor a time series, so that an ``_id`` is one document's."""
        with self._translated():
            return not self._is_special(collection)

    def _sent(
        self, entity: Entity, cluster_time: Timestamp, selection: Range | Ids, condition: Mapping[str, Any]
    ) -> Generator[bytes, None, None]:
        source, rows = self._at(entity.collection, cluster_time), self._batch_rows(entity.collection)
        with self._translated():
            query = self._find(entity.collection, selection, condition)
            query |= {"projection": projection(entity)}
            for batch in source.find_raw_batches(**query, batch_size=rows, cursor_type=self._cursor_type()):
                yield self._kept(batch, entity)

    def is_pinned(self, collection: str) -> bool:
        """Tell whether MongoDB can read a collection at one moment."""
        if self._unpinned is None:
            self.listed()
        return collection not in (self._unpinned or ())

    @retry(retry=retry_if_exception_type(OvertakenError), stop=stop_after_attempt(_OVERTAKEN), reraise=True)
    def spooled(self, collection: str, cluster_time: Timestamp, entity: Entity | None = None) -> Spool:
        """Read a collection once, as it is after a cluster time, in the order in which its documents were added.

        Each document that is there all the while is read once, as it is at some moment of it; of those that come or
        go meanwhile no document is read twice.

        Args:
            collection: Name of the collection.
            cluster_time: Nothing is read as it was before.
            entity: Its contract, if what that omits is to be left out.

        Raises:
            OvertakenError: MongoDB overwrites documents faster than it sends them.
        """
        source, kind = self._at(collection, cluster_time), self._cursor_type()
        with self._translated():
            self._is_special(collection)  # what is kept of a document looks there
            left_out = projection(entity) if entity else None
            found = source.find_raw_batches({}, left_out, cursor_type=kind)  # of 16 MB: to be ahead of what overwrites
            kept: Iterator[Any] = (self._kept(batch, entity) if entity else batch for batch in found)
            return spool(kept, collection)

    def in_any_order(self, collection: str, cluster_time: Timestamp) -> Iterator[bytes]:
        """Yield all documents as the server sends them: many documents' BSON at a time."""
        if not self.is_pinned(collection):
            with self.spooled(collection, cluster_time) as read:
                yield from read.batches()
            return
        source, rows = self._at(collection, cluster_time), self._batch_rows(collection)
        with self._translated():
            yield from source.find_raw_batches({}, batch_size=rows, cursor_type=self._cursor_type())

    def in_order(self, entity: Entity, cluster_time: Timestamp, selection: Range = _ALL) -> Iterator[bytes]:
        """Yield documents as the server sends them, in the order of ``_id``: many documents' BSON at a time."""
        rows, sorting = self._batch_rows(entity.collection), {"sort": [(ID, 1)], **_BYTEWISE}
        with self._translated():
            sorting |= {} if self._is_special(entity.collection) else {"hint": [(ID, 1)]}
            for batch in self._at(entity.collection, cluster_time).find_raw_batches(
                selection.match, projection(entity), batch_size=rows, **sorting
            ):
                yield self._kept(batch, entity)

    def bounds(self, collection: str, cluster_time: Timestamp, places: Iterable[int]) -> Iterator[Document | None]:
        """Yield the ``_id``s at places in the order of ``_id``, as bounds of ranges; None beyond the end.

        The index alone is read, from the beginning to the last place.

        Args:
            collection: Name of the collection.
            cluster_time: When it is read.
            places: How many documents come before each, in ascending order.
        """
        source, is_special = self._at(collection, cluster_time), self._is_special(collection)
        hint = {} if is_special else {"hint": [(ID, 1)]}
        is_collated = is_special or self._is_collated(collection)
        before, passed = None, 0
        for place in places:
            # Along the index the next place is counted from the last one; of another order all has to be sorted.
            start: dict[str, Any] = {"min": before, **_BYTEWISE} if before and not is_collated else _BYTEWISE
            skip = place - passed if "min" in start else place
            query = {"sort": [(ID, 1)], "skip": skip, "batch_size": 2, **hint, **start}
            with self._translated(), source.with_options(codec_options=RAW).find({}, {ID: 1}, **query) as found:
                # One that can't be decoded is no bound; the next one is as good.
                bound = next((cut for one in found if (cut := _bound(one))), None)
            yield bound
            before, passed = (bound, place) if bound else (before, passed)

    def touched(self, after: Mapping[str, Timestamp], upto: Timestamp) -> Iterator[tuple[str, bytes]]:
        """Yield which documents were changed between cluster times, a document as often as it was changed.

        Each comes as its collection, and its ``_id`` as the BSON element that the stored document begins with: type,
        name and value.

        Args:
            after: By the collection's name; changes at this moment are left out.
            upto: Changes at this moment are included.

        Raises:
            SnapshotError: The oplog no longer reaches back so far, or a collection was dropped or renamed.
        """
        there = self.listed()
        for name in after:
            if name in there and there[name].special and not self.has_changes(name):
                what = f"{name} is {there[name].special}, whose changes can't be followed"
                raise SnapshotError(f"{what}, and that moment can't be read any more: it has to be copied anew")
        found = [self._collection(name) for name in after]
        for database in dict.fromkeys(one.database for one in found):
            names = {one.name: name for one, name in zip(found, after, strict=True) if one.database == database}
            yield from self._touched(database, {plain: after[name] for plain, name in names.items()}, names, upto)

    def has_changes(self, collection: str) -> bool:
        """Tell whether a change stream tells what changes: of no view and no time series; what goes is deleted there.

        Of a capped collection it tells as well which documents were overwritten.
        """
        return not self._is_special(collection)

    def _touched(
        self, database: Database[Document], after: Mapping[str, Timestamp], called: Mapping[str, str], upto: Timestamp
    ) -> Iterator[tuple[str, bytes]]:
        """Yield what was changed in one database; its collections are called otherwise by whoever asks."""
        names, first = {"$in": list(after)}, min(after.values())
        theirs = [{"ns.coll": names}, {"to.coll": names}, {"operationType": {"$in": ["dropDatabase", "invalidate"]}}]
        kept = {f"documentKey.{ID}": 1, "ns.coll": 1, "to.coll": 1, "clusterTime": 1}
        source = database.with_options(codec_options=RAW)
        with (
            self._translated(),
            source.watch(
                [{"$match": {"$or": theirs}}, {"$project": kept}],
                start_at_operation_time=Timestamp(first.time, first.inc + 1),
                max_await_time_ms=_AWAIT_MS,
                show_expanded_events=False,
            ) as stream,
        ):
            event = None
            # All changes of a transaction bear one moment, so the last one is through when no event follows it.
            while event is not None or _moment_of(stream.resume_token) < upto:
                event = stream.try_next()
                if event is None:
                    continue
                if event["clusterTime"] > upto:
                    return
                concerned = [
                    name for name in _concerned(event) or after if event["clusterTime"] > after.get(name, upto)
                ]
                if concerned and "documentKey" not in event:
                    raise SnapshotError(self._gone(called[concerned[0]]))
                if concerned:
                    yield called[concerned[0]], event["documentKey"].raw[_LENGTH:-1]

    def _kept(self, batch: Any, entity: Entity) -> bytes:
        """Return documents without what their contract omits where MongoDB can't leave it out, the ``_id`` in front."""
        kept = bytes(batch) if is_all_left_out(entity) else without_omitted(batch, entity)
        return b"".join(map(with_id_first, split_documents(kept))) if entity.collection in self._special else kept

    def _gone(self, collection: str) -> str:
        """Say what to do about a collection that was dropped or renamed: a full copy refuses one that is not there."""
        if collection in self.uuids():
            return f"the collection {collection} was dropped or renamed; run etl replicate"
        return (
            f"the collection {collection} was dropped or renamed; run etl replicate {collection} --allow-missing to "
            "copy it as empty, or bring it back"
        )

    def _is_special(self, collection: str) -> bool:
        """Tell whether it is a view or a time series collection: no index on ``_id`` can be named there."""
        source = self._collection(collection)
        named = source.database.list_collections(filter={"name": source.name})
        is_special = any(one["type"] != "collection" for one in named)
        (self._special.add if is_special else self._special.discard)(collection)
        return is_special

    def _find(self, collection: str, selection: Range | Ids, condition: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a find for some documents that meet a condition."""
        found = selection.find(dict(condition))
        if self._is_special(collection):
            found.pop("hint", None)
        return found

    def _is_collated(self, collection: str) -> bool:
        """Tell whether a collection orders texts in another way than by their bytes."""
        with self._translated():
            source = self._collection(collection)
            named = source.database.list_collections(filter={"name": source.name})
            return any("collation" in one["options"] for one in named)

    def _cluster_id(self) -> Any:
        """Return the id of a sharded cluster, if this is one and tells us; that takes the right to read ``config``."""
        try:
            return (self.client.config.version.find_one() or {}).get("clusterId") if self.client.is_mongos else None
        except OperationFailure:
            return None

    def _batch_rows(self, collection: str) -> int:
        """Return how many documents make up a batch."""
        extent = self.extent(collection)
        if not extent.documents:  # of a view or a time series nobody knows
            return _BATCH_ROWS
        return max(1, _BATCH_BYTES * extent.documents // max(1, extent.size))

    def _cursor_type(self) -> Any:
        """Return the kind of cursor whose server goes on to the next batch while we are at this one; mongos can't."""
        return CursorType.NON_TAILABLE if self.client.is_mongos else CursorType.EXHAUST

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._shown, self._began)

    def _began(self) -> datetime | None:
        """Return since when the server runs, as far as it tells: its process has an id that begins with the time."""
        with suppress(PyMongoError, KeyError):
            began: datetime = self.client.admin.command("hello")["topologyVersion"]["processId"].generation_time
            return began
        return None

    def _at(self, collection: str, cluster_time: Timestamp) -> Collection[Document]:
        concern = SnapshotReadConcern if self.is_pinned(collection) else AfterReadConcern
        return self._collection(collection).with_options(read_concern=concern(cluster_time))

    def _collection(self, called: str) -> Collection[Document]:
        one = self._elsewhere.get(called)
        return self.client[one.database][one.name] if one else self.database[called]


def _bounds(uri: str, silence: float) -> dict[str, Any]:
    """Return the driver's bounds that a URI does not name itself."""
    # Thirty seconds, the driver's default, is long for a person who has mistyped a port.
    bounds = {
        "serverSelectionTimeoutMS": 10_000,
        "connectTimeoutMS": 10_000,
        "socketTimeoutMS": int(_PATIENCE * silence * 1000),
    }
    named = {name.lower() for name, _ in parse_qsl(uri.partition("?")[2])}
    if "timeoutms" in named:  # which stands for all of them
        return {}
    return {name: value for name, value in bounds.items() if name.lower() not in named}


def _bound(document: RawBSONDocument) -> Document | None:
    """Return an ``_id`` as a bound, or None if decoding fails or bends it: another one will do as well."""
    try:
        bound = bson.decode(document.raw, FAR_DATES)
    except bson.errors.BSONError:
        return None
    return bound if bson.encode(bound) == document.raw else None


def _concerned(event: RawBSONDocument) -> list[str]:
    """Return the collections that an event of a change stream names: of a renaming both, of a dropped database none."""
    return [event[side]["coll"] for side in ("ns", "to") if "coll" in event.get(side, {})]


def _moment_of(resume_token: Any) -> Timestamp:
    """Return how far a change stream has come: the token begins with the cluster time, after a byte for its type."""
    data = str(resume_token["_data"]) if resume_token else "82" + "0" * 16
    return Timestamp(int(data[2:10], 16), int(data[10:18], 16))


def _client(uri: str, **options: Any) -> pymongo.MongoClient[Document]:
    """Return a client; whatever is wrong with an option or a file that it names is one error."""
    try:
        with warnings.catch_warnings():
            # Of an option that it doesn't know the driver only warns: a mistyped tls would be no TLS.
            warnings.simplefilter("error", UserWarning)
            return pymongo.MongoClient(uri, event_listeners=[HEARTBEATS], **options)
    except PyMongoError:
        raise
    except OSError as error:
        what = (
            f"{error.filename}: {error.strerror}" if error.filename else f"a file of TLS can't be read as one: {error}"
        )
        raise ConfigurationError(what) from error
    except (ValueError, UserWarning) as error:
        raise ConfigurationError(str(error)) from error
    except Exception as error:  # what the driver makes of an option of another type
        raise ConfigurationError(
            f"an option has no value that it can have ({type(error).__name__}: {error})"
        ) from error
