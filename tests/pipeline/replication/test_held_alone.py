"""What one store can't hold keeps a document out of that store, and out of both where both are copied to."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bson import DatetimeMS

from pipeline import control
from pipeline.connections import connect
from pipeline.errors import UsageError
from pipeline.replication.repair import repair, replay
from pipeline.replication.replicate import replicate
from pipeline.replication.sync import sync
from pipeline.replication.verify import verify
from tests.pipeline.lab import Lab

CONTRACT = """
from contracts.schema.entity import Entity
from contracts.schema.fields import documents, text, texts, timestamp, timestamps
from contracts.schema.kinds import TEXT

ENTITY = Entity(
    "{name}",
    "Something.",
    fields=(
        timestamp("at", "When.", nullable=True),
        text("note", "What.", nullable=True),
        timestamps("times", "When.", nullable=True),
        documents("items", "Which.", timestamp("at", "When.", nullable=True), nullable=True),
    ),
    id_kind=TEXT,
    misfits="{misfits}",
)
"""
YEAR_20000 = DatetimeMS(568_971_820_800_000)
DOCUMENTS = [
    {"_id": "plain", "at": datetime(2024, 1, 1, tzinfo=UTC), "note": "n", "times": [], "items": []},
    {"_id": "2400", "at": datetime(2400, 1, 1, tzinfo=UTC)},
    {"_id": "1", "at": datetime(1, 1, 1, tzinfo=UTC), "note": "n"},
    {"_id": "far", "times": [YEAR_20000], "items": [{"at": datetime(2400, 1, 1, tzinfo=UTC)}, {"at": None}]},
    {"_id": "nul", "note": "a\0b"},
    {"_id": "neither", "at": DatetimeMS(2**62), "note": "a\0b"},
]
ONLY = {"postgres": {"plain", "2400", "1", "far"}, "clickhouse": {"plain", "nul"}}
NAMES = ("Strict", "Loose")


@pytest.fixture(scope="module")
def far(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("contracts")
    for name, misfits in zip(NAMES, ("refuse", "extra"), strict=True):
        (folder / f"{name.lower()}.py").write_text(CONTRACT.format(name=name, misfits=misfits))
    settings = lab.settings.model_copy(update={"contracts": (folder,)})
    with connect(settings) as connections:
        yield Lab(connections, settings)


@pytest.fixture(autouse=True)
def filled(far: Lab) -> None:
    for name in NAMES:
        far.collection(name).drop()
        far.collection(name).insert_many(DOCUMENTS)
    if far.postgres("SELECT to_regclass('etl.published')::text") != [(None,)]:
        far.change_postgres("DELETE FROM etl.published")


def _ids(lab: Lab, target: str, condition: str = "1 = 1", table: str = "strict") -> set[str]:
    rows = lab.postgres if target == "postgres" else lab.clickhouse
    return {one for (one,) in rows(f"SELECT _id FROM replica.{table} WHERE {condition}")}


@pytest.mark.parametrize("target", ["postgres", "clickhouse"])
def test_one_store_alone_is_given_what_it_can_hold(far: Lab, target: str) -> None:
    run, _ = replicate(far.connections, targets=[target], allow_shrink=True)
    assert _ids(far, target) == ONLY[target]
    assert _ids(far, target, table="loose") == {one["_id"] for one in DOCUMENTS}
    assert _ids(far, target, "_extra IS NULL", "loose") == ONLY[target]
    told = {(one.collection, one.kind) for one in control.drift(far.connections.postgres, run.id)}
    assert {(name, "only in this store") for name in NAMES} <= told
    assert all(one.proven for one in verify(far.connections))
    far.collection("Strict").insert_one({**DOCUMENTS[1 if target == "postgres" else 4], "_id": "later"})
    far.collection("Loose").update_many({}, {"$set": {"more": 1}})
    sync(far.connections)
    assert _ids(far, target) == {*ONLY[target], "later"}
    assert all(one.proven for one in verify(far.connections))
    if target == "postgres":
        far.change_postgres("DELETE FROM replica.strict WHERE _id = '2400'", "UPDATE replica.loose SET at = now()")
    else:
        far.change_clickhouse("ALTER TABLE replica.loose__data DELETE WHERE _id = 'nul' SETTINGS mutations_sync = 2")
    found = verify(far.connections)
    assert not all(one.proven for one in found)
    repair(far.connections, found)
    assert all(one.proven for one in verify(far.connections))


def test_a_second_store_is_added_by_a_copy_to_both(far: Lab) -> None:
    replicate(far.connections, targets=["postgres"], allow_shrink=True)
    said = r"^(Strict|Loose) in postgres has values that the other store can't hold.*etl replicate (Strict|Loose)"
    with pytest.raises(UsageError, match=said):
        replicate(far.connections, targets=["clickhouse"])
    replicate(far.connections, allow_shrink=True)
    for target in ("postgres", "clickhouse"):
        assert _ids(far, target) == {"plain"}
        assert _ids(far, target, "_extra IS NULL", "loose") == {"plain"}
    assert all(one.proven for one in verify(far.connections))
    assert {one.loaded for one in replay(far.connections)} == {0}
    replicate(far.connections, targets=["postgres"])  # the other one is shown still
    assert _ids(far, "postgres") == {"plain"}
    assert all(one.proven for one in verify(far.connections))


def test_stores_that_hold_the_same_are_copied_to_one_by_one(far: Lab) -> None:
    far.collection("Strict").delete_many({"_id": {"$nin": ["plain"]}})
    for target in ("postgres", "clickhouse"):
        replicate(far.connections, ["Strict"], [target], allow_shrink=True)
    far.collection("Strict").insert_many(DOCUMENTS[1:3])
    sync(far.connections, ["Strict"])
    assert _ids(far, "postgres") == _ids(far, "clickhouse") == {"plain"}
    assert all(one.proven for one in verify(far.connections, ["Strict"]))


KEYS = {
    "postgres": ("TIMESTAMP", [datetime(2400 + number, 1, 1, tzinfo=UTC) for number in range(6)]),
    "clickhouse": ("TEXT", [f"a\0{number}" for number in range(6)]),
}
KEYED = """
from contracts.schema.entity import Entity
from contracts.schema.fields import integer
from contracts.schema.kinds import {kind}

