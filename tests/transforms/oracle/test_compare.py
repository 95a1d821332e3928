"""What verification finds: every single thing that a store holds otherwise, and nothing that it holds equal."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import polars as pl
import pytest
from bson import DatetimeMS, Decimal128, Int64, ObjectId

from contracts.schema.entity import Entity, Field, Table
from contracts.schema.fields import (
    boolean,
    documents,
    free_form,
    identifier,
    integer,
    money,
    number,
    text,
    texts,
    timestamp,
)
from contracts.schema.kinds import NUMBER, array_kind
from transforms.oracle.compare import SHOWN, Difference, Findings, as_stored, compare
from transforms.oracle.expected import expected_frames

THINGS = Entity(
    "Things",
    "d",
    "key",
    (
        identifier("key", "d"),
        text("t", "d", nullable=True),
        texts("tags", "d", nullable=True),
        integer("i", "d", nullable=True),
        number("n", "d", nullable=True),
        Field("numbers", array_kind(NUMBER), "d"),
        boolean("b", "d", nullable=True),
        money("m", "d", nullable=True),
        timestamp("at", "d", nullable=True),
        free_form("notes", "d", nullable=True),
        documents("lines", "d", text("t", "d"), money("m", "d", nullable=True)),
    ),
)
ROOT, LINES = THINGS.tables
MOMENT = datetime(2024, 1, 1, 12, tzinfo=UTC)
NOTES = {"a": 1, "b": [1.0, None, "x"], "c": {"d": True, "e": 1e20}}
MADE: list[dict[str, Any]] = [
    {
        "key": f"k{number}",
        "t": "text",
        "tags": ["a", "b"],
        "i": Int64(2**53 + 1),
        "n": 0.1,
        "numbers": [0.0, 1.5],
        "b": True,
        "m": Decimal128("10.00"),
        "at": DatetimeMS(round(MOMENT.timestamp() * 1000)),
        "notes": NOTES,
        "lines": [{"t": "first", "m": Decimal128("1")}, {"t": "second"}],
    }
    for number in range(3)
]
MADE.append({"key": "k3", "numbers": [], "lines": []})
IDS = [f"{number:024x}" for number in range(4)]
RAWS = [bson.encode({"_id": ObjectId(key), **one}) for key, one in zip(IDS, MADE, strict=True)]


def expected() -> dict[str, pl.DataFrame]:
    frames, unexpected = expected_frames(RAWS, THINGS)
    assert unexpected == []
    return frames


def as_postgresql_gives_it(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Decimals and JSON as text, moments in microseconds, arrays null where they are."""
    moments = pl.selectors.datetime().cast(pl.Datetime("us", "UTC"))
    return frame.with_columns(moments, pl.selectors.decimal().cast(pl.String))


