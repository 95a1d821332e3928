"""Where in a document something can be broken: the fields of its contract, and the document itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from contracts.schema.entity import Entity, Field

REMOVED = object()  # as a new value: take the field away


@dataclass(frozen=True)
class Spot:
    """One place in the documents of a contract.

    Attributes:
        entity: The contract.
        field: What is declared there; for the whole document a field that holds all others.
        path: The names that lead there, empty for the whole document.
        in_items: Which of the path's steps are arrays of documents of which one is entered.
        is_item: Whether it is one item of the last of these itself.
    """

    entity: Entity
    field: Field
    path: tuple[str, ...]
    in_items: tuple[int, ...] = ()
    is_item: bool = False

    @property
    def is_document(self) -> bool:
        """Whether it is the whole document."""
        return not self.path


@cache
def spots(entity: Entity) -> tuple[Spot, ...]:
    """Return all places of a contract's documents."""
    root = Field("", None, entity.description, fields=entity.fields)
    return (
        Spot(entity, root, ()),
        Spot(entity, entity.id_field, (entity.id_field.name,)),
        *_inner(entity, entity.fields, (), ()),
    )


def _inner(
    entity: Entity, fields: tuple[Field, ...], above: tuple[str, ...], in_items: tuple[int, ...]
) -> Iterator[Spot]:
    for field in fields:
        if field.omitted:  # whatever it holds is lawful
            continue
        path = (*above, field.name)
        yield Spot(entity, field, path, in_items)
        if field.bare:
            yield Spot(entity, field.fields[0], path, (*in_items, len(path) - 1))
        elif field.repeated:
            entered = (*in_items, len(path) - 1)
            yield Spot(entity, field, path, entered, is_item=True)
            yield from _inner(entity, field.fields, path, entered)
        else:
            yield from _inner(entity, field.fields, path, in_items)


def steps(spot: Spot, document: dict[str, Any], rng: np.random.Generator) -> tuple[str | int, ...] | None:
    """Return the way to a spot in one document, with an item drawn; ``None`` if this document does not have it."""
    way: list[str | int] = []
    value: Any = document
    for place, name in enumerate(spot.path):
        if not isinstance(value, dict) or value.get(name) is None:
            return None
        value = value[name]
        way.append(name)
        if place in spot.in_items:
            if not value:
                return None
            places: Sequence[str | int] = list(value) if isinstance(value, dict) else range(len(value))
            item = places[int(rng.integers(len(value)))]
            value = value[item]
            way.append(item)
    return tuple(way)


def value_at(document: Any, way: tuple[str | int, ...]) -> Any:
    """Return what stands at the end of a way."""
    for step in way:
        document = document[step]
    return document


def replaced(document: Any, way: tuple[str | int, ...], value: Any) -> Any:
    """Return a copy with another value at the end of a way, sharing everything else with the original."""
    if not way:
        return value
    step, *rest = way
    changed = document.copy()
    if value is REMOVED and not rest:
        del changed[step]
    else:
        changed[step] = replaced(document[step], tuple(rest), value)
    return changed
