"""From Arrow as the reader yields it to the frames of a contract's tables."""

from collections.abc import Callable, Mapping

import polars as pl
import pyarrow as pa

from contracts.schema.entity import ID, Column, Entity, Field, Table
from contracts.schema.kinds import ANY_ID, OBJECT_ID, TIMESTAMP, UUID, Kind
from contracts.schema.mongo import ENTRY, readable
from transforms.bson.decimals import decimal128_array

# What the reader's values become, where they are not what the frames have.
_CONVERTED: dict[Kind, Callable[[pl.Expr], pl.Expr]] = {
    OBJECT_ID: lambda value: value.bin.encode("hex"),
    TIMESTAMP: lambda value: value.dt.replace_time_zone("UTC"),
    UUID: lambda value: _uuid_text(value.bin.encode("hex")),
}


def _uuid_text(digits: pl.Expr) -> pl.Expr:
    parts = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
    return pl.concat_str([digits.str.slice(start, length) for start, length in parts], separator="-")


def normalise(batch: pa.Table, entity: Entity, texts: Mapping[str, Mapping[str, pl.Series]]) -> dict[str, pl.DataFrame]:
    """Turn one batch of documents into the rows of the contract's tables.

    Args:
        batch: The documents, one row each, typed as :func:`contracts.schema.mongo.read_schema` says.
        entity: Their contract.
        texts: The JSON fields' texts by table and column, one per row; and those of ``_id`` if it may be of any kind.

    Returns:
        One frame per table of the contract, keyed by the table's name, with exactly its columns in order.
    """
    entity = readable(entity)
    fields = {field.name: field for field in (entity.id_field, *entity.fields)}
    arrays = {name: _plain(batch[name].combine_chunks(), fields[name]) for name in batch.column_names}
    read = pl.DataFrame(pl.from_arrow(pa.table(arrays)))
    beside = texts.get(entity.root.name, {})
    documents = pl.DataFrame([*read, *(series.alias(_beside(name)) for name, series in beside.items())])
    frames = {entity.root.name: documents.select(_expression(column, entity.root) for column in entity.root.columns)}
    for child in entity.children:
        rows = _child_rows(documents, entity.root.column(ID), child)
        frames[child.name] = rows.with_columns(**texts.get(child.name, {})).select(child.names)
    return frames


def _child_rows(documents: pl.DataFrame, id_column: Column, child: Table) -> pl.DataFrame:
    """Return one row per item of the array at ``child.path``, in the items of those around it, without JSON fields."""
    first, *inner = child.levels
    rows = _items(documents.lazy(), [_expression(id_column, child)], first, first.path, child.places[0])
    for number, level in enumerate(inner, start=1):
        keys = [pl.col(name) for name in child.key[: number + 1]]
        rows = _items(rows, keys, level, ("item", *level.path), child.places[number])
    read = [column for column in child.columns if column.name not in child.key and not column.kind.is_json]
    return rows.select(*child.key, *(_expression(column, child, "item") for column in read)).collect()


def _items(rows: pl.LazyFrame, keys: list[pl.Expr], level: Table, path: tuple[str, ...], place: str) -> pl.LazyFrame:
    """Return the items of an array that rows have, each with its row's keys and its place."""
    arrays = rows.select(*keys, _value(path).alias("item")).filter(pl.col("item").list.len() > 0)
    if level.array is not None and level.is_map:
        entry, entries = pl.col("item").struct, arrays.explode("item")
        is_read = level.array.bare and not level.columns[-1].kind.is_json
        item = [entry.field(level.array.fields[0].name).alias("item")] if is_read else []
        return entries.with_columns(entry.field(ENTRY).alias(place), *item)
    return arrays.with_columns(pl.int_ranges(pl.col("item").list.len(), dtype=pl.Int64).alias(place)).explode(
        "item", place
    )


def _expression(column: Column, table: Table, *inside: str) -> pl.Expr:
    """Return the expression that computes a column from the documents (or from the items, ``inside`` a struct)."""
    if column.kind.is_json or column.kind is ANY_ID:
        value = pl.col(_beside(column.name)) if column.field is not None else pl.lit(None, pl.String)
    else:
        value = _value((*inside, *column.path))
    if column.counts:
        return value.list.len().cast(pl.Int64).alias(column.name)
    if (convert := _CONVERTED.get(column.kind.item or column.kind)) is not None:
        value = value.list.eval(convert(pl.element())) if column.kind.is_array else convert(value)
    return value.alias(column.name)


def _beside(name: str) -> str:
    """Return what a free-form column is called among the fields: as none of them, for a_b may be one beside a.b."""
    return f"\0{name}"


def _value(path: tuple[str, ...]) -> pl.Expr:
    value = pl.col(path[0])
    for name in path[1:]:
        value = value.struct.field(name)
    return value


def _plain(array: pa.Array, field: Field) -> pa.Array:
    """Replace the reader's extension types, at any depth, by types that Polars knows."""
    from pymongoarrow.types import BinaryType, Decimal128Type, ObjectIdType  # heavy, as in transforms.decode

    if isinstance(array.type, ObjectIdType | BinaryType):
        return array.storage.cast(pa.binary())
    if isinstance(array.type, Decimal128Type):
        frame = field.kind and (field.kind.item or field.kind).frame
        assert isinstance(frame, pl.Decimal)
        return decimal128_array(array.storage, frame.precision, frame.scale)
    if isinstance(array, pa.ListArray):
        return pa.ListArray.from_arrays(array.offsets, _plain(array.values, field), mask=_mask(array))
    if isinstance(array, pa.StructArray):
        return _plain_struct(array, field)
    return array


def _plain_struct(array: pa.StructArray, field: Field) -> pa.StructArray:
    # JSON fields were not read: they come beside, as text.
    fields = [child for child in field.fields if array.type.get_field_index(child.name) >= 0]
    if not fields:
        return array
    parts = {child.name: _plain(array.field(child.name), child) for child in fields}
    if field.keyed:
        parts[ENTRY] = array.field(ENTRY)
    return pa.StructArray.from_arrays(list(parts.values()), names=list(parts), mask=_mask(array))


def _mask(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None
