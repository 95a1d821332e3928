"""The contract's word on values: rows that break a rule are set apart with the rule's name."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import reduce
from itertools import chain
from typing import Any

import polars as pl

from contracts.schema.entity import ID, Column, Entity, Table
from contracts.schema.frame import keeps, pandera_schema, without_bytes
from contracts.schema.kinds import TIMESTAMP
from contracts.schema.stores import limits_of
from transforms.violations import FURTHER, KEPT, Violation, pointer_into


def find_broken_rules(frames: Mapping[str, pl.DataFrame], entity: Entity) -> dict[str, list[Violation]]:
    """Return the reasons against each document that breaks a rule of its contract.

    Args:
        frames: The rows of the contract's tables, by the table's name.
        entity: The contract.

    Returns:
        Every reason, not only the first (of very many their number), by ``_id`` as :func:`format_ids` tells it. Empty
        if all is well.

    Raises:
        SchemaErrors: A frame hasn't the contract's columns or dtypes at all, which no document can be blamed for.
    """
    reasons: dict[str, list[Violation]] = defaultdict(list)
    further: Counter[str] = Counter()
    for table in entity.tables:
        rows = without_bytes(frames[table.name], table)
        if keeps(rows, table):  # Pandera takes as long for a few rows as for thousands, so it judges what is in doubt
            continue
        frame, far = _within_python(rows, table)
        ids = format_ids(frames[table.name][ID])
        for row, column, check, value in chain(far, _failures(frame, table)):
            if len(known := reasons[ids[row]]) < KEPT:
                known.append(Violation(_pointer(table, frame, row, column), check, value))
            else:
                further[ids[row]] += 1
    return {
        key: [*known, Violation("", FURTHER, further[key])] if further[key] else known for key, known in reasons.items()
    }


def format_ids(ids: pl.Series) -> pl.Series:
    """Return ``_id``s as texts: unequal ones where the ids are unequal, and of any, however far a moment is."""
    # Polars dies of printing a moment that has no place in its calendar.
    return (ids.to_physical() if ids.dtype == pl.Datetime else ids).cast(pl.String)


def _failures(frame: pl.DataFrame, table: Table) -> Iterator[tuple[int, str, str, Any]]:
    """Yield row, column (empty for a rule over several), check and value of whatever Pandera refuses."""
    from pandera.errors import SchemaErrors  # as in contracts.schema.frame: only where there are rows

    try:
        pandera_schema(table).validate(frame, lazy=True)
    except SchemaErrors as error:
        if error.failure_cases["index"].null_count():
            raise
        cases = error.failure_cases.select("index", "schema_context", "column", "check", "failure_case")
        for row, context, column, check, value in cases.iter_rows():
            if check == "not_nullable" and value is not None:
                continue  # Pandera takes NaN for null
            if context == "Column":
                cell = frame[column][row]
                yield row, column, check, cell if isinstance(cell, int) else value  # Pandera makes a text of it
            else:
                yield row, "", check, None


def _within_python(frame: pl.DataFrame, table: Table) -> tuple[pl.DataFrame, list[tuple[int, str, str, Any]]]:
    """Bring timestamps that Python has no type for into range, and tell which they were.

    Pandera makes Python objects of what it refuses, and dies of the year 20000.
    """
    far: list[tuple[int, str, str, Any]] = []
    for column in table.columns:
        if (column.kind.item or column.kind) is not TIMESTAMP:
            continue
        moments = frame.select(pl.col(column.name).alias("at")).with_row_index("row")
        if column.kind.is_array:
            moments = moments.explode("at")
        limits = limits_of(column.stores)
        outside = moments.filter(~pl.col("at").to_physical().is_between(limits.first_ms, limits.last_ms))
        rule = f"{column.name}_in_{limits.range_of}_range"
        rows = zip(outside["row"], outside["at"].dt.timestamp("ms"), strict=True)
        far += [(row, column.name, rule, f"{milliseconds} ms since 1970") for row, milliseconds in rows]
    names = {name for _, name, _, _ in far}
    return frame.with_columns(_into_range(table.column(name)) for name in names), far


def _into_range(column: Column) -> pl.Expr:
    if column.kind.is_array:
        return pl.col(column.name).list.eval(_clipped(pl.element(), column))
    return _clipped(pl.col(column.name), column)


def _clipped(value: pl.Expr, column: Column) -> pl.Expr:
    limits = limits_of(column.stores)
    return value.to_physical().clip(limits.first_ms, limits.last_ms).cast(TIMESTAMP.frame)


def drop_documents(frames: Mapping[str, pl.DataFrame], refused: set[str]) -> dict[str, pl.DataFrame]:
    """Return the frames without the rows of documents whose ``_id``, as :func:`format_ids` tells it, is refused."""
    if not refused:
        return dict(frames)
    ids = pl.Series(list(refused), dtype=pl.String)
    return {name: frame.filter(~format_ids(frame[ID]).is_in(ids.implode())) for name, frame in frames.items()}


def _pointer(table: Table, frame: pl.DataFrame, row: int, column: str) -> str:
    levels = zip(table.levels, table.places, strict=True)
    item = (step for level, place in levels for step in (*level.path, frame[place][row]))
    path = table.column(column).path if column else ()
    return reduce(pointer_into, (*item, *path), "")
