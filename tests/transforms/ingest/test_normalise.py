"""From Arrow to the frames of a contract's tables: nulls, missing, empty, slices, positions, counts, time zones."""

from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import bson
import polars as pl
import pyarrow as pa
import pytest
from bson import DatetimeMS, Decimal128, Int64, ObjectId

from contracts.schema.entity import Entity, Field
from contracts.schema.fields import (
    documents,
    free_form,
    identifier,
    integer,
    money,
    number,
    subdocument,
    text,
    texts,
    timestamp,
)
from contracts.schema.kinds import INTEGER, NUMBER, array_kind
from transforms.ingest.decode import decode
from transforms.ingest.normalise import normalise

ORDERS = Entity(
    "Orders",
    "d",
    "key",
    (
        identifier("key", "d"),
        timestamp("at", "d", nullable=True),
        texts("tags", "d", nullable=True),
        Field("numbers", array_kind(NUMBER), "d", nullable=True),
        subdocument(
            "buyer",
            "d",
            text("name", "d"),
            subdocument("home", "d", texts("lines", "d"), integer("floor", "d", nullable=True), nullable=True),
            nullable=True,
        ),
        documents(
            "lines", "d", text("_id", "d"), money("price", "d"), timestamp("at", "d", nullable=True), nullable=True
        ),
        free_form("notes", "d", nullable=True),
    ),
)


def frames_of(*made: dict[str, Any], entity: Entity = ORDERS, **texts_: list[str | None]) -> dict[str, pl.DataFrame]:
    raws = [
        bson.encode({"_id": ObjectId(number.to_bytes(12, "big")), "key": f"k{number}", **one})
        for number, one in enumerate(made)
    ]
    beside = {
        name: pl.Series(values, dtype=pl.String) for name, values in (texts_ or {"notes": [None] * len(made)}).items()
    }
    return normalise(decode(b"".join(raws), entity), entity, {entity.root.name: beside})


def test_null_missing_and_empty_are_told_apart_where_the_stores_can() -> None:
    frames = frames_of({}, {"tags": None, "lines": None, "buyer": None}, {"tags": [], "lines": [], "at": None})
    root = frames["orders"]
    assert root["tags"].to_list() == [None, None, []]
    assert root["tags_count"].to_list() == [None, None, 0]
    assert root["lines_count"].to_list() == [None, None, 0]
    assert root["at"].to_list() == [None] * 3
    assert root["buyer_name"].to_list() == [None] * 3
    assert frames["orders_lines"].is_empty()
    assert frames["orders_lines"].schema == ORDERS.children[0].frame_schema


def test_subdocuments_are_flattened_whatever_is_missing() -> None:
    home = {"lines": ["a", "b"], "floor": 2.0}
    root = frames_of(
        {"buyer": {"name": "n", "home": home}},
        {"buyer": {"name": "m", "home": None}},
        {"buyer": {"home": {"lines": []}, "name": "o"}},
        {"buyer": None},
        {},
    )["orders"]
    assert root["buyer_name"].to_list() == ["n", "m", "o", None, None]
    assert root["buyer_home_lines"].to_list() == [["a", "b"], None, [], None, None]
    assert root["buyer_home_lines_count"].to_list() == [2, None, 0, None, None]
    assert root["buyer_home_floor"].to_list() == [2, None, None, None, None]


def test_items_become_rows_with_their_places() -> None:
    def line(number: int) -> dict[str, Any]:
        return {"_id": f"i{number}", "price": Decimal128(f"{number}.5"), "at": DatetimeMS(number) if number else None}

    frames = frames_of({"lines": [line(0), line(1)]}, {"lines": []}, {}, {"lines": [line(2)]}, {"lines": None})
    ids = frames["orders"]["_id"].to_list()
    rows = frames["orders_lines"]
    assert rows.columns == ["_id", "_position", "item_id", "price", "at"]
    assert rows["_id"].to_list() == [ids[0], ids[0], ids[3]]
    assert rows["_position"].to_list() == [0, 1, 0]
    assert rows["item_id"].to_list() == ["i0", "i1", "i2"]
    assert rows["price"].to_list() == [Decimal("0.50"), Decimal("1.50"), Decimal("2.50")]
    assert rows["at"].to_list()[0] is None
    assert frames["orders"]["lines_count"].to_list() == [2, 0, None, 1, None]


