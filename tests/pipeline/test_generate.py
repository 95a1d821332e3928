"""Made-up documents in a real MongoDB: exact numbers, and nobody else's collection is touched."""

import hashlib
from collections.abc import Iterator

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.database import Database

from contracts import DEMO
from contracts.schema.mongo import gate
from contracts.schema.registry import entities
from generators import DEFECTS
from pipeline.engines import embedded
from pipeline.errors import ServerError, UsageError
from pipeline.generate import MARKS, generate

CONTRACTS = entities()
RAW = bson.CodecOptions(document_class=RawBSONDocument)


@pytest.fixture(scope="module")
def client(starts_engines: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoClient]:
    home = tmp_path_factory.mktemp("generate")
    uris = embedded.up(home, ["mongo"])
    try:
        with MongoClient(uris.mongo) as client:
            yield client
    finally:
        embedded.down(home)


@pytest.fixture
def database(client: MongoClient) -> Iterator[Database]:
    database = client["made_up"]
    yield database
    client.drop_database("made_up")


def count_refused(database: Database, collection: str) -> int:
    return database[collection].count_documents({"$nor": [{"$jsonSchema": gate(CONTRACTS[collection])}]})


def content(database: Database) -> dict[str, str]:
    """Return a hash of all bytes of each collection, in the order of the ids."""
    return {
        name: hashlib.sha256(
            b"".join(bytes(one.raw) for one in database[name].with_options(codec_options=RAW).find().sort("_id"))
        ).hexdigest()
        for name in database.list_collection_names()
        if name in CONTRACTS
    }


def test_every_lawful_document_passes_the_gate_of_its_contract(database):
    made = generate(database, CONTRACTS, scale=0.1)
    assert made.documents == 10_000
    for one in made.collections:
        assert database[one.collection].count_documents({}) == one.documents > 0
        assert count_refused(database, one.collection) == 0
        assert one.defects == {}
    assert {one.collection for one in made.collections} == set(CONTRACTS)


def test_the_gate_refuses_exactly_the_broken_documents_that_it_can_see(database):
    made = generate(database, CONTRACTS, rows=dict.fromkeys(CONTRACTS, 600), defects=0.25)
    for one in made.collections:
        visible = sum(count for name, count in one.defects.items() if DEFECTS[name].seen_by == "gate")
        assert count_refused(database, one.collection) == visible > 0
        assert sum(one.defects.values()) == 150 == one.expected("mended") + one.expected("quarantined")
        assert database[one.collection].count_documents({}) == 600


def test_what_is_announced_can_be_written_as_json(database):
    made = generate(database, CONTRACTS, scale=0, rows={"SearchQueries": 200}, seed=4, defects=0.1)
    told = made.as_json()
    assert (told["seed"], told["documents"], list(told["collections"])) == (4, 200, ["SearchQueries"])
    searches = told["collections"]["SearchQueries"]
    assert searches["documents"] == 200
    assert sum(searches["defects"].values()) == searches["mended"] + searches["quarantined"] == 20
    assert searches["seconds"] > 0


def test_the_same_seed_fills_a_database_with_the_same_bytes(client, database):
    other = client["made_up_elsewhere"]
    try:
        generate(database, CONTRACTS, scale=0.02, seed=9, defects=0.1)
        generate(other, CONTRACTS, scale=0.02, seed=9, defects=0.1)
        first = content(database)
        assert first == content(other)
        assert len(first) == 7
        generate(other, CONTRACTS, scale=0.02, seed=10, defects=0.1)
        assert not set(first.values()) & set(content(other).values())
    finally:
        client.drop_database("made_up_elsewhere")


def test_only_what_is_asked_for_is_made_and_the_rest_left_alone(database):
    generate(database, CONTRACTS, scale=0, rows={"EventLogs": 30})
    before = content(database)
    generate(database, CONTRACTS, scale=0, rows={"UserSessions": 20, "EventLogs": 0})
    assert sorted(content(database)) == ["EventLogs", "UserSessions"]
    assert content(database)["EventLogs"] == before["EventLogs"]


def test_rows_override_the_scale(database):
    made = generate(database, CONTRACTS, scale=0.001, rows={"UserSessions": 7})
    counted = {one.collection: one.documents for one in made.collections}
    assert counted["UserSessions"] == 7
    assert counted["EventLogs"] == 40


def test_what_was_generated_is_replaced(database):
    generate(database, CONTRACTS, scale=0, rows={"EventLogs": 30})
    generate(database, CONTRACTS, scale=0, rows={"EventLogs": 10})
    assert database["EventLogs"].count_documents({}) == 10