def as_clickhouse_gives_it(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """No null arrays, and another order of rows."""
    return frame.with_columns(
        *(pl.col(column.name).fill_null([]) for column in table.columns if column.kind.is_array),
        pl.selectors.decimal().cast(pl.String),
    ).reverse()


STORES = {"postgresql": as_postgresql_gives_it, "clickhouse": as_clickhouse_gives_it}


def findings_of(
    store: str, change: Callable[[pl.DataFrame], pl.DataFrame] = lambda frame: frame, table: Table = ROOT
) -> Findings:
    """Change what a store holds and compare it."""
    frames, findings = expected(), Findings()
    held = {one.name: STORES[store](frames[one.name], one) for one in THINGS.tables}
    held[table.name] = change(held[table.name])
    for one in THINGS.tables:
        compare(frames[one.name], as_stored(held[one.name], one), one, findings)
    return findings


def setting(column: str, value: Any, key: str = IDS[1]) -> Callable[[pl.DataFrame], pl.DataFrame]:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        dtype = frame.schema[column]
        values = [value if one == key else old for one, old in zip(frame["_id"], frame[column].to_list(), strict=True)]
        return frame.with_columns(pl.Series(column, values, dtype))

    return change


def note(**changed: Any) -> str:
    return json.dumps({**NOTES, **changed})


@pytest.mark.parametrize("store", STORES)
def test_what_is_equal_is_found_equal(store: str) -> None:
    assert findings_of(store) == Findings()


ALTERED: dict[str, tuple[str, Any]] = {
    "a character": ("t", "texT"),
    "a blank at the end": ("t", "text "),
    "another form of a letter": ("t", "te\u0301xt"),
    "empty for null": ("t", ""),
    "null": ("t", None),
    "an integer beyond 2^53": ("i", 2**53),
    "a cent": ("m", "10.01"),
    "a sign": ("m", "-10.00"),
    "a truth": ("b", False),
    "a truth lost": ("b", None),
    "a millisecond": ("at", MOMENT + timedelta(milliseconds=1)),
    "the last bit": ("n", math.nextafter(0.1, 1)),
    "NaN": ("n", math.nan),
    "no number": ("n", None),
    "an element dropped": ("tags", ["a"]),
    "an element doubled": ("tags", ["a", "b", "b"]),
    "elements swapped": ("tags", ["b", "a"]),
    "an element changed": ("tags", ["a", "c"]),
    "an element null": ("tags", ["a", None]),
    "no elements": ("tags", []),
    "a count": ("tags_count", 3),
    "a count lost": ("tags_count", None),
    "a zero's sign in an array": ("numbers", [-0.0, 1.5]),
    "a NaN in an array": ("numbers", [0.0, math.nan]),
    "the count of a child": ("lines_count", 1),
    "an extra": ("_extra", '{"/x":1}'),
    "JSON: a number": ("notes", note(a=2)),
    "JSON: 1.0 for 1": ("notes", note(a=1.0)),
    "JSON: 1 for 1.0": ("notes", note(b=[1, None, "x"])),
    "JSON: an integer for a large double": ("notes", note(c={"d": True, "e": 10**20})),
    "JSON: text for a number": ("notes", note(a="1")),
    "JSON: 1 for true": ("notes", note(c={"d": 1, "e": 1e20})),
    "JSON: null for missing": ("notes", note(z=None)),
    "JSON: missing": ("notes", json.dumps({"b": NOTES["b"], "c": NOTES["c"]})),
    "JSON: an array's order": ("notes", note(b=[None, 1.0, "x"])),
    "JSON: null": ("notes", None),
    "JSON: the word null": ("notes", "null"),
    "JSON: broken": ("notes", '{"a": 1'),
    "JSON: not Unicode": ("notes", '{"a": "\\ud800"}'),
    "JSON: nothing": ("notes", ""),
}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("case", ALTERED)
def test_a_single_altered_value_is_found_and_nothing_else(case: str, store: str) -> None:
    column, value = ALTERED[case]
    findings = findings_of(store, setting(column, value))
    assert findings.ids == {IDS[1]}
    assert (findings.missing, findings.extra) == (set(), set())
    (difference,) = findings.first
    assert (difference.id, difference.table, difference.column) == (IDS[1], "things", column)
    assert repr(difference.expected) != repr(difference.found)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(
    ("column", "value"),
    [("t", ""), ("i", 0), ("n", 0.0), ("b", False), ("m", "0.00"), ("at", MOMENT), ("notes", "{}"), ("tags_count", 0)],
)
def test_a_value_where_there_is_none_is_found(column: str, value: Any, store: str) -> None:
    findings = findings_of(store, setting(column, value, IDS[3]))
    assert findings.ids == {IDS[3]}


@pytest.mark.parametrize("store", STORES)
def test_items_in_an_array_that_has_none_are_found(store: str) -> None:
    assert findings_of(store, setting("tags", ["x"], IDS[3])).ids == {IDS[3]}


def test_an_array_that_postgresql_lost_is_found_though_its_count_is_there() -> None:
    assert findings_of("postgresql", setting("tags", None)).ids == {IDS[1]}


def test_a_microsecond_in_postgresql_is_found() -> None:
    findings = findings_of("postgresql", setting("at", MOMENT + timedelta(microseconds=1)))
    assert findings.ids == {IDS[1]}


@pytest.mark.parametrize("moment", [2**62, -(2**60), 2**63 - 1_000_000])
def test_a_moment_beyond_python_s_years_is_found(moment: int) -> None:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        far = pl.lit(moment, pl.Int64).cast(pl.Datetime("us", "UTC"))
        return frame.with_columns(pl.when(pl.col("_id") == IDS[1]).then(far).otherwise("at").alias("at"))

    findings = findings_of("postgresql", change)
    assert findings.ids == {IDS[1]}
    assert isinstance(findings.first[0].found, str)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(
    "same",
    [
        '{"c":{"e":100000000000000000000.0,"d":true},"b":[1.0,null,"x"],"a":1}',
        '{ "a" : 1, "b":[1.00, null, "\\u0078"], "c":{"d":true,"e":1e20} }',
        '{"a":1,"b":[10e-1,null,"x"],"c":{"d":true,"e":100000000000000000000.000}}',
    ],
)
def test_how_json_is_written_is_no_difference(same: str, store: str) -> None:
    assert findings_of(store, setting("notes", same)) == Findings()


@pytest.mark.parametrize("store", STORES)
def test_a_missing_row_is_found(store: str) -> None:
    findings = findings_of(store, lambda frame: frame.filter(pl.col("_id") != IDS[1]))
    assert (findings.ids, findings.missing, findings.extra) == ({IDS[1]}, {IDS[1]}, set())
    assert findings.first == [Difference(IDS[1], "things", "*", "a row", None)]


@pytest.mark.parametrize("store", STORES)
def test_an_extra_row_is_found(store: str) -> None:
    findings = findings_of(store, lambda frame: frame.vstack(frame.head(1).with_columns(_id=pl.lit("f" * 24))))
    assert (findings.ids, findings.missing, findings.extra) == ({"f" * 24}, set(), {"f" * 24})
    assert findings.first == [Difference("f" * 24, "things", "*", None, "a row")]


@pytest.mark.parametrize("store", STORES)
def test_a_row_under_another_id_is_both(store: str) -> None:
    renamed = pl.when(pl.col("_id") == IDS[1]).then(pl.lit("e" * 24)).otherwise("_id").alias("_id")
    findings = findings_of(store, lambda frame: frame.with_columns(renamed))
    assert (findings.missing, findings.extra) == ({IDS[1]}, {"e" * 24})


@pytest.mark.parametrize("table", [ROOT, LINES], ids=["root", "child"])
@pytest.mark.parametrize("changed", [False, True], ids=["alike", "changed"])
def test_a_row_that_is_there_twice_is_found(table: Table, changed: bool) -> None:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        second = frame.filter(pl.col("_id") == IDS[1]).head(1)
        return frame.vstack(second.with_columns(t=pl.lit("other")) if changed else second)

    assert findings_of("clickhouse", change, table).ids == {IDS[1]}


def test_one_row_twice_for_one_that_is_missing_is_found() -> None:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.filter(pl.col("_id") != IDS[0]).vstack(frame.filter(pl.col("_id") == IDS[1]))

    findings = findings_of("clickhouse", change)
    assert (findings.ids, findings.missing) == ({IDS[0], IDS[1]}, {IDS[0]})


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(
    ("change", "label"),
    [
        (lambda frame: frame.filter((pl.col("_id") != IDS[1]) | (pl.col("_position") != 1)), "[1].*"),
        (
            lambda frame: frame.vstack(
                frame.filter(_id=IDS[1], _position=1).with_columns(_position=pl.lit(2, pl.Int64))
            ),
            "[2].*",
        ),
        (
            lambda frame: frame.with_columns(t=pl.when(_id=IDS[1], _position=0).then(pl.lit("x")).otherwise("t")),
            "[0].t",
        ),
        (
            lambda frame: frame.with_columns(m=pl.when(_id=IDS[1], _position=1).then(pl.lit("0.01")).otherwise("m")),
            "[1].m",
        ),
    ],
    ids=["missing", "extra", "text", "cent"],
)
def test_differences_of_items_are_told_with_their_place(change: Any, label: str, store: str) -> None:
    findings = findings_of(store, change, LINES)
    assert (findings.ids, findings.missing, findings.extra) == ({IDS[1]}, set(), set())
    assert [(one.table, one.column) for one in findings.first] == [("things_lines", label)]


@pytest.mark.parametrize("store", STORES)
def test_swapped_items_are_found(store: str) -> None:
    swapped = pl.when(_id=IDS[1]).then(1 - pl.col("_position")).otherwise("_position").alias("_position")
    assert findings_of(store, lambda frame: frame.with_columns(swapped), LINES).ids == {IDS[1]}


@pytest.mark.parametrize("store", STORES)
def test_all_is_counted_though_only_the_first_are_shown(store: str) -> None:
    findings = findings_of(store, lambda frame: frame.with_columns(t=pl.lit("x"), key=pl.lit("x"), i=pl.lit(0), b=None))
    assert findings.ids == set(IDS)
    assert len(findings.first) == SHOWN


def test_an_empty_store_lacks_everything() -> None:
    findings = findings_of("postgresql", lambda frame: frame.clear())
    assert findings.missing == set(IDS)


@pytest.mark.parametrize("bits", [(0.0, -0.0), (-0.0, 0.0), (math.nan, None), (None, math.nan), (math.inf, -math.inf)])
def test_doubles_are_compared_by_their_bits(bits: tuple[Any, Any]) -> None:
    table = ROOT.only(["_id", "n", "numbers", "numbers_count"])
    left, right = (
        pl.DataFrame({"_id": ["a"], "n": [one], "numbers": [[one]], "numbers_count": [1]}, schema=table.frame_schema)
        for one in bits
    )
    for column in ("n", "numbers"):
        findings = Findings()
        compare(left, left.with_columns(right[column]), table, findings)
        assert [one.column for one in findings.first] == [column]
    findings = Findings()
    compare(right, right, table, findings)
    assert findings == Findings()
