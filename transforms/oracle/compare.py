"""Two frames of one table held against each other, value by value."""

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from contracts.schema.entity import ID, Column, Table
from contracts.schema.frame import FIRST_MOMENT, LAST_MOMENT
from contracts.schema.kinds import NUMBER, TIMESTAMP
from transforms.oracle.canonical_json import canonical_text

SHOWN = 10


@dataclass(frozen=True)
class Difference:
    """One value that a store holds otherwise than its source.

    Attributes:
        id: The document's ``_id`` as the stores have it.
        table: Name of the table.
        column: Name of the column; of a child's, with the item's position. ``*`` stands for a whole row.
        expected: The source's value; None if the row is extra.
        found: The store's value; None if the row is missing.
    """

    id: str
    table: str
    column: str
    expected: Any
    found: Any


@dataclass
class Findings:
    """What a comparison of one document's tables has found so far.

    Attributes:
        ids: The ``_id`` of every document that differs in any way.
        missing: Those that have no row in the root table.
        extra: Those that the source does not have.
        first: The first differences, to show.
    """

    ids: set[Any] = field(default_factory=set)
    missing: set[Any] = field(default_factory=set)
    extra: set[Any] = field(default_factory=set)
    first: list[Difference] = field(default_factory=list)


def as_stored(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Return rows as a store gave them in the contract's dtypes, JSON in canonical form, arrays null by their count.

    A moment that is finer than the contract's milliseconds stays so: it equals none of the source's.
    """
    columns: list[pl.Series] = []
    for column in table.columns:
        series = frame[column.name]
        if column.kind.is_json:
            series = pl.Series(column.name, [canonical_text(text) for text in series.to_list()], pl.String)
        cast = series.cast(column.kind.frame)
        is_cut = (column.kind.item or column.kind) is TIMESTAMP and cast.cast(series.dtype).ne_missing(series).any()
        columns.append(series if is_cut else cast)
    rows = pl.DataFrame(columns) if columns else frame
    # ClickHouse holds an empty array where the source has none; the count tells which it was.
    return rows.with_columns(
        pl.when(pl.col(f"{column.name}_count").is_not_null() | (pl.col(column.name).list.len() > 0))
        .then(pl.col(column.name))
        .alias(column.name)
        for column in table.columns
        if column.kind.is_array
    )


def compare(expected: pl.DataFrame, found: pl.DataFrame, table: Table, findings: Findings) -> None:
    """Add to the findings where two frames of a table differ.

    Args:
        expected: The rows that there must be.
        found: The rows that there are.
        table: Their table.
        findings: What is added to.
    """
    key = list(table.key)
    expected, found = expected.sort(key), found.sort(key)
    if expected.height == found.height and not any(_differs(expected, found, column).any() for column in table.columns):
        return
    for row in expected.join(found, on=key, how="anti").select(key).iter_rows(named=True):
        findings.ids.add(row[ID])
        if table.parent is None:
            findings.missing.add(row[ID])
        _show(findings, Difference(str(row[ID]), table.name, _label(row, table, "*"), "a row", None))
    for row in found.join(expected, on=key, how="anti").select(key).iter_rows(named=True):
        findings.ids.add(row[ID])
        if table.parent is None:
            findings.extra.add(row[ID])
        _show(findings, Difference(str(row[ID]), table.name, _label(row, table, "*"), None, "a row"))
    _report_repeated(found, table, findings)
    ours = expected.join(found.select(key), on=key, how="semi").sort(key)
    theirs = found.unique(key, keep="first").join(expected.select(key), on=key, how="semi").sort(key)
    for column in table.columns:
        where = _differs(ours, theirs, column)
        keys = ours.filter(where).select(key).iter_rows(named=True)
        values = (_shown(frame.filter(where)[column.name]) for frame in (ours, theirs))
        for row, left, right in zip(keys, *values, strict=True):
            findings.ids.add(row[ID])
            _show(findings, Difference(str(row[ID]), table.name, _label(row, table, column.name), left, right))


def _report_repeated(found: pl.DataFrame, table: Table, findings: Findings) -> None:
    """A row that is there twice is one too many; only a store without unique keys can have it."""
    for row in found.select(table.key).filter(found.select(table.key).is_duplicated()).unique().iter_rows(named=True):
        findings.ids.add(row[ID])
        _show(findings, Difference(str(row[ID]), table.name, _label(row, table, "*"), "one row", "several"))


def _differs(expected: pl.DataFrame, found: pl.DataFrame, column: Column) -> pl.Series:
    left, right = expected[column.name], found[column.name]
    if (column.kind.item or column.kind) is NUMBER:  # by bits: -0.0 equals 0.0, and all NaNs each other, otherwise
        left, right = _bits(left), _bits(right)
    return left.cast(right.dtype).ne_missing(right)


def _bits(series: pl.Series) -> pl.Series:
    if series.dtype == pl.List:
        return series.list.eval(pl.element().reinterpret(dtype=pl.Int64))
    return series.reinterpret(dtype=pl.Int64)


def _shown(values: pl.Series) -> list[Any]:
    # Someone may have written a moment into a store that Python has no type for, and Polars no calendar.
    if isinstance(values.dtype, pl.Datetime) and not values.is_between(FIRST_MOMENT, LAST_MOMENT).all():
        return [None if one is None else f"{one} {values.dtype.time_unit} since 1970" for one in values.to_physical()]
    return (values.bin.encode("hex") if values.dtype == pl.Binary else values).to_list()


def _show(findings: Findings, difference: Difference) -> None:
    if len(findings.first) < SHOWN:
        findings.first.append(difference)


def _label(row: dict[str, Any], table: Table, column: str) -> str:
    return "".join([*(f"[{row[place]}]" for place in table.places), "." if table.places else "", column])
