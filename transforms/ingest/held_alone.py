"""What is loaded because only one store is copied to, and the other one could not hold it."""

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce

import polars as pl

from contracts.schema.entity import ID, Column, Table
from contracts.schema.frame import key_conditions, of_stores
from contracts.schema.stores import STORES, limits_of
from transforms.ingest.drift import HELD_ALONE, Drift
from transforms.ingest.validate import format_ids
from transforms.violations import pointer_into


def find_held_alone(frames: Mapping[str, pl.DataFrame], tables: Iterable[Table]) -> list[Drift]:
    """Return which values are in the rows that only the stores of the columns can hold, and the others can't.

    Args:
        frames: Rows by table.
        tables: The tables; of those whose values both stores must hold there is nothing to return.
    """
    return [
        drift
        for table in tables
        if table.columns[0].stores != STORES
        for drift in (
            *(one for column in table.columns for one in _of_column(frames[table.name], table, column)),
            *_found(frames[table.name], table, (), key_conditions(table, limits_of(STORES))),
        )
    ]


def _of_column(frame: pl.DataFrame, table: Table, column: Column) -> Iterator[Drift]:
    if column.kind.is_json:
        return
    value = pl.element() if column.kind.is_array else pl.col(column.name)
    held = of_stores(column.kind.item or column.kind, value, limits_of(STORES))
    if column.kind.is_array:
        held = {rule: pl.col(column.name).list.eval(condition).list.all() for rule, condition in held.items()}
    yield from _found(frame, table, column.path, held)


def _found(frame: pl.DataFrame, table: Table, path: Iterable[str], held: Mapping[str, pl.Expr]) -> Iterator[Drift]:
    for rule, condition in held.items():
        alone = frame.filter(~condition.fill_null(True))
        if not alone.is_empty():
            pointer = reduce(pointer_into, (*table.item_path, *path), "")
            yield Drift(pointer, HELD_ALONE, rule, len(alone), str(format_ids(alone[ID]).min()))