ENTITY = Entity("Keyed", "Something.", fields=(integer("n", "Number."),), id_kind={kind})
"""


@pytest.mark.parametrize("target", ["postgres", "clickhouse"])
def test_ids_that_one_store_alone_can_hold_are_followed_and_repaired_there(
    lab: Lab, tmp_path: Path, target: str
) -> None:
    kind, ids = KEYS[target]
    (tmp_path / "keyed.py").write_text(KEYED.format(kind=kind))
    settings = lab.settings.model_copy(update={"contracts": (tmp_path,)})
    with connect(settings) as connections:
        ours = Lab(connections, settings)
        things = ours.collection("Keyed")
        things.drop()
        things.insert_many({"_id": one, "n": 0} for one in ids[:5])
        replicate(connections, targets=[target])
        things.delete_one({"_id": ids[0]})
        things.update_one({"_id": ids[1]}, {"$set": {"n": 1}})
        things.insert_one({"_id": ids[5], "n": 5})
        (synced,) = sync(connections)
        assert (synced.changed, synced.loaded) == (3, 2)
        rows = ours.stored(target, connections.entities["Keyed"].root)
        assert sorted(rows["n"]) == [0, 0, 0, 1, 5]
        assert all(one.proven for one in verify(connections))
        if target == "postgres":
            ours.change_postgres("DELETE FROM replica.keyed WHERE n = 5", "UPDATE replica.keyed SET n = 7 WHERE n = 1")
        else:
            ours.change_clickhouse("ALTER TABLE replica.keyed__data DELETE WHERE n > 0 SETTINGS mutations_sync = 2")
        found = verify(connections)
        assert not all(one.proven for one in found)
        repair(connections, found)
        assert all(one.proven for one in verify(connections))
        assert sorted(ours.stored(target, connections.entities["Keyed"].root)["n"]) == [0, 0, 0, 1, 5]
