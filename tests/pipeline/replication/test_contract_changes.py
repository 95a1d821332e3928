"""A contract changes under a published table: what users built on it stays, and nobody who reads it has to wait."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from contracts.schema.entity import Entity
from contracts.schema.field import Field
from contracts.schema.fields import documents, identifier, integer, number, text
from contracts.schema.kinds import INTEGER
from pipeline.connections import TARGETS
from pipeline.errors import EtlError, UsageError
from pipeline.replication import repair, replicate, verify
from pipeline.runs import lifecycle
from pipeline.runs.recovery import recover
from pipeline.stores.postgres import locks, publication
from pipeline.stores.postgres.publication import Publication
from pipeline.stores.postgres.store import Postgres
from tests.pipeline.lab import Lab

ROWS = 200
BLINK_S = 3.0  # a publish waits for a thirtieth of it; the rest is for a machine that has other things to do
NAME, AMOUNT = text("name", "Name."), integer("amount", "Amount.")
ITEMS, PARTS = (
    documents("items", "Items.", text("what", "What.")),
    documents("parts", "Parts.", integer("n", "Number.")),
)
NOTE, NOTED = text("note", "Note.", nullable=True), text("note", "Note.")


def _things(*fields: Field, **options: Any) -> Entity:
    return Entity("Things", "Things.", "thing_id", (identifier("thing_id", "Key."), *fields), **options)


BEFORE = _things(NAME, AMOUNT, ITEMS)
CHANGES = {
    "a new nullable column": _things(NAME, AMOUNT, ITEMS, NOTE),
    "a new required column": _things(NAME, AMOUNT, ITEMS, NOTED),
    "a column that may be null now": _things(text("name", "Name.", nullable=True), AMOUNT, ITEMS),
    "a column less": _things(NAME, ITEMS),
    "a column of another type": _things(NAME, number("amount", "Amount."), ITEMS),
    "an index": _things(NAME, AMOUNT, ITEMS, indexes=("amount",)),
    "a column with an index": _things(NAME, AMOUNT, ITEMS, NOTE, indexes=("note",)),
    "a new child table": _things(NAME, AMOUNT, ITEMS, PARTS),
    "a child table less": _things(NAME, AMOUNT),
    "all of it": _things(NAME, number("amount", "Amount."), PARTS, NOTE, indexes=("amount", "note")),
}


class Things:
    """A collection whose contract changes, and what users built on its tables."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.collection = lab.collection("Things")
        self.collection.insert_many(
            {
                "thing_id": f"t{n}",
                "name": "old",
                "amount": n,
                "note": "old",
                "parts": [{"n": 1}],
                "items": [{"what": "old"}] * (1 + n % 3),
            }
            for n in range(ROWS)
        )
        self.copy(BEFORE)

    def set(self, name: str) -> None:
        """Change what all documents say."""
        self.collection.update_many({}, {"$set": {"name": name, "note": name, "items.$[].what": name}})

    def by(self, entity: Entity, connections: Any = None) -> Any:
        return replace(connections or self.lab.connections, entities={"Things": entity})

    def copy(self, entity: Entity) -> None:
        replicate.replicate(self.by(entity))

    def assert_whole(self, entity: Entity) -> None:
        type(self.lab)(self.by(entity), self.lab.settings).assert_replicated()
        assert all(one.proven for one in verify.verify(self.by(entity)))
        assert self.lab.leftovers() == []
        assert self.in_the_making() == []

    def in_the_making(self) -> list[Any]:
        """Return the columns and the checks that only a publish under way may have."""
        found = self.lab.postgres(
            "SELECT attname::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE relkind = 'r' "
            "AND relnamespace = 'replica'::regnamespace AND attname LIKE '#%' AND NOT attisdropped "
            "UNION ALL SELECT conname::text FROM pg_constraint WHERE contype = 'c' AND conname LIKE '#%'"
        )
        return list(found)


@pytest.fixture
def things(lab: Lab) -> Iterator[Things]:
    yield Things(lab)
    lab.collection("Things").drop()
    lab.change_postgres(
        "DROP SCHEMA IF EXISTS users CASCADE",
        "DROP SCHEMA replica CASCADE",
        "DELETE FROM etl.published WHERE collection = 'Things'",
    )
    lab.change_clickhouse("DROP DATABASE IF EXISTS users SYNC", "DROP DATABASE replica SYNC")


# --- What users built


