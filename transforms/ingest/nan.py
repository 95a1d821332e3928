"""Doubles that are no number: the typed reader takes every NaN for null, so they are put back from the raw BSON."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from math import isnan
from typing import Any

import polars as pl

from contracts.schema.entity import Column, Entity, Table
from contracts.schema.kinds import NUMBER
from transforms.bson.documents import decode_document, split_documents, value_at
from transforms.ingest.rows import find_items


def restore_nan(frames: Mapping[str, pl.DataFrame], batch: bytes, entity: Entity) -> dict[str, pl.DataFrame]:
    """Return the rows of some documents with null replaced by NaN wherever the documents have that.

    Args:
        frames: The rows by table, in the documents' order.
        batch: BSON documents, one after the other.
        entity: Their contract.
    """
    tables = {table.name: numbers for table in entity.tables if (numbers := _numbers(table))}
    look_alike = _look_alike(entity) if tables else None
    if look_alike is None or not look_alike.search(batch):
        return dict(frames)
    raws = enumerate(split_documents(batch))
    found = [(number, decode_document(raw)) for number, raw in raws if look_alike.search(raw)]
    ids = frames[entity.root.name][entity.root.key[0]]
    patched = dict(frames)
    for table in entity.tables:
        for column in tables.get(table.name, ()):
            rows = [
                (*key, value) for number, one in found for key, value in _with_keys(one, table, column, ids[number])
            ]
            if rows:
                schema = {name: frames[table.name].schema[name] for name in (*table.key, column.name)}
                patch = pl.DataFrame(rows, schema, orient="row")
                patched[table.name] = patched[table.name].update(patch, on=list(table.key), how="left")
    return patched


def _numbers(table: Table) -> list[Column]:
    return [one for one in table.columns if (one.kind.item or one.kind) is NUMBER and one.name not in table.key]


@cache
def _look_alike(entity: Entity) -> re.Pattern[bytes]:
    """Return a pattern that is found in every document with a NaN in a declared field, and in few others.

    A double with all bits of its exponent set is a NaN or an infinity; within arrays, and in maps, names are any.
    """
    columns = [column for table in entity.tables for column in _numbers(table)]
    arrays_and_maps = [column for column in columns if column.kind.is_array or not column.path]
    names = {re.escape(column.path[-1].encode()) for column in columns if column not in arrays_and_maps}
    names |= {rb"[^\0]*"} if arrays_and_maps else set()
    return re.compile(rb"\x01(?:" + b"|".join(sorted(names)) + rb")\0.{6}[\xf0-\xff][\x7f\xff]", re.DOTALL)


def _with_keys(document: Any, table: Table, column: Column, key: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield the values of a column that are NaN or hold one, each with the key of its row."""
    for places, owner in find_items(document, table):
        value = value_at(owner, column.path)
        if any(isinstance(one, float) and isnan(one) for one in (value if isinstance(value, list) else [value])):
            yield (key, *places), _doubles(value) if isinstance(value, list) else value


def _doubles(values: list[Any]) -> list[float | None]:
    return [None if one is None else float(one) for one in values]
