"""Collections that no contract declares are copied whole, proven, followed, repaired, declared later on and dropped."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Binary, Int64, ObjectId
from bson.raw_bson import RawBSONDocument

from pipeline.airflow import replicate as tasks
from tests.pipeline.conftest import Etl
from tests.pipeline.lab import Lab

AT = datetime(2024, 5, 1, tzinfo=UTC)
ANY: dict[str, Any] = {"a": 1, "deep": {"b": [1, "x", None, {"c": Int64(2**60)}]}, "at": AT, "$z": float("nan")}
COLLECTIONS: dict[str, tuple[str, list[Any]]] = {
    "Visitors": ("ObjectId", [ObjectId() for _ in range(20)]),
    "by-name": ("text key", ["a", "B", "", "é"]),
    "Числа": ("integer", [1, Int64(2**60), -5]),
    "fractions": ("any", [1, 2.5]),
    "moments": ("timestamp", [AT]),
    "of any kind": ("any", [1, "1", ObjectId(), {"a": 1}, Binary(b"x" * 16, 4), None]),
    "empty": ("any", []),
}


@pytest.fixture
def strangers(lab: Lab, tmp_path: Path, etl: Etl, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("ETL_CONTRACTS", str(tmp_path))
    for name, (_, ids) in COLLECTIONS.items():
        lab.collection(name).drop()
        lab.connections.mongo.database.create_collection(name)
        if ids:
            lab.collection(name).insert_many({"_id": one, **ANY, "number": place} for place, one in enumerate(ids))
    yield lab
    for name in COLLECTIONS:
        lab.collection(name).drop()
        etl("drop", name, "--yes")


def _proven(etl: Etl) -> None:
    code, out, err = etl("verify", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["proven"]
    assert {one["collection"] for one in found["comparisons"]} == set(COLLECTIONS)


def test_they_are_copied_whole_proven_followed_and_repaired(strangers: Lab, etl: Etl) -> None:
    code, out, err = etl("replicate", "--undeclared", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert {one["quarantined"] for one in found["books"]} == {0}
    assert found["undeclared_collections"] == []
    kinds = dict(strangers.postgres("SELECT collection, id_kind FROM etl.undeclared"))
    assert {name: kinds[name].partition(" of")[0].removesuffix(" id") for name in kinds} == {
        name: kind for name, (kind, _) in COLLECTIONS.items()
    }
    for ask in (strangers.postgres, strangers.clickhouse):
        ((document,),) = (
            ask("SELECT CAST(document AS text) FROM replica.moments")
            if ask == strangers.postgres
            else ask("SELECT document FROM replica.moments")
        )
        assert json.loads(document)["deep"] == {"b": [1, "x", None, {"c": 2**60}]}
    _proven(etl)
    strangers.collection("Visitors").update_many({"number": {"$lt": 5}}, {"$set": {"new": [1]}})
    strangers.collection("of any kind").delete_one({"_id": "1"})
    strangers.collection("empty").insert_one({"a": 1})
    code, out, err = etl("sync", "--json")
    assert code == 0, err
    _proven(etl)
    strangers.change_postgres("UPDATE replica.visitors SET document = '{}' WHERE document @> '{\"number\": 7}'")
    assert etl("verify", "Visitors")[0] == 1
    assert etl("verify", "Visitors", "--repair")[0] == 0
    assert etl("replicate")[0] == 0, "they are known by now"
    assert etl("status")[0] == 0


def test_what_can_not_be_read_is_in_quarantine(strangers: Lab, etl: Etl) -> None:
    twice = bson.encode({"_id": 1, "a": 1, "b": 2}).replace(b"b\0", b"a\0")
    strangers.collection("Числа").drop()
    strangers.collection("Числа").insert_many([RawBSONDocument(twice), *({"_id": one} for one in range(2, 12))])
    code, out, err = etl("replicate", "Числа", "--undeclared", "--json")
    assert code == 0, err
    assert {(one["loaded"], one["quarantined"]) for one in json.loads(out)["books"]} == {(10, 1)}
    assert etl("verify", "Числа")[0] == 0
    strangers.collection("Числа").insert_one({"_id": "text"})
    code, out, _ = etl("replicate", "Числа", "--undeclared", "--json")
    assert {(one["loaded"], one["quarantined"]) for one in json.loads(out)["books"]} == {(10, 2)}
    assert etl("drop", "Числа", "--yes")[0] == 0
    assert etl("replicate", "Числа", "--undeclared")[0] == 0
    assert etl("verify", "Числа")[0] == 0
    assert strangers.postgres('SELECT count(*) FROM replica."числа"') == [(11,)]


def test_a_contract_that_comes_later_takes_their_place(strangers: Lab, etl: Etl, tmp_path: Path) -> None:
    assert etl("replicate", "Visitors", "--undeclared")[0] == 0
    assert etl("contract", "infer", "Visitors", "-o", str(tmp_path))[0] == 0
    assert etl("replicate", "Visitors")[0] == 0
    assert etl("verify", "Visitors")[0] == 0
    assert strangers.postgres("SELECT sum(number)::bigint FROM replica.visitors") == [(190,)]
    assert etl("drop", "Visitors", "--yes")[0] == 0
    assert strangers.postgres("SELECT count(*) FROM etl.undeclared") == [(0,)]


def test_without_the_option_they_are_named_with_both_ways_out(strangers: Lab, etl: Etl) -> None:
    for arguments in (("replicate",), ("replicate", "Visitors")):
        code, _, err = etl(*arguments)
        said = " ".join(err.split())
        assert code == 2
        assert "Visitors" in said and "etl contract infer" in said and "--undeclared" in said
    code, _, err = etl("replicate", "Nowhere", "--undeclared")
    assert (code, "there is no collection 'Nowhere'" in err) == (2, True)


def test_a_task_of_airflow_takes_them_as_well(strangers: Lab, etl: Etl, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in strangers.settings:
        if name.endswith("_uri"):
            monkeypatch.setenv(f"ETL_{name.upper()}", value.get_secret_value())
    run = tasks.open_run(["Visitors"], ["postgres"], undeclared=True)
    for partition in tasks.plan(run):
        tasks.load(run, partition)
    tasks.prove(run, None)
    assert set(tasks.publish(run, None)) == {"visitors"}
