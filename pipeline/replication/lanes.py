"""The two ways that documents take: the many that the gate admits, and those that are looked at one by one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Protocol

from contracts.schema.entity import Entity
from pipeline.connections import Connections
from pipeline.runs.run import Run
from pipeline.runtime.hiding import import_readers
from pipeline.runtime.prefetch import prefetch
from pipeline.runtime.timings import Stopwatch
from pipeline.stores.selection import Ids, Range
from transforms.bson.documents import find_starts, in_chunks, resize_batches, split_documents
from transforms.ingest.admission import Sorted, layouts_of, sort_documents, tells_most
from transforms.ingest.batch import BatchResult, DecodedBatch, decode_batch
from transforms.ingest.slow_path import transform_decoded, transform_slowly


class Sized(Protocol):
    """What some documents have become."""

    @property
    def size(self) -> int:
        """Bytes of their BSON."""


@dataclass(frozen=True)
class _Half:
    """Some documents at half of their ways.

    Attributes:
        decoded: Those that the gate admits; None if there are none.
        refused: The BSON of each of the others.
    """

    decoded: DecodedBatch | None
    refused: Sequence[bytes]

    @property
    def size(self) -> int:
        """Bytes of BSON."""
        return sum(map(len, self.refused)) + (self.decoded.size if self.decoded else 0)


def is_larger_than(most: int) -> Callable[[Sized], bool]:
    """Return what tells whether documents are so large that the next ones must wait until they are through."""
    return lambda one: one.size > most


@contextmanager
def reading(
    connections: Connections, run: Run, entity: Entity, selection: Range | Ids, watch: Stopwatch
) -> Iterator[tuple[int, Iterator[BatchResult]]]:
    """Yield how many documents a selection has, as MongoDB counts or as they came, and what transforms them.

    Args:
        connections: The open connections.
        run: Tells when they are read.
        entity: Their contract.
        selection: Which documents.
        watch: Counts how long each stage is at work.
    """
    mongo, name = connections.mongo, entity.collection
    if name not in run.unpinned:
        with watch.at("mongo"):
            source = mongo.count(name, run.cluster_time, selection)
        if source:
            import_readers()
        yield source, _transformed(connections, run, entity, selection, source, watch)
        return
    with watch.at("mongo"):
        read = mongo.spooled(name, run.cluster_time, entity)
    with read:
        import_readers()
        raws = chain.from_iterable(map(split_documents, read.batches()))
        # One by one: MongoDB's gate would see others by now.
        yield read.documents, _slowly(raws, entity, connections.memory.slow_batch, watch, gated=False)


def _transformed(
    connections: Connections, run: Run, entity: Entity, selection: Range | Ids, source: int, watch: Stopwatch
) -> Iterator[BatchResult]:
    """Yield all documents of a selection, transformed, as many at a time as memory may hold."""
    memory, waiting = connections.memory, list[bytes]()
    halves = _decoded(_sorted(connections, run, entity, selection, source, watch), entity, watch)
    with closing(prefetch(halves, is_larger_than(memory.batch))) as decoded:
        for half in decoded:
            waiting += half.refused
            if half.decoded is not None:
                with watch.at("transform"):
                    one = transform_decoded(half.decoded, entity)
                del half
                yield one
                del one  # its memory is wanted for the next
            if sum(map(len, waiting)) >= memory.slow_batch:  # a few at a time would take much longer
                yield from _slowly(waiting, entity, memory.slow_batch, watch)
                waiting = []
    yield from _slowly(waiting, entity, memory.slow_batch, watch)


def _slowly(
    raws: Iterable[bytes], entity: Entity, most: int, watch: Stopwatch, *, gated: bool = True
) -> Iterator[BatchResult]:
    for some in in_chunks(raws, most):
        with watch.at("careful"):
            one = transform_slowly(some, entity, gated=gated)
        yield one
        del one


def _decoded(documents: Iterator[Sorted], entity: Entity, watch: Stopwatch) -> Iterator[_Half]:
    """Yield documents with those decoded that the gate admits."""
    with closing(prefetch(documents)) as ahead:
        for one in ahead:
            with watch.at("decode"):
                found = decode_batch(one.admitted, entity, one.located) if one.admitted else None
            half = _Half(found, one.refused)
            del one, found
            yield half
            del half


def _sorted(
    connections: Connections, run: Run, entity: Entity, selection: Range | Ids, source: int, watch: Stopwatch
) -> Iterator[Sorted]:
    """Yield documents by their ways: all are read, and MongoDB is asked only about those whose bytes do not tell.

    Where bytes tell little, as the first documents show, MongoDB sorts them all.
    """
    layouts, mongo = layouts_of(entity), connections.mongo
    if layouts is not None and mongo.is_plain(entity.collection):
        with closing(mongo.ungated(entity, run.cluster_time, selection)) as found:
            with watch.at("mongo"):
                first = next(found, b"")
            if tells_most(first, layouts):
                ask = partial(mongo.passing, entity, run.cluster_time)
                for batch in watch.timed("mongo", resize_batches(chain([first], found), connections.memory.batch)):
                    with watch.at("gate"):
                        one = sort_documents(batch, layouts, ask)
                    yield one
                    del one
                return
    yield from _sorted_by_the_server(connections, run, entity, selection, source, watch)


def _sorted_by_the_server(
    connections: Connections, run: Run, entity: Entity, selection: Range | Ids, source: int, watch: Stopwatch
) -> Iterator[Sorted]:
    """Read what the gate admits, then what it refuses.

    MongoDB's own count tells whether there is any of that; most often there is nothing to look for.
    """
    mongo, memory, passed = connections.mongo, connections.memory, 0
    admitted = mongo.admitted(entity, run.cluster_time, selection)
    for batch in watch.timed("mongo", resize_batches(admitted, memory.batch)):
        passed += len(find_starts(batch))
        yield Sorted(batch)
    if passed != source:
        refused = mongo.refused(entity, run.cluster_time, selection)
        for raws in watch.timed("mongo", in_chunks(refused, memory.slow_batch)):
            yield Sorted(b"", raws)
