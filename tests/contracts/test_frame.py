"""Every condition of every contract is broken on purpose, and Pandera must name it: a check that never ran is found."""

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from functools import cache
from typing import Any

import polars as pl
import pytest
from pandera.errors import SchemaErrors

from contracts.schema.entity import Column, Entity, Field, Rule, Table
from contracts.schema.fields import (
    categories,
    category,
    decimal,
    documents,
    free_form,
    identifier,
    integer,
    money,
    number,
    rule,
    text,
    texts,
    timestamp,
)
from contracts.schema.frame import FIRST_MOMENT, LAST_MOMENT, conditions, keeps, pandera_schema
from contracts.schema.kinds import INTEGER, KEY_TEXT, NUMBER, array_kind
from contracts.schema.registry import entities, marts

EVERYTHING = Entity(
    "EverythingAtOnce",
    "A contract that uses every option on everything that can have it.",
    "key",
    (
        identifier("key", "d"),
        text("t", "d", min_length=2, max_length=3, nullable=True),
        texts("tags", "d", min_length=1, max_length=2),
        category("c", "d", "a", "b", closed=True),
        categories("flags", "d", "a", "b", closed=True),
        integer("i", "d", minimum=-1, maximum=1),
        Field("ints", array_kind(INTEGER), "d", minimum=-1, maximum=1, nullable=True),
        number("n", "d", minimum=0, maximum=1),
        Field("numbers", array_kind(NUMBER), "d", minimum=0, maximum=1),
        money("m", "d", minimum=-(10**9), maximum=10**9),
        decimal("wide", "d", 34, 2, minimum=-(10**31), maximum=10**31),
        timestamp("at", "d", nullable=True),
        free_form("notes", "d"),
        documents("items", "d", category("c", "d", "a", closed=True), timestamp("at", "d"), integer("i", "d")),
    ),
    rules=(rule("i_is_m", pl.col("i") == pl.col("m"), "The same."),),
    id_kind=KEY_TEXT,
)
TABLES = {
    table.name: table
    for table in (
        *(table for entity in (*entities().values(), EVERYTHING) for table in entity.tables),
        *(mart.table for mart in marts().values()),
    )
}
CONDITIONS = [
    (name, column, rule) for name, table in TABLES.items() for column in table.columns for rule in conditions(column)
]
RULES = [(name, one) for name, table in TABLES.items() for one in table.rules]
WIDE = Context(prec=40)
MILLISECOND = timedelta(milliseconds=1)
SAMPLES: dict[Any, list[Any]] = {
    pl.String: ["a", "b", "resolved"],
    pl.Int64: [0, 1, 2, 7],
    pl.Float64: [0.0, 1.0, 2.5],
    pl.Boolean: [True, False],
    pl.Datetime: [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)],
    pl.Date: [date(2024, 1, 1), date(2024, 1, 2)],
    pl.Decimal: [Decimal(0), Decimal(1), Decimal(2)],
}


def sample(dtype: pl.DataType) -> list[Any]:
    if isinstance(dtype, pl.List):
        return [sample(dtype.inner)]
    return SAMPLES[dtype.base_type()]


def one_row(table: Table, **values: Any) -> pl.DataFrame:
    row = {column.name: sample(column.kind.frame)[0] for column in table.columns} | values
    return pl.DataFrame({name: [value] for name, value in row.items()}, schema=table.frame_schema)


def offending(column: Column) -> Iterator[Any]:
    """Yield values that break something that can be declared of such a column."""
    field, kind = column.field, column.kind.item or column.kind
    limits = [limit for limit in (field.minimum, field.maximum) if limit is not None] if field else []
    values: list[Any] = []
    if kind.frame == pl.String():
        values = ["", "a\0b", "unheard-of", "x" * ((field.max_length or 0) + 1 if field else 1)]
    elif kind.frame == pl.Date():
        values = [date(1899, 12, 31), date(2300, 1, 1)]
    elif isinstance(kind.frame, pl.Datetime):
        values = [FIRST_MOMENT - MILLISECOND, LAST_MOMENT + MILLISECOND]
    elif isinstance(kind.frame, pl.Decimal):
        values = [WIDE.add(limit, Decimal(cent)) for limit in limits for cent in ("-0.01", "0.01")]
    elif kind.frame == pl.Float64():
        values = [*(limit + step for limit in limits for step in (-1e-9, 1e-9)), float("nan")]
    elif kind.frame == pl.Int64():
        values = [limit + step for limit in limits for step in (-1, 1)]
    good = sample(kind.frame)[0]
    yield from ([good, value, good] if column.kind.is_array else value for value in values)


@cache
def offences(name: str) -> tuple[pl.DataFrame, dict[tuple[str, str], set[int]]]:
    """Return rows of a table, one with each value that offends, and by column and check those that Pandera names.

    It is asked once for all of them: it takes as long for one.
    """
    table = TABLES[name]
    rows = pl.concat(one_row(table, **{column.name: value}) for column in table.columns for value in offending(column))
    with pytest.raises(SchemaErrors) as caught:
        pandera_schema(table).validate(rows, lazy=True)
    found = defaultdict[tuple[str, str], set[int]](set)
    for column, check, row in caught.value.failure_cases.select("column", "check", "index").iter_rows():
        found[column, check].add(row)
    return rows, found


