"""Which documents were changed, as MongoDB's change stream tells."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import bson
from bson import Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from contracts.schema.entity import ID
from pipeline.errors import SnapshotError
from pipeline.stores.mongo.session import RAW, Document, Session
from transforms.bson.documents import elements_of

_AWAIT_MS = 100  # for which the server waits for changes where there are none
_BATCH = 10_000  # changes that it sends at once: it looks for more while these are noted


class Followed(Session):
    """A database whose changes are told."""

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
            if name in there and there[name].special and not self.is_plain(name):
                what = f"{name} is {there[name].special}, whose changes can't be followed"
                raise SnapshotError(f"{what}, and that moment can't be read any more: it has to be copied anew")
        found = [self.collection(name) for name in after]
        for database in dict.fromkeys(one.database for one in found):
            names = {one.name: name for one, name in zip(found, after, strict=True) if one.database == database}
            yield from self._touched(database, {plain: after[name] for plain, name in names.items()}, names, upto)

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
                batch_size=_BATCH,
                show_expanded_events=False,
            ) as stream,
        ):
            event = None
            # All changes of a transaction bear one moment, so the last one is through when no event follows it.
            while event is not None or _moment_of(stream.resume_token) < upto:
                event = stream.try_next()
                if event is None:
                    continue
                if (moment := event["clusterTime"]) > upto:
                    return
                concerned = [name for name in _concerned(event) or after if moment > after.get(name, upto)]
                if concerned and "documentKey" not in event:
                    raise SnapshotError(self._gone(called[concerned[0]]))
                if concerned:
                    yield called[concerned[0]], elements_of(event["documentKey"].raw)

    def _gone(self, collection: str) -> str:
        """Say what to do about a collection that was dropped or renamed: a full copy refuses one that is not there."""
        if self.uuids([collection]):
            return f"the collection {collection} was dropped or renamed; run etl replicate"
        return (
            f"the collection {collection} was dropped or renamed; run etl replicate {collection} --allow-missing to "
            "copy it as empty, or bring it back"
        )


def _concerned(event: RawBSONDocument) -> list[str]:
    """Return the collections that an event of a change stream names: of a renaming both, of a dropped database none."""
    return [name for side in ("ns", "to") if side in event for name in _named(bytes(event[side].raw))]


@lru_cache
def _named(namespace: bytes) -> list[str]:
    """Return the collection of a namespace, if it has one; there are few of them, and an event of each change."""
    found = bson.decode(namespace)
    return [found["coll"]] if "coll" in found else []


def _moment_of(resume_token: Any) -> Timestamp:
    """Return how far a change stream has come: the token begins with the cluster time, after a byte for its type."""
    data = str(resume_token["_data"]) if resume_token else "82" + "0" * 16
    return Timestamp(int(data[2:10], 16), int(data[10:18], 16))
