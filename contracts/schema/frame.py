"""Derived for Polars: the Pandera schema that a normalised frame must satisfy before it is loaded."""

from datetime import UTC, datetime
from functools import cache

import pandera.polars as pa
import polars as pl

from contracts.schema.entity import Column, Field, Table
from contracts.schema.kinds import DATE, TIMESTAMP

# What both stores hold exactly: ClickHouse's DateTime64 and Date32 are defined for these years only.
FIRST_MOMENT = datetime(1900, 1, 1, tzinfo=UTC)
LAST_MOMENT = datetime(2299, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)


@cache
def pandera_schema(table: Table) -> pa.DataFrameSchema:
    """Return the Pandera schema of a table: dtypes, nullability, ranges, closed vocabularies and rules.

    Every check bears the name that the quarantine reports when a row breaks it.
    """
    return pa.DataFrameSchema(
        {column.name: _pandera_column(column) for column in table.columns},
        checks=[_check(rule.name, rule.condition) for rule in table.rules],
        strict=True,
        ordered=True,
        name=table.name,
    )


def _pandera_column(column: Column) -> pa.Column:
    return pa.Column(
        column.kind.frame,
        checks=[_check(name, condition) for name, condition in conditions(column).items()],
        nullable=column.nullable,
        description=column.description,
    )


def conditions(column: Column) -> dict[str, pl.Expr]:
    """Return what a column's values must satisfy beyond their dtype, by the name of the rule."""
    found: dict[str, pl.Expr] = {}
    value = pl.col(column.name)
    if column.kind.frame == pl.String():
        # PostgreSQL's text can't hold a NUL character.
        found[f"{column.name}_has_no_nul"] = ~value.str.contains("\0", literal=True)
    elif column.kind.frame == pl.List(pl.String()):
        found[f"{column.name}_has_no_nul"] = ~value.list.eval(pl.element().str.contains("\0", literal=True)).list.any()
    elif column.kind is TIMESTAMP:
        found[f"{column.name}_in_clickhouse_range"] = value.is_between(FIRST_MOMENT, LAST_MOMENT)
    elif column.kind is DATE:
        found[f"{column.name}_in_clickhouse_range"] = value.is_between(FIRST_MOMENT.date(), LAST_MOMENT.date())
    if column.field is not None and not column.counts:
        found |= _declared(column.name, column.field)
    return found


def _declared(name: str, field: Field) -> dict[str, pl.Expr]:
    """Return the conditions that a contract's author declared for one field."""
    value = pl.col(name)
    wanted = {
        "at_least": None if field.minimum is None else value >= field.minimum,
        "at_most": None if field.maximum is None else value <= field.maximum,
        "min_length": None if field.min_length is None else value.str.len_chars() >= field.min_length,
        "max_length": None if field.max_length is None else value.str.len_chars() <= field.max_length,
        "in_vocabulary": value.is_in(field.vocabulary) if field.closed else None,
    }
    return {f"{name}_{rule}": condition for rule, condition in wanted.items() if condition is not None}


def _check(name: str, condition: pl.Expr) -> pa.Check:
    # A null is judged by the column's nullability alone.
    return pa.Check(lambda data: data.lazyframe.select(condition.fill_null(True)), name=name, error=name)
