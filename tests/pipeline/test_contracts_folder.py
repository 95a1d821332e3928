"""Contracts of a user's own, in a folder; and contracts that change between two runs."""

import json
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId

from contracts import DEMO
from contracts.schema.entity import Entity
from contracts.schema.field import Field
from contracts.schema.fields import category, documents, free_form, identifier, integer, number, text, texts
from contracts.schema.kinds import INTEGER, KEY_TEXT
from pipeline.connections import connect
from pipeline.errors import EtlError
from pipeline.replication import chunks, replicate, verify
from pipeline.runs.recovery import recover
from tests.pipeline.conftest import Etl
from tests.pipeline.lab import Lab

AT = datetime(2024, 5, 1, tzinfo=UTC)
TARGETS = ("postgres", "clickhouse")
VISITS = """
    '''Visits to warehouses.'''

    import polars as pl

    from contracts.schema.entity import Entity
    from contracts.schema.fields import boolean, category, decimal, documents, free_form, identifier, integer, number
    from contracts.schema.fields import rule, subdocument, text, texts, timestamp
    from contracts.schema.kinds import INTEGER, KEY_TEXT

    ENTITY = Entity(
        collection="WarehouseVisits",
        description="It's a visit of somebody's to a \\\\ warehouse.",
        key="visit_id",
        id_kind=KEY_TEXT,
        fields=(
            identifier("visit_id", "Business key."),
            timestamp("at", "When.", nullable=True),
            number("temperature", "Degrees.", nullable=True),
            boolean("is_open", "Whether it was open.", nullable=True),
            decimal("weight", "Tons.", 20, 6, nullable=True),
            texts("doors", "Which doors; null if nobody looked.", nullable=True),
            subdocument(
                "place",
                "Where.",
                text("city", "City."),
                documents("shelves", "Shelves.", integer("number", "Number."), text("label", "Label.", nullable=True)),
                nullable=True,
            ),
            free_form("notes", "Whatever.", nullable=True),
        ),
        indexes=("visit_id", "at"),
    )
"""