def test_other_collections_need_leave_to_be_replaced(database):
    database["EventLogs"].insert_one({"mine": 1})
    with pytest.raises(UsageError, match=r"EventLogs.*--replace"):
        generate(database, CONTRACTS, scale=0, rows={"EventLogs": 10, "UserSessions": 10})
    assert database["EventLogs"].find_one()["mine"] == 1
    assert database.list_collection_names() == ["EventLogs"]
    generate(database, CONTRACTS, scale=0, rows={"EventLogs": 10}, replace=True)
    assert database["EventLogs"].count_documents({}) == 10
    generate(database, CONTRACTS, scale=0, rows={"EventLogs": 5})


def test_an_empty_collection_or_a_view_of_somebody_else_is_not_ours(database):
    database.create_collection("EventLogs")
    database.create_collection("UserSessions", viewOn="EventLogs", pipeline=[])
    for name in ("EventLogs", "UserSessions"):
        with pytest.raises(UsageError, match=name):
            generate(database, CONTRACTS, scale=0, rows={name: 1})


def test_a_collection_that_somebody_made_anew_is_not_ours(database):
    generate(database, CONTRACTS, scale=0, rows={"EventLogs": 10})
    database.drop_collection("EventLogs")
    database["EventLogs"].insert_one({"mine": 1})
    with pytest.raises(UsageError, match="EventLogs"):
        generate(database, CONTRACTS, scale=0, rows={"EventLogs": 10})
    assert database["EventLogs"].find_one()["mine"] == 1


def test_after_a_crash_the_collection_is_still_ours(database):
    def crash(collection: str, total: int, done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(database, CONTRACTS, scale=0, rows={"EventLogs": 20_000}, progress=crash)
    assert database["EventLogs"].count_documents({}) < 20_000
    assert generate(database, CONTRACTS, scale=0, rows={"EventLogs": 20_000}).documents == 20_000
    assert database["EventLogs"].count_documents({}) == 20_000


def test_a_crash_before_the_mark_was_complete_leaves_nothing_to_lose(database):
    database.create_collection("EventLogs")
    database[MARKS].insert_one({"_id": "EventLogs", "uuid": None})
    generate(database, CONTRACTS, scale=0, rows={"EventLogs": 10})
    database[MARKS].update_one({"_id": "EventLogs"}, {"$set": {"uuid": None}})
    with pytest.raises(UsageError, match="EventLogs"):
        generate(database, CONTRACTS, scale=0, rows={"EventLogs": 10})


def test_progress_rises_to_all_rows(database):
    told = []
    generate(database, CONTRACTS, scale=0, rows={"SearchQueries": 22_000}, progress=lambda *one: told.append(one))
    done = [one[2] for one in told]
    assert done == sorted(done)
    assert told[-1] == ("SearchQueries", 22_000, 22_000)
    assert 0 < done[-2] < 22_000


def test_an_eighth_contract_in_a_folder_is_made_too(database, tmp_path):
    (tmp_path / "warehouse_visits.py").write_text(
        "from contracts.schema.entity import Entity\n"
        "from contracts.schema.fields import identifier, money, timestamp\n"
        "ENTITY = Entity('WarehouseVisits', 'Visits.', 'visit_id',\n"
        "    (identifier('visit_id', 'Key.'), timestamp('came_at', 'When.'), money('fee', 'Fee.', minimum=0)))\n"
    )
    contracts = entities([tmp_path, DEMO])
    generate(database, contracts, scale=0.01, rows={"warehouse_visits": 300}, defects=0.1)
    assert database["WarehouseVisits"].count_documents({}) == 300
    refused = {"$nor": [{"$jsonSchema": gate(contracts["WarehouseVisits"])}]}
    assert 0 < database["WarehouseVisits"].count_documents(refused) <= 30


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"rows": {"Nonsense": 5}}, "no collection 'Nonsense'"),
        ({"rows": {"EventLogs": -1}}, "EventLogs must not be negative"),
        ({"defects": 1.5}, "share of defects"),
        ({"defects": float("nan")}, "share of defects"),
        ({"scale": -1}, "scale"),
        ({"scale": float("inf")}, "scale"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence_and_nothing_is_written(database, arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        generate(database, CONTRACTS, **arguments)
    assert database.list_collection_names() == []


def test_a_server_that_is_down_is_named_without_its_password():
    with MongoClient("mongodb://me:secret@127.0.0.1:9/", serverSelectionTimeoutMS=100) as client:
        with pytest.raises(ServerError, match=r"127\.0\.0\.1:9") as caught:
            generate(client["made_up"], CONTRACTS, scale=0.001)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("asked", [{"scale": 1e9}, {"scale": 0, "rows": {"EventLogs": 1_000_000_001}}])
def test_more_documents_than_fit_are_refused_before_they_take_memory(database, asked):
    with pytest.raises(UsageError, match="documents are too many to make: at most 1,000,000,000"):
        generate(database, CONTRACTS, **asked)
