"""The parts of a collection that a verification compares, in the order in which the stores have the ``_id``s."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import bson
import polars as pl
from bson import Timestamp

from contracts.schema.entity import Entity
from contracts.schema.kinds import ANY_ID
from pipeline.connections import Connections
from pipeline.replication.sample import Sample
from pipeline.runtime.prefetch import prefetch
from pipeline.stores.mongo.measured import Extent
from pipeline.stores.mongo.store import Mongo
from pipeline.stores.selection import Ids, Range
from transforms.bson.documents import elements_of, resize_batches
from transforms.bson.identity import cut_id, decode_id
from transforms.oracle.canonical_id import canonical_id
from transforms.oracle.expected import expected_ids

_IDS = 20_000  # looked at together
_TOGETHER = 1_000  # documents that are asked for by their _ids, at most


@dataclass(frozen=True)
class Part:
    """Documents that follow each other.

    Attributes:
        batches: Their BSON, many at a time; to be closed.
        is_first: Whether there is none before them.
        is_last: Whether there is none behind them.
        end: The ``_id`` of the last one as the stores would have it, where the next part begins after it.
    """

    batches: Generator[bytes, None, None]
    is_first: bool = True
    is_last: bool = True
    end: Any = None


def parts(
    connections: Connections, entity: Entity, moment: Timestamp, sample: Sample | None
) -> tuple[int, int, Iterable[Part]]:
    """Return how many documents a collection has, how many of them are compared, and these.

    Args:
        connections: The open connections.
        entity: The collection's contract.
        moment: When it is read.
        sample: Which part of it is compared; None for all of it.
    """
    mongo, name = connections.mongo, entity.collection
    # To count the documents would take longer than to compare some.
    guessed = 0 if sample is None else mongo.extent(name).documents  # of a view or a time series it is not known
    documents = guessed or mongo.count(name, moment, Range())
    wanted = documents if sample is None else sample.size(documents)
    if entity.id_kind is ANY_ID:
        return documents, wanted, _by_text(connections, entity, moment, sample, documents)
    ranges = [Range()] if sample is None else sample.ranges(mongo, name, moment, documents)
    return documents, wanted, (_of_range(connections, entity, moment, one) for one in ranges)


def tiles(connections: Connections, entity: Entity, moment: Timestamp, documents: int, number: int) -> list[Range]:
    """Cut a collection into ranges of about as many documents each, for several processes.

    Args:
        connections: The open connections.
        entity: The collection's contract.
        moment: When it is read.
        documents: How many it has then.
        number: How many ranges there are to be, at most.

    Returns:
        Ranges without a gap, for :func:`tile`; one only where the stores have another order than MongoDB, or
        where it can't be read at one moment.
    """
    if number < 2 or entity.id_kind is ANY_ID or not connections.mongo.is_pinned(entity.collection):
        return [Range()]
    places = [documents * one // number for one in range(1, number)]
    found = connections.mongo.bounds(entity.collection, moment, dict.fromkeys(places))
    # A part begins after its first document: the stores must be able to have it.
    cuts = [cut for cut in found if cut is not None and len(expected_ids([bson.encode(cut)], entity))]
    return [Range(lower, upper) for lower, upper in zip([None, *cuts], [*cuts, None], strict=True) if lower != upper]


def tile(connections: Connections, entity: Entity, moment: Timestamp, selection: Range) -> Part:
    """Return the part of one of the :func:`tiles`: what is compared ends with the document that the next begins after.

    Args:
        connections: The open connections.
        entity: The collection's contract.
        moment: When it is read.
        selection: The range.
    """
    mongo, (lower, upper) = connections.mongo, (selection.lower, selection.upper)
    found, end = [mongo.in_order(entity, moment, selection)], None
    if upper is not None:
        raw = bson.encode(upper)
        found.append(mongo.read(entity, moment, Ids((elements_of(raw),))))
        (end,) = expected_ids([raw], entity)
    batches = prefetch(resize_batches(chain.from_iterable(found), connections.memory.compared))
    return Part(batches, lower is None, upper is None, end)


def _of_range(connections: Connections, entity: Entity, moment: Timestamp, selection: Range) -> Part:
    found = connections.mongo.in_order(entity, moment, selection)
    batches = prefetch(resize_batches(found, connections.memory.compared))
    return Part(batches, selection.lower is None, selection.upper is None)


def _by_text(
    connections: Connections, entity: Entity, moment: Timestamp, sample: Sample | None, documents: int
) -> Iterator[Part]:
    """Yield documents in the order of texts, which is not MongoDB's: their ``_id``s are read before, from the index."""
    ids = _sorted_ids(connections.mongo, entity.collection, moment)
    places = [(0, len(ids))] if sample is None else sample.places(entity.collection, len(ids))
    extent = connections.mongo.extent(entity.collection)
    for first, end in places:
        some = ids[max(0, first - 1) : end]  # the one before is where the part begins
        found = _documents(connections.mongo, entity, moment, some, extent, connections.memory.compared)
        batches = prefetch(resize_batches(found, connections.memory.compared))
        yield Part(batches, first == 0, end >= len(ids))


def _sorted_ids(mongo: Mongo, collection: str, moment: Timestamp) -> pl.Series:
    """Return the BSON elements of all ``_id``s, in the order of their texts; one that can't be decoded comes first."""
    schema = {"text": pl.String, "element": pl.Binary}
    frames = [pl.DataFrame(schema=schema)]
    rows: list[tuple[str | None, bytes]] = []
    for raw in mongo.ids(collection, moment, Range()):
        rows.append((next(map(canonical_id, decode_id(raw)), None), elements_of(raw)))
        if len(rows) == _IDS:
            frames.append(pl.DataFrame(rows, schema, orient="row"))
            rows = []
    frames.append(pl.DataFrame(rows, schema, orient="row"))
    return pl.concat(frames).sort("text", nulls_last=False)["element"]


def _documents(
    mongo: Mongo, entity: Entity, moment: Timestamp, ids: pl.Series, extent: Extent, most: int
) -> Iterator[bytes]:
    """Yield the documents of some ``_id``s in their order, as many at a time as memory may hold."""
    together = max(1, min(_TOGETHER, most * extent.documents // max(1, extent.size)))
    for start in range(0, len(ids), together):
        elements = tuple(ids[start : start + together])
        found = {elements_of(cut_id(raw)): raw for raw in mongo.read(entity, moment, Ids(elements))}
        yield b"".join(found[one] for one in elements if one in found)  # of a capped collection some may have gone
