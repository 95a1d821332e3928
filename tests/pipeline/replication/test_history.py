"""History: each version of a document that the copy showed is kept, in both stores, whatever publishes or dies."""

import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bson import ObjectId

from contracts.schema.entity import Entity, Table
from contracts.schema.fields import documents, free_form, identifier, integer, number, text
from contracts.schema.history import VALID_FROM, VALID_TO, former_table, valid_at, versions_table
from contracts.schema.registry import marts
from pipeline import control
from pipeline.connections import TARGETS, Connections
from pipeline.errors import UsageError
from pipeline.marts.build import build
from pipeline.replication import repair, replicate, sync, verify
from pipeline.replication.history import prove_history
from pipeline.runs.recovery import recover
from pipeline.stores.versions import checks
from tests.pipeline.conftest import Etl
from tests.pipeline.lab import Lab

NAME, AMOUNT = text("name", "Name."), integer("amount", "Amount.", nullable=True)
ITEMS = documents("items", "Items.", text("what", "What."))
MORE = free_form("more", "More.", nullable=True)

Row = tuple[Any, ...]


def _things(*fields: Any, **options: Any) -> Entity:
    return Entity("Things", "Things.", "thing_id", (identifier("thing_id", "Key."), *fields), **options)


# The same for commands that read it from a file.
CONTRACT = """
from contracts.schema.entity import Entity
from contracts.schema.fields import documents, free_form, identifier, integer, text

ENTITY = Entity(
    "Things",
    "Things.",
    "thing_id",
    (
        identifier("thing_id", "Key."),
        text("name", "Name."),
        integer("amount", "Amount.", nullable=True),
        documents("items", "Items.", text("what", "What.")),
        free_form("more", "More.", nullable=True),
    ),
    history=True,
)
"""
THINGS = _things(NAME, AMOUNT, ITEMS, MORE, history=True)


@dataclass
class Shown:
    """What one store has shown, kept by hand.

    Attributes:
        since: Since when it shows the current version of each document.
        current: That version.
        former: The versions before: _id, from when on, until when, whether it was gone then, and the version.
    """

    since: dict[str, datetime] = field(default_factory=dict)
    current: dict[str, dict[str, Any]] = field(default_factory=dict)
    former: list[tuple[str, datetime, datetime, bool, dict[str, Any]]] = field(default_factory=list)

    def publish(self, moment: datetime, now: dict[str, dict[str, Any]]) -> None:
        for one in self.current.keys() | now.keys():
            before, after = self.current.get(one), now.get(one)
            if before != after:
                if before is not None and self.since[one] < moment:
                    self.former.append((one, self.since[one], moment, after is None, before))
                self.since[one] = moment
        self.current = now

    def versions(self) -> list[tuple[str, datetime, datetime | None, bool, dict[str, Any]]]:
        return [*self.former, *((one, self.since[one], None, False, version) for one, version in self.current.items())]

    def rows(self) -> list[Row]:
        return sorted(
            (one, since, upto, gone, it["name"], it.get("amount"), len(it["items"]))
            for one, since, upto, gone, it in self.versions()
        )

    def items(self) -> list[Row]:
        return sorted(
            (one, place, since, upto, gone, item["what"])
            for one, since, upto, gone, it in self.versions()
            for place, item in enumerate(it["items"])
        )


class Things:
    """A collection with a history."""

    def __init__(self, lab: Lab, entity: Entity = THINGS) -> None:
        self.lab, self.collection = lab, lab.collection("Things")
        self.connections: Connections = replace(lab.connections, entities={"Things": entity})
        self.shown = {target: Shown() for target in TARGETS}

    def by(self, entity: Entity) -> None:
        self.connections = replace(self.connections, entities={"Things": entity})

    def copy(self, *targets: str) -> None:
        replicate.replicate(self.connections, targets=targets or TARGETS)
        self.note(*targets)

    def follow(self) -> None:
        sync.sync(self.connections)
        self.note()

    def note(self, *targets: str) -> None:
        """Take down what the stores show by now."""
        # A scalar that is null or missing is one in the stores.
        now = {str(one["_id"]): {"amount": None} | one for one in self.collection.find()}
        for target in targets or TARGETS:
            self.shown[target].publish(self.moment(target), now)

    def moment(self, target: str) -> datetime:
        (moment,) = (
            one.cluster_time for one in control.publications(self.connections.postgres) if one.target == target
        )
        return valid_at(control.as_number(moment))

    def read(self, target: str, table: Table) -> pl.DataFrame:
        return self.lab.stored(target, table, "history")

    def rows(self, target: str, *names: str) -> list[Row]:
        """Return all versions of the documents, as the store shows them."""
        chosen = names or ("_id", VALID_FROM, VALID_TO, "_removed", "name", "amount", "items_count")
        root = self.connections.entities["Things"].root
        return sorted(self.read(target, versions_table(root)).select(chosen).rows(), key=_by_id)

    def items(self, target: str) -> list[Row]:
        child = self.connections.entities["Things"].children[0]
        chosen = ("_id", "_position", VALID_FROM, VALID_TO, "_removed", "what")
        return sorted(self.read(target, versions_table(child)).select(chosen).rows(), key=_by_id)

    def assert_kept(self, *targets: str) -> None:
        for target in targets or TARGETS:
            assert self.rows(target) == sorted(self.shown[target].rows(), key=_by_id), target
            assert self.items(target) == sorted(self.shown[target].items(), key=_by_id), target


