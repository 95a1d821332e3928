"""Derived for MongoDB: what a contract omits is not even asked for, but counted."""

from collections.abc import Iterator
from functools import cache, reduce
from typing import Any

from contracts.schema.entity import Entity, Field
from contracts.schema.mongo import of_name

Path = tuple[Field, ...]  # from the document to a field


@cache
def omitted(entity: Entity) -> tuple[Path, ...]:
    """Return the ways to the fields that a contract omits."""
    return tuple(_omitted(entity.fields, ()))


def omitted_names(entity: Entity) -> tuple[str, ...]:
    """Return what a contract omits, each as the names that lead to it, joined by dots."""
    return tuple(".".join(field.name for field in path) for path in omitted(entity))


def projection(entity: Entity) -> dict[str, int] | None:
    """Return what MongoDB is told to leave out; None if that is nothing.

    MongoDB has no way to leave out a field whose name has a dot, begins with a dollar or is empty.
    """
    names = [[field.name for field in path] for path in omitted(entity)]
    return {".".join(way): 0 for way in names if not any(map(_is_unspeakable, way))} or None


def is_all_left_out(entity: Entity) -> bool:
    """Return whether the projection leaves out all that is omitted."""
    return len(projection(entity) or ()) == len(omitted(entity))


def without(path: Path) -> dict[str, Any]:
    """Return the ``$jsonSchema`` of the documents that lack an omitted field."""
    nowhere: dict[str, Any] = {"not": {}}
    return reduce(_within, reversed(path), nowhere)


def _within(inner: dict[str, Any], field: Field) -> dict[str, Any]:
    return of_name(field.name, {"items": inner} if field.repeated else inner)


def _omitted(fields: tuple[Field, ...], above: Path) -> Iterator[Path]:
    for field in fields:
        if field.omitted:
            yield (*above, field)
        yield from _omitted(field.fields, (*above, field))


def _is_unspeakable(name: str) -> bool:
    return not name or "." in name or name.startswith("$")
