"""One store that was restored from a backup without the other is noticed before anything is changed."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.errors import DataError
from pipeline.replication.replicate import replicate
from pipeline.replication.sync import sync
from pipeline.replication.verify import verify
from tests.pipeline.lab import Lab

NAME, TABLE = "SearchQueries", "search_queries"
DATA = f"replica.{TABLE}__data"


@pytest.fixture
def copied(lab: Lab) -> Any:
    lab.fill(**{NAME: 40, "ModerationQueue": 10})
    replicate(lab.connections, [NAME, "ModerationQueue"])
    return lab


def _delete_some(lab: Lab) -> None:
    ids = [one["_id"] for one in lab.collection(NAME).find({}, {"_id": 1}).limit(5)]
    lab.collection(NAME).delete_many({"_id": {"$in": ids}})


def _back_up_clickhouse(lab: Lab) -> Callable[[], None]:
    """Keep the table as it is, and return what brings it back, comment and all, as RESTORE does."""
    lab.change_clickhouse("DROP TABLE IF EXISTS default.kept SYNC", f"CREATE TABLE default.kept AS {DATA}")
    lab.change_clickhouse(f"INSERT INTO default.kept SELECT * FROM {DATA}")
    ((comment,),) = lab.clickhouse(f"SELECT comment FROM system.tables WHERE database || '.' || name = '{DATA}'")
    lab.change_clickhouse(f"ALTER TABLE default.kept MODIFY COMMENT '{comment}'")
    return lambda: lab.change_clickhouse(f"EXCHANGE TABLES default.kept AND {DATA}")


def _back_up_books(lab: Lab) -> Callable[[], None]:
    lab.change_postgres("DROP TABLE IF EXISTS kept, kept_books")
    lab.change_postgres(f"CREATE TABLE kept AS TABLE replica.{TABLE}", "CREATE TABLE kept_books AS TABLE etl.published")

    def restore() -> None:
        lab.change_postgres(
            f"DELETE FROM replica.{TABLE}",
            f"INSERT INTO replica.{TABLE} TABLE kept",
            "DELETE FROM etl.published",
            "INSERT INTO etl.published TABLE kept_books",
        )

    return restore


@pytest.mark.parametrize("back_up", [_back_up_clickhouse, _back_up_books])
@pytest.mark.parametrize("synced_before", [False, True])
def test_a_store_that_was_restored_without_the_other_is_noticed(
    copied: Any, back_up: Callable[[Any], Callable[[], None]], *, synced_before: bool
) -> None:
    lab = copied
    if synced_before:
        _delete_some(lab)
        sync(lab.connections)
    restore = back_up(lab)
    _delete_some(lab)
    sync(lab.connections)
    restore()
    _delete_some(lab)
    with pytest.raises(DataError, match=rf"{NAME} in ClickHouse shows run .* and the books .* say run .* etl rep"):
        sync(lab.connections)
    sync(lab.connections, ["ModerationQueue"])  # which is as it was
    replicate(lab.connections, [NAME])
    _delete_some(lab)
    sync(lab.connections)
    assert all(one.proven for one in verify(lab.connections, [NAME]))
    lab.assert_replicated([NAME])


def test_what_is_restored_together_goes_on_from_there(copied: Any) -> None:
    lab = copied
    restores = [_back_up_clickhouse(lab), _back_up_books(lab)]
    _delete_some(lab)
    sync(lab.connections)
    for restore in restores:
        restore()
    _delete_some(lab)
    sync(lab.connections)
    lab.assert_replicated([NAME])


def test_tables_that_an_older_version_published_are_followed(copied: Any) -> None:
    lab = copied
    _delete_some(lab)
    sync(lab.connections)
    lab.change_postgres("UPDATE etl.published SET marked = NULL")
    lab.change_clickhouse(f"ALTER TABLE {DATA} MODIFY COMMENT 'an_earlier_run {TABLE}'")
    _delete_some(lab)
    sync(lab.connections)
    lab.assert_replicated([NAME])
    lab.change_clickhouse(f"ALTER TABLE {DATA} MODIFY COMMENT 'an_earlier_run {TABLE}'")
    with pytest.raises(DataError):
        sync(lab.connections)
