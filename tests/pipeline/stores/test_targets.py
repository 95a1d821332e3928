"""Both targets hold the same promises: one suite of tests for the two of them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from contracts.schema.entity import Entity, Table
from contracts.schema.fields import (
    boolean,
    decimal,
    documents,
    free_form,
    identifier,
    integer,
    number,
    numbers,
    text,
    texts,
    timestamp,
)
from contracts.schema.kinds import KEY_TEXT
from pipeline.connections import Connections
from pipeline.errors import EtlError
from pipeline.stores.conditions import within
from pipeline.stores.staging import Staging
from transforms.oracle.compare import as_stored

ENTITY = Entity(
    "EveryKind",
    "Every kind of value.",
    "name",
    (
        identifier("name", "Name."),
        text("words", "Words.", nullable=True),
        integer("whole", "Whole number.", nullable=True),
        number("real", "Real number.", nullable=True),
        boolean("truth", "Truth.", nullable=True),
        timestamp("at", "When.", nullable=True),
        decimal("wide", "Wide decimal.", 34, 10, nullable=True),
        texts("many", "Texts.", nullable=True),
        numbers("reals", "Real numbers.", nullable=True),
        free_form("free", "Free form.", nullable=True),
        documents("parts", "Parts.", integer("n", "Number."), nullable=True),
    ),
    id_kind=KEY_TEXT,
    indexes=("name", "at"),
)
ROOT, PARTS = ENTITY.tables
EDGES: dict[str, list[Any]] = {
    "words": ["", " ", "\u0001", "\\N", "é", "e\u0301", "\U0001f600", "'\"\\", "\r\n\t", "x" * 100_000],
    "whole": [-(2**63), 2**63 - 1, 0, 2**53 + 1],
    "real": [0.0, -0.0, 5e-324, -1.7976931348623157e308, float("inf"), float("-inf"), 0.1, 1e17],
    "truth": [True, False],
    "at": [
        datetime(1900, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        datetime(2299, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
    ],
    "wide": [Decimal(10**34 - 1).scaleb(-10), -Decimal(10**34 - 1).scaleb(-10), Decimal("1E-10"), Decimal(0)],
    "many": [[], [""], ["a", "b", "a"], ["{", ",", '"', "\\", "NULL"]],
    "reals": [[], [0.0], [-0.0, 5e-324, 0.1]],
    "free": ["{}", '{"a":null}', '{"a":1.0,"b":1,"c":"\\"\\\\","é":[]}', '{"n":9007199254740993}'],
}


def _rows(table: Table, *rows: dict[str, Any]) -> pl.DataFrame:
    full = [dict.fromkeys(table.names) | row for row in rows]
    return pl.DataFrame(full, schema=table.frame_schema, orient="row")


def _row(key: str, **values: Any) -> dict[str, Any]:
    counts = {f"{name}_count": None if values.get(name) is None else len(values[name]) for name in ("many", "reals")}
    return {"_id": key, "name": key, **counts, **values}


@pytest.fixture(params=["postgres", "clickhouse"])
def store(request: pytest.FixtureRequest, connections: Connections) -> Iterator[Any]:
    """Yield a target that has nothing."""
    (target,) = connections.targets([request.param])
    yield target
    for schema in ("replica", *(f"staging_{run_id}" for run_id in target.leftovers())):
        if request.param == "postgres":
            with connections.postgres.transaction():
                connections.postgres.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        else:
            connections.clickhouse.execute(f"DROP DATABASE IF EXISTS {schema} SYNC")


@pytest.fixture
def transaction(connections: Connections) -> Callable[[], Any]:
    return connections.postgres.transaction


def _part(key: str, position: int, n: int) -> dict[str, Any]:
    return {"_id": key, "_position": position, "n": n}


def _staging(number: int, tables: tuple[Table, ...] = ENTITY.tables) -> Staging:
    return Staging(f"run{number}", "replica", tables, number)


def _load(store: Any, transaction: Any, staging: Staging, partition: int, *frames: pl.DataFrame) -> None:
    with transaction(), store.loading(staging, partition, ENTITY.tables) as insert:
        for table, frame in zip(ENTITY.tables, frames, strict=False):
            insert(table, frame)


def _published(store: Any, transaction: Any, staging: Staging, *frames: pl.DataFrame) -> None:
    with transaction():
        store.stage(staging)
    _load(store, transaction, staging, 0, *frames)
    with transaction():
        store.prepare(staging)
        store.publish(staging)
    with transaction():
        store.discard(staging.run_id)


def _read(store: Any, table: Table, after: Any = None, upto: Any = None) -> pl.DataFrame:
    rows = store.read("replica", table, within(table, after, upto))
    batches = [pl.DataFrame(pl.from_arrow(batch)) for batch in rows]
    return as_stored(pl.concat(batches) if batches else table.frame_schema.to_frame(), table).sort(table.key)


@pytest.mark.parametrize("column", EDGES)
def test_every_value_comes_back_as_it_went_in(store: Any, transaction: Any, column: str) -> None:
    rows = [_row(f"{number:03}", **{column: value}) for number, value in enumerate(EDGES[column])]
    frame = _rows(ROOT, *rows, _row("null"))
    _published(store, transaction, _staging(1), frame, _rows(PARTS))
    found = _read(store, ROOT)
    if column == "real":
        assert found[column].reinterpret(dtype=pl.Int64).equals(frame[column].reinterpret(dtype=pl.Int64))
    elif column == "free":
        canonical = as_stored(frame, ROOT)
        assert found[column].equals(canonical[column], null_equal=True)
    else:
        assert found.equals(frame, null_equal=True)


def test_partitions_are_counted_apart_and_published_together(store: Any, transaction: Any) -> None:
    staging = _staging(1)
    with transaction():
        store.stage(staging)
    _load(
        store,
        transaction,
        staging,
        7,
        _rows(ROOT, _row("a"), _row("b")),
        _rows(PARTS, {"_id": "a", "_position": 0, "n": 1}),
    )
    _load(store, transaction, staging, 0, _rows(ROOT), _rows(PARTS))
    _load(store, transaction, staging, 11, _rows(ROOT, _row("c")), _rows(PARTS))
    with transaction():
        assert store.staged(staging, [ROOT])[ROOT.name] == {0: 0, 7: 2, 11: 1}
        assert store.staged(staging, [PARTS])[PARTS.name] == {0: 0, 7: 1, 11: 0}
        for partition, keys in {0: [], 7: ["a", "b"], 11: ["c"]}.items():
            batches = store.staged_ids(staging, ROOT, partition)
            assert sorted(one for batch in batches for one in batch["_id"].to_pylist()) == keys
        assert store.leftovers() == [staging.run_id]
        store.prepare(staging)
        store.publish(staging)
    assert _read(store, ROOT)["_id"].to_list() == ["a", "b", "c"]
    assert _read(store, PARTS).rows() == [("a", 0, 1)]
    with transaction():
        store.discard(staging.run_id)
        assert store.leftovers() == []
        store.discard(staging.run_id)  # again


def test_a_load_that_failed_is_done_again(store: Any, transaction: Any) -> None:
    staging = _staging(1)
    with transaction():
        store.stage(staging)
    with pytest.raises(EtlError):
        _load(store, transaction, staging, 3, _rows(ROOT, _row("half")), _rows(ROOT, _row("in the wrong table")))
    _load(store, transaction, staging, 3, _rows(ROOT, _row("whole")), _rows(PARTS))
    with transaction():
        assert store.staged(staging, [ROOT])[ROOT.name] == {3: 1}
        store.prepare(staging)
        store.publish(staging)
    assert _read(store, ROOT)["_id"].to_list() == ["whole"]


def test_frames_larger_than_a_block_and_empty_ones(
    store: Any, transaction: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.stores.clickhouse.session.BLOCK_BYTES", 300)
    staging = _staging(1)
    with transaction():
        store.stage(staging)
    with transaction(), store.loading(staging, 0, ENTITY.tables) as insert:
        for start in range(0, 100, 20):
            insert(ROOT, _rows(ROOT, *(_row(f"{n:03}") for n in range(start, start + 20))))
            insert(PARTS, _rows(PARTS))
    with transaction():
        assert store.staged(staging, [ROOT])[ROOT.name] == {0: 100}
        store.prepare(staging)
        store.publish(staging)
    assert _read(store, ROOT).height == 100


def test_a_publish_replaces_adds_and_removes(store: Any, transaction: Any) -> None:
    one = [_row("kept", words="same"), _row("changed", words="old"), _row("gone")]
    parts = [_part("gone", 0, 0), *(_part("changed", place, place) for place in range(3))]
    _published(
        store,
        transaction,
        _staging(1),
        _rows(ROOT, *one),
        _rows(PARTS, *parts),
    )
    two = [_row("kept", words="same"), _row("changed", words="new"), _row("added")]
    parts = [_part("changed", 0, 9), _part("added", 0, 1)]
    _published(store, transaction, _staging(2), _rows(ROOT, *two), _rows(PARTS, *parts))
    words = dict(_read(store, ROOT).select("_id", "words").iter_rows())
    assert words == {
        "kept": "same",
        "changed": "new",
        "added": None,
    }
    assert _read(store, PARTS).rows() == [("added", 0, 1), ("changed", 0, 9)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"real": 0.0}, {"real": -0.0}),
        ({"reals": [1.0, 0.0]}, {"reals": [1.0, -0.0]}),
        ({"words": "a"}, {"words": None}),
        ({"words": ""}, {"words": " "}),
        ({"free": '{"a":1}'}, {"free": '{"a":1.0}'}),
        ({"many": []}, {"many": None}),
        ({"many": ["a", "b"]}, {"many": ["b", "a"]}),
        ({"at": datetime(2024, 1, 1, tzinfo=UTC)}, {"at": datetime(2024, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)}),
        ({"wide": Decimal("0.0000000001")}, {"wide": Decimal(0)}),
        ({"truth": None}, {"truth": False}),
    ],
)
def test_the_least_difference_is_a_difference(store: Any, transaction: Any, old: Any, new: Any) -> None:
    _published(store, transaction, _staging(1), _rows(ROOT, _row("x", **old)), _rows(PARTS))
    _published(store, transaction, _staging(2), _rows(ROOT, _row("x", **new)), _rows(PARTS))
    found, wanted = _read(store, ROOT), as_stored(_rows(ROOT, _row("x", **new)), ROOT)
    for column in ROOT.names:
        assert str(found[column].to_list()) == str(wanted[column].to_list())


def test_reading_is_bounded_below_and_above(store: Any, transaction: Any) -> None:
    keys = ["", "A", "Z", "a", "z", "é", "\U0001f600", "'; --", "a\tb", "\\"]
    _published(store, transaction, _staging(1), _rows(ROOT, *(_row(key) for key in keys)), _rows(PARTS))
    keys.sort(key=str.encode)
    for place, key in enumerate(keys):
        assert _read(store, ROOT, after=key)["_id"].to_list() == keys[place + 1 :]
        assert _read(store, ROOT, upto=key)["_id"].to_list() == keys[: place + 1]
        assert _read(store, ROOT, after=keys[0], upto=key)["_id"].to_list() == keys[1 : place + 1]
    assert _read(store, ROOT.only({"_id", "words"})).columns == ["_id", "words"]


def test_a_published_table_fits_its_contract_or_another_one(store: Any, transaction: Any) -> None:
    first, *others = ROOT.columns
    nullable = replace(others[-1], nullable=not others[-1].nullable)
    retyped = replace(others[0], kind=next(one.kind for one in others if one.kind is not others[0].kind))
    with transaction():
        assert not store.fits("replica", ROOT)
    _published(store, transaction, _staging(1), _rows(ROOT), _rows(PARTS))
    with transaction():
        assert store.fits("replica", ROOT) and store.fits("replica", PARTS)
        assert store.fits("replica", replace(ROOT, columns=(first, *reversed(others))))
        less = others[:-1]
        for columns in (less, [*less, nullable], [retyped, *others[1:]]):
            other = replace(ROOT, columns=(first, *columns), key=("_id",), indexes=())
            assert not store.fits("replica", other, ROOT.names)
            # Where the books don't know, or where a column is somebody else's, what the contract has not is not ours.
            assert store.fits("replica", other) == store.fits("replica", other, other.names) == (columns is less)


def test_what_is_not_there_is_told_in_one_sentence(store: Any, transaction: Any) -> None:
    for ask in (lambda: list(store.read("replica", ROOT)), lambda: list(store.staged_ids(_staging(9), ROOT, 0))):
        with pytest.raises(EtlError) as error, transaction():
            ask()
        assert "\n" not in str(error.value)
        assert type(error.value).__module__ == "pipeline.errors"


def test_a_publish_done_again_does_no_harm(store: Any, transaction: Any) -> None:
    """ClickHouse may be killed at any step, so all of it must bear to be done twice."""
    _published(store, transaction, _staging(1), _rows(ROOT, _row("old")), _rows(PARTS))
    staging = _staging(2)
    with transaction():
        store.stage(staging)
    _load(store, transaction, staging, 0, _rows(ROOT, _row("new")), _rows(PARTS))
    with transaction():
        store.prepare(staging)
        store.publish(staging)
        store.publish(staging)
    assert _read(store, ROOT)["_id"].to_list() == ["new"]