@pytest.mark.parametrize("what", CHANGES)
def test_what_users_built_survives_a_new_contract_and_nobody_waits(
    things: Things, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = things.lab
    lab.change_postgres(
        "CREATE SCHEMA users",
        "CREATE VIEW users.seen AS SELECT DISTINCT name FROM replica.things",
        "CREATE MATERIALIZED VIEW users.stored AS SELECT DISTINCT name FROM replica.things",
        "GRANT SELECT (name), REFERENCES (_id) ON replica.things TO pg_monitor",
        "GRANT SELECT ON replica.things TO PUBLIC",
        "CREATE INDEX users_own ON replica.things (thing_id, name)",
        'CREATE TABLE users.remarks (thing text COLLATE "C" CONSTRAINT of_things REFERENCES replica.things)',
        "INSERT INTO users.remarks SELECT _id FROM replica.things",
    )
    lab.change_clickhouse("CREATE DATABASE users", "CREATE VIEW users.seen AS SELECT DISTINCT name FROM replica.things")
    oid = lab.postgres("SELECT 'replica.things'::regclass::oid::bigint")
    things.set("new")
    _copied_before_readers(things, CHANGES[what], monkeypatch)
    things.assert_whole(CHANGES[what])
    assert lab.postgres("SELECT 'replica.things'::regclass::oid::bigint") == oid
    for ask in (lab.postgres, lab.clickhouse):
        assert ask("SELECT name FROM users.seen") == [("new",)]
    assert lab.postgres("SELECT name FROM users.stored") == [("old",)]
    lab.change_postgres("REFRESH MATERIALIZED VIEW users.stored")
    assert lab.postgres("SELECT name FROM users.stored") == [("new",)]
    granted = "SELECT has_column_privilege('pg_monitor', 'replica.things', {}), has_table_privilege('pg_monitor', {})"
    assert lab.postgres(granted.format("'_id', 'REFERENCES'", "'replica.things', 'SELECT'")) == [(True, True)]
    assert lab.postgres("SELECT count(*) FROM pg_indexes WHERE indexname = 'users_own'") == [(1,)]
    assert lab.postgres("SELECT convalidated FROM pg_constraint WHERE conname = 'of_things'") == [(True,)]


def test_a_reference_that_breaks_under_a_new_contract_publishes_nothing(things: Things) -> None:
    """Not even a column is left of it."""
    lab = things.lab
    lab.change_postgres(
        "CREATE SCHEMA users",
        'CREATE TABLE users.remarks (thing text COLLATE "C" CONSTRAINT of_things REFERENCES replica.things)',
        "INSERT INTO users.remarks SELECT _id FROM replica.things",
    )
    shown = (
        "SELECT attname::text, attnotnull FROM pg_attribute WHERE attrelid = 'replica.things'::regclass AND attnum > 0"
    )
    before = lab.postgres(f"{shown} AND NOT attisdropped ORDER BY attnum")
    things.set("new")
    things.collection.delete_many({"amount": {"$gt": 100}})
    with pytest.raises(EtlError, match="of_things") as error:
        things.copy(CHANGES["a column with an index"])
    assert "\n" not in str(error.value)
    assert lab.postgres("SELECT DISTINCT name FROM replica.things") == [("old",)]
    assert lab.postgres(f"{shown} AND NOT attisdropped ORDER BY attnum") == before
    assert lab.leftovers() == []


def test_a_key_of_another_type_is_told_in_one_sentence(things: Things) -> None:
    things.collection.drop()
    things.collection.insert_one({"_id": 1, "thing_id": "x", "name": "x", "amount": 1, "items": []})
    with pytest.raises(EtlError, match=r"key column _id of replica\.things is text, and its contract says bigint"):
        things.copy(_things(NAME, AMOUNT, ITEMS, id_kind=INTEGER))
    assert things.lab.leftovers() == []


# --- Readers


class Reader(threading.Thread):
    """Reads two tables again and again, each time in one transaction, and notes what it saw and how long it waited."""

    def __init__(self, postgres: Postgres) -> None:
        super().__init__()
        self.postgres, self.stopped = postgres, threading.Event()
        self.seen: set[tuple[Any, ...]] = set()
        self.longest = 0.0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stopped.wait(0.005):  # or it would take a processor of its own
                started = time.monotonic()
                with self.postgres.transaction():
                    self.postgres.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    root = self.postgres.rows("SELECT count(*), min(name), max(name) FROM replica.things")
                    self.seen.add(root[0])
                self.longest = max(self.longest, time.monotonic() - started)
        except BaseException as error:
            self.error = error


def _copied_before_readers(things: Things, entity: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy by a new contract; when only the last moment of it is left, all can still be read and is as it was."""
    lacking, looked = Publication._lacking_keys, []

    def look_first(self: Publication) -> Any:
        with things.lab.another() as other:
            other.postgres.execute("SET lock_timeout = '1s'")
            looked.extend(other.postgres.rows("SELECT DISTINCT name, pg_typeof(amount)::text FROM replica.things"))
            looked.extend(other.postgres.rows("SELECT DISTINCT what FROM replica.things_items"))
        return lacking(self)

    with things.lab.another() as other, monkeypatch.context() as patched:
        patched.setattr(Publication, "_lacking_keys", look_first)
        reader = Reader(other.postgres)
        reader.start()
        try:
            things.copy(entity)
        finally:
            reader.stopped.set()
            reader.join()
    assert looked == [("old", "bigint"), ("old",)]
    assert reader.error is None
    assert reader.seen <= {(ROWS, "old", "old"), (ROWS, "new", "new")}
    assert reader.longest < BLINK_S


def test_a_column_becomes_required_without_a_scan_while_readers_are_locked_out(
    things: Things, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one that was there nor one that is of another type now; views on them stay."""
    lab = things.lab
    things.copy(CHANGES["a new nullable column"])
    lab.change_postgres("CREATE SCHEMA users", "CREATE VIEW users.seen AS SELECT note, name FROM replica.things")
    things.set("new")
    scans, locked, publish = [], locks.lock_out_readers, Postgres.publish

    def note_scans(postgres: Postgres) -> None:
        query = "SELECT relname::text, seq_scan FROM pg_stat_xact_user_tables WHERE schemaname = 'replica' ORDER BY 1"
        scans.append(postgres.rows(query))

    def lock_then_note(store: Postgres, names: Any) -> None:
        locked(store, names)
        note_scans(store)

    def publish_then_note(self: Postgres, *arguments: Any) -> None:
        publish(self, *arguments)
        note_scans(self)

    with monkeypatch.context() as patched:
        patched.setattr(publication, "lock_out_readers", lock_then_note)
        patched.setattr(Postgres, "publish", publish_then_note)
        required = _things(NAME, number("amount", "Amount."), ITEMS, NOTED)
        _copied_before_readers(things, required, monkeypatch)
    assert len(scans) == 2
    assert scans[0] == scans[1]
    assert [rows for _, rows in scans[0]] != [0, 0]  # so it counts
    things.assert_whole(required)
    refusing = "SELECT attname::text FROM pg_attribute WHERE attrelid = 'replica.things'::regclass AND attnum > 0"
    assert lab.postgres(f"{refusing} AND NOT attnotnull AND NOT attisdropped") == [("_extra",)]
    assert lab.postgres("SELECT DISTINCT note, name FROM users.seen") == [("new", "new")]


def test_one_long_query_does_not_make_others_wait(things: Things) -> None:
    """The publish waits for it, a moment at a time, and lets all others pass meanwhile."""
    what = CHANGES["all of it"]
    things.set("new")
    with ExitStack() as stack:
        slow, quick = (stack.enter_context(things.lab.another()) for _ in range(2))
        slow.postgres.rows("SELECT count(*) FROM replica.things")  # and its transaction goes on
        reader = Reader(quick.postgres)
        copying = threading.Thread(target=things.copy, args=(what,))
        reader.start()
        copying.start()
        copying.join(4.0)
        assert copying.is_alive()
        slow.postgres.connection.commit()
        copying.join(60.0)
        reader.stopped.set()
        reader.join()
    assert reader.error is None
    assert reader.seen == {(ROWS, "old", "old"), (ROWS, "new", "new")}
    assert reader.longest < BLINK_S
    things.assert_whole(what)


def test_a_query_without_an_end_fails_the_publish(things: Things, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_PATIENCE_S", 1.0)
    things.set("new")
    with things.lab.another() as slow:
        slow.postgres.rows("SELECT count(*) FROM replica.things")
        with pytest.raises(EtlError, match=r"nothing was published; .*pg_stat_activity"):
            things.copy(CHANGES["a new nullable column"])
        assert slow.postgres.rows("SELECT DISTINCT name FROM replica.things") == [("old",)]
    things.copy(CHANGES["a new nullable column"])
    things.assert_whole(CHANGES["a new nullable column"])


# --- What was refused

AT_LEAST = integer("amount", "Amount.", minimum=0)


def test_a_replay_under_other_columns_is_refused(things: Things) -> None:
    """It speaks for a few rows, and columns change for all."""
    things.collection.insert_one(
        {"thing_id": "odd", "name": "old", "amount": -1, "note": "n", "items": [], "parts": []}
    )
    things.copy(_things(NAME, AT_LEAST, ITEMS))
    shown = type(things.lab)(things.by(BEFORE), things.lab.settings)
    before, refused = shown.everything(), shown.quarantine("Things")
    assert len(refused) == 1
    for what in [one for one in CHANGES if one != "an index"]:
        with pytest.raises(UsageError, match=r"declares other columns than .*; run etl replicate"):
            repair.replay(things.by(CHANGES[what]))
        after = shown.everything()
        assert all(frame.equals(after[name]) for name, frame in before.items()), what
        assert shown.quarantine("Things") == refused, what
        assert (shown.leftovers(), things.in_the_making()) == ([], []), what
    things.copy(CHANGES["all of it"])
    things.assert_whole(CHANGES["all of it"])


def test_a_replay_under_a_contract_of_another_order_keeps_each_value_in_its_column(things: Things) -> None:
    things.collection.insert_one({"thing_id": "odd", "name": "its name", "amount": -1, "note": "its note", "items": []})
    things.copy(_things(NAME, NOTED, AT_LEAST, ITEMS))
    reordered = _things(AMOUNT, NOTED, ITEMS, NAME)
    (replayed,) = repair.replay(things.by(reordered))
    assert replayed.loaded == 1
    things.assert_whole(reordered)


# --- Killed


@pytest.mark.parametrize("by", [BEFORE, CHANGES["a column of another type"]])
def test_what_a_killed_publish_began_is_cleared_away(
    things: Things, monkeypatch: pytest.MonkeyPatch, by: Entity
) -> None:
    """The columns and checks that it added are gone with its staging, whether or not the contract is still the same."""
    things.set("new")

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with things.lab.another() as killed, monkeypatch.context() as patched:
        patched.setattr(Publication, "_lacking_keys", die)
        patched.setattr(lifecycle, "abandon", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            replicate.replicate(things.by(CHANGES["a column of another type"], killed))
    assert len(things.in_the_making()) == 3  # the column, that of undeclared fields, and the check
    assert all(one.proven for one in verify.verify(things.by(BEFORE)) if not one.changed_since)
    recover(things.by(by))
    assert things.in_the_making() == []
    assert things.lab.leftovers() == []
    assert things.lab.postgres("SELECT DISTINCT name FROM replica.things") == [("old",)]
    things.copy(by)
    things.assert_whole(by)


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_publish_that_was_cut_short_and_whose_run_is_alive(
    things: Things, monkeypatch: pytest.MonkeyPatch, *, goes_on: bool
) -> None:
    """It can be done again; if it never is, what it added stands in nobody's way."""
    before, after = CHANGES["a new nullable column"], _things(NAME, number("amount", "Amount."), ITEMS, NOTED)
    things.copy(before)
    connections = things.by(after)
    run = replicate.open_run(connections, [], TARGETS, single_process=False)
    for partition in replicate.plan(connections, run):
        replicate.load(connections, run, partition)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Publication, "_lacking_keys", die)
        with pytest.raises(KeyboardInterrupt):
            replicate.publish(connections, run)
    assert len(things.in_the_making()) == 3  # the column, that of undeclared fields, and the check
    if goes_on:
        replicate.publish(connections, run)
        things.assert_whole(after)
    else:
        things.collection.update_many({}, {"$set": {"note": None}})
        things.copy(before)
        assert things.lab.postgres("SELECT DISTINCT note FROM replica.things") == [(None,)]
        lifecycle.abandon(connections, run.id, run.targets, "nobody goes on with it")
        things.assert_whole(before)


def _keys(lab: Lab) -> list[Any]:
    return list(
        lab.postgres(
            "SELECT conrelid::regclass::text, contype::text, confrelid::regclass::text FROM pg_constraint "
            "WHERE connamespace = 'replica'::regnamespace AND contype IN ('p', 'f') ORDER BY 1, 2"
        )
    )


@pytest.mark.parametrize(
    "lost",
    [
        "DROP TABLE replica.things CASCADE",
        "ALTER TABLE replica.things DROP CONSTRAINT things_pkey CASCADE",
        "DROP TABLE replica.things, replica.things_items",
    ],
)
@pytest.mark.parametrize("when", ["before the run", "between prepare and publish"])
def test_keys_that_somebody_dropped_come_back(
    things: Things, monkeypatch: pytest.MonkeyPatch, lost: str, when: str
) -> None:
    lab, keys = things.lab, _keys(things.lab)
    assert len(keys) == 3
    entity = CHANGES["an index"]
    things.copy(entity)
    things.set("new")
    prepare: Callable[..., None] = Postgres.prepare

    def and_lose(self: Postgres, *arguments: Any) -> None:
        prepare(self, *arguments)
        with things.lab.another() as other, other.postgres.transaction():
            other.postgres.execute(lost)

    if when == "before the run":
        lab.change_postgres(lost)
    else:
        monkeypatch.setattr(Postgres, "prepare", and_lose)
    things.copy(entity)
    things.assert_whole(entity)
    assert _keys(lab) == keys
    indexed = "SELECT count(*) FROM pg_indexes WHERE tablename = 'things' AND indexdef LIKE '%(amount)'"
    assert lab.postgres(indexed) == [(1,)]


def test_a_table_that_somebody_created_before_the_publish_gets_its_keys(
    things: Things, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, keys = things.lab, _keys(things.lab)
    things.set("new")
    made = "CREATE TABLE replica.{0} AS SELECT * FROM replica.{0}_then"
    lab.change_postgres(
        "ALTER TABLE replica.things RENAME TO things_then",
        "ALTER TABLE replica.things_items RENAME TO things_items_then",
    )
    prepare: Callable[..., None] = Postgres.prepare

    def and_create(self: Postgres, *arguments: Any) -> None:
        prepare(self, *arguments)
        with things.lab.another() as other, other.postgres.transaction():
            other.postgres.execute(made.format("things"), made.format("things_items"))
            other.postgres.execute("DROP TABLE replica.things_items_then, replica.things_then")

    monkeypatch.setattr(Postgres, "prepare", and_create)
    things.copy(BEFORE)
    things.assert_whole(BEFORE)
    assert _keys(lab) == keys


# --- Partitioned tables


def test_a_table_that_somebody_has_partitioned_stays_so(things: Things) -> None:
    """Its rows come and go as in any other, and its contract may change."""
    lab, keys = things.lab, _keys(things.lab)
    lab.change_postgres(
        "CREATE SCHEMA users",
        "ALTER TABLE replica.things RENAME TO things_then",
        "CREATE TABLE replica.things (LIKE replica.things_then) PARTITION BY HASH (_id)",
        *(
            f"CREATE TABLE users.things_{n} PARTITION OF replica.things FOR VALUES WITH (MODULUS 3, REMAINDER {n})"
            for n in range(3)
        ),
        "DROP TABLE replica.things_then CASCADE",
    )
    things.copy(BEFORE)
    things.assert_whole(BEFORE)
    for name, what in (("new", "a column with an index"), ("newer", "all of it")):
        things.set(name)
        things.copy(CHANGES[what])
        things.assert_whole(CHANGES[what])
    assert [one for one in _keys(lab) if "items" not in one[0]][:1] == keys[:1]
    assert lab.postgres("SELECT relkind::text FROM pg_class WHERE oid = 'replica.things'::regclass") == [("p",)]
    assert all(rows > 0 for n in range(3) for (rows,) in lab.postgres(f"SELECT count(*) FROM users.things_{n}"))


def _last_columns(things: Things) -> tuple[Any, Any]:
    """Return the last column of the table in each store."""
    postgres = things.lab.postgres(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'replica.things'::regclass AND NOT attisdropped "
        "ORDER BY attnum DESC LIMIT 1"
    )
    clickhouse = things.lab.clickhouse(
        "SELECT name FROM system.columns WHERE database = 'replica' AND table = 'things' ORDER BY position DESC LIMIT 1"
    )
    return postgres[0][0], clickhouse[0][0]


def test_undeclared_fields_stay_the_last_column_unless_somebody_builds_on_it(things: Things) -> None:
    changes = (CHANGES["all of it"], BEFORE, CHANGES["a new nullable column"])
    for entity in changes:
        things.copy(entity)
        assert _last_columns(things) == ("_extra", "_extra")
        things.assert_whole(entity)
    things.lab.change_postgres(
        "CREATE SCHEMA users", "CREATE VIEW users.extras AS SELECT _id, _extra FROM replica.things"
    )
    things.copy(CHANGES["all of it"])
    things.assert_whole(CHANGES["all of it"])
    assert things.lab.postgres("SELECT count(*) FROM users.extras") == [(ROWS,)]
