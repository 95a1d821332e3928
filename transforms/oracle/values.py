"""Values as the stores have them, of one kind each, and whether they can have them."""

import uuid
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from types import NoneType
from typing import Any

import bson
import polars as pl
from bson import DatetimeMS

from contracts.schema.frame import FIRST_MOMENT, LAST_MOMENT
from contracts.schema.kinds import ANY, ANY_ID, BOOLEAN, INTEGER, JSON, NUMBER, OBJECT_ID, TIMESTAMP, UUID, Kind
from transforms.oracle.canonical_id import canonical_id
from transforms.oracle.canonical_json import canonical_json

# Milliseconds since 1970 that each store can hold.
_MOMENTS = {
    "postgres": (-210_863_520_000_000, 9_223_371_331_199_999),
    "clickhouse": tuple(int(one.timestamp() * 1000) for one in (FIRST_MOMENT, LAST_MOMENT)),
}


class UnexpectedValueError(ValueError):
    """A document holds what its contract has no place for, so no store can equal it."""


def as_stored(values: Sequence[Any], kind: Kind) -> Sequence[Any]:
    """Return values as the stores have them; None stays None."""
    if kind is TIMESTAMP:
        return _each(int, of_types(values, DatetimeMS))
    if kind is OBJECT_ID:
        return _each(str, of_types(values, bson.ObjectId))
    if kind.subtype is not None:
        return _each(lambda value: _binary(value, kind), of_types(values, bytes, bson.Binary))
    if kind is ANY_ID:
        return list(map(canonical_id, values))
    if kind.is_json:
        return _each(canonical_json, of_types(values, dict) if kind is JSON else values)
    if kind is INTEGER:
        return _each(_integer, of_types(values, int, bson.Int64, float))
    if kind is NUMBER:
        return _each(float, of_types(values, int, float))  # a long may have bits that no double holds
    if isinstance(kind.frame, pl.Decimal):
        frame = kind.frame
        return _each(lambda value: _exact(value.to_decimal(), frame), of_types(values, bson.Decimal128))
    if kind is BOOLEAN:
        return of_types(values, bool)
    if kind.frame == pl.String():
        return of_types(values, str)
    raise UnexpectedValueError(kind.name)


def _each(convert: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    return [None if value is None else convert(value) for value in values]


def _binary(value: bytes, kind: Kind) -> str | bytes:
    if (value.subtype if isinstance(value, bson.Binary) else 0) != kind.subtype:
        raise UnexpectedValueError(f"binary data that are no {kind.name}")
    return str(uuid.UUID(bytes=bytes(value))) if kind is UUID else bytes(value)


def _integer(value: float) -> int:
    if type(value) is float and not value.is_integer():
        raise UnexpectedValueError(str(value))
    return _within_64_bits(int(value))


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


def of_types(values: Sequence[Any], *types: type) -> Sequence[Any]:
    """Return the values if each is None or exactly of one of the types: a subclass is another BSON type."""
    if others := set(map(type, values)) - {NoneType, *types}:
        raise UnexpectedValueError(str(others))
    return values


def items_of(value: Any) -> Iterable[Any]:
    """Return the items of an array, or the values of a map; none of what is null or missing."""
    return value.values() if isinstance(value, dict) else value or ()


def is_lawful(value: Any, kind: Kind, stores: tuple[str, ...]) -> bool:
    """Return whether a value is one that all of some stores have for a field."""
    if kind in (JSON, ANY):
        return kind is ANY or type(value) is dict
    try:
        items = of_types([value], list)[0] if kind.is_array else [value]
        check_nulls(items, kind)
        as_stored(items, kind.item or kind)
        check_held(items, stores)
    except (ValueError, ArithmeticError):
        return False
    return True


def check_nulls(items: Iterable[Any], kind: Kind) -> None:
    """Raise if there is a null among the items of arrays whose kind has none."""
    if not kind.null_items and NoneType in set(map(type, items)):
        raise UnexpectedValueError(f"null in {kind.name}")


def check_held(values: Sequence[Any], stores: tuple[str, ...]) -> None:
    """Raise if a text or a moment among values that may be aside is none that all of some stores hold."""
    for value in values:
        if "postgres" in stores and type(value) is str and "\0" in value:
            raise UnexpectedValueError("a NUL")
        for first, last in map(_MOMENTS.__getitem__, stores) if type(value) is DatetimeMS else ():
            if not first <= int(value) <= last:
                raise UnexpectedValueError(str(int(value)))