def _by_id(row: Row) -> tuple[Any, ...]:
    return tuple((one is None, one) for one in row[:3])


def _document(name: str, *items: str, **fields: Any) -> dict[str, Any]:
    items_are = [{"what": one} for one in items]
    return {"_id": ObjectId(), "thing_id": "t", "name": name, "items": items_are, **fields}


@contextmanager
def _of_their_own(lab: Lab) -> Iterator[Things]:
    """Yield things that nobody has copied yet, and leave nothing of them."""
    yield Things(lab)
    lab.collection("Things").drop()
    lab.change_postgres(
        "DROP SCHEMA IF EXISTS history, replica CASCADE",
        *(f"DELETE FROM etl.{table} WHERE collection = 'Things'" for table in ("published", "history", "quarantine")),
        "DELETE FROM etl.columns",
    )
    lab.change_clickhouse("DROP DATABASE IF EXISTS history SYNC", "DROP DATABASE IF EXISTS replica SYNC")


@pytest.fixture
def things(lab: Lab) -> Iterator[Things]:
    with _of_their_own(lab) as things:
        yield things


def test_random_changes_are_kept_as_a_model_has_them(things: Things) -> None:
    """Over full copies, syncs, copies into one store, and deletions that come back."""
    chance = random.Random(7)
    things.collection.insert_many(_document(f"n{n}", *"ab"[: n % 3], amount=n % 4 or None) for n in range(12))
    things.copy()
    gone: list[dict[str, Any]] = []
    for place in range(7):
        for one in chance.sample(list(things.collection.find()), 5):
            do = chance.choice(("rename", "items", "delete", "same", "null"))
            if do == "delete":
                gone.append(one)
                things.collection.delete_one({"_id": one["_id"]})
            else:
                change = {
                    "rename": {"name": f"round {place}"},
                    "items": {"items": [{"what": chance.choice("abc")} for _ in range(chance.randrange(4))]},
                    "same": {"name": one["name"]},
                    "null": {"amount": chance.choice((None, 1, 2))},
                }
                things.collection.update_one({"_id": one["_id"]}, {"$set": change[do]})
        things.collection.insert_one(_document(f"new {place}", "x"))
        if gone and chance.random() < 0.7:
            things.collection.insert_one(gone.pop(chance.randrange(len(gone))))
        if place == 3:
            things.copy("clickhouse")
        else:
            (things.copy if place % 3 == 0 else things.follow)()
        things.assert_kept()
    assert sum(one[3] for one in things.shown["postgres"].former) > 3


def test_what_is_not_changed_has_no_version(things: Things) -> None:
    things.collection.insert_many(_document(f"n{n}", "a", more={"a": 1.5}) for n in range(3))
    for _ in range(2):
        things.copy()
        things.assert_kept()
    things.collection.update_many({}, {"$set": {"name": "other"}})
    things.collection.update_many({}, [{"$set": {"name": "n1"}}])
    things.collection.delete_one({"name": "n1"})
    things.follow()
    things.assert_kept()
    assert len(things.rows("postgres")) == len(things.rows("clickhouse")) == 4


