"""What of a document has no place in its contract's tables, taken out of it: undeclared fields, and misfits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from math import isnan
from operator import is_
from types import NoneType
from typing import Any

from bson import DatetimeMS, Int64

from contracts.schema.entity import ID, Entity, Field
from contracts.schema.kinds import (
    ANY,
    BOOLEAN,
    CATEGORY,
    INTEGER,
    JSON,
    KEY_TEXT,
    NUMBER,
    OBJECT_ID,
    TEXT,
    TIMESTAMP,
    Kind,
)
from contracts.schema.stores import Limits, limits_of
from transforms.bson.documents import Document
from transforms.ingest.drift import MISFIT, UNDECLARED, Key
from transforms.ingest.type_check import TYPE_NAMES, bson_type, find_value_violations
from transforms.violations import pointer_into

# Where a value stands: steps to the inside, each behind those before it; few are ever joined.
_Place = tuple[Any, str | int] | None
_ASIDE = object()
_MOST_SHAPES, _MOST_NAMES = 1_000, 100  # that are kept, and fields of a document whose shape is kept
# Of these kinds a value's Python type tells almost all.
_QUICK = (TEXT, KEY_TEXT, CATEGORY, INTEGER, NUMBER, BOOLEAN, TIMESTAMP, OBJECT_ID, JSON)


class _Name(str):
    """The name of a map's entry, which is any, as the position of an item is."""

    __slots__ = ()


@dataclass(frozen=True, eq=False, slots=True)
class _Known:
    """A declared field.

    Attributes:
        field: The field.
        plain: The Python types of which all values are what is declared.
        tested: Those of which all are that the stores hold.
        items: Of an array, the types of items of which all are that the stores hold.
        inside: The fields within it.
    """

    field: Field
    plain: frozenset[type]
    tested: frozenset[type]
    items: frozenset[type]
    inside: "_Object"


@dataclass(frozen=True, eq=False, slots=True)
class _Shape:
    """What the names and types of a document's fields tell, which is the same for very many documents.

    Attributes:
        tested: The fields whose values need a short look.
        deeper: Those that need a longer one.
        aside: Those that go aside whatever they are, with the kind of that and the type that is found.
        lacks: Whether one is missing that is required.
    """

    tested: tuple[str, ...]
    deeper: tuple[str, ...]
    aside: tuple[tuple[str, str, str | None], ...]
    lacks: bool


@dataclass(frozen=True, eq=False, slots=True)
class _Object:
    """The declared fields of a document by name, the names of those that it must have, and the shapes seen so far."""

    known: Mapping[str, _Known]
    required: frozenset[str]
    shapes: dict[tuple[object, ...], _Shape] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class SetAside:
    """What was taken out of a document.

    Attributes:
        values: The undeclared fields and the misfits, by JSON Pointer.
        drift: Of what kind each is, at which place (``*`` for any position), and for misfits of which type.
        is_broken: Whether a value is left that the contract has no place for.
        limits: What the stores can hold.
    """

    values: Document = field(default_factory=dict)
    drift: list[Key] = field(default_factory=list)
    is_broken: bool = False
    limits: Limits = field(default_factory=limits_of)

    def add(self, at: _Place, kind: str, value: Any, found: str | None) -> None:
        """Take a value."""
        steps: list[str | int] = []
        while at is not None:
            at, step = at
            steps.append(step)
        pointer = path = ""
        for step in reversed(steps):
            pointer = pointer_into(pointer, step)
            path = pointer_into(path, "*" if isinstance(step, int | _Name) else step)
        self.values[pointer] = value
        self.drift.append((path, kind, found))


def set_aside(document: Document, entity: Entity) -> tuple[Document, SetAside]:
    """Return a document as its contract has it, and what was taken out of it.

    Args:
        document: What :func:`transforms.bson.documents.decode_document` made of it; it is not changed.
        entity: Its contract.
    """
    found = SetAside(limits=limits_of(entity.stores))
    declared = _declared(document, _of_entity(entity), None, found)
    key = document.get(ID)
    found.is_broken |= entity.id_kind is NUMBER and isinstance(key, float) and isnan(key)
    return (document, SetAside(is_broken=found.is_broken)) if entity.whole else (declared, found)


def _declared(document: Document, of: _Object, at: _Place, found: SetAside) -> Document:
    shape = _shape_of(document, of)
    changed: Document = {}
    for name in shape.tested:
        if not _is_held(value := document[name], found.limits):
            changed[name] = _misfit(value, of.known[name].field, (at, name), found, _ASIDE)
    for name in shape.deeper:
        kept = _kept(value := document[name], of.known[name], (at, name), found)
        if kept is not value:
            changed[name] = kept
    for name, kind, type_name in shape.aside:
        found.add((at, name), kind, document[name], type_name)
        changed[name] = _ASIDE
    found.is_broken |= shape.lacks
    if not changed:
        return document
    kept_fields = ((name, changed.get(name, value)) for name, value in document.items())
    return {name: value for name, value in kept_fields if value is not _ASIDE}


def _shape_of(document: Document, of: _Object) -> _Shape:
    """Return the shape of a document, looked for among those that were seen."""
    if len(document) > _MOST_NAMES:
        return _shape(document, of)
    key = (*document, *map(type, document.values()))
    shape = of.shapes.get(key)
    if shape is None:
        if len(of.shapes) == _MOST_SHAPES:
            of.shapes.clear()
        shape = of.shapes[key] = _shape(document, of)
    return shape


