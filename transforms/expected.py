"""What the stores must hold, worked out from raw BSON by another road than the copy takes.

The copy reads with PyMongoArrow (libbson) and normalises in Polars. This module decodes with pymongo's own decoder
and walks the Python objects one by one, so that a bend in the copy does not look equal. It is slower, and shares
nothing with the copy but the contract.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import bson
import bsonjs
import orjson
import polars as pl
from bson import CodecOptions, DatetimeMS, json_util
from bson.codec_options import DatetimeConversion

from contracts.schema.entity import EXTRA, ID, POSITION, Column, Entity, Field, Table
from contracts.schema.kinds import BOOLEAN, INTEGER, JSON, NUMBER, OBJECT_ID, TIMESTAMP, Kind

_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
_SORTED = orjson.OPT_SORT_KEYS
_EXPONENT, _LONG_INTEGER = orjson.dumps(1e20)[1:-2], re.compile(r"(?<![\d.])\d{20,}(?![\d.])")
_PLAIN = _SORTED | orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME


class UnexpectedValueError(ValueError):
    """A document holds what its contract has no place for, so no store can equal it."""


def expected_frames(documents: Iterable[bytes], entity: Entity) -> tuple[dict[str, pl.DataFrame], list[bytes]]:
    """Return the rows that the stores must hold for some documents.

    Args:
        documents: The BSON of each.
        entity: Their contract.

    Returns:
        One frame per table, by its name, with JSON in :func:`canonical_json` form; and the documents that the
        contract has no place for.
    """
    rows: dict[str, list[list[Any]]] = {table.name: [[] for _ in table.columns] for table in entity.tables}
    unexpected: list[bytes] = []
    for raw in documents:
        try:
            document = bson.decode(raw, _OPTIONS)
            if not _says_the_same(bson.encode({"": document})[6:-1], raw):
                raise UnexpectedValueError("bytes that Python objects do not hold")
            found = {table.name: _rows(document, table, entity) for table in entity.tables}
        except (ValueError, ArithmeticError, bson.errors.BSONError):
            unexpected.append(raw)
            continue
        for name, some in found.items():
            for row in some:
                for values, value in zip(rows[name], row, strict=True):
                    values.append(value)
    frames = {
        table.name: pl.DataFrame(
            [_series(column, values) for column, values in zip(table.columns, rows[table.name], strict=True)]
        )
        for table in entity.tables
    }
    return frames, unexpected


def expected_id(value: Any, entity: Entity) -> Any:
    """Return an ``_id`` as the stores have it, or None if no store has ids of that type."""
    try:
        return _scalar(value, entity.id_kind)
    except UnexpectedValueError:
        return None


def canonical_json(value: Any) -> str:
    """Return JSON that is the same text if and only if the values are: keys sorted, doubles as doubles.

    Args:
        value: A decoded BSON value.
    """
    try:
        text = orjson.dumps(value, default=_long, option=_PLAIN)
        if b"null" not in text:  # orjson would write NaN so
            return text.decode()
    except TypeError:
        pass
    relaxed = json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS)
    return orjson.dumps(orjson.loads(relaxed), option=_SORTED).decode()


def canonical_text(text: str | None) -> str | None:
    """Return JSON text as a store gives it in the form of :func:`canonical_json`."""
    if text is None:
        return None
    try:
        canonical = orjson.dumps(orjson.loads(text), option=_SORTED)
    except orjson.JSONDecodeError:  # only a String column can hold this: equal to no JSON, but no reason to stop
        return text
    # orjson reads integers that no 64 bits hold as doubles; MongoDB has none, so the text stays what it is.
    return text if _EXPONENT in canonical and _LONG_INTEGER.search(text) else canonical.decode()


def _long(value: Any) -> int:
    if type(value) is bson.Int64:
        return int(value)
    raise TypeError


def _says_the_same(encoded: bytes, raw: bytes) -> bool:
    """Tell whether a document is what was decoded from it: no name stands twice, no type lacks a Python counterpart.

    The names within an array say nothing, and bytes may hold any; libbson, which prints canonical JSON, passes over
    them as all decoders do.
    """
    return encoded == raw or bsonjs.dumps(encoded, mode=bsonjs.CANONICAL) == bsonjs.dumps(raw, mode=bsonjs.CANONICAL)


def _rows(document: dict[str, Any], table: Table, entity: Entity) -> list[list[Any]]:
    """Return the rows of one table that a document becomes."""
    if table.parent is None:
        extra = _undeclared(document, (entity.id_field, *entity.fields), "")
        values = [_value(document, column) for column in table.columns if column.name != EXTRA]
        return [[*values, canonical_json(extra) if extra else None]]
    items = _at(document, table.path)
    if items is None:
        return []
    key = _scalar(document[ID], table.columns[0].kind)
    rest = table.columns[2:]  # after _id and _position
    return [[key, position, *(_value(item, column) for column in rest)] for position, item in enumerate(items)]


def _undeclared(value: Any, fields: tuple[Field, ...], at: str) -> dict[str, Any]:
    """Return the fields that no contract knows, by JSON Pointer."""
    if isinstance(value, list):
        return {k: v for n, item in enumerate(value) for k, v in _undeclared(item, fields, f"{at}/{n}").items()}
    if not isinstance(value, dict):
        return {}
    known = {field.name: field.fields for field in fields}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        if name not in known:
            found[f"{at}/{name.replace('~', '~0').replace('/', '~1')}"] = inner
        elif known[name]:
            found |= _undeclared(inner, known[name], f"{at}/{name}")
    return found


def _value(document: Any, column: Column) -> Any:
    if column.name == POSITION or not column.path:
        raise UnexpectedValueError(column.name)
    found = _at(document, column.path)
    if column.counts:
        return None if found is None else len(found)
    if found is None:
        if not column.nullable:
            raise UnexpectedValueError(column.name)
        return None
    if column.kind.item is not None:
        if not isinstance(found, list):
            raise UnexpectedValueError(column.name)
        return [_scalar(item, column.kind.item) for item in found]
    return _scalar(found, column.kind)


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if document is None:
            return None
        if not isinstance(document, dict):
            raise UnexpectedValueError(name)
        document = document.get(name)
    return document


def _scalar(value: Any, kind: Kind) -> Any:
    if kind is JSON and isinstance(value, dict):
        return canonical_json(value)
    if kind is OBJECT_ID and isinstance(value, bson.ObjectId):
        return str(value)
    if kind is TIMESTAMP and isinstance(value, DatetimeMS):
        return int(value)
    if kind is INTEGER and (isinstance(value, int) or (isinstance(value, float) and value.is_integer())):
        if not isinstance(value, bool):
            return _within_64_bits(int(value))
    elif kind is NUMBER and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif (kind is BOOLEAN and isinstance(value, bool)) or (
        kind.frame == pl.String() and kind not in (OBJECT_ID, JSON) and type(value) is str
    ):
        return value
    elif isinstance(kind.frame, pl.Decimal) and isinstance(value, bson.Decimal128):
        return _exact(value.to_decimal(), kind.frame)
    raise UnexpectedValueError(kind.name)


def _within_64_bits(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise UnexpectedValueError(str(number))
    return number


def _exact(number: Decimal, frame: pl.Decimal) -> Decimal:
    """Return a number that a decimal column holds as it is; Polars would round it."""
    unscaled = Fraction(number) * 10**frame.scale if number.is_finite() else Fraction(1, 2)
    if unscaled.denominator != 1 or abs(unscaled) >= 10 ** (frame.precision or 0):
        raise UnexpectedValueError(str(number))
    # At the column's own scale: Polars panics at the exponent of 0E-6176.
    digits = tuple(map(int, str(abs(unscaled.numerator))))
    return Decimal((int(unscaled < 0), digits, -frame.scale))


def _series(column: Column, values: list[Any]) -> pl.Series:
    if column.kind.frame == TIMESTAMP.frame:
        return pl.Series(column.name, values, pl.Int64, strict=True).cast(pl.Datetime("ms", "UTC"))
    return pl.Series(column.name, values, column.kind.frame, strict=True)
