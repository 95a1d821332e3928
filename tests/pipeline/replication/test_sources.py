"""Another server, another database, a collection of the same name: none of it is taken for what was copied."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from bson import ObjectId
from pydantic import SecretStr

from pipeline import control
from pipeline.connections import Connections
from pipeline.engines.embedded import engines
from pipeline.errors import SnapshotError, UsageError
from pipeline.replication.comparison import Comparison
from pipeline.replication.repair import repair, replay
from pipeline.replication.replicate import load, open_run, plan, publish, replicate
from pipeline.replication.sync import follow, sync
from pipeline.replication.verify import verify
from pipeline.settings import Settings
from pipeline.stores.source import Source, told_apart
from tests.pipeline.lab import Lab

NAME = "SearchQueries"
HERE = Source("a1", "rs0", ("one:27017", "two:27017"), "shop", "u1")

COMMANDS: dict[str, Callable[[Connections], Any]] = {
    "replicate": lambda there: replicate(there, [NAME]),
    "replicate into one store": lambda there: replicate(there, [NAME], ["clickhouse"]),
    "sync": lambda there: sync(there),
    "sync, followed": lambda there: next(follow(there)),
    "verify": lambda there: verify(there),
    "repair": lambda there: repair(there, [_broken(there)]),
    "replay": lambda there: replay(there),
}


def _broken(there: Connections) -> Comparison:
    ids = [str(value) for value in there.mongo.database[NAME].distinct("_id")] or [str(ObjectId())]
    return Comparison(NAME, "postgres", there.mongo.cluster_time(), "a run", broken=ids)


@pytest.fixture(scope="module")
def other_server(starts_engines: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretStr]:
    """Start a second MongoDB, whose replica set has the same name, and return its URI."""
    given = Settings.load(home=tmp_path_factory.mktemp("other"), postgres_uri=None)
    unneeded = {"postgres_uri": SecretStr(""), "clickhouse_uri": SecretStr("")}
    with engines(given.model_copy(update=unneeded)) as complete:
        assert complete.mongo_uri is not None
        yield complete.mongo_uri


@pytest.fixture
def copied(lab: Lab) -> Any:
    lab.fill(defects=0.1, **{NAME: 40})
    replicate(lab.connections, [NAME], new_source=True)
    lab.collection(NAME).update_one({}, {"$set": {"changed": True}})
    return lab


@contextmanager
def _elsewhere(lab: Lab, where: str, other_server: SecretStr) -> Iterator[Connections]:
    """Open another database or server that has a collection of the same name, with a document of its own."""
    there = {"database": {"mongo_database": "another"}, "server": {"mongo_uri": other_server}, "nothing": {}}
    changes = {"mongo_database": "forgotten"} if where == "nothing" else there[where]
    with lab.another(**changes) as connections:
        collection = connections.mongo.database[NAME]
        collection.drop()
        if where != "nothing":
            collection.insert_one({"_id": ObjectId(), "query_id": "Q1"})
        yield connections


# --- Nothing is done from elsewhere


@pytest.mark.parametrize("where", ["database", "server", "nothing"])
def test_no_command_takes_another_source_for_the_one_that_was_copied(
    copied: Any, other_server: SecretStr, where: str
) -> None:
    lab = copied
    before, shown = lab.everything([NAME]), control.publications(lab.connections.postgres)
    with _elsewhere(lab, where, other_server) as there:
        for name, command in COMMANDS.items():
            with pytest.raises(UsageError) as error:
                command(there)
            if where == "nothing" and name.startswith("replicate"):
                assert "has none of the collections" in str(error.value)
                continue
            was, now = lab.connections.mongo.source(), there.mongo.source()
            assert f"{NAME} in " in str(error.value)
            assert str(was) in str(error.value) and str(now) in str(error.value)
            assert "etl replicate --new-source" in str(error.value)
            assert error.value.exit_code == 2
    assert control.publications(lab.connections.postgres) == shown
    assert all(frame.equals(before[name]) for name, frame in lab.everything([NAME]).items())
    assert lab.leftovers() == []
    assert sum(one.changed for one in sync(lab.connections)) == 1
    lab.assert_replicated([NAME])


def test_a_new_source_is_taken_over_on_purpose(copied: Any, other_server: SecretStr) -> None:
    lab = copied
    with _elsewhere(lab, "server", other_server) as there:
        replicate(there, [NAME], max_quarantined="100%", new_source=True)
        assert {one.source for one in control.publications(there.postgres)} == {
            replace(there.mongo.source(), uuid=there.mongo.uuids([NAME])[NAME])
        }
        there.mongo.database[NAME].insert_one({"_id": ObjectId()})
        assert [one.changed for one in sync(there)] == [1]
        assert all(one.proven for one in verify(there))
    with pytest.raises(UsageError, match="--new-source"):
        sync(lab.connections)
    replicate(lab.connections, [NAME], new_source=True)
    lab.assert_replicated([NAME])


def test_a_new_source_whose_clock_is_behind_is_taken_over_too(copied: Any, other_server: SecretStr) -> None:
    lab = copied
    lab.change_postgres("UPDATE etl.published SET cluster_time = cluster_time + (86400::bigint << 32)")
    with _elsewhere(lab, "server", other_server) as there:
        run, _ = replicate(there, [NAME], max_quarantined="100%", new_source=True)
        assert {one.cluster_time for one in control.publications(there.postgres)} == {run.cluster_time}
    replicate(lab.connections, [NAME], new_source=True)


def test_stores_of_two_sources_are_told_one_by_one(copied: Any, other_server: SecretStr) -> None:
    lab = copied
    with _elsewhere(lab, "server", other_server) as there:
        replicate(there, [NAME], ["postgres"], max_quarantined="100%", new_source=True)
        assert all(one.proven for one in verify(there, [NAME], ["postgres"]))
        with pytest.raises(UsageError, match=f"{NAME} in clickhouse was copied from"):
            sync(there)
    verify(lab.connections, [NAME], ["clickhouse"])
    with pytest.raises(UsageError, match=f"{NAME} in postgres was copied from"):
        sync(lab.connections)
    replicate(lab.connections, [NAME], new_source=True)


# --- Whoever is late


def test_a_run_is_loaded_and_published_from_where_it_was_opened(copied: Any, other_server: SecretStr) -> None:
    lab = copied
    run = open_run(lab.connections, [NAME], ["postgres"], single_process=False)
    (partition,) = plan(lab.connections, run)
    with _elsewhere(lab, "server", other_server) as there:
        with pytest.raises(SnapshotError, match="dropped, renamed or made again"):
            load(there, run, partition)
        load(lab.connections, run, partition)
        with pytest.raises(SnapshotError, match="dropped, renamed or made again"):
            publish(there, run)
    publish(lab.connections, run)
    lab.assert_replicated([NAME], ["postgres"])


def test_a_run_that_was_overtaken_by_a_new_source_is_not_published(copied: Any, other_server: SecretStr) -> None:
    lab = copied
    run = open_run(lab.connections, [NAME], ["postgres"], single_process=False)
    for partition in plan(lab.connections, run):
        load(lab.connections, run, partition)
    with _elsewhere(lab, "server", other_server) as there:
        replicate(there, [NAME], ["postgres"], max_quarantined="100%", new_source=True)
        with pytest.raises(UsageError, match="--new-source"):
            publish(lab.connections, run)
        assert all(one.proven for one in verify(there, [NAME], ["postgres"]))
    replicate(lab.connections, [NAME], new_source=True)


# --- The same source


def test_a_collection_that_was_made_anew_is_of_the_same_source(copied: Any) -> None:
    lab = copied
    lab.fill(**{NAME: 30})
    for name in ("sync", "verify", "repair", "replay"):
        with pytest.raises(SnapshotError, match=f"{NAME} was dropped or renamed; run etl replicate"):
            COMMANDS[name](lab.connections)
    replicate(lab.connections, [NAME])
    lab.assert_replicated([NAME])


def test_books_that_do_not_tell_the_source_take_the_first_one(
    copied: Any, other_server: SecretStr, caplog: pytest.LogCaptureFixture
) -> None:
    lab = copied
    lab.change_postgres("ALTER TABLE etl.published DROP COLUMN source", "COMMENT ON SCHEMA etl IS 'The books.'")
    assert {one.source for one in control.publications(lab.connections.postgres)} == {None}
    with caplog.at_level(logging.WARNING):
        sync(lab.connections)
    assert f"the books did not tell where {NAME} was copied from; from now on it is replica set rs0 (" in caplog.text
    assert f"database {lab.settings.mongo_database!r}" in caplog.text
    with _elsewhere(lab, "database", other_server) as there, pytest.raises(UsageError, match="--new-source"):
        sync(there)
    caplog.clear()
    sync(lab.connections)
    assert caplog.text == ""


# --- What makes a source


@pytest.mark.parametrize(
    ("changes", "other", "anew"),
    [
        ({"hosts": ("three:27017",), "set_name": "renamed"}, False, False),
        ({"uuid": "u2"}, False, True),
        ({"uuid": None}, False, False),
        ({"database": "etl"}, True, False),
        ({"set_id": "a2"}, True, False),
        ({"set_id": None}, False, False),
        ({"set_id": None, "set_name": "rs1"}, True, False),
        ({"set_id": None, "set_name": None}, True, False),
        ({"set_id": None, "uuid": "u2"}, True, True),  # which of both it is, nobody can tell
    ],
)
def test_a_source_is_told_by_the_strongest_mark_that_both_have(
    changes: dict[str, Any], other: bool, anew: bool
) -> None:
    now = replace(HERE, **changes)
    assert HERE.is_other(now) == now.is_other(HERE) == other
    assert HERE.is_made_anew(now) == now.is_made_anew(HERE) == anew
    assert not HERE.is_other(HERE)
    assert Source.from_json(now.as_json()) == now


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"set_name": "rs1"}, ["replica set rs0 (one:27017, two:27017)", "replica set rs1"]),
        ({"set_name": None}, ["replica set rs0", "sharded cluster (one:27017"]),
        ({"database": "etl"}, ["database 'shop'", "database 'etl'"]),
        ({"set_id": "a2"}, ["id a1", "id a2"]),
        ({"set_id": None, "uuid": "u2"}, ["collection UUID u1", "collection UUID u2"]),
    ],
)
def test_two_sources_are_never_called_the_same(changes: dict[str, Any], words: list[str]) -> None:
    told = told_apart(HERE, replace(HERE, **changes))
    assert told[0] != told[1]
    assert all(word in one for word, one in zip(words, told, strict=True))
