"""Views and time series: copied at one moment as all others are, proven, and told where they can't be followed."""

import json
import logging
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from pipeline.connections import connect
from pipeline.control.status import status
from pipeline.doctor.mongo import examine_mongo
from pipeline.errors import DataError, UsageError
from pipeline.replication.repair import repair
from pipeline.replication.replicate import load, open_run, plan, publish, replicate
from pipeline.replication.sync import sync
from pipeline.replication.verify import verify
from tests.pipeline.lab import Lab

CONTRACT = """
    from contracts.schema.entity import Entity
    from contracts.schema.fields import {words}
    from contracts.schema.kinds import OBJECT_ID, TEXT

    ENTITY = Entity("{collection}", "Something.", fields=({fields},), id_kind={kind})
"""
AT = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture
def special(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("contracts")
    contracts = {
        "sales": ("Sales", "integer, text", 'integer("n", "Number."), text("shop", "Shop.")', "OBJECT_ID"),
        "big": ("Big", "integer, text", 'integer("n", "Number."), text("shop", "Shop.")', "OBJECT_ID"),
        "by_shop": ("ByShop", "integer", 'integer("all", "Sum.")', "TEXT"),
        "readings": (
            "Readings",
            "number, text, timestamp",
            'timestamp("at", "When."), number("v", "Value."), text("m", "Where.")',
            "OBJECT_ID",
        ),
    }
    for name, (collection, words, fields, kind) in contracts.items():
        text = textwrap.dedent(CONTRACT).format(collection=collection, words=words, fields=fields, kind=kind)
        (folder / f"{name}.py").write_text(text)
    settings = lab.settings.model_copy(update={"contracts": (folder,)})
    with connect(settings) as connections:
        database = connections.mongo.database
        for name in database.list_collection_names():
            if not name.startswith("system."):
                database.drop_collection(name)
        database["Sales"].insert_many([{"n": n, "shop": f"s{n % 3}"} for n in range(30)])
        database.create_collection("Big", viewOn="Sales", pipeline=[{"$match": {"n": {"$gte": 20}}}])
        sums = [{"$group": {"_id": "$shop", "all": {"$sum": "$n"}}}, {"$project": {"all": 1, "_id": 1}}]
        database.create_collection("ByShop", viewOn="Sales", pipeline=sums)
        database.create_collection("Readings", timeseries={"timeField": "at", "metaField": "m"})
        read = [{"at": AT + timedelta(hours=n), "v": n / 2, "m": f"m{n % 2}"} for n in range(50)]
        database["Readings"].insert_many([*read, {"at": AT, "v": "odd", "m": "m", "more": 1}])
        yield Lab(connections, settings)


def test_views_and_time_series_are_read_at_the_run_s_moment(special: Lab) -> None:
    run = open_run(special.connections, (), ("postgres", "clickhouse"))
    special.collection("Sales").insert_one({"n": 100, "shop": "s1"})
    special.collection("Readings").insert_one({"at": AT, "v": 7.0, "m": "late"})
    for partition in plan(special.connections, run):
        load(special.connections, run, partition)
    accounts = publish(special.connections, run)
    assert {(one.collection, one.loaded, one.quarantined) for one in accounts} == {
        ("Sales", 30, 0),
        ("Big", 10, 0),
        ("ByShop", 3, 0),
        ("Readings", 50, 1),
    }
    assert special.clickhouse('SELECT sum("all") FROM replica.by_shop') == [(435,)]
    assert all(one.proven for one in verify(special.connections))
    special.change_postgres("UPDATE replica.readings SET v = 100 WHERE v = 3", "DELETE FROM replica.big WHERE n = 21")
    found = verify(special.connections)
    assert sum(one.different + one.missing for one in found) == 2
    repair(special.connections, found)
    assert all(one.proven for one in verify(special.connections))


def test_sync_leaves_them_as_they_are_with_a_word(special: Lab, caplog: pytest.LogCaptureFixture) -> None:
    replicate(special.connections)
    special.collection("Sales").insert_one({"n": 100, "shop": "s1"})
    with caplog.at_level(logging.WARNING):
        assert [(one.collection, one.changed) for one in sync(special.connections)] == [("Sales", 1)]
    assert (
        "Big is a view of Sales, which has no change stream; it stays as it is until the next etl replicate"
        in caplog.text
    )
    with pytest.raises(UsageError, match=r"a time series collection, which .*etl replicate Readings"):
        sync(special.connections, ["Readings"])
    assert special.postgres("SELECT count(*) FROM replica.big") == [(10,)]
    replicate(special.connections, ["Big", "ByShop", "Readings"])
    assert special.clickhouse("SELECT count() FROM replica.big") == [(11,)]
    assert all(one.proven for one in verify(special.connections))


def test_a_view_that_has_an_id_twice_or_none_is_refused_in_a_sentence(special: Lab) -> None:
    database = special.connections.mongo.database
    database.drop_collection("Big")
    database.create_collection("Big", viewOn="Sales", pipeline=[{"$match": {"n": 3}}, {"$project": {"_id": 0}}])
    _, accounts = replicate(special.connections, ["Big"])
    assert {(one.loaded, one.quarantined) for one in accounts} == {(0, 1)}
    assert all(one.proven for one in verify(special.connections, ["Big"]))


def test_a_view_that_has_one_id_of_several_documents_is_told_before_anything_is_published(special: Lab) -> None:
    database = special.connections.mongo.database
    database.drop_collection("ByShop")
    shops = [{"$project": {"_id": "$shop", "all": "$n"}}]
    database.create_collection("ByShop", viewOn="Sales", pipeline=shops)
    said = r'^ByShop is a view of Sales in which 3 _ids stand more than once, such as "s0": .*nothing was published'
    for targets in (("postgres",), ("clickhouse",)):
        with pytest.raises(DataError, match=said):
            replicate(special.connections, ["ByShop"], targets)
    assert special.leftovers() == []


# --- Capped collections


@pytest.fixture
def ring(special: Lab) -> Lab:
    """Sales capped to some hundred documents, and a view of them."""
    database = special.connections.mongo.database
    for name in ("Sales", "Big"):
        database.drop_collection(name)
    database.create_collection("Sales", capped=True, size=20_000, max=300)
    database.create_collection("Big", viewOn="Sales", pipeline=[{"$match": {"n": {"$gte": 20}}}])
    database["Sales"].insert_many([{"n": n, "shop": f"s{n % 3}"} for n in range(30)])
    return special


def test_capped_collections_are_copied_only_where_that_is_accepted(ring: Lab, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UsageError, match=r"^Sales is a capped collection .*--without-snapshot.*nothing was done"):
        replicate(ring.connections, ["Sales"])
    run, _ = replicate(ring.connections)
    assert set(run.uuids) == {"Readings"}
    assert "Big is a view of Sales in the MongoDB database" in caplog.text  # it reads what is capped
    run, accounts = replicate(ring.connections, without_snapshot=True)
    assert set(run.unpinned) == {"Sales", "Big", "ByShop"}
    assert {(one.collection, one.loaded) for one in accounts} >= {("Sales", 30), ("Big", 10), ("ByShop", 3)}
    assert {one.name for one in status(ring.connections.postgres).published if not one.is_pinned} == set(run.unpinned)
    known = ring.connections.entities
    doubts = {
        one.check: one.says for one in examine_mongo(ring.connections.mongo, "mongodb://127.0.0.1", known, [], 1e6)
    }
    assert "Sales" in doubts["one moment"]
    with pytest.raises(UsageError, match=r"Sales is a capped collection, .*etl replicate Sales --without-snapshot"):
        sync(ring.connections, ["Sales"])
    assert sync(ring.connections) == []


def test_capped_collections_are_inferred_and_taken_whole(
    ring: Lab, etl: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    ring.connections.mongo.database["Ring"].drop()
    ring.connections.mongo.database.create_collection("Ring", capped=True, size=10_000)
    ring.collection("Ring").insert_many([{"n": n} for n in range(20)])
    code, out, err = etl("contract", "infer", "Ring", "-o", str(tmp_path), "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["next"].endswith("etl replicate Ring --without-snapshot")
    assert [(one["documents"], one["refused"]) for one in told["contracts"]] == [(20, 0)]
    assert "--without-snapshot" in (tmp_path / "ring.py").read_text()
    code, _, err = etl("replicate", "--undeclared", "Ring")
    assert (code, "--without-snapshot" in err) == (2, True)
    code, out, err = etl("replicate", "--undeclared", "--without-snapshot", "Ring", "Readings", "--json")
    assert (code, json.loads(out)["without_snapshot"]) == (0, ["Ring"]), err
    assert etl("verify", "Ring")[0] == 0
    assert "no snapshot" in etl("status")[1]


def test_what_is_overwritten_while_a_capped_collection_is_read_is_neither_lost_nor_doubled(ring: Lab) -> None:
    sales, stop = ring.collection("Sales"), threading.Event()

    def write() -> None:
        for n in count(100, 20):
            if stop.is_set():
                return
            sales.insert_many([{"n": n + one, "shop": "later"} for one in range(20)])

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            before = {one["_id"] for one in sales.find({}, {"_id": 1})}
            _, accounts = replicate(ring.connections, ["Sales"], without_snapshot=True)
            found = verify(ring.connections, ["Sales"])
            assert all(one.proven and one.changed_since for one in found)
        finally:
            stop.set()
        writing.result()
    assert accounts[0].source == accounts[0].loaded >= 290
    ((rows, ids),) = ring.postgres("SELECT count(*), count(DISTINCT _id) FROM replica.sales")
    assert rows == ids == accounts[0].loaded
    assert before.isdisjoint(one["_id"] for one in sales.find({}, {"_id": 1}))  # all of them were overwritten


def test_a_capped_collection_is_proven_by_what_has_not_changed_since(ring: Lab) -> None:
    replicate(ring.connections, ["Sales"], without_snapshot=True)
    ring.collection("Sales").insert_one({"n": 100, "shop": "s"})
    ring.collection("Sales").update_one({"n": 7}, {"$set": {"n": 8}})
    found = verify(ring.connections, ["Sales"])
    assert {(one.proven, one.equal, one.changed_since) for one in found} == {(True, 29, 2)}
    ring.change_postgres("UPDATE replica.sales SET n = -1 WHERE n = 3", "DELETE FROM replica.sales WHERE n = 4")
    ring.change_clickhouse("ALTER TABLE replica.sales__data DELETE WHERE n = 5 SETTINGS mutations_sync = 2")
    found = verify(ring.connections, ["Sales"])
    assert {(one.target, one.missing, one.different) for one in found} == {("postgres", 1, 1), ("clickhouse", 1, 0)}
    repair(ring.connections, found)
    assert all(one.proven for one in verify(ring.connections, ["Sales"]))
