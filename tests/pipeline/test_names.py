"""Names of any kind come through both stores, meet no other's, and never block each other."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from contracts.schema.entity import Entity
from contracts.schema.fields import documents, identifier, text, texts
from contracts.schema.names import DATA
from pipeline import control
from pipeline.errors import EtlError
from pipeline.replication import replicate, sync
from pipeline.replication.history import kept, prove_history
from pipeline.replication.verify import verify
from pipeline.runs.recovery import recover
from tests.pipeline.lab import Lab

ODD = ['a"b', "a'b", "a`b", "a\\", "\\n", "a\nb", "a b", "$x", '"a"', "{a:String}", "%s", "a?b", "a#b", "é" * 31, "?"]


def _things(collection: str, *fields: Any, **options: Any) -> Entity:
    return Entity(collection, "Things.", "key", (identifier("key", "Key."), *fields), **options)


@pytest.fixture
def lab_of(lab: Lab) -> Iterator[Any]:
    """Return a function that gives a lab of other contracts, whose collections have one document each."""

    def lab_of(*entities: Entity) -> Any:
        for entity in entities:
            lab.collection(entity.collection).insert_one({"key": "a"})
        known = {entity.collection: entity for entity in entities}
        return type(lab)(replace(lab.connections, entities=known), lab.settings)

    yield lab_of
    for name in lab.connections.mongo.listed():
        lab.collection(name).drop()
    lab.change_postgres("DROP SCHEMA IF EXISTS replica, etl CASCADE")
    lab.change_clickhouse("DROP DATABASE IF EXISTS replica SYNC")


def test_odd_names_come_through_both_stores(lab_of: Any) -> None:
    items = documents("it's \\", "Items.", *(text(name, "Odd.") for name in ODD))
    columns = tuple(text(name, "Odd.", nullable=True) for name in ODD)
    entity = _things('O\'Brien \\ "co"', *columns, texts("t\\", "Texts.", nullable=True), items, indexes=tuple(ODD))
    lab = lab_of(entity)
    collection = lab.collection(entity.collection)
    values = dict.fromkeys(ODD, "x")
    collection.delete_many({})
    collection.insert_one({"key": "a", **values, "t\\": ["x"], "it's \\": [values, values]})
    for change in (lambda: None, lambda: collection.delete_one({"key": "a"})):
        change()
        collection.insert_one({"key": "b", **values, "it's \\": [values]})
        replicate.replicate(lab.connections)
        lab.assert_replicated()
    collection.delete_one({"key": "b"})
    sync.sync(lab.connections)
    lab.assert_replicated()
    assert all(one.proven for one in verify(lab.connections))


def test_what_only_one_store_reads_as_an_escape_is_the_same_name_in_both(lab_of: Any) -> None:
    key, items = identifier("k\\t", "Key."), documents("it\\em", "Items.", text("\\x", "X."))
    entity = Entity("logs\\new", "Things.", "k\\t", (key, items), history=True)
    lab = lab_of(entity)
    collection = lab.collection(entity.collection)
    collection.delete_many({})
    collection.insert_many([{"k\\t": "same", "it\\em": [{"\\x": "1"}]}, {"k\\t": "same", "it\\em": []}])
    run, _ = replicate.replicate(lab.connections)
    told = [one for one in control.drift(lab.connections.postgres, run.id) if one.kind == "duplicate key"]
    assert [(one.path, one.value, one.count) for one in told] == [("/k\\t", "same", 2)]
    collection.update_many({}, {"$set": {"it\\em": [{"\\x": "2"}]}})
    sync.sync(lab.connections)
    lab.assert_replicated()
    proofs = prove_history(lab.connections)
    assert [(one.target, one.versions, one.faults) for one in proofs] == [("postgres", 2, []), ("clickhouse", 2, [])]
    assert {one.versions for one in kept(lab.connections)} == {2}


def test_indexes_give_way_to_tables_and_to_each_other(lab_of: Any) -> None:
    """PostgreSQL calls the index on column b_c of table a as that on column c of table a_b."""
    first = _things("a", text("b_c", "C.", nullable=True), indexes=("b_c",))
    others = _things("a_b", text("c", "C.", nullable=True), indexes=("c",)), _things("a_pkey"), _things("a_b_c_idx")
    lab = lab_of(first, *others)
    for entity in (first, *others):
        replicate.replicate(lab.connections, [entity.collection])
    lab.assert_replicated()
    indexed = "SELECT indrelid::regclass::text, count(*) FROM pg_index WHERE indrelid IN ({}) GROUP BY 1 ORDER BY 1"
    names = "'replica.a'::regclass, 'replica.a_b'::regclass, 'replica.a_pkey'::regclass"
    assert lab.postgres(indexed.format(names)) == [("replica.a", 2), ("replica.a_b", 2), ("replica.a_pkey", 1)]


@pytest.mark.parametrize("store", ["postgres", "clickhouse", "clickhouse data"])
def test_what_is_not_ours_is_not_replaced(lab_of: Any, store: str) -> None:
    lab, told = lab_of(_things("a")), "rename or drop it"
    if store == "postgres":
        lab.change_postgres("CREATE SCHEMA replica", "CREATE VIEW replica.a AS SELECT 1 AS one")
    else:
        name = "a" if store == "clickhouse" else f"a{DATA}"
        lab.change_clickhouse(
            "CREATE DATABASE replica", f"CREATE TABLE replica.{name} (one Int8) ENGINE = MergeTree ORDER BY one"
        )
    with pytest.raises(EtlError, match=told):
        replicate.replicate(lab.connections)
    assert lab.leftovers() == []


def _stuck(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish two collections anew, of which ClickHouse can't follow one."""
    replicate.replicate(lab.connections)
    for name in ("a", "b"):
        lab.collection(name).insert_one({"key": "new"})
    with monkeypatch.context() as patched:
        patched.setattr(replicate, "recover", lambda *_: {})
        replicate.replicate(lab.connections)
    lab.change_clickhouse(f"DROP TABLE replica.a{DATA} SYNC", f"CREATE VIEW replica.a{DATA} AS SELECT 1")


