"""The source's documents in pieces, as the stores must hold them: each with the range of ``_id`` that it fills."""

import hashlib
from collections.abc import Iterable, Iterator, Set
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import polars as pl

from contracts.schema.entity import ID, Entity
from pipeline.replication.walk import Part
from pipeline.runtime.timings import ACTIVITY
from transforms.bson.documents import split_documents
from transforms.bson.identity import identify
from transforms.oracle.expected import expected_frames, expected_ids

# Measured: with the documents as Python objects and both stores' rows beside them, a piece of BSON takes thirty times
# its size, and the next one is made meanwhile.
CHUNK_ROWS = 20_000


@dataclass(frozen=True)
class Chunk:
    """Some documents that follow each other by ``_id``, and the range of ids that they and nothing else fill.

    Attributes:
        frames: The rows that the stores must hold, by table.
        after: The range begins after this id; None at the beginning.
        upto: The range ends with this id; None at the end.
        source: How many documents they are.
        size: Bytes of their BSON.
        quarantined: How many of them are in quarantine.
        unexpected: Ids of those that the contract has no place for and that are not in quarantine.
        is_last: Whether the range has no end: what is left in the stores.
    """

    frames: dict[str, pl.DataFrame]
    after: Any
    upto: Any
    source: int
    size: int
    quarantined: int
    unexpected: list[str]
    is_last: bool = False


def chunks(part: Part, entity: Entity, quarantine: set[bytes], touched: Set[bytes]) -> Iterator[Chunk]:
    """Yield the source's documents in ranges of ``_id`` that leave no gap, not before the first and after the last.

    Within a part of the collection they begin after its first document.
    """
    after, is_begun = None, part.is_first
    with closing(part.batches) as batches:
        for raws in _cut(ACTIVITY.timed(entity.collection, "mongo", batches)):
            if not is_begun:
                after, raws = _begun(raws, entity)
                is_begun = after is not None
                if not raws:
                    continue
            chunk = _chunk(_untouched(raws, touched), entity, quarantine, after)
            after = chunk.upto
            yield chunk
            del chunk  # its memory is wanted for the next
    if not is_begun:  # without a beginning all rows of the stores would be left
        return
    nothing, _ = expected_frames((), entity)
    if part.is_last:
        yield Chunk(nothing, after, None, source=0, size=0, quarantined=0, unexpected=[], is_last=True)
    elif part.end not in (None, after):  # of the last documents the stores are to have none
        yield Chunk(nothing, after, part.end, source=0, size=0, quarantined=0, unexpected=[])


def _untouched(raws: list[bytes], touched: Set[bytes]) -> list[bytes]:
    """Return the documents that don't begin with one of the ``_id``s."""
    lengths = {len(element) for element in touched}
    return [raw for raw in raws if not any(raw[4 : 4 + length] in touched for length in lengths)] if touched else raws


def _begun(raws: list[bytes], entity: Entity) -> tuple[Any, list[bytes]]:
    """Return the first ``_id`` that the stores can have, and the documents after it; None if there is no such one."""
    for place, raw in enumerate(raws, start=1):
        for one in expected_ids([raw], entity):
            return one, raws[place:]
    return None, []


def _cut(batches: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield the documents of batches, some at a time."""
    for batch in batches:
        raws = split_documents(batch)
        for start in range(0, len(raws), CHUNK_ROWS):
            yield raws[start : start + CHUNK_ROWS]


def _chunk(raws: list[bytes], entity: Entity, quarantine: set[bytes], after: Any) -> Chunk:
    # Hashing is for collections that have something in quarantine only.
    expected = [raw for raw in raws if hashlib.sha256(raw).digest() not in quarantine] if quarantine else raws
    frames, unexpected = expected_frames(expected, entity)
    ids = frames[entity.root.name][ID]
    upto = after if ids.is_empty() else ids.max()
    named = [identify(raw)[1] for raw in unexpected]
    return Chunk(frames, after, upto, len(raws), sum(map(len, raws)), len(raws) - len(expected), named)
