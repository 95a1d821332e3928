"""What the stores must hold, worked out from raw BSON by another road than the copy takes.

The copy reads with PyMongoArrow (libbson) and normalises in Polars. The oracle decodes with pymongo's own decoder
(`decode`) and looks at the Python objects, field by field, so that a bend in the copy does not look equal. It is
slower, and shares nothing with the copy but the contract.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from math import isnan
from operator import itemgetter
from types import NoneType
from typing import Any

import bson
import polars as pl
import pyarrow as pa

from contracts.schema.entity import EXTRA, ID, Column, Entity, Table
from contracts.schema.frame import conditions
from contracts.schema.kinds import ANY, ANY_ID, JSON, NUMBER, TIMESTAMP
from transforms.bson.identity import decode_id
from transforms.oracle.decode import Document, decode_documents
from transforms.oracle.extra import extra_texts, set_aside
from transforms.oracle.values import UnexpectedValueError, as_stored, check_held, check_nulls, items_of, of_types

_TOGETHER = 500  # the processor's cache holds their objects: 13 to 25 us for each; of 20,000 together 26 to 28


def expected_frames(documents: Iterable[bytes], entity: Entity) -> tuple[dict[str, pl.DataFrame], list[bytes]]:
    """Return the rows that the stores must hold for some documents.

    Args:
        documents: The BSON of each.
        entity: Their contract.

    Returns:
        One frame per table, by its name, with JSON as :func:`~transforms.oracle.canonical_json.canonical_json` writes
        it; and the documents that the contract has no place for.
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


def _expected_id(value: Any, entity: Entity) -> Any:
    """Return an ``_id`` as the stores have it, or None if no store has ids of that type."""
    try:
        return as_stored([value], entity.id_kind)[0]
    except UnexpectedValueError:
        return None


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
    documents = decode_documents(raws)
    try:
        return _tables(documents, [{} for _ in documents], entity)
    except (ValueError, ArithmeticError):
        if not entity.keeps_misfits:
            raise
    parts = [set_aside(one, entity) for one in documents]
    return _tables([kept for kept, _ in parts], [aside for _, aside in parts], entity)


def _tables(documents: Sequence[Document], aside: Sequence[Document], entity: Entity) -> dict[str, pl.DataFrame]:
    """Return the rows of documents, of which something was set aside."""
    frames = {table.name: pl.DataFrame(_columns(documents, table, entity)) for table in entity.tables}
    if entity.whole:
        return frames
    extra = extra_texts(documents, aside, entity)
    frames[entity.root.name] = frames[entity.root.name].with_columns(pl.Series(EXTRA, extra, pl.String))
    return frames


def _columns(documents: Sequence[Document], table: Table, entity: Entity) -> list[pl.Series]:
    """Return the columns of one table that documents become."""
    if table.parent is None:
        return [_column(documents, column) for column in table.columns if column.name != EXTRA]
    owners: Sequence[Any] = documents
    keys = [as_stored([one[ID] for one in documents], entity.id_kind)]
    for level in table.levels:
        arrays = of_types(_at(owners, level.path), dict if level.is_map else list)
        counts = [len(items or ()) for items in arrays]
        keys = [list(chain.from_iterable(map(repeat, key, counts))) for key in keys]
        keys.append(list(chain.from_iterable(one or () for one in arrays) if level.is_map else _places(counts)))
        owners = list(chain.from_iterable(items_of(items) for items in arrays))
        is_bare = level.array is not None and level.array.bare
        if not is_bare and NoneType in set(map(type, of_types(owners, dict))):
            raise UnexpectedValueError(f"an item of {table.name} that is null")
    first = [_series(column, key) for column, key in zip(table.columns, keys, strict=False)]
    return [*first, *(_column(owners, column) for column in table.columns[len(keys) :])]


def _places(counts: Iterable[int]) -> Iterator[int]:
    return chain.from_iterable(map(range, counts))


def _column(owners: Sequence[Any], column: Column) -> pl.Series:
    """Return a column of documents, or of the items of an array of documents."""
    values = _at(owners, column.path)
    if column.counts:
        values = of_types(values, list, dict)  # that it is the right one of these its items' table tells
    elif column.kind.is_array:
        values = of_types(values, list)
    if not column.nullable and column.kind is not ANY_ID and NoneType in set(map(type, values)):
        raise UnexpectedValueError(column.name)
    if column.counts:
        return _series(column, [None if value is None else len(value) for value in values])
    if column.name == ID and column.kind is NUMBER and any(map(isnan, values)):
        raise UnexpectedValueError("NaN is no key")
    items = [one for value in values if value for one in value] if column.kind.is_array else values
    if column.field is not None and column.field.misfits == "extra" and column.kind not in (JSON, ANY):
        check_held(items, column.stores)
    if (item := column.kind.item) is None:
        return _series(column, as_stored(values, column.kind))
    check_nulls(items, column.kind)
    if (stored := as_stored(items, item)) is items:  # as texts are
        return _series(column, values)
    single = iter(stored)
    return _series(column, [None if value is None else list(islice(single, len(value))) for value in values])


def _at(owners: Sequence[Any], path: tuple[str, ...]) -> Sequence[Any]:
    """Return what stands at a path of each document; None where it is null or missing."""
    for name in path:
        try:
            owners = list(map(itemgetter(name), of_types(owners, dict)))
        except (KeyError, TypeError):  # it is missing somewhere, or that which would have it is null
            owners = [None if one is None else one.get(name) for one in owners]
    return owners


def _series(column: Column, values: Sequence[Any]) -> pl.Series:
    if column.kind.is_array:  # Polars would take ten times as long to make lists of Python objects
        arrow = pl.Series([], dtype=column.kind.frame).to_arrow(compat_level=pl.CompatLevel.oldest())
        return pl.Series(column.name, pa.array(values, arrow.type)).cast(column.kind.frame)
    if column.kind.frame == TIMESTAMP.frame:
        return pl.Series(column.name, values, pl.Int64, strict=True).cast(pl.Datetime("ms", "UTC"))
    return pl.Series(column.name, values, column.kind.frame, strict=True)