def test_an_unfinished_publish_blocks_no_other_and_tells_the_way_out(
    lab_of: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lab = lab_of(_things("a"), _things("b"))
    _stuck(lab, monkeypatch)
    with caplog.at_level(logging.WARNING):
        stuck = recover(lab.connections)
    assert list(stuck) == ["a"]
    assert caplog.messages == [str(stuck["a"])]
    assert "make it anew by etl replicate a" in str(stuck["a"])
    lab.assert_replicated(["b"])
    lab.assert_replicated(["a"], ["postgres"])
    with pytest.raises(EtlError, match="a is published in PostgreSQL, and ClickHouse could not follow"):
        sync.sync(lab.connections, ["a"])
    lab.collection("b").insert_one({"key": "newer"})
    with pytest.raises(EtlError, match="ClickHouse could not follow"):  # and all else was followed
        sync.sync(lab.connections)
    lab.assert_replicated(["b"])
    assert {one.collection for one in verify(lab.connections, ["b"])} == {"b"}
    lab.change_clickhouse(f"DROP VIEW replica.a{DATA}")
    sync.sync(lab.connections)  # what was in the way is gone
    lab.assert_replicated()
    assert lab.leftovers() == []


def test_a_full_copy_is_the_way_out_where_nothing_else_is(lab_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = lab_of(_things("a"), _things("b"))
    _stuck(lab, monkeypatch)
    lab.change_clickhouse(f"DROP VIEW replica.a{DATA}")
    for run in lab.leftovers():
        lab.change_clickhouse(f"DROP DATABASE IF EXISTS staging_{run} SYNC")
    assert list(recover(lab.connections)) == ["a", "b"]
    replicate.replicate(lab.connections, ["a"])
    lab.assert_replicated(["a"])
    assert list(recover(lab.connections)) == ["b"]
