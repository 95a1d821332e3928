"""Broken rules by document: every reason, with its place in the document."""

from decimal import Decimal
from functools import reduce
from typing import Any

import polars as pl
import pytest
from pandera.errors import SchemaErrors

from contracts.schema.entity import Entity
from contracts.schema.fields import (
    documents,
    identifier,
    integer,
    money,
    rule,
    subdocument,
    text,
    texts,
    timestamp,
)
from contracts.schema.kinds import INTEGER, NUMBER, TIMESTAMP
from transforms.ingest import validate
from transforms.ingest.validate import drop_documents, find_broken_rules
from transforms.violations import Violation, pointer_into

VISITS = Entity(
    "Visits",
    "d",
    "key",
    (
        identifier("key", "d"),
        timestamp("begun", "d"),
        timestamp("ended", "d", nullable=True),
        integer("visits", "d", minimum=0),  # named as the table
        subdocument("a/b", "d", text("c~d", "d", max_length=1)),
        texts("tags", "d"),
        money("fee", "d", maximum=5),
        documents("stops", "d", subdocument("place", "d", text("name", "d", min_length=1)), timestamp("at", "d")),
    ),
    rules=(
        rule("ended_after_begun", pl.col("ended") >= pl.col("begun"), "d"),
        rule("visits_are_few", pl.col("visits") < 10, "d"),
    ),
)
LAWFUL: dict[str, Any] = {
    "_id": "1",
    "key": "k",
    "begun": 0,
    "ended": None,
    "visits": 1,
    "a/b_c~d": "",
    "tags": [],
    "tags_count": 0,
    "fee": Decimal(0),
    "stops_count": 0,
    "_extra": None,
}


def frames_of(*rows: dict[str, Any], stops: list[dict[str, Any]] | None = None) -> dict[str, pl.DataFrame]:
    root, child = VISITS.tables
    made = [{**LAWFUL, "_id": str(number), **row} for number, row in enumerate(rows)]
    return {table.name: _frame(some, table.frame_schema) for table, some in ((root, made), (child, stops or []))}


