"""What users put on our tables is theirs: it stays where it can, and where it can't they are told before."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from contracts.schema.entity import Entity
from contracts.schema.fields import documents, identifier, integer, text
from contracts.schema.names import DATA
from pipeline import control
from pipeline.errors import EtlError, UsageError
from pipeline.marts import build as marts
from pipeline.replication import repair, replicate
from pipeline.replication.sync import sync
from pipeline.replication.verify import verify
from tests.pipeline.lab import Lab

ITEMS = documents("items", "Items.", text("what", "What.", nullable=True))


def _things(*fields: Any) -> Entity:
    return Entity("Things", "Things.", "key", (identifier("key", "Key."), *fields))


AMOUNT, NOTE = integer("amount", "Amount.", nullable=True), text("note", "Note.", nullable=True)
BEFORE = _things(AMOUNT, ITEMS)
MINE = (
    "ALTER TABLE replica.things ADD COLUMN mine text DEFAULT 'mine', "
    "ADD COLUMN twice bigint GENERATED ALWAYS AS (amount * 2) STORED, "
    "ADD COLUMN number int GENERATED ALWAYS AS IDENTITY",
    "ALTER TABLE replica.things_items ADD COLUMN mine text",
    "ALTER TABLE replica.things ADD CONSTRAINT my_check CHECK (amount < 1000)",
    "CREATE INDEX my_index ON replica.things (mine)",
    "CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN NEW.mine := coalesce(NEW.mine, 'new'); RETURN NEW; END $$",
    "CREATE TRIGGER my_trigger BEFORE INSERT ON replica.things FOR EACH ROW EXECUTE FUNCTION mine()",
    "UPDATE replica.things SET mine = 'kept'",
)


@pytest.fixture
def things(lab: Lab) -> Iterator[Callable[[Entity], Any]]:
    """Return a function that gives a lab of another contract of Things; they are published in both stores."""

    def things(entity: Entity) -> Any:
        return type(lab)(replace(lab.connections, entities={"Things": entity}), lab.settings)

    lab.collection("Things").insert_many({"key": f"{n}", "amount": n, "items": [{"what": "x"}]} for n in range(20))
    replicate.replicate(things(BEFORE).connections)
    yield things
    lab.change_clickhouse("DROP DICTIONARY IF EXISTS users.looked_up")
    lab.collection("Things").drop()
    lab.change_postgres("DROP SCHEMA IF EXISTS replica, marts, etl CASCADE", "DROP FUNCTION IF EXISTS mine CASCADE")
    lab.change_clickhouse(*(f"DROP DATABASE IF EXISTS {name} SYNC" for name in ("replica", "marts", "users")))


def _assert_whole(lab: Lab) -> None:
    lab.assert_replicated()
    assert all(one.proven for one in verify(lab.connections))
    assert lab.leftovers() == []


def test_columns_indexes_checks_and_triggers_of_users_in_postgres_disturb_nothing(things: Callable[..., Any]) -> None:
    lab = things(BEFORE)
    lab.change_postgres(*MINE)
    collection = lab.collection("Things")
    collection.insert_one({"key": "new", "amount": 7, "items": []})
    collection.delete_one({"key": "1"})
    sync(lab.connections)
    _assert_whole(lab)
    collection.insert_one({"key": "refused", "amount": "no number", "items": []})
    sync(lab.connections)
    repair.replay(lab.connections)
    lab.change_postgres("UPDATE replica.things SET amount = 999 WHERE key = '2'")
    repair.repair(lab.connections, verify(lab.connections))
    _assert_whole(lab)
    replicate.replicate(lab.connections)
    _assert_whole(lab)
    kept = "SELECT mine, count(*), count(number), "
    kept += "sum(twice - 2 * amount)::int FROM replica.things GROUP BY 1 ORDER BY mine"
    assert lab.postgres(kept) == [("kept", 19, 19, 0), ("mine", 1, 1, 0)]
    found = "SELECT (SELECT count(*) FROM pg_{0} WHERE {1} = 'my_{2}')"
    assert lab.postgres(found.format("constraint", "conname", "check")) == [(1,)]
    assert lab.postgres(found.format("trigger", "tgname", "trigger")) == [(1,)]
    assert lab.postgres(found.format("indexes", "indexname", "index")) == [(1,)]


def test_a_changed_contract_drops_only_what_an_earlier_one_made(things: Callable[..., Any]) -> None:
    things(BEFORE).change_postgres(*MINE, "ALTER TABLE replica.things DROP COLUMN twice")
    lab = things(_things(NOTE, ITEMS))
    lab.collection("Things").insert_one({"key": "new", "items": []})
    with pytest.raises(UsageError, match="declares other columns"):
        sync(lab.connections)
    replicate.replicate(lab.connections)
    _assert_whole(lab)
    columns = "SELECT attname::text FROM pg_attribute WHERE attrelid = 'replica.things'::regclass AND attnum > 0 "
    found = {name for (name,) in lab.postgres(columns + "AND NOT attisdropped")}
    assert found == {"_id", "key", "note", "items_count", "_extra", "mine", "number"}
    assert lab.postgres("SELECT count(*) FROM replica.things WHERE mine = 'kept'") == [(20,)]


def test_books_of_an_older_version_take_the_contract_s_columns_for_ours(things: Callable[..., Any]) -> None:
    lab = things(BEFORE)
    lab.change_postgres(*MINE, "DROP TABLE etl.columns")
    control.ensure_schema(lab.connections.postgres)
    lab.collection("Things").insert_one({"key": "new", "items": []})
    sync(lab.connections)
    replicate.replicate(lab.connections)
    _assert_whole(lab)
    assert lab.postgres("SELECT count(*) FROM replica.things WHERE mine = 'kept'") == [(20,)]
    made = control.columns_added(lab.connections.postgres, "postgres", "replica")
    assert made == {table.name: frozenset(table.names) for table in BEFORE.tables}


@pytest.mark.parametrize(
    ("column", "entity", "told"),
    [
        ("mine int NOT NULL", BEFORE, "column 'mine' that its contract does not declare.*no default"),
        ("note text", _things(AMOUNT, NOTE, ITEMS), "column 'note' that no contract made.*rename or drop it"),
    ],
)
def test_a_column_that_no_row_could_be_added_with_is_named(
    things: Callable[..., Any], column: str, entity: Entity, told: str
) -> None:
    lab = things(entity)
    lab.change_postgres("TRUNCATE replica.things CASCADE", f"ALTER TABLE replica.things ADD COLUMN {column}")
    with pytest.raises(EtlError, match=told):
        replicate.replicate(lab.connections)
    assert lab.leftovers() == []
    assert lab.postgres("SELECT status, count(*) FROM etl.runs GROUP BY 1 ORDER BY 1") == [
        ("failed", 1),
        ("published", 1),
    ]


def test_a_table_of_users_that_looks_like_a_forgotten_child_stays(things: Callable[..., Any]) -> None:
    lab = things(BEFORE)
    lab.change_postgres(
        'CREATE TABLE replica.things_mine (_id text COLLATE "C" REFERENCES replica.things, _position bigint, '
        "PRIMARY KEY (_id, _position))",
        "INSERT INTO replica.things_mine SELECT _id, 0 FROM replica.things",
    )
    replicate.replicate(things(_things(AMOUNT)).connections)
    assert lab.postgres("SELECT count(*) FROM replica.things_mine") == [(20,)]
    assert lab.postgres("SELECT to_regclass('replica.things_items') IS NULL") == [(True,)]


def test_columns_of_users_on_marts_stay(lab: Lab, things: Callable[..., Any]) -> None:
    lab.fill(**dict.fromkeys(("SupportTickets",), 30))
    replicate.replicate(lab.connections, ["SupportTickets"])
    marts.build(lab.connections, ["ticket_resolution"])
    lab.change_postgres("ALTER TABLE marts.ticket_resolution ADD COLUMN mine text DEFAULT 'mine'")
    marts.build(lab.connections, ["ticket_resolution"])
    assert lab.postgres("SELECT DISTINCT mine FROM marts.ticket_resolution") == [("mine",)]


def test_what_users_built_in_clickhouse_survives_or_is_told_before_it_goes(
    things: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """As docs/architecture.md says it."""
    lab, data = things(BEFORE), f"replica.things{DATA}"
    lab.change_clickhouse(
        "CREATE DATABASE users",
        "CREATE VIEW users.seen AS SELECT key FROM replica.things",
        "CREATE MATERIALIZED VIEW users.refreshed REFRESH EVERY 1 HOUR ENGINE = MergeTree ORDER BY key AS "
        "SELECT key FROM replica.things",
        "CREATE DICTIONARY users.looked_up (key String, amount Int64) PRIMARY KEY key "
        "SOURCE(CLICKHOUSE(DB 'replica' TABLE 'things')) LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)",
        f"ALTER TABLE {data} ADD COLUMN mine String DEFAULT 'mine'",
        f"ALTER TABLE {data} ADD INDEX my_index amount TYPE minmax GRANULARITY 1",
        f"ALTER TABLE {data} ADD CONSTRAINT my_check CHECK amount < 1000",
        f"CREATE MATERIALIZED VIEW users.stale ENGINE = MergeTree ORDER BY key AS SELECT key FROM {data}",
    )
    lab.collection("Things").insert_one({"key": "new", "amount": 5, "items": []})
    with caplog.at_level(logging.WARNING):
        sync(lab.connections)
    _assert_whole(lab)
    assert caplog.messages == []
    assert lab.clickhouse("SELECT key FROM users.stale") == [("new",)]
    with caplog.at_level(logging.WARNING):
        replicate.replicate(lab.connections)
    _assert_whole(lab)
    gone, stale = caplog.messages
    assert gone.endswith("is gone then: COLUMN mine, INDEX my_index, CONSTRAINT my_check")
    assert "go stale: users.stale" in stale
    (made,) = lab.clickhouse(f"SELECT create_table_query FROM system.tables WHERE name = 'things{DATA}'")
    assert "my_" not in made[0] and "mine" not in made[0]
    lab.change_clickhouse("SYSTEM REFRESH VIEW users.refreshed", "SYSTEM WAIT VIEW users.refreshed")
    for what in ("users.seen", "users.refreshed"):
        assert lab.clickhouse(f"SELECT count() FROM {what}") == [(21,)]
    assert lab.clickhouse("SELECT dictGet('users.looked_up', 'amount', 'new')") == [(5,)]
    assert lab.clickhouse("SELECT count() FROM users.stale") == [(1,)]
