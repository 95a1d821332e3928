"""Which documents the gate admits, told from their bytes where that can be: MongoDB is asked about the others only.

What a document may hold is taken from the gate itself (``contracts.schema.mongo.gate``), word by word. A gate with a
word that is not known here is asked about all documents, as ever.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from bson import Decimal128

from contracts.schema.entity import Entity
from contracts.schema.kinds import INT64_MAX, INT64_MIN
from contracts.schema.mongo import gate
from transforms.bson.decimals import are_plain
from transforms.bson.documents import find_starts, split_documents
from transforms.bson.layouts import Bytes, Layouts, Located, Mask, Shape, Value
from transforms.bson.nested import Places

_CODES = {
    "double": 0x01,
    "string": 0x02,
    "object": 0x03,
    "array": 0x04,
    "binData": 0x05,
    "undefined": 0x06,
    "objectId": 0x07,
    "bool": 0x08,
    "date": 0x09,
    "null": 0x0A,
    "regex": 0x0B,
    "dbPointer": 0x0C,
    "javascript": 0x0D,
    "symbol": 0x0E,
    "javascriptWithScope": 0x0F,
    "int": 0x10,
    "timestamp": 0x11,
    "long": 0x12,
    "decimal": 0x13,
    "minKey": 0xFF,
    "maxKey": 0x7F,
}
_WORDS = {"bsonType", "properties", "additionalProperties", "required", "items", "multipleOf", "minimum", "maximum"}
_DOUBLE, _DECIMAL = _CODES["double"], _CODES["decimal"]
_MOST = 0.8  # of the documents: to ask about one by its _id takes MongoDB some four times as long as to read it gated
_INTEGRAL = {"multipleOf": 1, "minimum": INT64_MIN, "maximum": INT64_MAX}
_Tests = dict[int, Callable[[Bytes, Places], Mask]]


class UnknownWordError(ValueError):
    """A gate says what can't be told from the bytes here."""


@cache
def layouts_of(entity: Entity) -> Layouts | None:
    """Return what tells from their bytes which documents of a contract its gate admits; None if nothing can."""
    try:
        shape = _value(gate(entity)).inside
    except UnknownWordError:
        return None
    return None if shape is None else Layouts(shape)


def _value(rules: Mapping[str, Any]) -> Value:
    """Return what a part of a gate admits."""
    if unknown := rules.keys() - _WORDS or {"bsonType"} - rules.keys():
        raise UnknownWordError(f"{min(unknown)} is not told from bytes")
    named = rules["bsonType"]
    types = frozenset(_CODES[name] for name in ([named] if isinstance(named, str) else named))
    inside = _shape(rules) if {"properties", "additionalProperties", "required"} & rules.keys() else None
    items = _value(rules["items"]) if "items" in rules else None
    return Value(types, _tests(rules), inside, items)


def _shape(rules: Mapping[str, Any]) -> Shape:
    if "properties" not in rules or rules.get("additionalProperties") is not False:
        raise UnknownWordError("names that are not declared are not told from bytes")
    values = {name.encode(): _value(inner) for name, inner in rules["properties"].items()}
    return Shape(values, frozenset(name.encode() for name in rules.get("required", ())))


def _tests(rules: Mapping[str, Any]) -> _Tests:
    """Return what more must be true of numbers."""
    limits = {word: rules[word] for word in ("multipleOf", "minimum", "maximum") if word in rules}
    if not limits:
        return {}
    if limits == {"minimum": float("-inf")}:
        return {_DOUBLE: lambda batch, at: ~np.isnan(_doubles(batch, at))}
    if limits == _INTEGRAL:
        return {_DOUBLE: _are_integral}
    step, most = limits.get("multipleOf"), limits.get("maximum")
    if not (isinstance(step, Decimal128) and isinstance(most, Decimal128)):
        raise UnknownWordError("these limits of numbers are not told from bytes")
    if limits.keys() != _INTEGRAL.keys() or limits["minimum"].to_decimal() != most.to_decimal().copy_negate():
        raise UnknownWordError("these limits of decimals are not told from bytes")
    scale, precision = -int(step.to_decimal().as_tuple().exponent), len(most.to_decimal().as_tuple().digits)
    return {_DECIMAL: lambda batch, at: are_plain(_decimals(batch, at), precision, scale)}


def _are_integral(batch: Bytes, at: Places) -> Mask:
    values = _doubles(batch, at)
    within: Mask = (values >= float(INT64_MIN)) & (
        values < -float(INT64_MIN)
    )  # 2^63, for the greatest itself is no double
    within &= np.floor(values) == values
    return within


def _doubles(batch: Bytes, at: Places) -> npt.NDArray[np.float64]:
    return np.ndarray((len(batch) - 7,), "<f8", batch, strides=(1,))[at]


def _decimals(batch: Bytes, at: Places) -> npt.NDArray[np.uint64]:
    words = np.ndarray((len(batch) - 7,), "<u8", batch, strides=(1,))
    return np.stack([words[at], words[at + 8]], axis=1)


@dataclass(frozen=True)
class Sorted:
    """Some documents by what the gate makes of them.

    Attributes:
        admitted: The BSON of those that it admits, one after the other.
        refused: The BSON of each of the others.
        located: Where values of those admitted begin, if that is known of all.
    """

    admitted: bytes
    refused: Sequence[bytes] = ()
    located: Located | None = None


def tells_most(batch: bytes, layouts: Layouts) -> bool:
    """Return whether layouts prove most of some documents, when they have seen these: else the gate is faster.

    Args:
        batch: BSON documents, one after the other.
        layouts: What they are told by.
    """
    starts = np.array(find_starts(batch), np.int64)
    layouts.proven(batch, starts)
    proven, _ = layouts.proven(batch, starts)
    return not len(starts) or float(proven.mean()) >= _MOST


def sort_documents(batch: bytes, layouts: Layouts, passing: Callable[[Sequence[bytes]], Container[bytes]]) -> Sorted:
    """Tell the documents of a batch that the gate admits from those that it refuses.

    Args:
        batch: BSON documents, one after the other.
        layouts: What tells most of them.
        passing: Returns, of documents in doubt, those that the gate admits.
    """
    proven, located = layouts.proven(batch, np.array(find_starts(batch), np.int64))
    if located is not None:
        return Sorted(batch, located=located)
    raws, doubtful = split_documents(batch), np.flatnonzero(~proven).tolist()
    found = passing([raws[number] for number in doubtful])
    refused = {number for number in doubtful if raws[number] not in found}
    lawful = b"".join(raw for number, raw in enumerate(raws) if number not in refused)
    return Sorted(lawful, [raws[number] for number in sorted(refused)])