def test_moments_are_utc_and_exact_to_the_millisecond() -> None:
    root = frames_of({"at": DatetimeMS(-1)}, {"at": DatetimeMS(2**63 - 1)}, {"at": DatetimeMS(-(2**62))})["orders"]
    assert root["at"].dtype == pl.Datetime("ms", "UTC")
    assert root["at"][0] == datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
    assert root["at"].to_physical().to_list() == [-1, 2**63 - 1, -(2**62)]


def test_ids_are_hex_digits() -> None:
    root = frames_of({}, {})["orders"]
    assert root["_id"].to_list() == ["0" * 24, "0" * 23 + "1"]


def test_integers_and_doubles_keep_every_bit() -> None:
    entity = Entity("Things", "d", "key", (identifier("key", "d"), integer("i", "d"), number("n", "d")))
    values = [(Int64(2**63 - 1), -0.0), (Int64(-(2**63)), 5e-324), (3.0, 7), (-5, float("inf"))]
    root = frames_of(*({"i": i, "n": n} for i, n in values), entity=entity, none=[None] * 4)["things"]
    assert root["i"].to_list() == [2**63 - 1, -(2**63), 3, -5]
    assert [value.hex() for value in root["n"]] == [(-0.0).hex(), (5e-324).hex(), (7.0).hex(), float("inf").hex()]


def test_free_form_texts_come_from_beside() -> None:
    root = frames_of({"notes": {"a": 1}}, {}, notes=['{"a":1}', None])["orders"]
    assert root["notes"].to_list() == ['{"a":1}', None]
    assert root["_extra"].to_list() == [None, None]


@pytest.mark.parametrize(("start", "length"), [(0, 2), (1, 2), (2, 3), (3, 0), (0, 5)])
def test_a_slice_of_a_batch_is_as_good_as_a_batch(start: int, length: int) -> None:
    made: list[dict[str, Any]] = [
        {"tags": ["a"], "lines": [{"_id": "x", "price": Decimal128("1")}], "buyer": {"name": "n"}},
        {},
        {"tags": [], "lines": [{"_id": "y", "price": Decimal128("2")}, {"_id": "z", "price": Decimal128("3")}]},
        {"tags": None, "lines": None, "buyer": {"name": "m", "home": {"lines": ["l"]}}},
        {"tags": ["b", "c"], "lines": [], "at": DatetimeMS(5)},
    ]
    raws = [bson.encode({"_id": ObjectId(bytes(11) + bytes([n])), "key": f"k{n}", **one}) for n, one in enumerate(made)]
    whole = decode(b"".join(raws), ORDERS)
    notes = {"notes": pl.Series([None] * length, dtype=pl.String)}
    found = normalise(whole.slice(start, length), ORDERS, {"orders": notes})
    alone = normalise(decode(b"".join(raws[start : start + length]), ORDERS), ORDERS, {"orders": notes})
    for name, frame in found.items():
        assert frame.equals(alone[name])
    chunked = pa.concat_tables([whole.slice(n, 1) for n in range(start, start + length)]) if length else None
    if chunked is not None:
        assert all(frame.equals(alone[name]) for name, frame in normalise(chunked, ORDERS, {"orders": notes}).items())


def test_batches_without_rows_have_all_columns() -> None:
    frames = frames_of()
    assert {name: frame.schema for name, frame in frames.items()} == {
        table.name: table.frame_schema for table in ORDERS.tables
    }
    assert all(frame.is_empty() for frame in frames.values())


def test_arrays_of_numbers_keep_their_items() -> None:
    entity = Entity("Things", "d", "key", (identifier("key", "d"), Field("ints", array_kind(INTEGER), "d")))
    root = frames_of({"ints": [1, Int64(2), 3.0]}, {"ints": []}, entity=entity, none=[None] * 2)["things"]
    assert root["ints"].to_list() == [[1, 2, 3], []]


def test_a_subdocument_of_free_form_fields_alone_loses_no_document(raw: SimpleNamespace) -> None:
    entity = Entity("Things", "d", "key", (identifier("key", "d"), subdocument("s", "d", free_form("f", "d"))))
    root = frames_of({"s": {"f": {}}}, {"s": {"f": {}}}, entity=entity, s_f=["{}", "{}"])["things"]
    assert root["s_f"].to_list() == ["{}", "{}"]