def _frame(rows: list[dict[str, Any]], schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame(
        [
            pl.Series(name, [row[name] for row in rows], pl.Int64).cast(dtype)
            if isinstance(dtype, pl.Datetime)
            else pl.Series(name, [row[name] for row in rows], dtype)
            for name, dtype in schema.items()
        ]
    )


def test_pandera_judges_only_tables_in_which_a_row_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []
    schema_of = validate.pandera_schema
    monkeypatch.setattr(validate, "pandera_schema", lambda table: judged.append(table.name) or schema_of(table))
    assert find_broken_rules(frames_of({}, {}), VISITS) == {}
    assert judged == []
    assert find_broken_rules(frames_of({}, {"fee": Decimal(6)}), VISITS).keys() == {"1"}
    assert judged == ["visits"]


def told(frames: dict[str, pl.DataFrame]) -> dict[str, list[tuple[str, str]]]:
    return {
        key: sorted((reason.path, reason.rule) for reason in reasons)
        for key, reasons in find_broken_rules(frames, VISITS).items()
    }


def test_lawful_rows_have_no_reasons() -> None:
    assert find_broken_rules(frames_of({}, {}), VISITS) == {}
    assert find_broken_rules(frames_of(), VISITS) == {}


def test_every_reason_of_every_document_with_its_place() -> None:
    stop = {"_id": "2", "_position": 0, "place_name": "n", "at": 0}
    frames = frames_of(
        {"key": "", "a/b_c~d": "xy", "fee": Decimal("5.01")},
        {},
        {"tags": ["a", "b\0"], "begun": 5, "ended": 4},
        stops=[stop, {**stop, "_position": 1, "place_name": ""}, {**stop, "_position": 7, "at": -(2**60)}],
    )
    assert told(frames) == {
        "0": [("/a~1b/c~0d", "a/b_c~d_max_length"), ("/fee", "fee_at_most"), ("/key", "key_min_length")],
        "2": [
            ("", "ended_after_begun"),
            ("/stops/1/place/name", "place_name_min_length"),
            ("/stops/7/at", "at_in_clickhouse_range"),
            ("/tags", "tags_has_no_nul_for_postgres"),
        ],
    }


def test_a_column_named_as_its_table_is_not_taken_for_the_table() -> None:
    assert told(frames_of({"visits": -1}, {"visits": 10})) == {
        "0": [("/visits", "visits_at_least")],
        "1": [("", "visits_are_few")],
    }


def test_a_null_where_none_may_be_is_told() -> None:
    assert told(frames_of({"key": None}, {})) == {"0": [("/key", "not_nullable")]}


@pytest.mark.parametrize("moment", [2**63 - 1, -(2**63) + 1, 2**62, -(2**55), 10413792000000, -2208988800001])
def test_moments_of_any_distance_are_judged(moment: int) -> None:
    reasons = find_broken_rules(frames_of({"begun": moment}, {"begun": 0, "ended": 0}), VISITS)
    assert reasons == {"0": [Violation("/begun", "begun_in_clickhouse_range", f"{moment} ms since 1970")]}


def test_a_far_moment_hides_no_other_reason() -> None:
    assert told(frames_of({"begun": 2**60, "key": "", "visits": -1})) == {
        "0": [("/begun", "begun_in_clickhouse_range"), ("/key", "key_min_length"), ("/visits", "visits_at_least")]
    }


def test_a_frame_of_another_shape_is_nobody_s_fault() -> None:
    frames = frames_of({})
    with pytest.raises(SchemaErrors):
        find_broken_rules({**frames, "visits": frames["visits"].drop("key")}, VISITS)
    with pytest.raises(SchemaErrors):
        find_broken_rules({**frames, "visits": frames["visits"].cast({"visits": pl.Float64})}, VISITS)


@pytest.mark.parametrize(
    ("kind", "ids"),
    [(INTEGER, [1, 2, 2**60]), (NUMBER, [1.0, 1e20, -0.5]), (TIMESTAMP, [0, 2**62, -(2**62)])],
    ids=["integers", "numbers", "moments that no calendar has"],
)
def test_reasons_find_their_rows_whatever_the_id_is(kind: Any, ids: list[Any]) -> None:
    entity = Entity("Things", "d", "key", (identifier("key", "d"),), id_kind=kind)
    frame = pl.DataFrame({"_id": ids, "key": ["a", "", ""], "_extra": [None] * 3}, schema=entity.root.frame_schema)
    refused = set(find_broken_rules({"things": frame}, entity))
    assert len(refused) == 2
    assert drop_documents({"things": frame}, refused)["things"]["_id"].to_physical().to_list() == ids[:1]


def test_without_takes_the_children_along() -> None:
    stop = {"_position": 0, "place_name": "n", "at": 0}
    frames = frames_of({}, {}, {}, stops=[{**stop, "_id": "0"}, {**stop, "_id": "1"}])
    left = drop_documents(frames, {"1", "2", "nobody"})
    assert left["visits"]["_id"].to_list() == ["0"]
    assert left["visits_stops"]["_id"].to_list() == ["0"]
    assert drop_documents(frames, set()) == frames


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (2**62, 2**62),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        ("a\0b", "a\\0b"),
        ("x" * 1000, "x" * 200 + "… (1,000 characters)"),
        (b"\xff", "b'\\xff'"),
        ({"a": [1]}, "{'a': [1]}"),
    ],
)
def test_values_are_shown_short_and_as_json(value: Any, shown: Any) -> None:
    assert Violation("/a", "rule", value).as_json() == {"path": "/a", "rule": "rule", "value": shown}


def test_names_are_escaped_for_pointers() -> None:
    assert reduce(pointer_into, ("~1/a", 3, "*"), "/b") == "/b/~01~1a/3/*"
