"""What is published is counted in the store: what users' triggers, rules and policies do to rows is never published."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from pydantic import SecretStr

from contracts.schema.entity import Entity
from contracts.schema.fields import documents, identifier, integer, text
from pipeline import control
from pipeline.errors import DataError
from pipeline.marts import build as marts
from pipeline.replication import repair, replicate
from pipeline.replication.sync import sync
from pipeline.replication.verify import verify
from pipeline.stores.postgres.publication import Publication
from tests.pipeline.lab import Lab

ITEMS = documents("items", "Items.", text("what", "What.", nullable=True))
THINGS = Entity("Things", "Things.", "key", (identifier("key", "Key."), integer("amount", "Amount."), ITEMS))
FUNCTION = "CREATE OR REPLACE FUNCTION public.mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} END $$"
TRIGGER = "CREATE TRIGGER meddler {} ON replica.{} FOR EACH {} EXECUTE FUNCTION public.mine()"
MEDDLERS = {
    "drops what is added": ("RETURN NULL;", "BEFORE INSERT", "things", "ROW"),
    "drops what is changed": ("RETURN NULL;", "BEFORE UPDATE", "things", "ROW"),
    "keeps what is deleted": ("RETURN NULL;", "BEFORE DELETE", "things", "ROW"),
    "bends what is changed": ("NEW.amount := NEW.amount + 1; RETURN NEW;", "BEFORE INSERT OR UPDATE", "things", "ROW"),
    "gives another key": ("NEW._id := '7'; NEW.key := '7'; RETURN NEW;", "BEFORE INSERT", "things", "ROW"),
    "drops items": ("RETURN NULL;", "BEFORE INSERT", "things_items", "ROW"),
    "bends afterwards": (
        "UPDATE replica.things_items SET what = 'z' WHERE what = 'y'; RETURN NULL;",
        *("AFTER INSERT", "things_items", "STATEMENT"),
    ),
    "bends other tables": ("UPDATE replica.things SET amount = 5; RETURN NULL;", "AFTER INSERT", "things_items", "ROW"),
}


@pytest.fixture(scope="module")
def published(lab: Lab) -> Any:
    """Return a lab of Things that are published in both stores, and have changed since."""
    things = type(lab)(replace(lab.connections, entities={"Things": THINGS}), lab.settings)
    lab.collection("Things").insert_many({"key": f"{n}", "amount": n, "items": [{"what": "x"}]} for n in range(20))
    replicate.replicate(things.connections)
    _change(things)
    return things


@pytest.fixture
def things(published: Any) -> Iterator[Any]:
    """Return that lab, and take away what a test has put on it."""
    yield published
    published.change_postgres("DROP FUNCTION IF EXISTS public.mine CASCADE")


def _change(things: Any) -> None:
    """Add, change and delete a document."""
    collection = things.collection("Things")
    collection.delete_one(collection.find_one({"key": {"$nin": ["2", "new"]}}))
    collection.replace_one({"key": "new"}, {"key": "new", "amount": 1, "items": [{"what": "y"}]}, upsert=True)
    collection.update_one({"key": "2"}, {"$inc": {"amount": 100}})


def _shown(lab: Lab) -> list[Any]:
    """Return what is published; what the books know of its tables they may learn meanwhile."""
    return [replace(one, held={}) for one in control.publications(lab.connections.postgres)]


def _assert_refused(lab: Lab, command: Callable[..., Any], match: str) -> None:
    """Assert that a command publishes nothing and says why."""
    before, shown = lab.everything(), _shown(lab)
    with pytest.raises(DataError, match=match):
        command(lab.connections)
    after = lab.everything()
    assert all(after[name].equals(frame) for name, frame in before.items())
    assert _shown(lab) == shown
    assert lab.leftovers() == []


@pytest.mark.parametrize("meddler", MEDDLERS)
def test_a_trigger_that_drops_or_bends_rows_is_named_and_nothing_is_published(things: Any, meddler: str) -> None:
    body, moment, table, each = MEDDLERS[meddler]
    things.change_postgres(FUNCTION.format(body), TRIGGER.format(moment, table, each))
    said = r"in PostgreSQL did not become .* the trigger meddler on replica\." + table
    _assert_refused(things, sync, said)
    if table == "things_items":
        _assert_refused(things, replicate.replicate, said)


def test_a_trigger_that_waits_for_the_end_of_the_transaction_is_not_waited_for(things: Any) -> None:
    body = "DELETE FROM replica.things WHERE key = NEW.key; RETURN NULL;"
    trigger = TRIGGER.format("AFTER INSERT", "things_items", "ROW").replace("TRIGGER", "CONSTRAINT TRIGGER", 1)
    body = body.replace("things WHERE key = NEW.key", "things_items WHERE _id = NEW._id")
    trigger = trigger.replace("FOR EACH", "DEFERRABLE INITIALLY DEFERRED FOR EACH")
    things.change_postgres(FUNCTION.format(body), trigger)
    _assert_refused(things, sync, r"things_items .* lacks 1 .* the trigger meddler on replica\.things_items")


def test_a_trigger_on_a_table_that_inherits_counts_too(things: Any) -> None:
    things.change_postgres(
        "CREATE TABLE replica.part () INHERITS (replica.things_items)",
        "WITH old AS (DELETE FROM ONLY replica.things_items RETURNING *) INSERT INTO replica.part SELECT * FROM old",
        FUNCTION.format("RETURN NULL;"),
        TRIGGER.format("BEFORE DELETE", "part", "ROW"),
    )
    _assert_refused(things, sync, r"1 others did not go \(such as _id \w+\).* meddler on replica\.part")
    things.change_postgres(
        "ALTER TABLE replica.part NO INHERIT replica.things_items",
        "INSERT INTO replica.things_items SELECT * FROM replica.part",
        "DROP TABLE replica.part",
    )


def test_a_rule_is_named_before_the_work(things: Any) -> None:
    things.change_postgres("CREATE RULE my_rule AS ON DELETE TO replica.things DO INSTEAD NOTHING")
    for command in (sync, replicate.replicate):
        _assert_refused(things, command, r"the rule my_rule on replica\.things .*DROP RULE")
    things.change_postgres("DROP RULE my_rule ON replica.things")


def test_what_others_write_meanwhile_is_counted_without_a_trigger(things: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Publication._prove

    def somebody_deletes(*given: Any) -> None:
        things.connections.postgres.execute("DELETE FROM replica.things_items WHERE what = 'y'")
        before(*given)

    monkeypatch.setattr(Publication, "_prove", somebody_deletes)
    _assert_refused(things, sync, r"things_items .* of \d+ rows it lacks 1 .* somebody else wrote to it meanwhile")


def test_row_level_security_that_hides_rows_from_us_is_named(things: Any) -> None:
    role = things.settings.mongo_database[-40:]
    things.change_postgres(
        f"CREATE ROLE {role} LOGIN PASSWORD 'x'",
        *(f"GRANT ALL ON SCHEMA {name} TO {role}" for name in ("replica", "etl")),
        *(f"GRANT ALL ON ALL TABLES IN SCHEMA {name} TO {role}" for name in ("replica", "etl")),
        f"DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {role}', current_database()); END $$",
        f"ALTER TABLE replica.things OWNER TO {role}",
        f"ALTER TABLE replica.things_items OWNER TO {role}",
        "CREATE POLICY my_policy ON replica.things USING (amount < 10)",
        "ALTER TABLE replica.things ENABLE ROW LEVEL SECURITY",
    )
    parts = urlsplit(things.settings.postgres_uri.get_secret_value())
    _, _, host = parts.netloc.rpartition("@")
    uri = SecretStr(urlunsplit(parts._replace(netloc=f"{role}:x@{host}")))
    with things.another(postgres_uri=uri) as connections:
        connections = replace(connections, entities={"Things": THINGS})
        sync(connections)  # an owner sees all rows, as long as nobody says otherwise
        things.collection("Things").update_many({}, {"$set": {"amount": 11}})
        things.change_postgres("ALTER TABLE replica.things FORCE ROW LEVEL SECURITY")
        with pytest.raises(DataError, match=r"row-level security hides rows of replica\.things .*policies: my_policy"):
            sync(connections)
    things.change_postgres("ALTER TABLE replica.things NO FORCE ROW LEVEL SECURITY")


def test_what_was_in_the_way_is_disabled_and_the_next_command_goes_well(things: Any) -> None:
    _change(things)
    things.change_postgres(FUNCTION.format("RETURN NULL;"), TRIGGER.format("BEFORE UPDATE", "things", "ROW"))
    _assert_refused(things, sync, "DISABLE TRIGGER")
    things.change_postgres("ALTER TABLE replica.things DISABLE TRIGGER meddler")
    sync(things.connections)
    things.assert_replicated()
    assert all(one.proven for one in verify(things.connections))


def test_a_repair_is_counted_as_well(things: Any) -> None:
    sync(things.connections)
    things.change_postgres(
        "UPDATE replica.things SET amount = 9 WHERE key = '5'",
        FUNCTION.format("NEW.amount := 9; RETURN NEW;"),
        TRIGGER.format("BEFORE UPDATE", "things", "ROW"),
    )
    found = verify(things.connections)
    with pytest.raises(DataError, match=r"has 1 otherwise.*\(such as _id .*meddler on replica\.things"):
        repair.repair(things.connections, found)


def test_marts_are_counted_as_well(lab: Lab) -> None:
    lab.fill(SupportTickets=30)
    replicate.replicate(lab.connections, ["SupportTickets"])
    marts.build(lab.connections, ["ticket_resolution"])
    lab.change_postgres(
        "UPDATE marts.ticket_resolution SET status = 'none'",
        FUNCTION.format("RETURN NULL;"),
        TRIGGER.format("BEFORE UPDATE", "ticket_resolution", "ROW").replace("replica.", "marts."),
    )
    with pytest.raises(DataError, match=r"marts\.ticket_resolution .* the trigger meddler on marts"):
        marts.build(lab.connections, ["ticket_resolution"], full=True)
    lab.change_postgres("DROP TRIGGER meddler ON marts.ticket_resolution")
    marts.build(lab.connections, ["ticket_resolution"], full=True)
    assert lab.postgres("SELECT FROM marts.ticket_resolution WHERE status = 'none'") == []
    assert lab.leftovers() == []
