"""Derived for Polars: the Pandera schema that a normalised frame must satisfy before it is loaded."""

from datetime import UTC, datetime
from functools import cache
from itertools import starmap
from typing import TYPE_CHECKING

import polars as pl

from contracts.schema.entity import ID, Column, Field, Table
from contracts.schema.kinds import ANY_ID, DATE, NUMBER, TIMESTAMP, UUID, Kind
from contracts.schema.stores import Limits, limits_of

if TYPE_CHECKING:  # heavy, and needed only where there are rows to be validated
    import pandera.polars as pa

# What both stores hold exactly: ClickHouse's DateTime64 and Date32 are defined for these years only.
FIRST_MOMENT = datetime(1900, 1, 1, tzinfo=UTC)
LAST_MOMENT = datetime(2299, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)


@cache
def pandera_schema(table: Table) -> "pa.DataFrameSchema":
    """Return the Pandera schema of a table: dtypes, nullability, ranges, closed vocabularies and rules.

    It takes rows as :func:`without_bytes` gives them. Every check bears the name that the quarantine reports when a row
    breaks it.
    """
    import pandera.polars as pa

    keys = key_conditions(table, limits_of(table.columns[0].stores))
    return pa.DataFrameSchema(
        {column.name: _pandera_column(column) for column in table.columns},
        checks=[*(_check(rule.name, rule.condition) for rule in table.rules), *starmap(_check, keys.items())],
        strict=True,
        ordered=True,
        name=table.name,
    )


def keeps(frame: pl.DataFrame, table: Table) -> bool:
    """Return whether rows are as :func:`pandera_schema` demands, in one look at all of them, without loading Pandera.

    What it does not take may be all right still: the schema judges then, and says what is wrong.

    Args:
        frame: Rows of a table, as :func:`without_bytes` gives them.
        table: The table.
    """
    if [*frame.schema.items()] != [(column.name, _dtype(column)) for column in table.columns]:
        return False
    try:
        return all(frame.lazy().select(_kept(table)).collect().row(0))
    except pl.exceptions.PolarsError:  # a rule that can't be told of these rows
        return False


@cache
def _kept(table: Table) -> list[pl.Expr]:
    """Return what is true of all rows together that keep a contract."""
    found = [*(rule.condition for rule in table.rules)]
    found += key_conditions(table, limits_of(table.columns[0].stores)).values()
    for column in table.columns:
        found += conditions(column).values()
        if not column.nullable:
            value = pl.col(column.name)
            is_there = value.is_not_null()
            found.append(is_there & value.is_not_nan() if _dtype(column).is_float() else is_there)
    return [one.fill_null(True).all().alias(str(place)) for place, one in enumerate(found)]


def without_bytes(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Return rows as the schema takes them: of binary data only whether there are any, for Pandera can't show them.

    Args:
        frame: Rows of a table.
        table: The table.
    """
    names = [column.name for column in table.columns if column.kind.frame == pl.Binary()]
    return frame.with_columns(pl.when(pl.col(name).is_not_null()).then(True).alias(name) for name in names)


def key_conditions(table: Table, limits: Limits) -> dict[str, pl.Expr]:
    """Return the condition that a key with the names of a map's entries, which may be of any length, can be indexed.

    Args:
        table: The table.
        limits: What the stores can hold.
    """
    texts = [name for name in table.key if table.column(name).kind.frame == pl.String()]
    if not any(level.is_map for level in table.levels) or limits.key_bytes is None:
        return {}
    size = pl.sum_horizontal(pl.col(name).str.len_bytes() for name in texts)
    return {"key_fits_into_an_index_of_postgres": size <= limits.key_bytes}


def _pandera_column(column: Column) -> "pa.Column":
    import pandera.polars as pa

    return pa.Column(
        _dtype(column),
        checks=[_check(name, condition) for name, condition in conditions(column).items()],
        nullable=column.nullable,
        description=column.description,
    )


def _dtype(column: Column) -> pl.DataType:
    """Return what a column's values are in the rows that are judged."""
    return pl.Boolean() if column.kind.frame == pl.Binary() else column.kind.frame


def conditions(column: Column) -> dict[str, pl.Expr]:
    """Return what a column's values must satisfy beyond their dtype, by the name of the rule.

    What is declared of an array holds for each of its items.
    """
    value = pl.element() if column.kind.is_array else pl.col(column.name)
    found = of_stores(column.kind.item or column.kind, value, limits_of(column.stores))
    if column.field is not None and not column.counts:
        found |= _declared(column.field, value)
    if column.name == ID and column.kind is NUMBER:
        # MongoDB takes it for the least number, PostgreSQL for the greatest, ClickHouse for neither.
        found["is_a_number"] = value.is_not_nan()
    if column.kind.is_array:
        found = {rule: pl.col(column.name).list.eval(kept).list.all() for rule, kept in found.items()}
    return {f"{column.name}_{rule}": kept for rule, kept in found.items()}


def of_stores(kind: Kind, value: pl.Expr, limits: Limits) -> dict[str, pl.Expr]:
    """Return the conditions under which stores hold a value exactly, by the name of the rule.

    Args:
        kind: What the value is.
        value: The value.
        limits: What the stores can hold.
    """
    if kind is ANY_ID:
        most = limits.key_bytes
        return {} if most is None else {"fits_into_an_index_of_postgres": value.str.len_bytes() <= most}
    if kind.frame == pl.String() and kind is not UUID:
        # PostgreSQL's text can't hold a NUL character.
        return {} if limits.has_nul else {"has_no_nul_for_postgres": ~value.str.contains("\0", literal=True)}
    if kind is TIMESTAMP:
        held = value.to_physical().is_between(limits.first_ms, limits.last_ms)
        return {f"in_{limits.range_of}_range": held}
    if kind is DATE:
        return {"in_clickhouse_range": value.is_between(FIRST_MOMENT.date(), LAST_MOMENT.date())}
    return {}


def _declared(field: Field, value: pl.Expr) -> dict[str, pl.Expr]:
    """Return the conditions that a contract's author declared for one field."""
    at_least = None if field.minimum is None else value >= field.minimum
    if at_least is not None and field.kind is not None and (field.kind.item or field.kind) is NUMBER:
        at_least &= value.is_not_nan()  # Polars takes NaN for the greatest number, but it is not at least anything
    wanted = {
        "at_least": at_least,
        "at_most": None if field.maximum is None else value <= field.maximum,
        "min_length": None if field.min_length is None else value.str.len_chars() >= field.min_length,
        "max_length": None if field.max_length is None else value.str.len_chars() <= field.max_length,
        "in_vocabulary": value.is_in(field.vocabulary) if field.closed else None,
    }
    return {rule: condition for rule, condition in wanted.items() if condition is not None}


def _check(name: str, condition: pl.Expr) -> "pa.Check":
    import pandera.polars as pa

    # A null is judged by the column's nullability alone.
    return pa.Check(lambda data: data.lazyframe.select(condition.fill_null(True)), name=name, error=name)
