"""What of a filter a store is asked to judge: never more than what Polars itself would let pass."""

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from contracts.schema.entity import Column, Table
from contracts.schema.kinds import BOOLEAN, DATE, INTEGER, NUMBER, TEXT, TIMESTAMP, array_kind
from pipeline.lake.pushdown import find_conditions

KINDS = {"t": TEXT, "i": INTEGER, "b": BOOLEAN, "d": DATE, "m": TIMESTAMP, "n": NUMBER, "a": array_kind(TEXT)}
TABLE = Table("t", "", tuple(Column(name, kind, "", nullable=True) for name, kind in KINDS.items()), ("t",))
MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _found(predicate: pl.Expr) -> list[tuple[Any, ...]]:
    return [(one.column.name, one.operator, *one.values) for one in find_conditions(predicate, TABLE)]


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        (pl.col("t") == "x", [("t", "=", "x")]),
        (pl.lit(5) < pl.col("i"), [("i", ">", 5)]),
        (pl.col("i") != pl.lit(5, pl.Int32), [("i", "<>", 5)]),
        (pl.col("b"), [("b", "=", True)]),
        (~pl.col("b"), [("b", "=", False)]),
        (pl.col("m") >= MOMENT, [("m", ">=", MOMENT)]),
        (pl.col("d") < date(2026, 3, 1), [("d", "<", date(2026, 3, 1))]),
        (pl.col("t").is_null() & pl.col("n").is_not_null(), [("t", "IS NULL"), ("n", "IS NOT NULL")]),
        (pl.col("t").is_in(["x", "y"]), [("t", "IN", "x", "y")]),
        (pl.col("i").is_between(1, 3, closed="left"), [("i", ">=", 1), ("i", "<", 3)]),
        ((pl.col("t") == "x") & (pl.col("t").str.len_chars() > 3), [("t", "=", "x")]),
    ],
    ids=str,
)
def test_what_a_store_judges_as_polars_does_is_handed_over(predicate: pl.Expr, expected: list[Any]) -> None:
    assert _found(predicate) == expected


@pytest.mark.parametrize(
    "predicate",
    [
        pl.col("n") > 1.5,  # each store places NaN elsewhere
        pl.col("a").is_null(),  # ClickHouse has no null arrays
        pl.col("t").eq_missing(pl.lit(None)),
        pl.col("t").is_in(["x", None], nulls_equal=True),
        pl.col("t").is_in([]),
        pl.col("t").is_in([str(number) for number in range(1_000)]),
        (pl.col("t") == "x") | (pl.col("i") == 1),
        pl.col("i") > 1.5,
        pl.col("i") > 2**70,
        pl.col("t") == "a\0b",
        pl.col("t").str.starts_with("x"),
        pl.col("i") == pl.col("i").max(),
        pl.col("m").dt.date() == date(2026, 3, 1),
    ],
    ids=str,
)
def test_what_it_might_judge_otherwise_is_left_to_polars(predicate: pl.Expr) -> None:
    assert _found(predicate) == []