def named(frame: pl.DataFrame, table: Table) -> set[tuple[str, str]]:
    """Return column and check of whatever Pandera finds; the quick look finds as well that there is something."""
    try:
        pandera_schema(table).validate(frame, lazy=True)
    except SchemaErrors as error:
        assert not keeps(frame, table)
        return set(error.failure_cases.select("column", "check").iter_rows())
    assert keeps(frame, table)
    return set()


@pytest.mark.parametrize(
    ("table", "column", "condition"), CONDITIONS, ids=[f"{name}.{condition}" for name, _, condition in CONDITIONS]
)
def test_a_broken_condition_is_named(table: str, column: Column, condition: str) -> None:
    rows, found = offences(table)
    broken = rows.with_row_index("#").filter(~conditions(column)[condition])
    assert not broken.is_empty()
    assert found[column.name, condition] == {*broken["#"]}
    assert not any(keeps(row, TABLES[table]) for row in broken.drop("#").iter_slices(1))


@pytest.mark.parametrize(("table", "broken"), RULES, ids=[f"{name}.{one.name}" for name, one in RULES])
def test_a_broken_rule_is_named(table: str, broken: Rule) -> None:
    rng = random.Random(1)
    columns = [TABLES[table].column(name) for name in broken.condition.meta.root_names()]
    for _ in range(500):
        values = {
            column.name: rng.choice([*sample(column.kind.frame), *([None] * column.nullable)]) for column in columns
        }
        frame = one_row(TABLES[table], **values)
        if frame.select(broken.condition).item() is False:
            assert (table, broken.name) in named(frame, TABLES[table])
            return
    pytest.fail("nothing breaks this rule")


@pytest.mark.parametrize("name", TABLES)
def test_nulls_are_refused_only_where_they_are_not_lawful(name: str) -> None:
    table = TABLES[name]
    nothing = one_row(table, **dict.fromkeys(table.names))
    required = {column.name for column in table.columns if not column.nullable}
    refused = {column for column, check in named(nothing, table) if check == "not_nullable"}
    assert refused == required


@pytest.mark.parametrize("name", TABLES)
def test_a_frame_without_rows_is_lawful(name: str) -> None:
    assert named(TABLES[name].frame_schema.to_frame(), TABLES[name]) == set()


@pytest.mark.parametrize("name", ["everything_at_once", "everything_at_once_items", "user_activity"])
def test_a_frame_of_another_shape_is_refused(name: str) -> None:
    """Shapes are judged by the schema's own options: of a collection, of its items and of a mart they are the same."""
    table = TABLES[name]
    empty = table.frame_schema.to_frame()
    first = table.columns[0].name
    for frame in (
        empty.drop(first),
        empty.with_columns(stray=pl.lit(1)),
        empty.select(reversed(table.names)),
        empty.cast({first: pl.Binary}),
    ):
        assert named(frame, table)


@pytest.mark.parametrize(
    ("column", "lawful", "unlawful"),
    [
        ("t", ["ab", "abc", "äöü", "👍🏽x", None], ["a", "abcd"]),
        ("tags", [[], ["a"], ["ab", "a"]], [[""], ["a", "abc"]]),
        ("flags", [[], ["a", "b", "a"]], [["a", "c"]]),
        ("ints", [None, [], [-1, 0, 1]], [[0, 2], [-2]]),
        ("n", [0.0, -0.0, 1.0, 5e-324], [-5e-324, 1.0000000000000002, float("nan"), float("inf"), float("-inf")]),
        ("numbers", [[], [0.0, 1.0]], [[float("nan")], [0.5, 1.5]]),
        ("m", [Decimal("1000000000.00"), Decimal("-1000000000.00")], [Decimal("1000000000.01")]),
        ("at", [None, FIRST_MOMENT, LAST_MOMENT], [FIRST_MOMENT - MILLISECOND, LAST_MOMENT + MILLISECOND]),
    ],
)
def test_conditions_hold_up_to_the_very_edge(column: str, lawful: list[Any], unlawful: list[Any]) -> None:
    table = EVERYTHING.root
    kept = pl.all_horizontal(list(conditions(table.column(column)).values())).fill_null(True)
    dtype = table.frame_schema[column]
    assert pl.DataFrame({column: pl.Series(lawful, dtype=dtype)}).select(kept).to_series().all()
    assert not pl.DataFrame({column: pl.Series(unlawful, dtype=dtype)}).select(kept).to_series().any()


def test_moments_beyond_what_python_knows_are_judged_too() -> None:
    table = EVERYTHING.root
    far = [2**63 - 1, -(2**63) + 1, 2**62, 9_223_372_036_854_776, 568_971_820_800_000]
    frame = pl.DataFrame({"at": pl.Series(far).cast(pl.Datetime("ms", "UTC"))})
    (kept,) = conditions(table.column("at")).values()
    assert not frame.select(kept).to_series().any()


def test_counts_and_positions_have_no_conditions_of_their_arrays() -> None:
    assert conditions(EVERYTHING.root.column("ints_count")) == {}
    assert conditions(EVERYTHING.children[0].column("_position")) == {}
