"""Contracts are held against documents before anything is published: what would be refused, what has changed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.conftest import Etl
from tests.pipeline.lab import Lab

CONTRACT = """
from contracts.schema.entity import Entity
from contracts.schema.fields import category, documents, integer, subdocument, text

ENTITY = Entity(
    collection="Orders",
    description="One order.",
    fields=(
        category("status", "State of the order.", "open", "shipped"),
        integer("quantity", "How many.", minimum=1),
        text("gone", "What no order has.", nullable=True),
        subdocument("place", "Where.", text("city", "City."), text("street", "Street.", min_length=1)),
        documents("lines", "Positions.", integer("n", "How many of it.", minimum=0)),
    ),
)
"""


def _order(**changes: Any) -> dict[str, Any]:
    place = {"city": "Bern", "street": "S"}
    return {"status": "open", "quantity": 1, "gone": "x", "place": place, "lines": [{"n": 1}], **changes}


@pytest.fixture
def orders(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "orders.py").write_text(CONTRACT)
    monkeypatch.setenv("ETL_CONTRACTS", str(tmp_path))
    collection = lab.collection("Orders")
    collection.drop()
    collection.insert_many({**_order(), "_id": number} for number in range(100, 120))
    yield collection
    collection.drop()


@pytest.mark.parametrize("command", ["check", "diff"])
def test_where_nothing_is_declared_nothing_is_said_to_be_well(
    etl: Etl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("ETL_CONTRACTS", str(tmp_path))
    code, _, err = etl("contract", command)
    assert (code, "no contract is declared" in err) == (2, True)


def test_what_would_be_refused_is_counted_by_rule_and_named(etl: Etl, orders: Any, lab: Lab) -> None:
    contract = ("contract", "check", "orders", "--json")
    assert etl(*contract)[0] == 1, "these _ids are no ObjectIds"
    orders.drop()
    orders.insert_many(_order() for _ in range(20))
    assert etl(*contract)[0] == 0
    ids = orders.insert_many([_order(quantity=0), _order(quantity=-1), _order(lines=[{"n": "many"}]), _order(new=1)])
    code, out, err = etl(*contract)
    assert code == 1
    assert "3 documents would be refused" in err
    (found,) = json.loads(out)["collections"]
    assert (found["documents"], found["refused"], found["slow"]) == (24, 3, 2)
    reasons = {one["rule"]: one for one in found["reasons"]}
    assert reasons["quantity_at_least"]["documents"] == 2
    assert reasons["quantity_at_least"]["path"] == "/quantity"
    assert {str(one) for one in ids.inserted_ids[:2]} == {
        json.loads(one)["$oid"] for one in reasons["quantity_at_least"]["ids"]
    }
    assert [one["path"] for one in found["drift"]] == ["/new"]
    assert lab.postgres("SELECT to_regclass('replica.orders') IS NULL") == [(True,)]
    _, out, _ = etl("contract", "check")
    assert "quantity_at_least" in out


@pytest.mark.parametrize("command", ["check", "diff"])
def test_a_collection_that_is_not_there_is_one_sentence(etl: Etl, orders: Any, command: str) -> None:
    for named, told in (("Nowhere", "no contract of 'Nowhere'; there are Orders"), ("Orders", "Orders is not in")):
        orders.drop()
        code, _, err = etl("contract", command, named)
        assert code == 2
        assert told in err


def test_what_has_changed_is_told_with_the_lines_that_have_to_change(etl: Etl, orders: Any) -> None:
    orders.drop()
    orders.insert_many(_order() for _ in range(20))
    code, out, _ = etl("contract", "diff")
    assert code == 0
    assert "Nothing has changed against the contracts of Orders" in " ".join(out.split())
    orders.update_many({}, {"$unset": {"gone": 1}})
    odd = [
        _order(quantity=1.5, coupon={"code": "A"}),
        _order(status="lost", place={"city": "Bern"}),
        _order(lines=[{"n": 1, "price": 2.5}]),
    ]
    orders.update_one({}, {"$set": {"quantity": 2}})
    ids = [str(one) for one in orders.insert_many(odd).inserted_ids]
    orders.update_many({"gone": "x"}, {"$unset": {"gone": 1}})
    code, out, _ = etl("contract", "diff", "--json")
    assert code == 0
    (found,) = json.loads(out)["collections"]
    changes = {".".join(one["names"]): one for one in found["changes"]}
    assert {name: one["change"] for name, one in changes.items()} == {
        "status": "new values",
        "quantity": "other type",
        "gone": "gone",
        "place.street": "no longer in all",
        "lines.price": "new",
        "coupon": "new",
    }
    assert changes["status"]["lines"] == ['category("status", "State of the order.", "open", "shipped", "lost"),']
    assert changes["quantity"]["lines"][-1] == 'number("quantity", "How many."),'
    assert changes["place.street"]["lines"] == ['text("street", "Street.", min_length=1, nullable=True),']
    assert changes["lines.price"]["first_id"] == ids[2]
    assert changes["coupon"]["lines"][0].startswith("# In 1 of 23")
    assert changes["gone"]["seen"] == "in none of 23"
    _, out, _ = etl("contract", "diff", "Orders")
    assert "# no longer in all, within place" in out


def test_right_after_infer_nothing_has_changed(
    etl: Etl, orders: Any, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders.insert_many([_order(quantity="many"), _order(quantity=[1]), {"map": {str(n): n for n in range(30)}}])
    for folder, options in (("loose", ()), ("strict", ("--strict",))):
        made = str(tmp_path / folder)
        monkeypatch.setenv("ETL_CONTRACTS", "")
        assert etl("contract", "infer", "Orders", "-o", made, "--replace", *options)[0] == 0
        monkeypatch.setenv("ETL_CONTRACTS", made)
        _, out, _ = etl("contract", "diff", "--json")
        assert [one["changes"] for one in json.loads(out)["collections"]] == [[]]


def test_words_are_listed_with_examples(etl: Etl) -> None:
    code, out, _ = etl("contract", "words")
    assert code == 0
    assert 'documents("lines", "Positions.", integer("n", "How many.")),' in out
    code, out, _ = etl("contract", "words", "texts", "--json")
    (found,) = json.loads(out)["words"]
    assert (found["word"], len(found["example"])) == ("texts", 3)
    assert "there is no word 'txt'" in etl("contract", "words", "txt")[2]
