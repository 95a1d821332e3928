"""What is not there is named: absent collections, views and their like, tables that somebody dropped or renamed."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from contracts.schema.entity import Entity
from contracts.schema.fields import documents, identifier, integer, text
from pipeline.connections import Connections
from pipeline.errors import DataError, EtlError, UsageError
from pipeline.marts import build as marts
from pipeline.replication import repair
from pipeline.replication.comparison import Comparison
from pipeline.replication.replicate import replicate
from pipeline.replication.sync import sync
from pipeline.replication.verify import left_out, verify, why_left_out
from tests.pipeline.lab import Lab


def _entity(name: str) -> Entity:
    amount, items = integer("amount", "Amount."), documents("items", "Items.", text("what", "What.", nullable=True))
    return Entity(name, f"{name}.", "key", (identifier("key", "Key."), amount, items))


NAMES = ("Orders", "Others", "Third")


@contextmanager
def _opened(lab: Lab) -> Iterator[Any]:
    """Yield a lab of three contracts, of which two collections are there and published."""
    mine = type(lab)(replace(lab.connections, entities={name: _entity(name) for name in NAMES}), lab.settings)
    for name in NAMES[:2]:
        _fill(mine, name)
    replicate(mine.connections)
    mine.change_postgres("CREATE SCHEMA other")
    yield mine
    for name in (*NAMES, "Behind"):
        lab.connections.mongo.database.drop_collection(name)
    lab.change_postgres("DROP SCHEMA IF EXISTS replica, marts, etl, other CASCADE")
    lab.change_clickhouse(*(f"DROP DATABASE IF EXISTS {name} SYNC" for name in ("replica", "marts")))


@pytest.fixture
def shop(lab: Lab) -> Iterator[Any]:
    with _opened(lab) as shop:
        yield shop


@pytest.fixture(scope="class")
def lasting_shop(lab: Lab) -> Iterator[Any]:
    with _opened(lab) as shop:
        yield shop


def _fill(lab: Lab, name: str) -> None:
    lab.collection(name).insert_many({"key": f"{n}", "amount": n, "items": [{"what": "x"}]} for n in range(10))


def _assert_whole(lab: Lab, *names: str) -> None:
    lab.assert_replicated(names)
    assert all(one.proven for one in verify(lab.connections, names))
    assert lab.leftovers() == []


# --- Collections that are not there


def test_what_was_never_there_is_left_out_with_a_word(shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    run, _ = replicate(shop.connections)
    assert list(run.uuids) == ["Orders", "Others"]
    assert re.search("left out, since they are not in .*: Third", caplog.text)
    assert shop.postgres("SELECT to_regclass('replica.third') IS NULL") == [(True,)]
    _assert_whole(shop, "Orders", "Others")
    _fill(shop, "Third")
    replicate(shop.connections)
    _assert_whole(shop, *NAMES)


@pytest.mark.parametrize("how", ["drop", "rename"])
@pytest.mark.parametrize("names", [(), ("Orders", "Others")])
def test_what_is_gone_is_not_published_as_empty(shop: Any, names: tuple[str, ...], how: str) -> None:
    before = shop.everything(["Others"])
    shop.collection("Others").drop() if how == "drop" else shop.collection("Others").rename("Behind")
    with pytest.raises(UsageError, match=r"not in the MongoDB database .*: Others.*--allow-missing") as error:
        replicate(shop.connections, names)
    assert error.value.exit_code == 2
    assert all(frame.equals(before[name]) for name, frame in shop.everything(["Others"]).items())
    assert shop.leftovers() == []
    replicate(shop.connections, ["Orders"])  # on its own
    replicate(shop.connections, names, allow_missing=True)
    assert all(frame.is_empty() for frame in shop.everything(["Others"]).values())
    _assert_whole(shop, "Orders", "Others")


def test_of_what_was_refused_alone_nothing_is_forgotten_either(shop: Any) -> None:
    shop.collection("Third").insert_one({"key": "1", "amount": "no number", "items": []})
    replicate(shop.connections)
    shop.collection("Third").drop()
    with pytest.raises(UsageError, match="Third, but their documents are published"):
        replicate(shop.connections)
    assert len(shop.quarantine("Third")) == 1


def test_what_was_published_as_empty_follows_the_others(shop: Any) -> None:
    shop.connections.mongo.database.create_collection("Third")
    replicate(shop.connections)
    shop.collection("Third").drop()
    with pytest.raises(EtlError, match="Third was dropped or renamed; run etl replicate"):
        sync(shop.connections)
    run, _ = replicate(shop.connections)
    assert run.uuids["Third"] is None
    assert {one.cluster_time for one in sync(shop.connections)} > set()
    _fill(shop, "Third")
    assert sum(one.changed for one in sync(shop.connections)) == 10
    _assert_whole(shop, *NAMES)


def test_what_is_named_must_be_there(shop: Any) -> None:
    with pytest.raises(UsageError, match=r"not in the MongoDB database .*: Third; nothing was copied"):
        replicate(shop.connections, ["Orders", "Third"])
    with pytest.raises(UsageError, match="has none of the collections Third"):
        replicate(shop.connections, ["Third"])
    run, accounts = replicate(shop.connections, ["Third"], allow_missing=True)
    assert run.uuids == {"Third": None}
    assert {(one.source, one.loaded) for one in accounts} == {(0, 0)}


# --- Views, time series, capped collections


def _view(lab: Lab, name: str) -> str:
    lab.collection("Behind").insert_one({"a": 1})
    lab.connections.mongo.database.create_collection(name, viewOn="Behind", pipeline=[])
    return "a view of Behind"


def _time_series(lab: Lab, name: str) -> str:
    lab.connections.mongo.database.create_collection(name, timeseries={"timeField": "at"})
    return "a time series collection"


def _capped(lab: Lab, name: str) -> str:
    lab.connections.mongo.database.create_collection(name, capped=True, size=10_000)
    return "a capped collection"


SPECIAL = [_view, _time_series, _capped]


def test_what_is_no_plain_collection_is_told_and_blocks_no_other(shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    said = f"Third is {_capped(shop, 'Third')} in the MongoDB database "
    with pytest.raises(UsageError, match=said):
        replicate(shop.connections, ["Orders", "Third"])
    run, _ = replicate(shop.connections)
    assert list(run.uuids) == ["Orders", "Others"]
    assert said in caplog.text
    assert {one.collection for one in sync(shop.connections)} == {"Orders", "Others"}
    _assert_whole(shop, "Orders", "Others")


def test_what_is_no_plain_collection_any_more_is_told_too(shop: Any) -> None:
    shop.collection("Others").drop()
    said = f"Others is {_capped(shop, 'Others')} in the MongoDB database "
    before = shop.everything(["Others"])
    shop.collection("Orders").update_many({}, {"$inc": {"amount": 1}})
    for command in (replicate, sync, verify):
        with pytest.raises(UsageError, match=said):
            command(shop.connections, ["Others"])
    with pytest.raises(UsageError, match=said):  # when the others are through
        sync(shop.connections)
    _assert_whole(shop, "Orders")
    replicate(shop.connections)
    found = verify(shop.connections)
    assert {one.collection for one in found} == {"Orders"}
    assert left_out(shop.connections, (), ["postgres"], found) == ["Others"]
    way_out = "copy what is there by etl replicate Others --without-snapshot, or remove it .* by etl drop Others"
    assert re.search(way_out, why_left_out(["Others"]))
    assert all(frame.equals(before[name]) for name, frame in shop.everything(["Others"]).items())


def test_what_nobody_declared_is_listed_without_mongodbs_own(shop: Any) -> None:
    for make, name in zip(SPECIAL, ("AView", "Series", "Ring"), strict=True):
        make(shop, name)
    assert set(shop.connections.undeclared()) == {"AView", "Series", "Ring", "Behind"}
    for name in ("AView", "Series", "Ring"):
        shop.connections.mongo.database.drop_collection(name)


# --- Tables that are not there


def _in_postgres(lab: Lab, *statements: str) -> None:
    lab.change_postgres(*statements)


def _in_clickhouse(lab: Lab, *statements: str) -> None:
    lab.change_clickhouse(*statements)


# What is renamed stays for the cases after it, so each has a name of its own.
GONE = {
    "root dropped": (_in_postgres, "DROP TABLE replica.orders CASCADE"),
    "root renamed": (_in_postgres, "ALTER TABLE replica.orders RENAME TO orders_of_old"),
    "root moved": (_in_postgres, "ALTER TABLE replica.orders SET SCHEMA other"),
    "child renamed": (
        _in_postgres,
        "ALTER TABLE replica.orders_items RENAME TO orders_items_old",
    ),
    "both renamed": (
        _in_postgres,
        "ALTER TABLE replica.orders RENAME TO orders_of_both",
        "ALTER TABLE replica.orders_items RENAME TO orders_items_of_both",
    ),
    "view renamed": (_in_clickhouse, "RENAME TABLE replica.orders TO replica.orders_v"),
    "data renamed": (
        _in_clickhouse,
        "RENAME TABLE replica.orders__data TO replica.orders_old__data",
    ),
    "child's data renamed": (
        _in_clickhouse,
        "RENAME TABLE replica.orders_items__data TO replica.orders_items_old__data",
    ),
    "database dropped": (_in_clickhouse, "DROP DATABASE replica SYNC"),
}


def _commands(there: Connections) -> dict[str, Callable[[], Any]]:
    target_ids = [str(value) for value in there.mongo.database["Orders"].distinct("_id")]
    moment = there.mongo.cluster_time()
    broken = [Comparison("Orders", target, moment, "a run", broken=target_ids) for target in ("postgres", "clickhouse")]
    return {
        "sync": lambda: sync(there),
        "verify": lambda: verify(there),
        "repair": lambda: repair.repair(there, broken),
        "replay": lambda: repair.replay(there),
    }


class TestGone:
    """Each case ends whole, so the next one begins where it ended."""

    @pytest.mark.parametrize("gone", list(GONE))
    def test_a_published_table_that_is_gone_is_noticed_and_made_anew(self, lasting_shop: Any, gone: str) -> None:
        shop = lasting_shop
        change, *statements = GONE[gone]
        change(shop, *statements)
        others = r"(; replica\.others .* run etl replicate Others)?" if gone == "database dropped" else ""
        for command in _commands(shop.connections).values():  # nothing was changed
            with pytest.raises(DataError, match=rf"run etl replicate Orders{others}$") as error:
                command()
            assert error.value.exit_code == 1
        shop.collection("Orders").delete_one({"key": "1"})
        shop.collection("Orders").update_one({"key": "2"}, {"$set": {"amount": 22, "items": []}})
        shop.collection("Orders").insert_one({"key": "new", "amount": 1, "items": [{"what": "y"}]})
        with pytest.raises(DataError, match=r"run etl replicate Orders$"):
            sync(shop.connections)
        replicate(shop.connections)
        shop.collection("Orders").delete_many({})
        _fill(shop, "Orders")  # as the next case is to find it
        assert sum(one.changed for one in sync(shop.connections)) == 20
        _assert_whole(shop, "Orders", "Others")
        if "renamed" in gone:
            _assert_kept(shop, gone)


def _assert_kept(lab: Lab, gone: str) -> None:
    """Assert that what was renamed is as it was: it is somebody's own now."""
    change, *statements = GONE[gone]
    ask = lab.postgres if change is _in_postgres else lab.clickhouse
    for statement in statements:
        name = statement.split(" TO ")[1].removeprefix("replica.")
        alive = " FINAL WHERE NOT _deleted" if name.endswith("__data") else ""
        (count,) = ask(f"SELECT count(*) FROM replica.{name}{alive}")
        assert count == (10,) or name == "orders_v"


