"""Where a document departs from its contract, field by field."""

import re
from collections.abc import Iterator, Mapping
from decimal import Context
from math import isnan
from typing import Any

import bson
from bson import DatetimeMS

from contracts.schema.entity import ID, Entity, Field
from contracts.schema.kinds import ANY, INT64_MAX, INT64_MIN, NUMBER, UUID, UUID_BYTES, Kind
from transforms.violations import Violation, pointer_into

TYPE_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    bson.Int64: "long",
    float: "double",
    str: "string",
    bytes: "binData",
    bson.Binary: "binData",
    dict: "object",
    list: "array",
    bson.ObjectId: "objectId",
    DatetimeMS: "date",
    bson.Decimal128: "decimal",
    re.Pattern: "regex",
    bson.Regex: "regex",
    bson.Code: "javascript",
    bson.Timestamp: "timestamp",
    bson.MinKey: "minKey",
    bson.MaxKey: "maxKey",
}
# Wide enough for every decimal within the widest bounds (38 digits) at the smallest step.
_WIDE = Context(prec=80)


def find_type_violations(document: Mapping[str, Any], entity: Entity) -> Iterator[Violation]:
    """Yield every place where a document's values can't be what the contract declares, however many there are.

    Undeclared fields are no such place, nor are misfits that the contract keeps: they are kept beside the others.

    Args:
        document: What :func:`transforms.bson.documents.decode_document` made of it.
        entity: Its contract.
    """
    key = document.get(ID)
    if entity.id_kind is NUMBER and isinstance(key, float) and isnan(key):
        yield Violation(
            pointer_into("", ID), "NaN is no key: each store would place it elsewhere among the numbers", key
        )
    yield from _in_object(document, (entity.id_field, *entity.fields), "")


def _in_object(document: Mapping[str, Any], fields: tuple[Field, ...], at: str) -> Iterator[Violation]:
    for field in fields:
        pointer = pointer_into(at, field.name)
        if field.omitted:
            continue
        if field.name in document:
            yield from _in_field(document[field.name], field, pointer)
        elif not field.nullable:
            yield Violation(pointer, "required field is missing", None)


def _in_field(value: Any, field: Field, at: str) -> Iterator[Violation]:
    if value is None and field.nullable:
        return
    if field.kind is not None:
        yield from () if field.misfits == "extra" else find_value_violations(value, field.kind, at)
    elif field.keyed and isinstance(value, dict):
        for key, item in value.items():
            check = _in_field if field.bare else _in_subdocument
            yield from check(item, field.fields[0] if field.bare else field, pointer_into(at, key))
    elif field.repeated:
        if isinstance(value, list) and not field.keyed:
            for number, item in enumerate(value):
                yield from _in_subdocument(item, field, pointer_into(at, number))
        elif field.misfits != "extra":
            wanted = "object" if field.keyed else "array"
            yield Violation(at, f"expected {wanted}, found {bson_type(value)}", value)
    else:
        yield from _in_subdocument(value, field, at)


def _in_subdocument(value: Any, field: Field, at: str) -> Iterator[Violation]:
    if isinstance(value, dict):
        yield from _in_object(value, field.fields, at)
    elif field.misfits != "extra":
        yield Violation(at, f"expected object, found {bson_type(value)}", value)


def find_value_violations(value: Any, kind: Kind, at: str) -> Iterator[Violation]:
    """Yield why a value, or which items of it, can't be of a kind.

    Args:
        value: As pymongo decodes it.
        kind: What it should be.
        at: Where it stands.
    """
    expected = kind.gate["bsonType"]
    expected = [expected] if isinstance(expected, str) else expected
    if (found := bson_type(value)) not in expected:
        wanted = "a value" if kind is ANY else " or ".join(expected)
        yield Violation(at, f"expected {wanted}, found {found}", value)
    elif kind.subtype is not None:
        yield from _in_binary(value, kind, at)
    elif kind.item is not None:
        for number, item in enumerate(value):
            if not (item is None and kind.null_items):
                yield from find_value_violations(item, kind.item, pointer_into(at, number))
    elif "multipleOf" in kind.gate and not _fits(value, kind):
        yield Violation(at, f"not exact as {kind.name}", value)


def _in_binary(value: bytes, kind: Kind, at: str) -> Iterator[Violation]:
    if (found := getattr(value, "subtype", 0)) != kind.subtype:
        yield Violation(at, f"expected binData of subtype {kind.subtype}, found subtype {found}", value)
    elif kind is UUID and len(value) != UUID_BYTES:
        yield Violation(at, f"a UUID has {UUID_BYTES} bytes, and this has {len(value)}", value)


def _fits(value: Any, kind: Kind) -> bool:
    """Judge a number by the gate's bounds and step."""
    if isinstance(value, float):
        return value.is_integer() and INT64_MIN <= value < INT64_MAX
    if isinstance(value, bson.Decimal128):
        number, step = value.to_decimal(), kind.gate["multipleOf"].to_decimal()
        low, high = kind.gate["minimum"].to_decimal(), kind.gate["maximum"].to_decimal()
        return number.is_finite() and low <= number <= high and number == _WIDE.quantize(number, step)
    return True


def bson_type(value: Any) -> str:
    """Return what MongoDB calls the type of a value."""
    return TYPE_NAMES.get(type(value), type(value).__name__)
