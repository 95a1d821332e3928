"""What the stores must hold, worked out from raw BSON by another road than the copy takes.

The copy reads with PyMongoArrow (libbson) and normalises in Polars. This module decodes with pymongo's own decoder
and looks at the Python objects, field by field, so that a bend in the copy does not look equal. It is slower, and
shares nothing with the copy but the contract.
"""

import re
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import chain, islice, repeat
from math import isfinite, isnan
from operator import itemgetter
from types import NoneType
from typing import Any

import bson
import bsonjs
import orjson
import polars as pl
import pyarrow as pa
from bson import CodecOptions, DatetimeMS, json_util
from bson.codec_options import DatetimeConversion
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument

from contracts.schema.entity import EXTRA, ID, Column, Entity, Field, Table
from contracts.schema.frame import FIRST_MOMENT, LAST_MOMENT, conditions
from contracts.schema.kinds import ANY, ANY_ID, BOOLEAN, INTEGER, JSON, NUMBER, OBJECT_ID, TIMESTAMP, UUID, Kind
from contracts.schema.special_names import SPECIAL_NAMES
from transforms.bson.identity import decode_id
from transforms.oracle.canonical_id import canonical_id

Document = dict[str, Any]
_OPTIONS: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
_AS_BYTES: CodecOptions[RawBSONDocument] = DEFAULT_RAW_BSON_OPTIONS.with_options(
    datetime_conversion=DatetimeConversion.DATETIME_MS
)
_REFERENCE = b"$ref\0"  # of a document that has this name, the decoder may make a DBRef, which has lost a part of it
# Milliseconds since 1970 that each store can hold.
_MOMENTS = {
    "postgres": (-210_863_520_000_000, 9_223_371_331_199_999),
    "clickhouse": tuple(int(one.timestamp() * 1000) for one in (FIRST_MOMENT, LAST_MOMENT)),
}
_TOGETHER = 500  # the processor's cache holds their objects: 13 to 25 us for each; of 20,000 together 26 to 28
_SORTED = orjson.OPT_SORT_KEYS
_EXPONENT, _LONG_INTEGER = orjson.dumps(1e20)[1:-2], re.compile(r"(?<![\d.])\d{20,}(?![\d.])")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_MAY_MEAN_MORE = re.compile(rb'"\$|\\u0000|-0\.0')
_MEANS_MORE = re.compile(rf"\$+({'|'.join(SPECIAL_NAMES)})\Z")
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
    found: list[dict[str, pl.DataFrame]] = [_frames((), entity)]
    unexpected: list[bytes] = []
    every = list(documents)
    pieces = (every[start : start + _TOGETHER] for start in range(0, len(every), _TOGETHER))
    for raws, frames in chain.from_iterable(_halved(piece, entity) for piece in pieces):
        if frames is None:
            unexpected += raws
        else:
            found.append(frames)
    return {table.name: pl.concat(frames[table.name] for frames in found) for table in entity.tables}, unexpected


def expected_ids(raws: Iterable[bytes], entity: Entity) -> pl.Series:
    """Return the ``_id``s of documents as the stores have them, without those that no store can have.

    Args:
        raws: The BSON of each; of its ``_id`` alone is enough.
        entity: Their contract.
    """
    found = (_expected_id(value, entity) for raw in raws for value in decode_id(raw))
    ids = pl.Series(ID, [value for value in found if value is not None], entity.id_kind.frame)
    return ids.to_frame().filter(*conditions(entity.root.column(ID)).values()).to_series()


def canonical_json(value: Any) -> str:
    """Return JSON that is the same text if and only if the values are: keys sorted, doubles as doubles.

    Args:
        value: A decoded BSON value.
    """
    try:
        text = orjson.dumps(value, default=_extended, option=_PLAIN)
        if _MAY_MEAN_MORE.search(text):
            text = orjson.dumps(_reversible(value), default=_extended, option=_PLAIN)
        if b"null" not in text or not _holds_nan(value):  # orjson would write NaN so
            return text.decode()
    except TypeError:
        pass
    relaxed = json_util.dumps(_reversible(value), json_options=json_util.RELAXED_JSON_OPTIONS)
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
    if _EXPONENT in canonical and _LONG_INTEGER.search(_STRING.sub("", text)):  # in a string it is no number
        return text
    return canonical.decode()


