"""Tables in files: cut into buckets, rows that belong together stay together and none is lost or doubled."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import polars as pl
import pytest

from contracts.schema.entity import Table
from contracts.schema.registry import entities
from pipeline.errors import EtlError
from pipeline.marts import spill as module
from pipeline.marts.spill import Spill, spilling

TABLES = {table.name: table for entity in entities().values() for table in entity.tables}
SESSIONS = TABLES["user_sessions"].only(["_id", "user_id", "actions_count"])
ACTIONS = TABLES["user_sessions_actions"].only(["_id", "type"])
SEARCHES = TABLES["search_queries"].only(["user_id", "results_count"])
USER = pl.col("user_id")
ROWS = 5_000


RoomFor = Callable[[int], AbstractContextManager[None]]


def sessions() -> pl.DataFrame:
    """Return sessions of a user with very many, of users with few, and of none."""
    users = ["busy" if n % 3 else None if n % 5 == 0 else f"u{n % 700}" for n in range(ROWS)]
    rows = {"_id": [f"s{n}" for n in range(ROWS)], "user_id": users, "actions_count": range(ROWS)}
    return pl.DataFrame(rows, SESSIONS.frame_schema)


def actions() -> pl.DataFrame:
    """Return actions far from their sessions, several of one, and some whose session is not there."""
    ids = [f"s{n * 7919 % (ROWS + 50)}" for n in range(2 * ROWS)]
    return pl.DataFrame({"_id": ids, "type": [f"{n}" for n in range(2 * ROWS)]}, ACTIONS.frame_schema)


def add(spill: Spill, table: Table, frame: pl.DataFrame, rows_in_batch: int = 300) -> None:
    with spill.adding(table) as write:
        for some in frame.iter_slices(rows_in_batch):
            write(some, 0)


@pytest.fixture(params=["parents in memory", "parents in parts"])
def spill(request: pytest.FixtureRequest, tmp_path: Path) -> Spill:
    size = 90_000 if request.param == "parents in memory" else 15_000
    made = Spill(tmp_path, size)
    for table, frame in ((SESSIONS, sessions()), (ACTIONS, actions()), (SEARCHES, SEARCHES.frame_schema.to_frame())):
        add(made, table, frame)
    return made


def cut(spill: Spill, *names: str, by: pl.Expr | None = USER) -> dict[str, list[pl.DataFrame]]:
    buckets, tables = spill.cut(names, by)
    return {name: [one.lazy(bucket).collect() for bucket in range(buckets)] for name, one in tables.items()}


def same_rows(found: list[pl.DataFrame], expected: pl.DataFrame) -> bool:
    key = expected.columns
    return pl.concat(found).sort(key).equals(expected.sort(key), null_equal=True)


def test_no_row_is_lost_or_doubled(spill: Spill) -> None:
    found = cut(spill, "user_sessions", "user_sessions_actions", "search_queries")
    assert len(found["user_sessions"]) > 3
    assert same_rows(found["user_sessions"], sessions())
    assert same_rows(found["user_sessions_actions"], actions())
    assert same_rows(found["search_queries"], SEARCHES.frame_schema.to_frame())


def test_what_has_one_value_is_in_one_bucket(spill: Spill) -> None:
    buckets = cut(spill, "user_sessions", "user_sessions_actions")["user_sessions"]
    places = pl.concat(one.select("user_id", place=pl.lit(place)) for place, one in enumerate(buckets)).unique()
    assert places["user_id"].is_unique().all()
    assert places["place"].n_unique() > 3


def test_children_are_where_their_parents_are(spill: Spill) -> None:
    found = cut(spill, "user_sessions", "user_sessions_actions")
    known = set(sessions()["_id"])
    orphans: list[set[str]] = []
    for parents, children in zip(found["user_sessions"], found["user_sessions_actions"], strict=True):
        ids = set(children["_id"])
        orphans.append(ids - known)
        assert ids & known <= set(parents["_id"])
    assert len(set.union(*orphans)) == sum(map(len, orphans)) == 50


def test_a_table_is_cut_once_for_all_who_read_it_by_one_value(spill: Spill) -> None:
    buckets, tables = spill.cut(["user_sessions", "user_sessions_actions"], USER)
    again, alone = spill.cut(["user_sessions"], USER)
    assert (again, alone["user_sessions"]) == (buckets, tables["user_sessions"])
    assert alone["user_sessions"].path == tables["user_sessions"].path
    _, otherwise = spill.cut(["user_sessions"], pl.col("_id"))
    assert otherwise["user_sessions"].path != tables["user_sessions"].path
    assert same_rows(cut(spill, "user_sessions", by=pl.col("_id"))["user_sessions"], sessions())


def test_what_comes_in_buckets_is_not_cut_again(spill: Spill) -> None:
    buckets, tables = spill.cut(["user_sessions", "user_sessions_actions"], USER)
    with spill.adding(SEARCHES, USER, buckets) as write:
        for bucket in range(buckets):
            users = tables["user_sessions"].lazy(bucket).select("user_id", results_count="actions_count").collect()
            write(users, bucket)
    there = set(spill._folder.iterdir())
    again, both = spill.cut(["user_sessions", "search_queries"], USER)
    assert again == buckets
    assert set(spill._folder.iterdir()) == there
    for bucket in range(buckets):
        left, right = (both[name].lazy(bucket).collect() for name in ("user_sessions", "search_queries"))
        assert left["user_id"].equals(right["user_id"], null_equal=True)


def test_what_fits_into_memory_or_has_no_such_value_stays_whole(tmp_path: Path) -> None:
    for size, by in ((10**9, USER), (1, None)):
        made = Spill(tmp_path, size)
        add(made, SESSIONS, sessions())
        before = set(tmp_path.iterdir())
        assert cut(made, "user_sessions", by=by)["user_sessions"][0].equals(sessions(), null_equal=True)
        assert set(tmp_path.iterdir()) == before


def test_ids_of_one_hash_are_told_apart(spill: Spill, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, asked = module._hash, []

    def weak(value: pl.Expr, seed: int) -> pl.Expr:
        asked.append(seed)
        return honest(value, seed) % 1000 if seed < 2 else honest(value, seed)

    monkeypatch.setattr(module, "_hash", weak)
    monkeypatch.setattr(module, "bucket_of", lambda by, buckets: (by.hash(0) % buckets).cast(pl.UInt16))
    test_children_are_where_their_parents_are(spill)
    assert {0, 1, 2} <= set(asked)


def spill_and(then: BaseException | None = None) -> None:
    with spilling(1) as made:
        add(made, SESSIONS, sessions())
        assert then is not None
        raise then


def test_a_full_disk_is_told_in_one_sentence(temporary: Path, room_for: RoomFor) -> None:
    with pytest.raises(EtlError, match=f"{temporary}, has no room .* TMPDIR") as error, room_for(10_000):
        spill_and()
    assert "\n" not in str(error.value)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError("no"), FileNotFoundError(2, "no"), KeyboardInterrupt("no")])
def test_the_folder_is_removed_whatever_happens(temporary: Path, error: BaseException) -> None:
    with pytest.raises(type(error), match="no"):
        spill_and(error)
    assert list(temporary.iterdir()) == []
