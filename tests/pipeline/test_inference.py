"""Strangers' collections: their contracts are found, they are copied under them, and the copy is proven."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp
from bson.raw_bson import RawBSONDocument

from contracts import DEMO
from contracts.schema.registry import entities
from pipeline.errors import UsageError
from pipeline.inference.infer import infer
from tests.pipeline.conftest import Etl
from tests.pipeline.lab import Lab

AT = datetime(2024, 5, 1, tzinfo=UTC)
_DEEP: Any = {}
for _ in range(90):
    _DEEP = {"a": _DEEP}
EVERY: dict[str, Any] = {
    "null": None,
    "truth": True,
    "int": 1,
    "long": Int64(2**60),
    "integral": 2.0,
    "double": 1.5,
    "nan": float("nan"),
    "text": "x",
    "binary": Binary(b"a"),
    "uuid": Binary(b"a" * 16, 4),
    "document": {"a": 1},
    "empty document": {},
    "array": [1],
    "empty array": [],
    "oid": ObjectId(),
    "date": AT,
    "far": DatetimeMS(-(2**62)),
    "decimal": Decimal128("1.50"),
    "regex": Regex("a", "i"),
    "code": Code("f", {"x": 1}),
    "stamp": Timestamp(1, 1),
    "max": MaxKey(),
    "odd.name": 1,
    "deep": _DEEP,
}
_TWICE = bson.encode({"_id": 1, "a": 1, "b": 2}).replace(b"b\0", b"a\0")
COLLECTIONS: dict[str, list[Any]] = {
    "Guests": [
        {"_id": number, "name": f"n{number}", "scores": [{"of": "exam", "points": 1.5}]} for number in range(50)
    ],
    "half-way": [{"_id": f"{number}", "v": number if number < 5 else f"{number}"} for number in range(10)],
    "Everywhere": [
        {**EVERY, "in": EVERY, "items": [EVERY], "alone": [[one] for one in EVERY.values()]},
        *({f"a {name}": [value], f"d {name}": [{"v": value}, {}]} for name, value in EVERY.items()),
    ],
    "ids": [
        {"_id": one} for one in (1, "1", AT, {"b": 1, "a": "x"}, ObjectId(), Binary(bytes(16), 4), None, float("nan"))
    ],
    "orders": [
        {"lines": [{"sku": "a", "discounts": [{"percent": 5, "codes": [{"c": "x"}, {}]}, {}]}, {"sku": "b"}]},
        {"lines": [{"sku": "a", "discounts": []}, {"discounts": None}]},
    ],
    "uuids": [{"_id": Binary(bytes([number] * 16), 4), "n": number} for number in range(9)],
    "Гости": [{"имя": "x", "заказы": [{"цена": Decimal128("1.50")}]}, {"имя": None}],
    "客人": [{"名称": "x"}],
    "files.of": [{"_id": AT, "length": Int64(5), "a": {"b": 1}, "a_b": 2}],
    "wide": [{f"k{number}": number for number in range(10_000)}, {"k1": "text"}],
    "a map": [{f"k{number}": number, f"l{number}": "x"} for number in range(30)],
    "broken": [RawBSONDocument(_TWICE), {"_id": 2, "a": 1}, {"_id": 3, "a": 2}],
}


@pytest.fixture
def strangers(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, documents in COLLECTIONS.items():
        lab.collection(name).drop()
        lab.collection(name).insert_many(documents)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "my contracts"


def test_strangers_are_copied_and_proven_under_contracts_that_were_found(
    lab: Lab, etl: Etl, strangers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = etl("contract", "infer", *COLLECTIONS, "-o", strangers.name, "--json")
    assert code == 0
    found = {one["collection"]: one for one in json.loads(out)["contracts"]}
    assert found.keys() == COLLECTIONS.keys()
    assert {name: one["documents"] for name, one in found.items()} == {name: len(n) for name, n in COLLECTIONS.items()}
    refused = {name: one["refused"] for name, one in found.items() if one["refused"]}
    assert refused == {"broken": 1}
    assert found["broken"]["unreadable"] == 1
    assert found["broken"]["reasons"][0]["rule"] == "duplicate field names"
    monkeypatch.setenv("ETL_CONTRACTS", str(strangers))
    code, out, err = etl("replicate", *COLLECTIONS, "--json")
    assert code == 0, err
    assert {one["collection"]: one["quarantined"] for one in json.loads(out)["books"] if one["quarantined"]} == refused
    code, out, err = etl("verify", *COLLECTIONS, "--json")
    assert code == 0, err
    assert json.loads(out)["proven"]
    # Made-up documents satisfy such contracts as well.
    rows = [f"--rows={name}=20" for name in COLLECTIONS]
    code, out, err = etl("generate", "--scale", "0", *rows, "--replace", "--json")
    assert code == 0, err
    code, out, err = etl("replicate", *COLLECTIONS, "--json", "--allow-shrink")
    assert code == 0, err
    assert {(one["loaded"], one["quarantined"]) for one in json.loads(out)["books"]} == {(20, 0)}
    assert etl("verify", *COLLECTIONS)[0] == 0


def test_what_is_no_plain_collection_is_named(lab: Lab, strangers: Path) -> None:
    database = lab.connections.mongo.database
    names = ("Capped", "Empty", "Unreadable")
    for name in names:
        database.drop_collection(name)
    database.create_collection("Capped", capped=True, size=4096)
    database.create_collection("Empty")
    database["Unreadable"].insert_one(RawBSONDocument(_TWICE))
    lab.fill(SearchQueries=5)
    found = infer(
        lab.connections.mongo, strangers, [*names, "SearchQueries"], declared_in=[DEMO, strangers / "missing"]
    )
    assert found.contracts == ()
    assert found.left_out == {
        "Capped": "it is empty, so there is nothing to infer from",
        "Empty": "it is empty, so there is nothing to infer from",
        "SearchQueries": "a contract declares it already",
        "Unreadable": "none of its documents can be decoded without loss",
    }
    with pytest.raises(UsageError, match="there is no collection 'Nowhere'"):
        infer(lab.connections.mongo, strangers, ["Nowhere"])
    for name in names:
        database.drop_collection(name)


def test_what_can_have_no_contract_concerns_no_other_collection(lab: Lab, strangers: Path) -> None:
    """A view whose pipeline fails, one without ``_id``, and one that has some of them twice."""
    database = lab.connections.mongo.database
    views = {
        "Rotten": [{"$set": {"name": {"$toInt": "$name"}}}],
        "Nameless": [{"$project": {"_id": 0}}],
        "Unwound": [{"$set": {"of": [1, 2]}}, {"$unwind": "$of"}],
    }
    for name, pipeline in views.items():
        database.drop_collection(name)
        database.create_collection(name, viewOn="Guests", pipeline=pipeline)
    found = infer(lab.connections.mongo, strangers, [*views, "Guests"])
    assert [one.collection for one in found.contracts] == ["Guests"]
    assert [path.name for path in strangers.glob("*.py")] == ["guests.py"]
    assert "Failed to parse number" in found.left_out["Rotten"]
    assert found.left_out["Nameless"] == "its documents have no _id, by which their rows could be told apart"
    assert found.left_out["Unwound"].startswith("50 of its _ids stand more than once, such as ")
    for name in views:
        database.drop_collection(name)


def test_a_collection_of_another_database_replaces_no_contract(lab: Lab, etl: Etl, strangers: Path) -> None:
    """Whose own collection is called alike, and whose tables are."""
    client = lab.connections.mongo.client
    client["ti_crm"]["guests"].insert_one({"_id": 1, "of": "crm"})
    client["ti_crm"]["guests_scores"].insert_one({"_id": 1})
    assert etl("contract", "infer", "Guests", "-o", str(strangers))[0] == 0
    mine = (strangers / "guests.py").read_text()
    code, _, err = etl("contract", "infer", "--database", "ti_crm", "-o", str(strangers))
    assert code == 0, err
    assert (strangers / "guests.py").read_text() == mine
    assert {path.name for path in strangers.glob("*.py")} == {"guests.py", "guests_2.py", "guests_scores_2.py"}
    assert len(entities([strangers])) == 3
    client.drop_database("ti_crm")


def test_what_is_pasted_has_names_that_are_seen_and_are_no_options(
    lab: Lab, etl: Etl, strangers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("--allow-missing", "seen\x1b[2J"):
        lab.collection(name).insert_one({"_id": 1})
    code, out, _ = etl("contract", "infer", "--json", "-o", str(strangers), "--", "--allow-missing", "Guests")
    assert (code, json.loads(out)["next"].endswith("; etl replicate -- --allow-missing Guests")) == (0, True)
    code, out, _ = etl("contract", "infer", "-o", str(strangers), "seen\x1b[2J")
    assert (code, "\x1b" in out) == (0, False)
    assert out.rstrip().endswith("; etl replicate")
    monkeypatch.setenv("ETL_CONTRACTS", str(strangers))
    code, _, err = etl("replicate", "--", "--allow-missing", "Guests")
    assert code == 0, err
    for name in ("--allow-missing", "seen\x1b[2J"):
        lab.collection(name).drop()


def test_a_database_without_collections_is_told(etl: Etl, tmp_path: Path, lab: Lab) -> None:
    lab.collection("Guests").insert_one({})
    code, _, err = etl("contract", "infer", "--database", "nowhere", "-o", str(tmp_path / "none"))
    assert code == 2
    assert "the MongoDB database 'nowhere' has no collections: name another one by --database; there are " in err
    assert lab.connections.mongo.database.name in err
    assert not (tmp_path / "none").exists()


def test_a_contract_that_is_there_is_kept_unless_one_replaces_it(etl: Etl, strangers: Path) -> None:
    named = ("contract", "infer", "Guests", "-o", str(strangers))
    code, out, _ = etl(*named, "files.of")
    assert code == 0
    assert "export ETL_CONTRACTS=" in out
    path = strangers / "guests.py"
    mine = path.read_text().replace("Not described yet.", "Mine.")
    path.write_text(mine)
    code, out, _ = etl(*named)
    assert "has their contracts already: Guests;" in " ".join(out.split())
    assert path.read_text() == mine
    code, out, _ = etl(*named, "--replace", "--strict")
    assert code == 0
    assert "Mine." not in path.read_text()
    assert "nullable" not in path.read_text()
    assert sorted(one.name for one in strangers.glob("*.py")) == ["files_of.py", "guests.py"]
