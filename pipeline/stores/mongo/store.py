"""The source: MongoDB, read at one cluster time and never written to."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

from bson import Timestamp
from pymongo import CursorType
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from contracts.schema.entity import ID, Entity
from contracts.schema.mongo import gate
from contracts.schema.omitted import Path, is_all_left_out, omitted, projection, without
from pipeline.errors import OvertakenError
from pipeline.stores.mongo.changes import Followed
from pipeline.stores.mongo.measured import BYTEWISE, Measured
from pipeline.stores.mongo.session import RAW, Document
from pipeline.stores.mongo.spool import Spool, spool
from pipeline.stores.selection import Ids, Range
from transforms.bson.documents import elements_of, split_documents
from transforms.bson.edit import with_id_first
from transforms.bson.identity import cut_id
from transforms.ingest.omit import without_omitted

_IDS_PER_QUERY = 1_000
_LONGEST_ID = 8_000  # bytes of an _id in such a query, which may have 16 MB
# Of a batch. A server sends up to 16 MB at once, but then the copies that the driver makes of it leave the processor's
# cache, and their memory comes anew from the system each time: measured, three times the time.
_BATCH_BYTES = 2**20
_BATCH_ROWS = 1_000
_ALL = Range()
_OVERTAKEN = 5  # times that a read is begun which MongoDB's overwriting has overtaken


class Mongo(Measured, Followed):
    """One MongoDB database as a source: a :class:`~pipeline.stores.mongo.session.Session` that reads documents."""

    def count(self, collection: str, cluster_time: Timestamp, selection: Range | Ids) -> int:
        """Count documents, by the server, at a cluster time."""
        stages: list[Document] = [{"$match": selection.match}, {"$count": "documents"}]
        with self._translated():
            hint: dict[str, Any] = {"hint": {ID: 1}} if self.is_plain(collection) else {}
            found = list(self._at(collection, cluster_time).aggregate(stages, **hint))
        return int(found[0]["documents"]) if found else 0

    def ids(self, collection: str, cluster_time: Timestamp, selection: Range | Ids) -> Iterator[bytes]:
        """Yield the BSON of ``{"_id": ...}`` of each of some documents."""
        source = self._at(collection, cluster_time).with_options(codec_options=RAW)
        query = _find(selection, {}, is_plain=self.is_plain(collection))
        with self._translated():
            for document in source.find(**query, projection={ID: 1}):
                yield bytes(document.raw)

    def read(self, entity: Entity, cluster_time: Timestamp, selection: Ids) -> Iterator[bytes]:
        """Yield the BSON of each of some documents, in the order of the index."""
        source = self._at(entity.collection, cluster_time).with_options(codec_options=RAW)
        is_plain = self.is_plain(entity.collection)
        query, trim = _find(selection, {}, is_plain=is_plain), _trimmer(entity, is_plain=is_plain)
        with self._translated():
            for document in source.find(**query, projection=projection(entity)):
                yield trim(document.raw)

    def exact(self, collection: str, cluster_time: Timestamp, ids: Ids) -> Ids:
        """Tell ids that a collection has from those that it lacks, where it takes unequal ones for equal.

        By a collation of its own a collection may take "a" for "A". Of such ids it has one at a time; but a query by
        the other one finds it too, and two queries find it twice.
        """
        if not self._is_collated(collection):
            return ids
        there = set(map(elements_of, self.ids(collection, cluster_time, ids)))
        parts = ([one for one in ids.elements if (one in there) is wanted] for wanted in (True, False))
        return Ids(*map(tuple, parts))

    def documents(self, entity: Entity, ids: Sequence[Any], cluster_time: Timestamp | None = None) -> Iterator[bytes]:
        """Yield the BSON of the documents that have these ``_id``s, at a cluster time or as they are now."""
        name = entity.collection
        source = self.collection(name) if cluster_time is None else self._at(name, cluster_time)
        trim = _trimmer(entity, is_plain=self.is_plain(name))
        with self._translated():
            for start in range(0, len(ids), _IDS_PER_QUERY):
                some = {ID: {"$in": list(ids[start : start + _IDS_PER_QUERY])}}
                for document in source.with_options(codec_options=RAW).find(some, projection(entity)):
                    yield trim(document.raw)

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

    def has_ids(self, collection: str, *types: str) -> bool:
        """Return whether a collection has an ``_id`` of some types of BSON now."""
        with self._translated():
            return self.collection(collection).find_one({ID: {"$type": list(types)}}, {ID: 1}, hint={ID: 1}) is not None

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

    def refused(self, entity: Entity, cluster_time: Timestamp, selection: Range | Ids) -> Iterator[bytes]:
        """Yield the BSON of each of some documents that the contract's gate refuses."""
        condition = {"$nor": [{"$jsonSchema": gate(entity)}]}
        for batch in self._sent(entity, cluster_time, selection, condition, runs_ahead=False):
            yield from split_documents(batch)

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
        elements = [element for raw in raws if len(element := elements_of(cut_id(raw))) <= _LONGEST_ID]
        found: set[bytes] = set()
        for start in range(0, len(elements), _IDS_PER_QUERY):
            ids = Ids(tuple(elements[start : start + _IDS_PER_QUERY]))
            found.update(*map(split_documents, self.admitted(entity, cluster_time, ids)))
        return found

    def _sent(
        self,
        entity: Entity,
        cluster_time: Timestamp,
        selection: Range | Ids,
        condition: Mapping[str, Any],
        *,
        runs_ahead: bool = True,
    ) -> Generator[bytes, None, None]:
        source, rows = self._at(entity.collection, cluster_time), self._batch_rows(entity.collection)
        is_plain = self.is_plain(entity.collection)
        with self._translated():
            query = _find(selection, condition, is_plain=is_plain)
            query |= {"cursor_type": self._cursor_type()} if runs_ahead else {}
            trim = _trimmer(entity, is_plain=is_plain)
            for batch in source.find_raw_batches(**query, projection=projection(entity), batch_size=rows):
                yield trim(batch)

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
        source, left_out = self._at(collection, cluster_time), projection(entity) if entity else None
        with self._translated():
            # Of 16 MB: to be ahead of what overwrites.
            found: Iterator[Any] = source.find_raw_batches({}, left_out, cursor_type=self._cursor_type())
            if entity:
                found = map(_trimmer(entity, is_plain=self.is_plain(collection)), found)
            return spool(found, collection)

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
        rows, sorting = self._batch_rows(entity.collection), {"sort": [(ID, 1)], **BYTEWISE}
        is_plain = self.is_plain(entity.collection)
        sorting |= {"hint": [(ID, 1)]} if is_plain else {}
        trim = _trimmer(entity, is_plain=is_plain)
        with self._translated():
            for batch in self._at(entity.collection, cluster_time).find_raw_batches(
                selection.match, projection(entity), batch_size=rows, **sorting
            ):
                yield trim(batch)

    def _batch_rows(self, collection: str) -> int:
        """Return how many documents make up a batch."""
        extent = self.extent(collection)
        if not extent.documents:  # of a view or a time series nobody knows
            return _BATCH_ROWS
        return max(1, _BATCH_BYTES * extent.documents // max(1, extent.size))

    def _cursor_type(self) -> Any:
        """Return the kind of cursor whose server goes on to the next batch while we are at this one; mongos can't."""
        return CursorType.NON_TAILABLE if self.client.is_mongos else CursorType.EXHAUST


def _trimmer(entity: Entity, *, is_plain: bool) -> Callable[[Any], bytes]:
    """Return what brings documents that were read to what is copied of them.

    They lose what their contract omits and MongoDB can't leave out; those of views and time series get their ``_id`` in
    front.
    """
    is_complete = is_all_left_out(entity)

    def trim(batch: Any) -> bytes:
        kept = bytes(batch) if is_complete else without_omitted(batch, entity)
        return kept if is_plain else b"".join(map(with_id_first, split_documents(kept)))

    return trim


def _find(selection: Range | Ids, condition: Mapping[str, Any], *, is_plain: bool) -> dict[str, Any]:
    """Return the arguments of a find for some documents that meet a condition; only what is plain has an index."""
    found = selection.find(dict(condition))
    if not is_plain:
        found.pop("hint", None)
    return found