def test_repair_and_replay_keep_what_was_shown_and_no_version_without_length(things: Things, lab: Lab) -> None:
    things.collection.insert_many([_document("one", "a"), _document("two", "b")])
    things.copy()
    things.collection.update_one({"name": "one"}, {"$set": {"name": "three"}})
    things.follow()
    before = {target: things.rows(target) for target in TARGETS}
    # What somebody breaks is what people see from then on; until when it was as it should be, nobody knows.
    lab.change_postgres("UPDATE replica.things SET amount = 7 WHERE name = 'two'")
    lab.change_postgres("UPDATE replica.things SET amount = 8 WHERE name = 'three'")
    found = verify.verify(things.connections)
    repair.repair(things.connections, found)
    assert things.rows("clickhouse") == before["clickhouse"]
    moment = things.moment("postgres")
    broken = [row for row in things.rows("postgres") if row not in before["postgres"]]
    # The version of 'three' began at the moment that is mended, so it is as if it had never been broken.
    assert [(row[2], row[4], row[5]) for row in broken] == [(moment, "two", 7), (None, "two", None)]
    assert all(one.proven for one in verify.verify(things.connections))


def test_documents_that_were_refused_begin_when_they_are_loaded(things: Things) -> None:
    things.collection.insert_many([_document("one"), _document("two", amount=2**40)])
    things.by(_things(NAME, integer("amount", "Amount.", nullable=True, maximum=9), ITEMS, MORE, history=True))
    things.copy()
    assert len(things.rows("postgres")) == 1
    things.by(THINGS)
    repair.replay(things.connections)
    things.note()
    things.assert_kept()


def test_a_contract_that_changes_keeps_what_was(things: Things) -> None:
    things.collection.insert_many([_document("one", "a", amount=1, note="n"), _document("two", amount=None, note="m")])
    things.copy()
    first = things.moment("postgres")
    things.by(_things(AMOUNT, NAME, ITEMS, MORE, text("note", "Note."), history=True))
    things.collection.update_one({"name": "one"}, {"$set": {"amount": 2}})
    things.copy()
    for target in TARGETS:  # all documents have a note now, which none had before
        found = things.rows(target, "name", VALID_FROM, VALID_TO, "amount", "note")
        second = things.moment(target)
        assert found == [
            ("one", first, second, 1, None),
            ("one", second, None, 2, "n"),
            ("two", first, second, None, None),
            ("two", second, None, None, "m"),
        ]
    things.collection.update_one({"name": "two"}, {"$set": {"amount": 3}})  # or it would be the same moment
    things.by(_things(NAME, number("amount", "Amount.", nullable=True), MORE, history=True))
    things.copy()
    for query, old in ((things.lab.postgres, "amount_bigint"), (things.lab.clickhouse, "amount_nullable_int64")):
        # A column that the contract lost is null from then on, and so is one that has another type by now, before.
        order = "FROM history.things_versions WHERE name = 'one' ORDER BY _valid_from"
        assert query(f"SELECT {old}, amount, note {order}") == [(1, None, None), (2, None, "n"), (None, 2.0, None)]
        assert query("SELECT what FROM history.things_items ORDER BY _valid_from") == [("a",), ("a",)]
        assert query("SELECT count(*) FROM history.things_items_versions WHERE _valid_to IS NULL") == [(0,)]
    things.copy()  # and nothing is made anew, once it is as it is to be


def test_history_that_begins_later_begins_with_what_was_shown(things: Things) -> None:
    things.by(_things(NAME, AMOUNT, ITEMS, MORE))
    things.collection.insert_many([_document("one", "a"), _document("two")])
    things.copy()
    things.by(THINGS)
    things.collection.update_one({"name": "one"}, {"$set": {"name": "three"}})
    things.follow()
    things.assert_kept()
    things.by(_things(NAME, AMOUNT, ITEMS, MORE))  # for a while nobody keeps anything
    things.collection.update_one({"name": "two"}, {"$set": {"name": "four"}})
    things.follow()
    between = things.moment("postgres")
    things.by(THINGS)
    things.collection.update_one({"name": "four"}, {"$set": {"name": "five"}})
    things.follow()
    for target in TARGETS:
        found = [row[1:5] for row in things.rows(target) if row[4] in ("four", "five", "two")]
        now = things.moment(target)
        assert found == [(between, now, False, "four"), (now, None, False, "five")]


@pytest.fixture
def by_another(cut_short: Callable[..., int], tmp_path: Path) -> Callable[..., int]:
    """Return a function that runs a command in a process of its own, which dies at a given moment."""
    (tmp_path / "things.py").write_text(CONTRACT)
    return partial(cut_short, contracts=(str(tmp_path),))


@pytest.fixture(scope="class")
def lasting_things(lab: Lab) -> Iterator[Things]:
    """Yield things of which there are former versions, and times since when."""
    with _of_their_own(lab) as things:
        things.collection.insert_one(_document("before", "a"))
        things.copy()
        things.collection.update_one({}, {"$set": {"name": "after"}})
        things.follow()
        yield things


