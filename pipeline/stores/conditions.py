"""Which rows of a published table are read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.schema.entity import Column, Table
from pipeline.stores.staging import Staging


@dataclass(frozen=True)
class Among:
    """Rows are meant by a value that is one of those which an area holds.

    Attributes:
        area: The staging area, which :meth:`~pipeline.stores.base.Target.hold_keys` was given the values in.
        keys: What they were called there.
        column: The column of the rows that is looked at; of rows of a child table it is the root's.
        root: Name of that root, of child tables whose own rows have no such column.
        outside: Whether the other rows are meant.
    """

    area: Staging
    keys: str
    column: str
    root: str | None = None
    outside: bool = False


@dataclass(frozen=True)
class Condition:
    """What rows must satisfy that are read; a null satisfies no comparison.

    Attributes:
        column: The column that is looked at.
        operator: ``=``, ``<>``, ``<``, ``<=``, ``>``, ``>=``, ``IN``, ``IS NULL`` or ``IS NOT NULL``.
        values: What it is compared with, as Polars has it: one value, several for ``IN``, none for the last two.
    """

    column: Column
    operator: str
    values: tuple[Any, ...] = ()


def within(table: Table, after: Any, upto: Any) -> list[Condition]:
    """Return the conditions for rows of a range of a table's first column.

    Args:
        table: The table.
        after: Only rows that are greater; None for no bound.
        upto: Only rows that are at most this; None for no bound.
    """
    bounds = ((">", after), ("<=", upto))
    return [Condition(table.columns[0], operator, (value,)) for operator, value in bounds if value is not None]


def select(columns: Iterable[str], source: str, conditions: Sequence[str], limit: int | None) -> str:
    """Return the query for the rows that meet all conditions, each of these in a store's own words.

    Args:
        columns: What is read of each row.
        source: The table.
        conditions: All rows are meant if there are none.
        limit: No more rows than this.
    """
    query = f"SELECT {', '.join(columns)} FROM {source}"
    query += f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return query if limit is None else f"{query} LIMIT {limit}"