def _shape(document: Document, of: _Object) -> _Shape:
    tested: list[str] = []
    deeper: list[str] = []
    aside: list[tuple[str, str, str | None]] = []
    for name, value in document.items():
        known = of.known.get(name)
        if known is None:
            aside.append((name, UNDECLARED, None))
        elif type(value) in known.tested:
            tested.append(name)
        elif type(value) not in known.plain:
            field = known.field
            if field.misfits == "extra" and _is_foreign(value, field):
                aside.append((name, MISFIT, bson_type(value)))
            else:
                deeper.append(name)
    return _Shape(tuple(tested), tuple(deeper), tuple(aside), not of.required <= document.keys())


def _is_foreign(value: Any, field: Field) -> bool:
    """Return whether a value's type alone says that it goes aside, and nothing is shown for it."""
    kind = field.kind
    return kind is not None and kind in _QUICK and not _is_shown(value, field) and bson_type(value) not in _types(kind)


def _kept(value: Any, known: _Known, at: _Place, found: SetAside) -> Any:
    field = known.field
    if field.omitted:
        return _ASIDE
    if field.kind is not None:
        if _fits(value, known, field.kind, found.limits):
            return value
    elif field.keyed and isinstance(value, dict):
        return {key: _entry(one, known, (at, _Name(key)), found) for key, one in value.items()}
    elif field.repeated and not field.keyed and isinstance(value, list):
        items = [
            _declared(item, known.inside, (at, number), found)
            if isinstance(item, dict)
            else _misfit(item, field, (at, number), found, {})
            for number, item in enumerate(value)
        ]
        return value if all(map(is_, items, value)) else items
    elif not field.repeated and isinstance(value, dict):
        return _declared(value, known.inside, at, found)
    return _misfit(value, field, at, found, _ASIDE)


def _entry(value: Any, known: _Known, at: _Place, found: SetAside) -> Any:
    """Return what is declared of the value of a map's entry."""
    if known.field.bare:
        (inner,) = known.inside.known.values()
        kept = value if type(value) in inner.plain else _kept(value, inner, at, found)
        return None if kept is _ASIDE else kept
    if isinstance(value, dict):
        return _declared(value, known.inside, at, found)
    return _misfit(value, known.field, at, found, {})


def _fits(value: Any, known: _Known, kind: Kind, limits: Limits) -> bool:
    is_plain = kind.is_array and type(value) is list and known.items.issuperset(map(type, value))
    if not is_plain and next(find_value_violations(value, kind, ""), None) is not None:
        return False
    # What the stores can't hold is else a broken rule, which is found later; as JSON they hold anything.
    if known.field.misfits != "extra" or kind in (JSON, ANY):
        return True
    return all(_is_held(one, limits) for one in value) if kind.is_array else _is_held(value, limits)


def _misfit(value: Any, field: Field, at: _Place, found: SetAside, instead: Any) -> Any:
    if field.misfits != "extra":
        found.is_broken = True
        return value
    name = bson_type(value)
    is_declared_type = field.kind is not None and name in _types(field.kind)
    found.add(at, MISFIT, value, f"{name} that can't be held" if is_declared_type else name)
    return _number_text(value) if _is_shown(value, field) else instead


def _is_shown(value: Any, field: Field) -> bool:
    """Return whether a number that is aside is shown as a text as well."""
    return field.shows_numbers and type(value) in (int, Int64, float)


def _number_text(value: float) -> str:
    """Return a number as people write it: 7.0 is 7."""
    return str(int(value)) if isinstance(value, int) or (value.is_integer() and abs(value) < 1e16) else repr(value)


def _is_held(value: Any, limits: Limits) -> bool:
    """Return whether the stores hold a text, or a moment; whatever else has the declared type is held."""
    if type(value) is str:
        return limits.has_nul or "\0" not in value
    return not isinstance(value, DatetimeMS) or limits.first_ms <= int(value) <= limits.last_ms


@cache
def _of_entity(entity: Entity) -> _Object:
    return _object((entity.id_field, *entity.fields))


def _object(fields: tuple[Field, ...]) -> _Object:
    known = {one.name: _known(one) for one in fields}
    return _Object(known, frozenset(one.name for one in fields if not one.nullable))


def _known(field: Field) -> _Known:
    null = frozenset([NoneType] if field.nullable and not field.omitted else [])
    types = _quick_types(field.kind)
    tested = types & {str, DatetimeMS} if field.misfits == "extra" else frozenset()
    kind = field.kind
    items = _quick_types(kind.item) | ({NoneType} if kind.null_items else set()) if kind else frozenset()
    return _Known(field, types - tested | null, tested, items, _object(field.fields))


def _quick_types(kind: Kind | None) -> frozenset[type]:
    """Return the types of which all values are of a kind."""
    if kind not in _QUICK:
        return frozenset()
    types = frozenset(one for one, name in TYPE_NAMES.items() if name in _types(kind))
    return types - {float} if kind is INTEGER else types  # a double may be no integer


def _types(kind: Kind) -> list[str]:
    types = kind.gate["bsonType"]
    return [types] if isinstance(types, str) else types