class TestKilled:
    """The history goes on from one kill to the next."""

    @pytest.mark.parametrize(
        ("command", "moment"),
        [
            ("replicate", "after the commit"),
            ("replicate", "before the changes are found"),
            ("replicate", "half kept"),
            ("replicate", "kept and not marked"),
            ("replicate", "before it is told since when"),
            ("replicate", "before the second exchange"),
            ("replicate", "before the views of the history"),
            ("sync", "half kept"),
            ("sync", "before it is told since when"),
            ("sync", "half applied"),
            ("sync", "before the intent is finished"),
        ],
    )
    def test_clickhouse_keeps_each_version_once_wherever_it_is_killed(
        self, lasting_things: Things, by_another: Callable[..., int], command: str, moment: str
    ) -> None:
        things = lasting_things
        things.collection.delete_many({})
        things.collection.insert_many([_document("new", "a", "b"), _document("new", "c")])
        things.collection.insert_many([_document("other", "x"), _document("same", "y")])
        things.copy()
        things.collection.update_many({"name": "new"}, {"$set": {"name": "third", "items": [{"what": "d"}]}})
        things.collection.delete_one({"name": "other"})
        assert by_another(command, moment) == -9
        recover(things.connections)
        things.note()
        things.assert_kept()
        assert all(one.proven for one in prove_history(things.connections))
        things.collection.update_many({}, {"$set": {"name": "fourth"}})
        things.follow()
        things.assert_kept()


def test_a_proof_finds_what_is_wrong(things: Things, lab: Lab) -> None:
    things.collection.insert_many([_document("one", "a"), _document("two", "b", "c")])
    things.copy()
    for name in ("three", "four", "five"):
        things.collection.update_many({}, {"$set": {"name": name}})
        things.follow()
    assert [(one.target, one.versions, one.faults) for one in prove_history(things.connections)] == [
        ("postgres", 6, []),
        ("clickhouse", 6, []),
    ]
    second = "(SELECT _valid_from FROM history.things ORDER BY 1 LIMIT 1 OFFSET 2)"
    later, first = "_valid_to + interval '9 seconds'", "(SELECT min(_valid_from) FROM history.things)"
    faults = {
        f"DELETE FROM history.things WHERE _valid_from = {second}": "2 gaps between versions",
        f"UPDATE history.things SET _valid_to = {later} WHERE _valid_from = {first}": "2 versions that overlap",
        "UPDATE history.things SET _valid_to = _valid_from WHERE name = 'three'": "2 versions that end before",
        "DELETE FROM history.things_items WHERE _position = 1": "3 versions with another number of rows in",
        f"UPDATE history.things_items SET _valid_from = {later} WHERE _position = 1": "3 rows of things_items that are",
        "DELETE FROM replica.things WHERE name = 'five'": "2 documents whose last version did not end by their removal",
    }
    for statement, what in faults.items():
        with lab.another() as other:
            broken = replace(things.connections, postgres=other.postgres)
            other.postgres.execute("ALTER TABLE replica.things DISABLE TRIGGER ALL", statement)
            found = _proven_uncommitted(broken)
            assert any(what in one for one in found), (statement, found)
    lab.change_clickhouse(
        f"ALTER TABLE history.things__data DELETE WHERE _valid_from = {second} SETTINGS mutations_sync = 1"
    )
    (clickhouse,) = (one for one in prove_history(things.connections, targets=["clickhouse"]))
    assert "2 gaps between versions of a document that was there" in clickhouse.faults[0]
    lab.change_postgres("DROP VIEW history.things_versions")
    (postgres,) = (one for one in prove_history(things.connections, targets=["postgres"]))
    assert "things_versions" in postgres.faults[0]
    for one in (postgres, clickhouse):
        assert re.search("^the history of Things in .* is not proven: .*; a view .* by etl replicate Things", one.told)
        assert one.told.endswith("begin again by etl drop Things and etl replicate Things")
    things.copy()
    assert not any("things_versions" in one for one in prove_history(things.connections)[0].faults), "as is told"


def _proven_uncommitted(connections: Connections) -> list[str]:
    """Return the faults that are found within an open transaction."""
    observed = [one for one in control.observations(connections.postgres) if one.target == "postgres"]
    queries = checks(THINGS, "replica", [one.since for one in observed], connections.postgres.quoted)
    return [f"{connections.postgres.rows(one.query)[0][0]} {one.what}" for one in queries]


