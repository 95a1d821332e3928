"""Tables that were emptied, truncated or dropped, and views that are gone, are noticed by the next sync, and mended."""

from collections.abc import Iterator
from contextlib import nullcontext as nothing
from dataclasses import replace
from typing import Any

import pytest

from contracts.schema.entity import Entity
from contracts.schema.fields import documents, identifier, integer, text
from pipeline import control
from pipeline.connections import TARGETS
from pipeline.errors import DataError
from pipeline.marts import build as marts
from pipeline.replication import repair, replicate
from pipeline.replication.sync import sync
from pipeline.replication.verify import verify
from pipeline.stores.clickhouse.store import ClickHouse
from tests.pipeline.lab import Lab

ITEMS = documents("items", "Items.", text("what", "What.", nullable=True))
THINGS = Entity("Things", "Things.", "key", (identifier("key", "Key."), integer("amount", "Amount."), ITEMS))
GONE = {
    "postgres": {
        "TRUNCATE replica.{0} CASCADE": "{0} in postgres has 0 rows, and 20 were published",
        "TRUNCATE replica.{0}_items": "{0}_items in postgres has 0 rows, and 20",
        "DELETE FROM replica.{0}_items": "{0}_items in postgres has 0 rows",
        "DROP TABLE replica.{0}_items": "{0}_items in postgres, or what it is a view of, is missing",
        "DROP TABLE replica.{0} CASCADE": "{0} in postgres, or what it is a view of, is missing",
    },
    "clickhouse": {
        "TRUNCATE TABLE replica.{0}__data": "{0} in clickhouse has 0 rows, and 20",
        "ALTER TABLE replica.{0}_items__data DROP PARTITION tuple()": "{0}_items in clickhouse has 0 rows",
        "DROP VIEW replica.{0}": "{0} in clickhouse, or what it is a view of, is missing",
        "DROP TABLE replica.{0}_items__data SYNC": "{0}_items in clickhouse, or what it is a view of, is missing",
        "ALTER TABLE replica.{0}__data DELETE WHERE key = '5' SETTINGS mutations_sync = 2": "{0} in clickhouse has 19",
    },
}
BROKEN = [f"Broken{number}" for number in range(5)]


def _lab(lab: Lab, *names: str) -> Any:
    """Return a lab of some collections that are published."""
    entities = {name: replace(THINGS, collection=name, table="") for name in names}
    for name in names:
        lab.collection(name).insert_many({"key": f"{n}", "amount": n, "items": [{"what": "x"}]} for n in range(20))
    made = type(lab)(replace(lab.connections, entities=entities), lab.settings)
    replicate.replicate(made.connections)
    return made


@pytest.fixture(scope="module")
def published(lab: Lab) -> Any:
    return _lab(lab, "Things")


@pytest.fixture
def things(published: Any) -> Iterator[Any]:
    yield published
    replicate.replicate(published.connections)


def _do(lab: Lab, target: str, statement: str) -> None:
    (lab.change_postgres if target == "postgres" else lab.change_clickhouse)(statement)


def _assert_told(lab: Lab, match: str) -> None:
    with pytest.raises(DataError, match=f"{match}.*; run etl replicate Things$"):
        sync(lab.connections)


@pytest.fixture(scope="module")
def broken(lab: Lab) -> Any:
    return _lab(lab, "Whole", *BROKEN)


@pytest.mark.parametrize("target", GONE)
def test_what_is_gone_is_told_and_what_is_told_mends_it(broken: Any, target: str) -> None:
    for name, statement in zip(BROKEN, GONE[target], strict=True):
        _do(broken, target, statement.format(name.lower()))
    broken.collection("Whole").update_one({}, {"$inc": {"amount": 1}})
    with pytest.raises(DataError) as caught:
        sync(broken.connections)
    broken.assert_replicated(["Whole"])  # is followed all the same
    for name, sentence in zip(BROKEN, GONE[target].values(), strict=True):
        assert sentence.format(name.lower()) in str(caught.value)
        assert f"run etl replicate {name}" in str(caught.value)
    replicate.replicate(broken.connections, BROKEN)
    sync(broken.connections)
    broken.assert_replicated()


def test_books_of_an_older_version_take_what_is_there_for_what_was_published(things: Any) -> None:
    things.change_postgres("ALTER TABLE etl.published DROP COLUMN tables", "COMMENT ON SCHEMA etl IS ''")
    sync(things.connections)
    held = {(one.name, one.target): one.held for one in control.publications(things.connections.postgres)}
    assert all(held["Things", target]["things_items"].rows == 20 for target in TARGETS)
    things.change_postgres("TRUNCATE replica.things_items")
    _assert_told(things, "has 0 rows, and 20")