@pytest.fixture(scope="module")
def lab_of_visits(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("my contracts")
    (folder / "warehouse_visits.py").write_text(textwrap.dedent(VISITS))
    (folder / "_draft.py").write_text("raise RuntimeError('not to be imported')")
    (folder / "readme.txt").write_text("not Python")
    settings = lab.settings.model_copy(update={"contracts": (folder, DEMO)})
    with connect(settings) as connections:
        yield type(lab)(connections, settings)


def test_one_file_adds_a_collection(lab_of_visits: Any) -> None:
    lab = lab_of_visits
    assert len(lab.connections.entities) == 8
    made = lab.fill(defects=0.2, WarehouseVisits=300, UserSessions=30)
    _, accounts = replicate.replicate(lab.connections)
    quarantined = {one.collection: one.expected("quarantined") for one in made.collections}
    assert {one.collection: one.quarantined for one in accounts if one.source} == quarantined
    lab.assert_replicated()
    assert all(one.proven for one in verify.verify(lab.connections))


def test_a_folder_alone_makes_no_tables_of_the_demo(
    lab_of_visits: Any, etl: Etl, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_of_visits
    lab.collection("SupportTickets").drop()
    monkeypatch.setenv("ETL_CONTRACTS", str(lab.settings.contracts[0]))
    code, out, err = etl("replicate", "--allow-missing", "--json")
    assert code == 0, err
    assert {one["collection"] for one in json.loads(out)["books"]} == {"WarehouseVisits"}
    code, _, err = etl("marts")
    assert code == 2
    assert "there are no marts: no contract declares what they read" in " ".join(err.split())
    code, _, err = etl("marts", "user_activity")
    assert code == 2
    assert "the mart 'user_activity' can't be computed: it reads user_sessions, which no contract declares" in err


def test_keys_of_text_keep_their_order_and_every_value(lab_of_visits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of verification rely on it that MongoDB and both stores order texts by their bytes."""
    lab = lab_of_visits
    visits = lab.collection("WarehouseVisits")
    visits.drop()
    keys = ["", " ", "A", "B", "Z", "a", "b", "z", "é", "e\u0301", "ß", "ss", "\u017f", "\U0001f600", "\uffff", "10"]
    visits.insert_many({"_id": key, "visit_id": f"v{key}"} for key in keys)
    visits.insert_one({"_id": "k" * 600, "visit_id": "long"})
    visits.insert_one({"_id": "".join(chr(0x4E00 + n % 20_000) for n in range(0, 60_000, 7)), "visit_id": "too long"})
    visits.insert_one({"_id": "nul\0", "visit_id": "nul"})
    visits.insert_one({"_id": ObjectId(), "visit_id": "of another kind"})
    _, accounts = replicate.replicate(lab.connections, ["WarehouseVisits"])
    assert {(one.loaded, one.quarantined) for one in accounts} == {(len(keys) + 1, 3)}
    lab.assert_replicated(["WarehouseVisits"])
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 1)
    for one in verify.verify(lab.connections, ["WarehouseVisits"]):
        assert one.proven, one


@pytest.mark.parametrize("rows", [1, 20_000])
def test_a_collection_with_a_collation_of_its_own(
    lab_of_visits: Any, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """MongoDB orders its texts as people do, the stores by their bytes."""
    monkeypatch.setattr(chunks, "CHUNK_ROWS", rows)
    monkeypatch.setattr(replicate, "PARTITION_BYTES", 300)
    lab = lab_of_visits
    lab.collection("WarehouseVisits").drop()
    database = lab.connections.mongo.database
    visits = database.create_collection("WarehouseVisits", collation={"locale": "en", "strength": 3})
    visits.insert_many({"_id": key, "visit_id": "v"} for key in ["a", "B", "c", "D", "é", "Z", "z", "f", "10", "9"])
    replicate.replicate(lab.connections, ["WarehouseVisits"])
    for one in verify.verify(lab.connections, ["WarehouseVisits"]):
        assert one.proven, one
    visits.drop()


def test_null_missing_and_empty_are_told_apart(lab_of_visits: Any) -> None:
    lab = lab_of_visits
    visits = lab.collection("WarehouseVisits")
    visits.drop()
    shapes: dict[str, dict[str, Any]] = {
        "missing": {},
        "null": {"doors": None, "place": None, "notes": None, "temperature": None, "weight": None, "is_open": None},
        "empty": {"doors": [], "place": {"city": "", "shelves": []}, "notes": {}},
        "full": {
            "doors": ["", "b"],
            "place": {"city": "X", "shelves": [{"number": 1, "label": None}, {"number": 2}]},
            "notes": {"a": None},
            "temperature": float("nan"),
            "is_open": False,
        },
        "zero": {"temperature": -0.0},
    }
    visits.insert_many({"_id": name, "visit_id": name, **shape} for name, shape in shapes.items())
    replicate.replicate(lab.connections, ["WarehouseVisits"])
    lab.assert_replicated(["WarehouseVisits"])
    asked = "SELECT _id, doors_count, place_shelves_count FROM replica.warehouse_visits ORDER BY _id"
    wanted = [("empty", 0, 0), ("full", 2, 2), ("missing", None, None), ("null", None, None), ("zero", None, None)]
    assert lab.postgres(asked) == lab.clickhouse(asked) == wanted
    assert all(one.proven for one in verify.verify(lab.connections, ["WarehouseVisits"]))
    # ClickHouse has no null arrays: the count tells, and verification minds it.
    lab.change_clickhouse(
        "ALTER TABLE replica.warehouse_visits__data UPDATE doors_count = 0 WHERE _id = 'null' "
        "SETTINGS mutations_sync = 2"
    )
    lab.change_postgres("UPDATE replica.warehouse_visits SET temperature = 0.0 WHERE _id = 'zero'")
    postgres, clickhouse = verify.verify(lab.connections, ["WarehouseVisits"])
    assert {(one.id, one.column) for one in postgres.differences} == {("zero", "temperature")}
    assert {(one.id, one.column) for one in clickhouse.differences} == {("null", "doors_count"), ("null", "doors")}
    assert (postgres.different, clickhouse.different) == (1, 1)
    replicate.replicate(lab.connections, ["WarehouseVisits"])


def test_descriptions_with_quotes_and_backslashes_reach_the_catalogs(lab_of_visits: Any) -> None:
    lab = lab_of_visits
    told = "It's a visit of somebody's to a \\ warehouse."
    assert lab.postgres("SELECT obj_description('replica.warehouse_visits'::regclass)") == [(told,)]
    comment = "SELECT comment FROM system.tables WHERE database = 'replica' AND name = 'warehouse_visits'"
    assert lab.clickhouse(comment) == [(told,)]


def test_commands_without_the_folder_leave_its_tables_alone(
    lab: Lab, lab_of_visits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if ClickHouse was still to follow when the folder went away."""
    lab_of_visits.collection("WarehouseVisits").drop()
    lab_of_visits.collection("WarehouseVisits").insert_one({"_id": "new", "visit_id": "new"})
    with monkeypatch.context() as patched:
        patched.setattr(replicate, "recover", lambda *_: {})
        replicate.replicate(lab_of_visits.connections, ["WarehouseVisits"])
    replicate.replicate(lab.connections, ["UserSessions"])
    assert all(one.proven for one in verify.verify(lab.connections, ["UserSessions"]))
    recover(lab_of_visits.connections)
    lab_of_visits.assert_replicated(["WarehouseVisits"])
    assert lab.leftovers() == []


@pytest.mark.parametrize("rows", [1, 20_000])
def test_keys_that_are_numbers(lab: Lab, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Integers of every BSON type count; what is no 64-bit integer is quarantined."""
    monkeypatch.setattr(chunks, "CHUNK_ROWS", rows)
    monkeypatch.setattr(replicate, "PARTITION_BYTES", 300)
    items = documents("items", "Items.", integer("n", "Number."))
    numbered = Entity("Numbered", "Numbered.", "name", (identifier("name", "Name."), items), id_kind=INTEGER)
    ours = type(lab)(replace(lab.connections, entities={"Numbered": numbered}), lab.settings)
    keys = [1, 2.0, -5, Int64(2**62), 10, 9, -0.0, Int64(-(2**63)), 2.5, Decimal128("3"), float("nan"), "text"]
    ours.collection("Numbered").insert_many({"_id": key, "name": "x", "items": [{"n": 1}]} for key in keys)
    _, accounts = replicate.replicate(ours.connections)
    assert {(one.loaded, one.quarantined) for one in accounts} == {(8, 4)}
    ours.assert_replicated()
    assert all(one.proven for one in verify.verify(ours.connections))
    ours.collection("Numbered").drop()


# --- Contracts that change

NAME = text("name", "Name.")
AMOUNT = integer("amount", "Amount.")
ITEMS = documents("items", "Items.", text("what", "What."))
TAGS = texts("tags", "Tags.")


def _things(*fields: Field, **options: Any) -> Entity:
    return Entity("Things", "Things.", "thing_id", (identifier("thing_id", "Key."), *fields), **options)


@pytest.fixture
def things(lab: Lab) -> Iterator[Callable[..., Any]]:
    """Return a function that replicates some documents by a contract, into a replica that had none of them before."""
    collection = lab.collection("Things")

    def copy(entity: Entity, *changes: dict[str, Any]) -> Any:
        for change in changes:
            collection.update_many({}, change)
        ours = type(lab)(replace(lab.connections, entities={"Things": entity}), lab.settings)
        replicate.replicate(ours.connections)
        ours.assert_replicated()
        assert all(one.proven for one in verify.verify(ours.connections))
        return ours

    collection.insert_many(
        {
            "thing_id": f"t{n}",
            "name": f"name {n}",
            "amount": n,
            "tags": [str(n)],
            "items": [{"what": f"{n}.{m}"} for m in range(n % 3)],
        }
        for n in range(20)
    )
    yield copy
    collection.drop()
    lab.change_postgres("DROP SCHEMA replica CASCADE", "DELETE FROM etl.published WHERE collection = 'Things'")
    lab.change_clickhouse("DROP DATABASE replica SYNC")


def _oid(lab: Lab) -> Any:
    return lab.postgres("SELECT 'replica.things'::regclass::oid::bigint")


def test_a_new_nullable_field(things: Callable[..., Any]) -> None:
    lab = things(_things(NAME, AMOUNT, TAGS, ITEMS))
    before = _oid(lab)
    lab = things(
        _things(NAME, AMOUNT, TAGS, ITEMS, category("note", "Note.", nullable=True)), {"$set": {"note": "new"}}
    )
    assert _oid(lab) == before
    for ask in (lab.postgres, lab.clickhouse):
        assert ask("SELECT DISTINCT note FROM replica.things") == [("new",)]


def test_a_new_required_field(things: Callable[..., Any]) -> None:
    """Rows of parents and children come, change and go at the same time."""
    lab = things(_things(NAME, AMOUNT, TAGS, ITEMS))
    before = _oid(lab)
    lab.collection("Things").delete_many({"amount": {"$gt": 15}})
    lab.collection("Things").insert_one(
        {"thing_id": "x", "name": "x", "amount": 0, "tags": [], "items": [{"what": "x"}]}
    )
    items = documents("items", "Items.", text("what", "What."), integer("size", "Size."))
    lab = things(
        _things(NAME, AMOUNT, TAGS, items, free_form("about", "About.")),
        {"$set": {"about": {"a": 1}}},
        {"$set": {"items.$[].size": 1}},
    )
    assert _oid(lab) == before
    required = (
        "SELECT attrelid::regclass::text, attnotnull FROM pg_attribute WHERE attname IN ('about', 'size') "
        "AND attrelid IN ('replica.things'::regclass, 'replica.things_items'::regclass) ORDER BY 1"
    )
    assert lab.postgres(required) == [("replica.things", True), ("replica.things_items", True)]


def test_a_removed_field_is_an_undeclared_one(things: Callable[..., Any]) -> None:
    lab = things(_things(NAME, AMOUNT, TAGS, ITEMS))
    before = _oid(lab)
    lab = things(_things(NAME, TAGS, ITEMS))
    assert _oid(lab) == before
    assert lab.postgres("SELECT count(*) FROM replica.things WHERE _extra ? '/amount'") == [(20,)]


def test_a_field_of_another_type(things: Callable[..., Any]) -> None:
    things(_things(NAME, AMOUNT, TAGS, ITEMS, indexes=("amount", "name")))
    lab = things(
        _things(NAME, number("amount", "Amount, by weight."), TAGS, ITEMS, indexes=("amount", "name")),
        {"$set": {"amount": 1.5}},
    )
    for ask in (lab.postgres, lab.clickhouse):
        assert ask("SELECT DISTINCT amount FROM replica.things") == [(1.5,)]
    described = "SELECT col_description('replica.things'::regclass, attnum) FROM pg_attribute WHERE attname = 'amount'"
    assert ("Amount, by weight.",) in lab.postgres(described)


def _indexed(lab: Lab) -> set[str]:
    found = lab.postgres(
        "SELECT attname::text FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] "
        "WHERE indrelid = 'replica.things'::regclass AND NOT indisprimary"
    )
    assert len(found) == len(set(found))
    return {name for (name,) in found}


def test_indexes_follow_the_contract(things: Callable[..., Any]) -> None:
    lab = things(_things(NAME, AMOUNT, TAGS, ITEMS, indexes=("amount",)))
    assert _indexed(lab) == {"amount"}
    lab = things(
        _things(NAME, number("amount", "Amount."), TAGS, ITEMS, indexes=("amount", "name")),
        {"$set": {"amount": 1.5}},
    )
    assert _indexed(lab) == {"amount", "name"}
    things(_things(NAME, number("amount", "Amount."), TAGS, ITEMS, indexes=("amount", "name")))
    assert _indexed(lab) == {"amount", "name"}


def test_nullable_becomes_required_and_back(things: Callable[..., Any]) -> None:
    nullable = _things(text("name", "Name.", nullable=True), AMOUNT, TAGS, ITEMS)
    lab = things(nullable, {"$set": {"name": None}})
    lab = things(_things(NAME, AMOUNT, TAGS, ITEMS), {"$set": {"name": ""}})
    lab = things(nullable, {"$set": {"name": None}})
    for ask in (lab.postgres, lab.clickhouse):
        assert ask("SELECT count(*) FROM replica.things WHERE name IS NULL") == [(20,)]


def test_a_new_array_of_documents(things: Callable[..., Any]) -> None:
    lab = things(_things(NAME, AMOUNT, TAGS, ITEMS))
    lab.collection("Things").delete_many({"amount": 2})
    parts = documents("parts", "Parts.", integer("n", "Number."))
    lab = things(_things(NAME, AMOUNT, TAGS, ITEMS, parts), {"$set": {"parts": [{"n": 1}, {"n": 2}]}})
    for ask in (lab.postgres, lab.clickhouse):
        assert ask("SELECT count(*) FROM replica.things_parts") == [(38,)]
    references = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = '{}'::regclass"
    assert lab.postgres(references.format("replica.things_parts")) == [(1,)]


def test_a_removed_array_of_documents(things: Callable[..., Any]) -> None:
    """What its table held can't be kept up with, so it must neither go stale nor hold up the parent's rows."""
    lab = things(_things(NAME, AMOUNT, TAGS, ITEMS))
    lab = things(_things(NAME, AMOUNT, TAGS), {"$unset": {"items": 1}})
    lab.collection("Things").delete_many({"amount": {"$gt": 5}})
    lab = things(_things(NAME, AMOUNT, TAGS))
    assert lab.postgres("SELECT to_regclass('replica.things_items') IS NULL") == [(True,)]
    assert lab.clickhouse("EXISTS TABLE replica.things_items") == [(0,)]
    lab = things(_things(NAME, AMOUNT, TAGS, ITEMS), {"$set": {"items": [{"what": "again"}]}})
    assert lab.postgres("SELECT DISTINCT what FROM replica.things_items") == [("again",)]


def test_views_on_other_columns_survive(things: Callable[..., Any]) -> None:
    lab = things(_things(NAME, AMOUNT, TAGS, ITEMS))
    lab.change_postgres("CREATE VIEW public.names AS SELECT name FROM replica.things")
    lab.change_clickhouse("CREATE VIEW default.names AS SELECT name FROM replica.things")
    lab = things(_things(NAME, TAGS, ITEMS), {"$set": {"name": "through a view"}})
    for ask, where in ((lab.postgres, "public"), (lab.clickhouse, "default")):
        assert ask(f"SELECT DISTINCT name FROM {where}.names") == [("through a view",)]
    lab.change_clickhouse("DROP VIEW default.names")
    lab.change_postgres("DROP VIEW public.names")


def test_a_view_on_a_removed_column_is_named_and_nothing_is_published(things: Callable[..., Any]) -> None:
    lab = things(_things(NAME, AMOUNT, TAGS, ITEMS))
    lab.change_postgres("CREATE VIEW public.amounts AS SELECT amount FROM replica.things")
    before = lab.everything()
    lab.collection("Things").update_many({}, {"$set": {"name": "new"}})
    with pytest.raises(EtlError, match=r"amount") as error:
        things(_things(NAME, TAGS, ITEMS))
    assert "\n" not in str(error.value)
    after = lab.everything()
    assert all(frame.equals(before[name], null_equal=True) for name, frame in after.items())
    assert lab.leftovers() == []
    lab.change_postgres("DROP VIEW public.amounts")
    things(_things(NAME, TAGS, ITEMS))


def test_another_kind_of_id_is_refused_in_one_sentence(things: Callable[..., Any]) -> None:
    lab = things(_things(NAME, AMOUNT, TAGS, ITEMS))
    lab.collection("Things").drop()
    lab.collection("Things").insert_one(
        {"_id": "text", "thing_id": "x", "name": "x", "amount": 1, "tags": [], "items": [{"what": "x"}]}
    )
    lab = things(_things(NAME, AMOUNT, TAGS, ITEMS, id_kind=KEY_TEXT))
    assert lab.postgres("SELECT _id FROM replica.things_items") == [("text",)]


def test_a_name_with_an_underscore_in_front(things: Callable[..., Any]) -> None:
    """Such a child's name begins as the names of the parent's own tables do."""
    inner = documents("_0", "Items.", text("what", "What."))
    data = documents("_more", "More.", text("what", "What."))
    lab = things(
        _things(NAME, AMOUNT, TAGS, ITEMS, inner, data),
        {"$set": {"_0": [{"what": "a"}], "_more": [{"what": "b"}, {"what": "c"}]}},
    )
    for ask in (lab.postgres, lab.clickhouse):
        assert ask("SELECT count(*) FROM replica.things__0") == [(20,)]
        assert ask("SELECT count(*) FROM replica.things__more") == [(40,)]