def test_old_versions_are_removed_and_documents_forgotten(
    things: Things, etl: Etl, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "things.py").write_text(CONTRACT)
    monkeypatch.setenv("ETL_CONTRACTS", str(tmp_path))
    things.collection.insert_many([_document("one", "a"), _document("two", "b", "c")])
    things.copy()
    for name in ("three", "four"):
        things.collection.update_many({}, {"$set": {"name": name}})
        things.follow()
    before = {target: things.rows(target) for target in TARGETS}
    moment = before["postgres"][0][2].isoformat()
    assert etl("history", "prune", "--before", moment)[0] == 2  # nobody is there to say yes
    assert etl("history", "prune", "--before", "yesterday", "--yes")[0] == 2
    code, out, _ = etl("history", "prune", "--before", moment, "--yes", "--json")
    assert code == 0 and [one["versions"] for one in json.loads(out)["removed"]] == [2, 2]
    for target in TARGETS:
        assert things.rows(target) == [row for row in before[target] if row[2] is None or row[2].isoformat() > moment]
    (one, *_) = (row[0] for row in things.rows("postgres"))
    code, out, _ = etl("history", "forget", "Things", one, "--yes", "--json")
    assert code == 0 and [it["still_published"] for it in json.loads(out)["removed"]] == [1, 1]
    things.collection.delete_one({"_id": ObjectId(one)})
    things.follow()
    assert etl("history", "forget", "things", one, "--yes")[0] == 0
    for target in TARGETS:
        assert one not in {row[0] for row in (*things.rows(target), *things.items(target))}
        assert len(things.rows(target)) == 2
    told = [
        things.lab.postgres("SELECT count(*) FROM history.things__since"),
        things.lab.clickhouse("SELECT count() FROM history.things__since FINAL"),
    ]
    assert told == [[(1,)], [(1,)]]
    code, out, _ = etl("history", "--json")
    assert [(it["collection"], it["versions"]) for it in json.loads(out)["history"]] == [("Things", 1)] * 2
    code, out, _ = etl("verify", "Things", "--json")
    assert code == 0 and [it["proven"] for it in json.loads(out)["history"]] == [True, True]
    assert etl("drop", "Things", "--yes")[0] == 0
    assert things.lab.clickhouse("SELECT name FROM system.tables WHERE database = 'history'") == []
    assert things.lab.postgres("SELECT relname FROM pg_class WHERE relnamespace = 'history'::regnamespace") == []
    things.copy()
    assert len(things.rows("postgres")) == len(things.rows("clickhouse")) == 1


def test_former_tables_can_be_told_from_current_ones() -> None:
    for table in THINGS.tables:
        former, versions = former_table(table), versions_table(table)
        assert former.key == (*table.key, VALID_FROM)
        assert all(column.nullable for column in former.columns if column.name in set(table.names) - set(table.key))
        assert versions.column(VALID_TO).nullable and not former.column(VALID_TO).nullable


MART = """
from contracts.schema.fields import identifier, integer
from contracts.schema.mart import Mart

MART = Mart(
    "thing_changes",
    "How often each thing was changed.",
    ("thing",),
    (identifier("thing", "The thing."), integer("version_count", "How many versions.")),
)
"""
COMPUTED = """
import polars as pl


def thing_changes(things_versions: pl.LazyFrame) -> pl.LazyFrame:
    changes = things_versions.group_by(pl.col("_id").alias("thing"))
    return changes.agg(pl.len().cast(pl.Int64).alias("version_count"))
"""


def test_a_mart_reads_all_versions(things: Things, tmp_path: Path) -> None:
    (tmp_path / "thing_changes.contract.py").write_text(MART)
    (tmp_path / "thing_changes.py").write_text(COMPUTED)
    things.connections = replace(things.connections, known_marts=marts([tmp_path]))
    things.by(_things(NAME, AMOUNT, ITEMS, MORE))
    things.collection.insert_many([_document("one"), _document("two")])
    things.copy()
    assert things.connections.marts == {}
    things.by(THINGS)
    with pytest.raises(UsageError, match="need the history of Things, which has not begun"):
        build(things.connections)
    things.collection.update_one({"name": "one"}, {"$set": {"name": "three"}})
    things.follow()
    build(things.connections)
    for query in (things.lab.postgres, things.lab.clickhouse):
        assert sorted(count for (count,) in query("SELECT version_count FROM marts.thing_changes")) == [1, 2]
