"""Rows are gathered to large inserts, one at a time, and none is forgotten."""

import threading

import polars as pl
import pytest

from contracts.schema.registry import entities
from pipeline.stores.clickhouse.buffered_inserts import buffered_inserts

PARENT, CHILD = entities()["UserSessions"].tables
FRAME = pl.DataFrame({"n": range(1_000)})  # 8,000 bytes
Inserted = list[tuple[str, list[int]]]


def test_rows_are_inserted_by_table_when_they_are_worth_it_and_the_rest_at_the_end() -> None:
    inserted: Inserted = []
    with buffered_inserts(lambda table, frames: inserted.append((table.name, [*map(len, frames)])), 20_000) as load:
        for _ in range(4):
            load(PARENT, FRAME)
        load(CHILD, FRAME)
        load(CHILD, FRAME.clear())
    assert inserted == [(PARENT.name, [1_000] * 3), (PARENT.name, [1_000]), (CHILD.name, [1_000])]


def test_one_insert_is_under_way_while_the_next_is_gathered() -> None:
    inserted, may_end = [], threading.Event()

    def insert(*_: object) -> None:
        assert may_end.wait(10)
        inserted.append(1)

    with buffered_inserts(insert, 16_000) as load:
        for _ in range(3):
            load(PARENT, FRAME)
        assert inserted == []
        may_end.set()
    assert inserted == [1, 1]


def test_a_huge_frame_is_waited_for() -> None:
    inserted: Inserted = []
    with buffered_inserts(lambda table, frames: inserted.append((table.name, [*map(len, frames)])), 8_000) as load:
        load(PARENT, FRAME)
        assert inserted == [(PARENT.name, [1_000])]


def test_an_insert_that_fails_is_told_at_the_latest_in_the_end() -> None:
    def insert(*_: object) -> None:
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"), buffered_inserts(insert, 20_000) as load:
        load(PARENT, FRAME)


def test_nothing_more_is_inserted_once_the_work_has_failed() -> None:
    inserted: Inserted = []

    def work() -> None:
        with buffered_inserts(lambda table, frames: inserted.append((table.name, [*map(len, frames)])), 20_000) as load:
            load(PARENT, FRAME)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert inserted == []
