"""How much MongoDB's collections hold, and where they can be cut."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import bson
from bson import CodecOptions, Timestamp
from bson.codec_options import DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from contracts.schema.entity import ID
from pipeline.stores.mongo.errors import NAMESPACE_NOT_FOUND
from pipeline.stores.mongo.session import RAW, Document, Session
from pipeline.stores.selection import Range
from transforms.bson.documents import DECODING

FAR_DATES: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
# The stores order texts by their bytes; a collection with a collation of its own would not, and must be sorted.
BYTEWISE: dict[str, Any] = {"collation": {"locale": "simple"}, "allow_disk_use": True}
_SAMPLES_PER_PARTITION = 20
_SAMPLED_AT_RANDOM = 0.05  # of a collection; of a larger part MongoDB makes a scan
_IS_A_VIEW = 166  # CommandNotSupportedOnView
_DRAWN_TOO_OFTEN = 28799  # $sample found no new document in a hundred tries


@dataclass(frozen=True)
class Extent:
    """How much a collection holds, as MongoDB's statistics say.

    Attributes:
        size: Bytes of BSON.
        documents: How many there are.
    """

    size: int
    documents: int


class Measured(Session):
    """A database whose collections are measured and cut without a scan of their documents."""

    def extent(self, collection: str) -> Extent:
        """Return how much a collection holds now; nothing if there is none."""
        with self._translated():
            try:
                found = list(self.collection(collection).aggregate([{"$collStats": {"storageStats": {"scale": 1}}}]))
            except OperationFailure as error:
                if error.code not in (NAMESPACE_NOT_FOUND, _IS_A_VIEW):
                    raise
                found = []
            each = [one.get("storageStats", {}) for one in found]  # of a sharded cluster each shard tells its own
            return Extent(*(sum(int(one.get(what, 0)) for one in each) for what in ("size", "count")))

    def id_bounds(self, collection: str) -> tuple[Any, Any]:
        """Return the least and the greatest ``_id`` of a collection now; None and None of an empty one."""
        source = self.collection(collection).with_options(codec_options=DECODING)
        with self._translated():
            first, last = (next(source.find({}, {ID: 1}).sort(ID, way).limit(1), {ID: None}) for way in (1, -1))
        return first.get(ID), last.get(ID)  # a view's documents may have none

    def ranges(self, collection: str, extent: Extent, partition_bytes: int) -> list[Range]:
        """Cut a collection into ranges of about equal size, complete over every BSON type of ``_id``.

        The bounds come from the ids alone, mostly a sample: no documents are scanned, no special right is needed.

        Args:
            collection: Name of the collection.
            extent: How much it holds.
            partition_bytes: BSON bytes that a range should hold, about.
        """
        source = self.collection(collection)
        if (wanted := -(-extent.size // partition_bytes)) < 2 or not extent.documents:
            return [Range()]
        with self._translated():
            raw, number = source.with_options(codec_options=RAW), wanted * _SAMPLES_PER_PARTITION
            if number < extent.documents * _SAMPLED_AT_RANDOM and (sample := _drawn(raw, number)):
                step = _SAMPLES_PER_PARTITION
            else:  # few large documents, as a rule: of them all, the ids alone are read, from their index
                step, found = -(-extent.documents // wanted), raw.find({}, {ID: 1}, sort=[(ID, 1)], hint=[(ID, 1)])
                sample = list(found)
        cuts = [cut for document in sample[step::step] if (cut := _bound(document))]
        distinct = [cut for number, cut in enumerate(cuts) if number == 0 or cut != cuts[number - 1]]
        return [Range(lower, upper) for lower, upper in zip([None, *distinct], [*distinct, None], strict=True)]

    def bounds(self, collection: str, cluster_time: Timestamp, places: Iterable[int]) -> Iterator[Document | None]:
        """Yield the ``_id``s at places in the order of ``_id``, as bounds of ranges; None beyond the end.

        The index alone is read, from the beginning to the last place.

        Args:
            collection: Name of the collection.
            cluster_time: When it is read.
            places: How many documents come before each, in ascending order.
        """
        source, is_plain = self._at(collection, cluster_time), self.is_plain(collection)
        hint = {"hint": [(ID, 1)]} if is_plain else {}
        is_collated = not is_plain or self._is_collated(collection)
        before, passed = None, 0
        for place in places:
            # Along the index the next place is counted from the last one; of another order all has to be sorted.
            start: dict[str, Any] = {"min": before, **BYTEWISE} if before and not is_collated else BYTEWISE
            skip = place - passed if "min" in start else place
            query = {"sort": [(ID, 1)], "skip": skip, "batch_size": 2, **hint, **start}
            with self._translated(), source.with_options(codec_options=RAW).find({}, {ID: 1}, **query) as found:
                # One that can't be decoded is no bound; the next one is as good.
                bound = next((cut for one in found if (cut := _bound(one))), None)
            yield bound
            before, passed = (bound, place) if bound else (before, passed)


def _drawn(source: Collection[RawBSONDocument], number: int) -> list[RawBSONDocument]:
    """Return ``_id``s drawn at random, in their order; none where MongoDB gives up drawing, which happens by chance."""
    stages: list[Document] = [{"$sample": {"size": number}}, {"$project": {ID: 1}}, {"$sort": {ID: 1}}]
    try:
        return list(source.aggregate(stages, allowDiskUse=True))
    except OperationFailure as error:
        if error.code != _DRAWN_TOO_OFTEN:
            raise
        return []


def _bound(document: RawBSONDocument) -> Document | None:
    """Return an ``_id`` as a bound, or None if decoding fails or bends it: another one will do as well."""
    try:
        bound = bson.decode(document.raw, FAR_DATES)
    except bson.errors.BSONError:
        return None
    return bound if bson.encode(bound) == document.raw else None
