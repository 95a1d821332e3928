"""What of a document has no place in its contract's tables, taken out of it: undeclared fields, and misfits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from math import isnan
from types import NoneType
from typing import Any

from bson import DatetimeMS

from contracts.schema.entity import ID, Entity, Field
from contracts.schema.frame import FIRST_MOMENT, LAST_MOMENT
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
from transforms.bson.documents import Document
from transforms.ingest.drift import MISFIT, UNDECLARED, Key
from transforms.ingest.type_check import TYPE_NAMES, bson_type, find_value_violations
from transforms.violations import pointer_into

_FIRST_MS, _LAST_MS = (int(one.timestamp() * 1000) for one in (FIRST_MOMENT, LAST_MOMENT))
# Where a value stands: steps to the inside, each behind those before it; few are ever joined.
_Place = tuple[Any, str | int] | None
_ASIDE = object()
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
        inside: The fields within it.
    """

    field: Field
    plain: frozenset[type]
    tested: frozenset[type]
    inside: "_Object"


@dataclass(frozen=True, eq=False, slots=True)
class _Object:
    """The declared fields of a document, by name, and the names of those that it must have."""

    known: Mapping[str, _Known]
    required: frozenset[str]


@dataclass(eq=False, slots=True)
class SetAside:
    """What was taken out of a document.

    Attributes:
        values: The undeclared fields and the misfits, by JSON Pointer.
        drift: Of what kind each is, at which place (``*`` for any position), and for misfits of which type.
        is_broken: Whether a value is left that the contract has no place for.
    """

    values: Document = field(default_factory=dict)
    drift: list[Key] = field(default_factory=list)
    is_broken: bool = False

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
    found = SetAside()
    declared = _declared(document, _of_entity(entity), None, found)
    key = document.get(ID)
    found.is_broken |= entity.id_kind is NUMBER and isinstance(key, float) and isnan(key)
    return (document, SetAside(is_broken=found.is_broken)) if entity.whole else (declared, found)


def _declared(document: Document, of: _Object, at: _Place, found: SetAside) -> Document:
    declared: Document = {}
    for name, value in document.items():
        known = of.known.get(name)
        if known is None:
            found.add((at, name), UNDECLARED, value, None)
        elif type(value) in known.plain:
            declared[name] = value
        elif (kept := _kept(value, known, (at, name), found)) is not _ASIDE:
            declared[name] = kept
    if not of.required <= document.keys():
        found.is_broken = True
    return declared


def _kept(value: Any, known: _Known, at: _Place, found: SetAside) -> Any:
    field = known.field
    if field.omitted:
        return _ASIDE
    if field.kind is not None:
        if (type(value) in known.tested and _is_held_by_stores(value)) or _fits(value, field, field.kind):
            return value
    elif field.keyed and isinstance(value, dict):
        return {key: _entry(one, known, (at, _Name(key)), found) for key, one in value.items()}
    elif field.repeated and not field.keyed and isinstance(value, list):
        return [
            _declared(item, known.inside, (at, number), found)
            if isinstance(item, dict)
            else _misfit(item, field, (at, number), found, {})
            for number, item in enumerate(value)
        ]
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


def _fits(value: Any, field: Field, kind: Kind) -> bool:
    if next(find_value_violations(value, kind, ""), None) is not None:
        return False
    # What the stores can't hold is else a broken rule, which is found later; as JSON they hold anything.
    if field.misfits != "extra" or kind in (JSON, ANY):
        return True
    return all(map(_is_held_by_stores, value)) if kind.is_array else _is_held_by_stores(value)


def _misfit(value: Any, field: Field, at: _Place, found: SetAside, instead: Any) -> Any:
    if field.misfits != "extra":
        found.is_broken = True
        return value
    name = bson_type(value)
    is_declared_type = field.kind is not None and name in _types(field.kind)
    found.add(at, MISFIT, value, f"{name} that can't be held" if is_declared_type else name)
    return instead


def _is_held_by_stores(value: Any) -> bool:
    """Tell whether both stores hold a text, or a moment; whatever else has the declared type is held."""
    if type(value) is str:
        return "\0" not in value
    return not isinstance(value, DatetimeMS) or _FIRST_MS <= int(value) <= _LAST_MS


@cache
def _of_entity(entity: Entity) -> _Object:
    return _object((entity.id_field, *entity.fields))


def _object(fields: tuple[Field, ...]) -> _Object:
    known = {one.name: _Known(one, *_quick_types(one), _object(one.fields)) for one in fields}
    return _Object(known, frozenset(one.name for one in fields if not one.nullable))


def _quick_types(field: Field) -> tuple[frozenset[type], frozenset[type]]:
    """Return which types need no look at their values, and which a short one."""
    null = frozenset([NoneType] if field.nullable and not field.omitted else [])
    if field.kind not in _QUICK:
        return null, frozenset()
    types = frozenset(one for one, name in TYPE_NAMES.items() if name in _types(field.kind))
    if field.kind is INTEGER:  # a double may be none
        types -= {float}
    tested = types & {str, DatetimeMS} if field.misfits == "extra" else frozenset()
    return types - tested | null, tested


def _types(kind: Kind) -> list[str]:
    types = kind.gate["bsonType"]
    return [types] if isinstance(types, str) else types
