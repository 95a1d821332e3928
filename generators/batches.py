"""Batches of documents of one collection, some of them broken on purpose."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from contracts.schema.entity import ID, Entity
from generators import generic
from generators.chunk import Chunk, Columns, assemble
from generators.defects import break_document
from generators.world import Window, World, stream

CHUNK_ROWS = 5_000  # a few MB of documents; part of what a seed means, since each chunk has random numbers of its own


@dataclass(frozen=True)
class Batch:
    """Some consecutive documents.

    Attributes:
        documents: Ready for pymongo; the ones that only bytes can say are ``RawBSONDocument``.
        defects: How many were broken, by the name of the defect.
    """

    documents: list[Mapping[str, Any]]
    defects: Counter[str]


def rows_at(entity: Entity, scale: float) -> int:
    """Return how many documents a collection has at a scale; at 1 the seven collections have 100,000."""
    rows: int = getattr(_generator(entity), "ROWS", generic.ROWS)
    return round(rows * scale)


def generate(
    entity: Entity, rows: int, *, world: World, defects: float = 0.0, window: Window | None = None, before: int = 0
) -> Iterator[Batch]:
    """Yield the documents of one collection: the same ones for the same arguments, to the byte, ``_id`` included.

    Args:
        entity: The contract.
        rows: How many documents to make.
        world: Users, products and the seed.
        defects: Share of the documents (0 to 1) to break, each in one known way; ``round(rows * defects)`` in all.
        window: When what they tell of happens; None for what the world begins with.
        before: How many documents the collection had before the window.
    """
    for first in range(before, before + rows, CHUNK_ROWS):
        chunk = Chunk(entity, world, first, min(CHUNK_ROWS, before + rows - first), rows, window or world.first, before)
        documents: list[Mapping[str, Any]] = list(assemble(_columns(chunk)))
        yield Batch(documents, _break(chunk, documents, defects))


def _generator(entity: Entity) -> ModuleType:
    """Return the module that is named as the contract, if it draws documents, else the generic one."""
    name = f"generators.{entity.table}"
    module = import_module(name) if find_spec(name) else generic
    return module if hasattr(module, "draw") else generic


def _columns(chunk: Chunk) -> Columns:
    """Draw the columns of the contract's fields, those unknown to the collection's own generator by their kind."""
    draw: Callable[[Chunk], Columns] = _generator(chunk.entity).draw
    drawn = draw(chunk)
    unknown = tuple(field for field in chunk.entity.fields if field.name not in drawn)
    if unknown:
        drawn |= generic.fields(chunk, unknown, chunk.moments())
    return {name: drawn[name] for name in (ID, *(field.name for field in chunk.entity.fields))}


def _break(chunk: Chunk, documents: list[Mapping[str, Any]], share: float) -> Counter[str]:
    """Replace documents by broken ones: the kinds of defects take turns over the whole collection."""
    done, due = round(chunk.first * share), round((chunk.first + chunk.size) * share)
    counted: Counter[str] = Counter()
    if done == due:
        return counted
    rng = stream(chunk.world.seed, chunk.entity.collection, "defects", chunk.first)
    places = rng.permutation(chunk.size)[: due - done]
    for turn, place in enumerate(sorted(places.tolist()), start=done):
        documents[place], defect = break_document(chunk.entity, dict(documents[place]), turn, rng)
        counted[defect.name] += 1
    return counted
