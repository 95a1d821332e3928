"""What no declared column holds: undeclared fields, and values that the contract wants aside, by JSON Pointer."""

from collections.abc import Sequence
from itertools import chain
from math import isfinite
from typing import Any

import bson

from contracts.schema.entity import Entity, Field
from transforms.oracle.canonical_json import canonical_json
from transforms.oracle.decode import Document
from transforms.oracle.values import is_lawful, items_of


def set_aside(document: Document, entity: Entity) -> tuple[Document, Document]:
    """Return a document without the values that its contract wants aside, and these, by JSON Pointer."""
    aside: Document = {}
    return _without_misfits(document, entity.fields, "", aside, entity.stores), aside


def _without_misfits(
    document: Document, fields: tuple[Field, ...], at: str, aside: Document, stores: tuple[str, ...]
) -> Document:
    """Return a document, or a part at some pointer, without the values that are wanted aside, and put these there."""
    kept = dict(document)
    for field in fields:
        if (value := document.get(field.name)) is None:
            continue
        pointer = f"{at}/{_escaped(field.name)}"
        if field.kind is not None:
            is_misfit = field.misfits == "extra" and not is_lawful(value, field.kind, stores)
        else:
            is_array = field.repeated and not field.keyed
            is_misfit = field.misfits == "extra" and type(value) is not (list if is_array else dict)
        if is_misfit:
            aside[pointer] = kept[field.name]
            kept[field.name] = _shown(value, field)
        elif field.keyed and type(value) is dict:
            kept[field.name] = {
                key: _item_without_misfits(item, field, f"{pointer}/{_escaped(key)}", aside, stores)
                for key, item in value.items()
            }
        elif field.repeated and type(value) is list:
            kept[field.name] = [
                _item_without_misfits(item, field, f"{pointer}/{number}", aside, stores)
                for number, item in enumerate(value)
            ]
        elif field.fields and type(value) is dict:
            kept[field.name] = _without_misfits(value, field.fields, pointer, aside, stores)
    return kept


def _item_without_misfits(item: Any, field: Field, at: str, aside: Document, stores: tuple[str, ...]) -> Any:
    if field.bare:
        (value,) = field.fields
        assert value.kind is not None
        if item is None or value.misfits != "extra" or is_lawful(item, value.kind, stores):
            return item
        aside[at] = item
        return _shown(item, value)
    if type(item) is dict:
        return _without_misfits(item, field.fields, at, aside, stores)
    if field.misfits != "extra":
        return item
    aside[at] = item
    return {}


def _shown(value: Any, field: Field) -> str | None:
    """Return what a column shows of a value that is aside: nothing, but of a number among plain texts its text."""
    if not (field.shows_numbers and type(value) in (int, bson.Int64, float)):
        return None
    plain = type(value) is not float or (isfinite(value) and value % 1 == 0 and -1e16 < value < 1e16)
    return str(int(value)) if plain else repr(value)


def extra_texts(documents: Sequence[Document], aside: Sequence[Document], entity: Entity) -> list[str | None]:
    """Return of each document as JSON what is undeclared in it or was set aside; None where there is nothing.

    Args:
        documents: The documents, without what was set aside.
        aside: What was, by JSON Pointer.
        entity: Their contract.
    """
    fields = (entity.id_field, *entity.fields)
    if not any(aside) and _are_declared(documents, fields):  # as most are; to walk each takes a third of the time
        return [None] * len(documents)
    found = (_undeclared(one, fields, "") | misfits for one, misfits in zip(documents, aside, strict=True))
    return [canonical_json(extra) if extra else None for extra in found]


def _are_declared(owners: Sequence[Any], fields: tuple[Field, ...]) -> bool:
    """Return whether documents have declared fields only, at every level."""
    names = {field.name for field in fields}
    if not names.issuperset(chain.from_iterable(owners)):
        return False
    for field in fields:
        if field.fields:
            if field.bare:
                continue
            inner = [one.get(field.name) for one in owners]
            if field.repeated:  # what is no array here is refused later on, by its column
                arrays = [value for value in inner if type(value) in (list, dict)]
                inner = list(chain.from_iterable(map(items_of, arrays)))
            if not _are_declared([one for one in inner if type(one) is dict], field.fields):
                return False
    return True


def _undeclared(value: Any, fields: tuple[Field, ...], at: str) -> dict[str, Any]:
    """Return the fields that no contract knows, by JSON Pointer."""
    if isinstance(value, list):
        return {k: v for n, item in enumerate(value) for k, v in _undeclared(item, fields, f"{at}/{n}").items()}
    if not isinstance(value, dict):
        return {}
    known = {field.name: field for field in fields}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        pointer = f"{at}/{_escaped(name)}"
        if name not in known:
            found[pointer] = inner
        elif known[name].keyed and isinstance(inner, dict):
            for key, one in () if known[name].bare else inner.items():
                found |= _undeclared(one, known[name].fields, f"{pointer}/{_escaped(key)}")
        elif known[name].fields:
            found |= _undeclared(inner, known[name].fields, pointer)
    return found


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