def test_a_table_that_was_only_written_anew_is_counted_and_taken(things: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []
    store = type(things.connections.postgres)
    count = store.count
    monkeypatch.setattr(store, "count", lambda self, *given: (counted.append(given[1].name), count(self, *given))[1])
    sync(things.connections)
    assert counted == []  # rows are read where there is a reason
    things.change_postgres("ALTER TABLE replica.things ALTER COLUMN amount TYPE numeric")
    things.change_postgres("ALTER TABLE replica.things ALTER COLUMN amount TYPE bigint")
    sync(things.connections)
    assert counted == ["things"]
    sync(things.connections)
    assert counted == ["things"]


def test_rows_are_kept_count_of_by_every_command(things: Any) -> None:
    collection = things.collection("Things")
    collection.insert_many({"key": f"more {n}", "amount": n, "items": [{"what": "x"}] * n} for n in range(5))
    collection.delete_one({"key": "7"})
    collection.update_many({"key": {"$in": ["1", "2"]}}, {"$set": {"items": [{"what": "y"}, {"what": None}]}})
    collection.insert_one({"key": "refused", "amount": "none", "items": []})
    sync(things.connections)
    _assert_kept(things)
    things.change_postgres("DELETE FROM replica.things_items WHERE what IS NULL")
    repair.repair(things.connections, verify(things.connections))
    sync(things.connections)
    _assert_kept(things)
    collection.delete_many({"key": {"$gte": "more"}})
    sync(things.connections)
    _assert_kept(things)
    collection.delete_many({})
    sync(things.connections)
    sync(things.connections)
    _assert_kept(things)
    collection.insert_many({"key": f"{n}", "amount": n, "items": [{"what": "x"}]} for n in range(20))


def _assert_kept(things: Any) -> None:
    things.assert_replicated()
    for one in control.publications(things.connections.postgres):
        for table in THINGS.tables if one.name == "Things" else ():
            assert one.held[table.name].rows == things.stored(one.target, table).height, (one.target, table.name)


def test_marts_are_not_made_of_what_was_emptied_and_verify_tells_what_is_gone(lab: Lab) -> None:
    lab.fill(SupportTickets=30)
    replicate.replicate(lab.connections, ["SupportTickets"])
    marts.build(lab.connections, ["ticket_resolution"])
    lab.change_postgres("TRUNCATE replica.support_tickets_messages")
    with pytest.raises(
        DataError, match=r"support_tickets_messages in postgres has 0 rows, .*run etl replicate Support"
    ):
        marts.build(lab.connections, ["ticket_resolution"])
    lab.change_clickhouse("DROP VIEW replica.support_tickets")
    with pytest.raises(DataError, match=r"support_tickets in clickhouse, or .* is missing; run etl replicate Support"):
        verify(lab.connections, ["SupportTickets"])
    replicate.replicate(lab.connections, ["SupportTickets"])
    marts.build(lab.connections, ["ticket_resolution"])
    assert all(one.proven for one in verify(lab.connections, ["SupportTickets"]))


# --- Counted in ClickHouse


@pytest.mark.parametrize("command", [sync, replicate.replicate])
def test_rows_that_clickhouse_loses_in_the_publish_are_counted(
    things: Any, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    things.collection("Things").update_many({}, {"$inc": {"amount": 1}})
    execute = ClickHouse.execute

    def somebody_deletes(self: ClickHouse, *statements: str) -> None:
        execute(self, *statements)
        if any(f'"replica"."{name}"' in one for one in statements for name in ("things__data", "things")) and any(
            one.startswith(("INSERT", "CREATE OR REPLACE VIEW")) for one in statements
        ):
            execute(self, "DELETE FROM replica.things__data WHERE key = '5'")

    with monkeypatch.context() as patched:
        patched.setattr(ClickHouse, "execute", somebody_deletes)
        with pytest.raises(
            DataError, match=r"could not follow .*things in ClickHouse has 19 rows of the run .* 20 were"
        ):
            command(things.connections)
    with pytest.raises(DataError, match="could not follow") if command is replicate.replicate else nothing():
        sync(things.connections)
    replicate.replicate(things.connections)
    things.assert_replicated()
    assert things.leftovers() == []
