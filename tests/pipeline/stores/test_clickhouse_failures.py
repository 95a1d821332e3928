"""A ClickHouse that can't do what it is asked, or says that it did: nothing is lost, and the next command goes on."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import psutil
import pytest

from contracts.schema.entity import Table
from pipeline.errors import BooksOpenError, EtlError
from pipeline.replication import repair, replicate, verify
from pipeline.replication.sync import sync
from pipeline.stores.clickhouse.names import data_name
from pipeline.stores.clickhouse.store import ClickHouse
from pipeline.stores.postgres.store import Postgres
from pipeline.stores.staging import Staging
from tests.pipeline.lab import Lab

NAMES = ("UserSessions", "SupportTickets")


@pytest.fixture(scope="module")
def copied(lab: Lab) -> Any:
    lab.fill(defects=0.2, **dict.fromkeys(NAMES, 60))
    replicate.replicate(lab.connections, NAMES)
    return lab


@pytest.fixture
def full_disk(lab: Lab) -> Callable[[], Any]:
    """Return a context in which ClickHouse can't write a byte."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("only Linux limits another process")
    port = str(urlsplit(lab.settings.clickhouse_uri.get_secret_value()).port)
    arguments = {one.pid: one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])}
    server = next(pid for pid, given in arguments.items() if port in given and "pipeline.engines.chdb_server" in given)

    @contextmanager
    def full_disk() -> Iterator[None]:
        before = resource.prlimit(server, resource.RLIMIT_FSIZE)
        resource.prlimit(server, resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield
        finally:
            resource.prlimit(server, resource.RLIMIT_FSIZE, before)

    return full_disk


def _delete_and_change(lab: Lab) -> None:
    for name in NAMES:
        ids = [one["_id"] for one in lab.collection(name).find({}, {"_id": 1}).limit(20)]
        lab.collection(name).delete_many({"_id": {"$in": ids[:10]}})
        lab.collection(name).update_many({"_id": {"$in": ids[10:]}}, {"$set": {"undeclared": 1}})


@pytest.mark.parametrize("store", [Postgres, ClickHouse])
def test_a_list_of_changed_documents_that_a_store_lost_publishes_nothing(
    copied: Any, store: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _delete_and_change(copied)
    before, set_scope = copied.everything(NAMES), store.set_scope

    def losing(self: Any, staging: Staging, root: Table, ids: pl.Series) -> None:
        set_scope(self, staging, root, ids.head(7))  # and the server says OK

    with monkeypatch.context() as patched:
        patched.setattr(store, "set_scope", losing)
        with pytest.raises(BooksOpenError, match=rf"in {store.name} are open: 20 documents .* has 7; nothing was"):
            sync(copied.connections, NAMES)
    assert all(copied.everything(NAMES)[name].equals(frame) for name, frame in before.items())
    assert {one.changed for one in sync(copied.connections, NAMES)} == {20}
    copied.assert_replicated(NAMES)


def test_a_repair_whose_list_was_lost_publishes_nothing(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    copied.change_postgres("UPDATE replica.user_sessions SET user_id = 'bent'")
    found = verify.verify(copied.connections, ["UserSessions"])
    with monkeypatch.context() as patched:
        patched.setattr(Postgres, "set_scope", lambda *_: None)
        with pytest.raises(BooksOpenError, match="the list of them that the store was given has 0"):
            repair.repair(copied.connections, found)
    repair.repair(copied.connections, found)
    copied.assert_replicated(NAMES)


def test_a_sync_on_a_full_disk_loses_no_deletion(copied: Any, full_disk: Callable[[], Any]) -> None:
    _delete_and_change(copied)
    with full_disk(), pytest.raises(EtlError, match=r"File too large|Cannot write|can't|NOT_ENOUGH|No space"):
        sync(copied.connections, NAMES)
    assert {one.changed for one in sync(copied.connections, NAMES)} == {20}
    copied.assert_replicated(NAMES)


def test_a_deletion_waits_for_no_merge(copied: Any) -> None:
    """It is a row of its own: nothing has to be written anew, and what is deleted is hidden at once."""
    _delete_and_change(copied)
    mutations = "SELECT count() FROM system.mutations WHERE database = 'replica'"
    before = copied.clickhouse(mutations)
    copied.change_clickhouse("SYSTEM STOP MERGES")
    try:
        sync(copied.connections, NAMES)
        copied.assert_replicated(NAMES)
        assert copied.clickhouse(mutations) == before
    finally:
        copied.change_clickhouse("SYSTEM START MERGES")
    copied.change_clickhouse(*(f"OPTIMIZE TABLE replica.{one} FINAL" for one in _tables(copied)))
    copied.assert_replicated(NAMES)


def test_what_was_deleted_may_come_back(copied: Any) -> None:
    sessions = copied.collection("UserSessions")
    gone = list(sessions.find().limit(5))
    sessions.delete_many({"_id": {"$in": [one["_id"] for one in gone]}})
    sync(copied.connections, NAMES)
    sessions.insert_many(gone)
    sync(copied.connections, NAMES)
    copied.assert_replicated(NAMES)


def _tables(copied: Any) -> list[str]:
    entities = copied.connections.entities
    return [data_name(table) for name in NAMES for table in entities[name].tables]
