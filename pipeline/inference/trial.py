"""A contract is tried: all documents of a collection go through what a copy does with them, up to the stores."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from bson import Timestamp

from contracts.schema.entity import Entity
from pipeline.runtime.timings import ACTIVITY
from pipeline.stores.mongo.store import Mongo
from pipeline.stores.selection import Range
from transforms.bson.documents import in_chunks, split_documents
from transforms.bson.identity import identify
from transforms.ingest.batch import BatchResult, Refused, decode_batch
from transforms.ingest.drift import Drift, merge_drifts
from transforms.ingest.slow_path import transform_decoded, transform_slowly
from transforms.violations import json_pointer, shorten_text

TOGETHER_BYTES = 16 * 2**20  # of the documents that are looked at one by one
_SAMPLES = 3  # documents that are named by rule


@dataclass(frozen=True)
class Reason:
    """Why documents would be refused.

    Attributes:
        rule: The rule that they break.
        path: Where, in the first one.
        documents: How many break it.
        ids: The ``_id`` of some of them, as people read it.
    """

    rule: str
    path: str
    documents: int
    ids: tuple[str, ...]


@dataclass
class Trial:
    """What would become of a collection's documents.

    Attributes:
        documents: How many are through.
        slow: How many go beyond the contract, and so take the slow path.
        refused: How many would be refused.
        drift: In what the others go beyond the contract.
    """

    documents: int = 0
    slow: int = 0
    refused: int = 0
    drift: list[Drift] = field(default_factory=list)
    _reasons: dict[str, tuple[str, int, list[str]]] = field(default_factory=dict)

    def add(self, result: BatchResult, *, was_slow: bool) -> None:
        """Take in what has become of a batch."""
        self.documents += result.documents
        self.slow += result.documents if was_slow else 0
        self.refused += len(result.refused)
        self.drift = merge_drifts([*self.drift, *result.drift])
        for one in result.refused:
            self._refuse(one)

    def _refuse(self, document: Refused) -> None:
        for rule, path in {reason.rule: json_pointer(reason.path) for reason in document.reasons}.items():
            first, count, ids = self._reasons.get(rule, (path, 0, []))
            if len(ids) < _SAMPLES:
                ids.append(shorten_text(identify(document.raw)[1]))
            self._reasons[rule] = first, count + 1, ids

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why documents would be refused, the most frequent reason first; each broken rule of a document counts."""
        found = (Reason(rule, path, count, tuple(ids)) for rule, (path, count, ids) in self._reasons.items())
        return tuple(sorted(found, key=lambda one: (-one.documents, one.rule)))


def tries(mongo: Mongo, entity: Entity, cluster_time: Timestamp) -> Iterator[Trial]:
    """Try all documents of a collection, and yield the same trial each time it is further.

    Args:
        mongo: The source.
        entity: The contract.
        cluster_time: The moment at which the documents are read.
    """
    trial = Trial()
    for result, was_slow in results(mongo, entity, cluster_time):
        trial.add(result, was_slow=was_slow)
        yield trial
    yield trial


def results(mongo: Mongo, entity: Entity, cluster_time: Timestamp) -> Iterator[tuple[BatchResult, bool]]:
    """Yield what becomes of a collection's documents, and whether they took the slow path; nothing is stored.

    Args:
        mongo: The source.
        entity: The contract.
        cluster_time: The moment at which the documents are read.
    """
    if not mongo.is_pinned(entity.collection):  # the gate would let pass others than it has refused
        with mongo.spooled(entity.collection, cluster_time, entity) as read:
            for raws in in_chunks(chain.from_iterable(map(split_documents, read.batches())), TOGETHER_BYTES):
                yield transform_slowly(raws, entity, gated=False), True
        return
    for batch in ACTIVITY.timed(entity.collection, "mongo", mongo.admitted(entity, cluster_time, Range())):
        yield transform_decoded(decode_batch(batch, entity), entity), False
    refused = in_chunks(mongo.refused(entity, cluster_time, Range()), TOGETHER_BYTES)
    for raws in ACTIVITY.timed(entity.collection, "mongo", refused):
        yield transform_slowly(raws, entity), True