def test_a_reference_of_somebodys_own_is_left_alone(shop: Any) -> None:
    shop.change_postgres(
        "CREATE TABLE replica.orders_notes (_id text REFERENCES replica.orders DEFERRABLE INITIALLY DEFERRED, "
        "_position int, note text, PRIMARY KEY (_id, _position))",
        "INSERT INTO replica.orders_notes SELECT _id, 0, 'mine' FROM replica.orders LIMIT 1",
        "DROP TABLE replica.orders_items",
    )
    replicate(shop.connections)
    _assert_whole(shop, "Orders")
    assert shop.postgres("SELECT note FROM replica.orders_notes") == [("mine",)]
    assert shop.postgres(
        "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND confrelid = 'replica.orders'::regclass"
    ) == [(2,)]


def test_the_marts_name_a_table_that_is_gone(lab: Lab) -> None:
    names = ["user_activity", "event_types_daily"]
    lab.fill(**dict.fromkeys(("UserSessions", "EventLogs"), 30))
    replicate(lab.connections)
    with pytest.raises(UsageError, match="--allow-missing also copies as empty"):
        marts.build(lab.connections, names)
    replicate(lab.connections, allow_missing=True)
    assert {one.name for one in marts.build(lab.connections, names)} >= {*names}
    lab.change_postgres("DROP TABLE replica.user_sessions CASCADE")
    with pytest.raises(DataError, match=r"replica.user_sessions in postgres, .* is missing; run etl replicate Us"):
        marts.build(lab.connections, names)
    replicate(lab.connections, ["UserSessions"])
    sync(lab.connections)
    marts.build(lab.connections, names)