def _expected_id(value: Any, entity: Entity) -> Any:
    """Return an ``_id`` as the stores have it, or None if no store has ids of that type."""
    try:
        return _scalars([value], entity.id_kind)[0]
    except UnexpectedValueError:
        return None


def _extended(value: Any) -> Any:
    return int(value) if type(value) is bson.Int64 else json_util.default(value, json_util.RELAXED_JSON_OPTIONS)


def _reversible(value: Any) -> Any:
    """Return a value with all in it replaced that JSON would give back as something else, or jsonb not at all."""
    if isinstance(value, dict):
        return {f"${name}" if _MEANS_MORE.match(name) else name: _reversible(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_reversible(item) for item in value]
    if isinstance(value, bson.Code):
        scope = {} if value.scope is None else {"$scope": _reversible(value.scope)}
        return {"$code": _reversible(str(value)), **scope}
    if isinstance(value, str) and "\0" in value:
        return {"$text": {"base64": b64encode(value.encode()).decode()}}
    return {"$numberDouble": "-0.0"} if isinstance(value, float) and value.hex() == "-0x0.0p+0" else value


def _holds_nan(value: Any) -> bool:
    """Tell whether a double that is no number, or infinite, is anywhere in a value."""
    if isinstance(value, dict | list):
        return any(map(_holds_nan, value.values() if isinstance(value, dict) else value))
    if isinstance(value, bson.Code):
        return _holds_nan(value.scope)
    return isinstance(value, float) and not isfinite(value)


def _hold_all(documents: Sequence[Document], raws: Sequence[bytes]) -> bool:
    """Tell whether decoded documents say what their bytes say, which are nearly always the same when encoded again."""
    # One array of all takes half of the time that one by one do; a document within another keeps its fields' order.
    if bson.encode({"": documents})[10:-2] == b"".join(b"\x03%d\0%b" % one for one in enumerate(raws)):
        return True
    return all(_says_the_same(bson.encode({"": one})[6:-1], raw) for one, raw in zip(documents, raws, strict=True))


def _says_the_same(encoded: bytes, raw: bytes) -> bool:
    """Tell whether a document is what was decoded from it: no name stands twice, no type lacks a Python counterpart.

    The names within an array say nothing, and bytes may hold any; libbson, which prints canonical JSON, passes over
    them as all decoders do.
    """
    return encoded == raw or bsonjs.dumps(encoded, mode=bsonjs.CANONICAL) == bsonjs.dumps(raw, mode=bsonjs.CANONICAL)


def _halved(raws: Sequence[bytes], entity: Entity) -> Iterator[tuple[Sequence[bytes], dict[str, pl.DataFrame] | None]]:
    """Yield documents with their rows or, if these can't be told, halve them until those to blame stand alone."""
    try:
        frames = _frames(raws, entity)
    except (ValueError, ArithmeticError, bson.errors.BSONError):
        if len(raws) == 1:
            yield raws, None
            return
        for half in (raws[: len(raws) // 2], raws[len(raws) // 2 :]):
            yield from _halved(half, entity)
    else:
        yield raws, frames


def _frames(raws: Sequence[bytes], entity: Entity) -> dict[str, pl.DataFrame]:
    documents = _decoded(raws)
    if not _hold_all(documents, raws):
        raise UnexpectedValueError("bytes that Python objects do not hold")
    aside: list[Document] = [{} for _ in documents]
    try:
        return _tables(documents, aside, entity)
    except (ValueError, ArithmeticError):
        if not entity.keeps_misfits:
            raise
    stores = entity.stores
    kept = [
        _without_misfits(one, entity.fields, "", found, stores) for one, found in zip(documents, aside, strict=True)
    ]
    return _tables(kept, aside, entity)


def _tables(documents: Sequence[Document], aside: Sequence[Document], entity: Entity) -> dict[str, pl.DataFrame]:
    """Return the rows of documents, of which something was put aside."""
    frames = {table.name: pl.DataFrame(_columns(documents, table, entity)) for table in entity.tables}
    if entity.whole:
        return frames
    extras = _extras(documents, aside, (entity.id_field, *entity.fields))
    frames[entity.root.name] = frames[entity.root.name].with_columns(pl.Series(EXTRA, extras, pl.String))
    return frames


def _without_misfits(
    document: Document, fields: tuple[Field, ...], at: str, aside: Document, stores: tuple[str, ...]
) -> Document:
    """Return a document without the values that its contract wants aside, and put these there by JSON Pointer."""
    kept = dict(document)
    for field in fields:
        if (value := document.get(field.name)) is None:
            continue
        pointer = f"{at}/{_escaped(field.name)}"
        if field.kind is not None:
            is_misfit = field.misfits == "extra" and not _is_one(value, field.kind, stores)
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
        if item is None or value.misfits != "extra" or _is_one(item, value.kind, stores):
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


def _is_one(value: Any, kind: Kind, stores: tuple[str, ...]) -> bool:
    """Tell whether a value is one that all of some stores have for a field."""
    if kind in (JSON, ANY):
        return kind is ANY or type(value) is dict
    try:
        items = _of_types([value], list)[0] if kind.is_array else [value]
        _check_nulls(items, kind)
        _scalars(items, kind.item or kind)
        _check_held(items, stores)
    except (ValueError, ArithmeticError):
        return False
    return True


def _check_nulls(items: Iterable[Any], kind: Kind) -> None:
    if not kind.null_items and NoneType in set(map(type, items)):
        raise UnexpectedValueError(f"null in {kind.name}")


def _check_held(values: Sequence[Any], stores: tuple[str, ...]) -> None:
    """Raise if a text or a moment among values that may be aside is none that all of some stores hold."""
    for value in values:
        if "postgres" in stores and type(value) is str and "\0" in value:
            raise UnexpectedValueError("a NUL")
        for first, last in map(_MOMENTS.__getitem__, stores) if type(value) is DatetimeMS else ():
            if not first <= int(value) <= last:
                raise UnexpectedValueError(str(int(value)))


def _decoded(raws: Sequence[bytes]) -> list[Document]:
    if any(_REFERENCE in raw for raw in raws):
        return [_inflated(bson.decode(raw, _AS_BYTES)) for raw in raws]
    return bson.decode_all(b"".join(raws), _OPTIONS)


def _inflated(value: Any) -> Any:
    """Return a value whose documents, at any depth, are left as bytes with dicts in their places."""
    if isinstance(value, RawBSONDocument):
        fields = dict(value)
        del value  # of a deep document the bytes would be there once more at each level
        return {name: _inflated(fields.pop(name)) for name in list(fields)}
    if isinstance(value, list):
        return [_inflated(item) for item in value]
    if isinstance(value, bson.Code) and value.scope is not None:
        return bson.Code(str(value), _inflated(value.scope))
    return value


def _columns(documents: Sequence[Document], table: Table, entity: Entity) -> list[pl.Series]:
    """Return the columns of one table that documents become."""
    if table.parent is None:
        return [_column(documents, column) for column in table.columns if column.name != EXTRA]
    owners: Sequence[Any] = documents
    keys = [_scalars([one[ID] for one in documents], entity.id_kind)]
    for level in table.levels:
        arrays = _of_types(_at(owners, level.path), dict if level.is_map else list)
        counts = [len(items or ()) for items in arrays]
        keys = [list(chain.from_iterable(map(repeat, key, counts))) for key in keys]
        keys.append(list(chain.from_iterable(one or () for one in arrays) if level.is_map else _places(counts)))
        owners = list(chain.from_iterable(_items_of(items) for items in arrays))
        is_bare = level.array is not None and level.array.bare
        if not is_bare and NoneType in set(map(type, _of_types(owners, dict))):
            raise UnexpectedValueError(f"an item of {table.name} that is null")
    first = [_series(column, key) for column, key in zip(table.columns, keys, strict=False)]
    return [*first, *(_column(owners, column) for column in table.columns[len(keys) :])]


def _places(counts: Iterable[int]) -> Iterator[int]:
    return chain.from_iterable(map(range, counts))


def _items_of(value: Any) -> Iterable[Any]:
    """Return the items of an array, or the values of a map; none of what is null or missing."""
    return value.values() if isinstance(value, dict) else value or ()


def _extras(documents: Sequence[Document], aside: Sequence[Document], fields: tuple[Field, ...]) -> list[str | None]:
    if not any(aside) and _are_declared(documents, fields):  # as most are; to walk each takes a third of the time
        return [None] * len(documents)
    found = (_undeclared(one, fields, "") | misfits for one, misfits in zip(documents, aside, strict=True))
    return [canonical_json(extra) if extra else None for extra in found]


def _are_declared(owners: Sequence[Any], fields: tuple[Field, ...]) -> bool:
    """Tell whether documents have declared fields only, at every level."""
    names = {field.name for field in fields}
    if not names.issuperset(chain.from_iterable(owners)):
        return False
    for field in fields:
        if field.fields:
            values = [value for one in owners if (value := one.get(field.name)) is not None]
            # What is no array here is refused later on, by its column.
            inner = [one for value in values if isinstance(value, list | dict) for one in _items_of(value)]
            if not field.repeated:
                inner = values
            if field.bare:
                continue
            if not _are_declared([one for one in inner if isinstance(one, dict)], field.fields):
                return False
    return True


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


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


def _column(owners: Sequence[Any], column: Column) -> pl.Series:
    """Return a column of documents, or of the items of an array of documents."""
    values = _at(owners, column.path)
    if column.counts:
        values = _of_types(values, list, dict)  # that it is the right one of these its items' table tells
    elif column.kind.is_array:
        values = _of_types(values, list)
    if not column.nullable and column.kind is not ANY_ID and NoneType in set(map(type, values)):
        raise UnexpectedValueError(column.name)
    if column.counts:
        return _series(column, [None if value is None else len(value) for value in values])
    if column.name == ID and column.kind is NUMBER and any(map(isnan, values)):
        raise UnexpectedValueError("NaN is no key")
    items = [one for value in values if value for one in value] if column.kind.is_array else values
    if column.field is not None and column.field.misfits == "extra" and column.kind not in (JSON, ANY):
        _check_held(items, column.stores)
    if (item := column.kind.item) is None:
        return _series(column, _scalars(values, column.kind))
    _check_nulls(items, column.kind)
    scalars = iter(_scalars(items, item))
    return _series(column, [None if value is None else list(islice(scalars, len(value))) for value in values])


def _at(owners: Sequence[Any], path: tuple[str, ...]) -> Sequence[Any]:
    """Return what stands at a path of each document; None where it is null or missing."""
    for name in path:
        try:
            owners = list(map(itemgetter(name), _of_types(owners, dict)))
        except (KeyError, TypeError):  # it is missing somewhere, or that which would have it is null
            owners = [None if one is None else one.get(name) for one in owners]
    return owners


def _of_types(values: Sequence[Any], *types: type) -> Sequence[Any]:
    """Return the values if each is None or exactly of one of the types: a subclass is another BSON type."""
    if others := set(map(type, values)) - {NoneType, *types}:
        raise UnexpectedValueError(str(others))
    return values


def _scalars(values: Sequence[Any], kind: Kind) -> Sequence[Any]:
    """Return values as the stores have them; None stays None."""
    if kind is TIMESTAMP:
        return _each(int, _of_types(values, DatetimeMS))
    if kind is OBJECT_ID:
        return _each(str, _of_types(values, bson.ObjectId))
    if kind.subtype is not None:
        return _each(lambda value: _binary(value, kind), _of_types(values, bytes, bson.Binary))
    if kind is ANY_ID:
        return list(map(canonical_id, values))
    if kind.is_json:
        return _each(canonical_json, _of_types(values, dict) if kind is JSON else values)
    if kind is INTEGER:
        return _each(_integer, _of_types(values, int, bson.Int64, float))
    if kind is NUMBER:
        return _each(float, _of_types(values, int, float))  # a long may have bits that no double holds
    if isinstance(kind.frame, pl.Decimal):
        frame = kind.frame
        return _each(lambda value: _exact(value.to_decimal(), frame), _of_types(values, bson.Decimal128))
    if kind is BOOLEAN:
        return _of_types(values, bool)
    if kind.frame == pl.String():
        return _of_types(values, str)
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


def _series(column: Column, values: Sequence[Any]) -> pl.Series:
    if column.kind.is_array:  # Polars would take ten times as long to make lists of Python objects
        arrow = pl.Series([], dtype=column.kind.frame).to_arrow(compat_level=pl.CompatLevel.oldest())
        return pl.Series(column.name, pa.array(values, arrow.type)).cast(column.kind.frame)
    if column.kind.frame == TIMESTAMP.frame:
        return pl.Series(column.name, values, pl.Int64, strict=True).cast(pl.Datetime("ms", "UTC"))
    return pl.Series(column.name, values, column.kind.frame, strict=True)
