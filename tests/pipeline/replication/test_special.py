"""Views and time series: copied at one moment as all others are, proven, and told where they can't be followed."""

import logging
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.connections import connect
from pipeline.errors import UsageError
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
