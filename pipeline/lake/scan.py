"""A published table as a lazy frame: the store sends the columns that are wanted, and the rows that may count."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import polars as pl
from polars.io.plugins import register_io_source

from contracts.schema.entity import Column, Table
from pipeline.lake.pushdown import find_conditions
from pipeline.stores.base import Reader
from pipeline.stores.conditions import Condition

Opened = Callable[[], AbstractContextManager[Reader]]


def scan(opened: Opened, schema: str, table: Table) -> pl.LazyFrame:
    """Return a table as a lazy frame; it is read when the frame is collected, and each time anew.

    Args:
        opened: Opens a store, for this read alone.
        schema: ``replica``, ``history`` or ``marts``.
        table: The table.
    """

    def rows(
        columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        # Of a limit and a filter the limit comes first.
        conditions = [] if predicate is None or n_rows is not None else find_conditions(predicate, table)
        names = set(table.names if columns is None else columns)
        names.update([] if predicate is None else predicate.meta.root_names())
        with opened() as store:
            for frame in _frames(store, schema, table.only(_with_counts(table, names)), conditions, n_rows):
                kept = frame if predicate is None else frame.filter(predicate)
                yield kept.select(table.names if columns is None else columns)

    return register_io_source(rows, schema=table.frame_schema, validate_schema=True)


def _frames(
    store: Reader, schema: str, table: Table, conditions: list[Condition], limit: int | None
) -> Iterator[pl.DataFrame]:
    for batch in store.read(schema, table, conditions, limit):
        yield _typed(pl.DataFrame(pl.from_arrow(batch)), table)


def _typed(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Return rows as a store gave them in the contract's types, with the arrays null that the source has null."""
    return frame.cast(table.frame_schema).with_columns(
        pl.when(pl.col(_count(column)).is_not_null()).then(pl.col(column.name)).alias(column.name)
        for column in table.columns
        if column.kind.is_array
    )


def _with_counts(table: Table, names: set[str]) -> set[str]:
    """Return the names of columns, and of those that tell null arrays from empty ones."""
    return names | {_count(column) for column in table.columns if column.kind.is_array and column.name in names}


def _count(array: Column) -> str:
    return f"{array.name}_count"
