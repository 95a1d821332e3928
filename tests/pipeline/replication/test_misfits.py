"""What does not fit its field stays with its row: aside in both stores, proven, followed, repaired and told."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp

import pipeline
from pipeline import control
from pipeline.replication.repair import repair, replay
from pipeline.replication.replicate import replicate
from pipeline.replication.sync import sync
from pipeline.replication.verify import verify
from tests.pipeline.lab import Lab

LOOSE = "Loose"
CONTRACT = '''
"""Nothing is required, and whatever does not fit goes aside."""

from contracts.schema.entity import Entity
from contracts.schema.fields import (
    boolean, category, decimal, documents, free_form, integer, number, subdocument, text, texts, timestamp,
)


def every():
    return (
        text("text", "A text.", nullable=True, max_length=10),
        category("category", "One of few.", "a", "b", nullable=True),
        integer("integer", "64 bits.", nullable=True, minimum=0),
        number("number", "A double.", nullable=True),
        boolean("boolean", "A truth.", nullable=True),
        timestamp("moment", "A moment.", nullable=True),
        decimal("decimal", "Exact.", 12, 2, nullable=True),
        texts("texts", "Some.", nullable=True),
    )


ENTITY = Entity(
    collection="Loose",
    description="Anything may be anywhere.",
    fields=(
        *every(),
        free_form("anything", "Any document.", nullable=True),
        subdocument("inner", "The same again.", *every(), nullable=True),
        documents("items", "And again.", *every(), nullable=True),
        integer("strict", "May be nothing else.", nullable=True, misfits="refuse"),
    ),
    misfits="extra",
)
'''
LAWFUL: dict[str, Any] = {
    "text": "t",
    "category": "a",
    "integer": 7,
    "number": 0.5,
    "boolean": True,
    "moment": DatetimeMS(0),
    "decimal": Decimal128("1.50"),
    "texts": ["x"],
}
# Of all fields but those of the type; and what of the type a store can't hold.
FOREIGN = [
    "",
    "1",
    0.5,
    True,
    {"$oid": 1},
    [],
    [None],
    ObjectId(b"a" * 12),
    Binary(b"b", 4),
    Regex("^a", "i"),
    Code("\0"),
]
FOREIGN += [Timestamp(1, 2), MaxKey(), DatetimeMS(5), Decimal128("NaN"), Int64(2**53 + 1)]
UNHELD = {
    "text": ["a\0b"],
    "category": ["\0"],
    "integer": [2.0**63, float("nan")],
    "moment": [DatetimeMS(2**62), DatetimeMS(-(2**62))],
    "decimal": [Decimal128("0.001"), Decimal128("1E+10")],
    "texts": [["x", "\0"], ["x", 1], [["x"]]],
}
TYPES = {"text": str, "category": str, "integer": Int64, "number": float, "boolean": bool, "moment": DatetimeMS}
TYPES |= {"decimal": Decimal128, "texts": list, "anything": dict}


def misfits() -> Iterator[tuple[str, Any]]:
    """Yield a field and a value that does not fit there."""
    for name in (*LAWFUL, "anything"):
        for value in FOREIGN:
            if type(value) is not TYPES[name] and not (name == "integer" and value == 1):
                yield name, value
        yield from ((name, value) for value in UNHELD.get(name, ()))


def made() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield documents of which one value does not fit, and what must be aside."""
    for name, value in misfits():
        yield LAWFUL | {name: value}, {f"/{name}": value}
        if name != "anything":
            yield {"inner": LAWFUL | {name: value}}, {f"/inner/{name}": value}
            items = [LAWFUL, LAWFUL | {name: value}, {}]
            yield LAWFUL | {"items": items}, {f"/items/1/{name}": value}
    for name, value in (("inner", [LAWFUL]), ("inner", "x"), ("items", LAWFUL), ("items", 1)):
        yield LAWFUL | {name: value}, {f"/{name}": value}
    yield {"items": [LAWFUL, 5, None, [LAWFUL], {}]}, {"/items/1": 5, "/items/2": None, "/items/3": [LAWFUL]}
    yield {"new": 1, "text": 5, "inner": {"b": 2}}, {"/new": 1, "/text": 5, "/inner/b": 2}


@pytest.fixture(scope="module")
def loose(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("contracts")
    (folder / "loose.py").write_text(CONTRACT)
    with lab.another(contracts=(folder,)) as connections:
        yield connections


@pytest.fixture
def copied(lab: Lab, loose: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Copy lawful documents and others, and return the others as (document, what must be aside)."""
    collection = lab.collection(LOOSE)
    collection.drop()
    others = [({"_id": ObjectId()} | document, aside) for document, aside in made()]
    collection.insert_many([{"_id": ObjectId(), **LAWFUL, "inner": LAWFUL, "items": [LAWFUL]} for _ in range(5)])
    collection.insert_many([document for document, _ in others])
    replicate(loose, [LOOSE], new_source=True, allow_shrink=True)
    return others


def proven(loose: Any) -> bool:
    return all(one.proven for one in verify(loose, [LOOSE]))


def test_each_value_that_does_not_fit_is_aside_in_both_stores_and_nothing_is_refused(
    lab: Lab, loose: Any, copied: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    assert lab.quarantine(LOOSE) == {}
    assert proven(loose)
    for rows in (
        lab.postgres("SELECT _id, _extra::text FROM replica.loose"),
        lab.clickhouse("SELECT _id, _extra FROM replica.loose"),
    ):
        found = {key: pipeline.read_json(extra) for key, extra in rows if extra}
        assert len(found) == len(copied)
        for document, aside in copied:
            assert repr(found[str(document["_id"])]) == repr(_sorted_like(aside, found[str(document["_id"])]))
    one = next(document for document, aside in copied if "/items/3" in aside)
    query = f"SELECT _position, text, integer FROM replica.loose_items WHERE _id = '{one['_id']}' ORDER BY 1"
    assert lab.postgres(query) == [(0, "t", 7), *((number, None, None) for number in range(1, 5))]
    assert lab.postgres(f"SELECT items_count FROM replica.loose WHERE _id = '{one['_id']}'") == [(5,)]


def _sorted_like(aside: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return values as the JSON tells them: int for 32 and 64 bits, bytes of documents in jsonb's order."""
    assert aside.keys() == found.keys()
    return {name: _told(aside[name], found[name]) for name in found}


def _told(value: Any, found: Any) -> Any:
    if isinstance(value, dict) and isinstance(found, dict):
        assert value.keys() == found.keys()
        return {name: _told(value[name], found[name]) for name in found}
    if isinstance(value, list) and isinstance(found, list):
        return [_told(*both) for both in zip(value, found, strict=True)]
    return int(value) if type(value) is Int64 else value


def test_a_run_tells_misfits_by_field_and_type(
    lab: Lab, loose: Any, copied: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    with loose.postgres.transaction():
        ((run_id,),) = loose.postgres.rows("SELECT max(run_id) FROM etl.runs")
        found = [one for one in control.drift(loose.postgres, run_id) if one.kind == "misfit"]
    told = {(one.path, one.value): one.count for one in found}
    assert told["/moment", "date that can't be held"] == 2
    assert told["/items/*/text", "string that can't be held"] == 1
    assert told["/inner", "array"] == told["/inner", "string"] == told["/items/*", "null"] == 1
    asides = Counter(pointer for _, aside in copied for pointer in aside)
    wanted = sum(count for pointer, count in asides.items() if pointer not in ("/new", "/inner/b"))
    assert sum(told.values()) == wanted


def test_sync_and_repair_and_replay_make_of_misfits_what_a_copy_does(
    lab: Lab, loose: Any, copied: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    collection = lab.collection(LOOSE)
    changed = [document["_id"] for document, _ in copied[:20]]
    collection.update_many({"_id": {"$in": changed[:10]}}, {"$set": {"boolean": "no", "inner": 5}})
    collection.update_many({"_id": {"$in": changed[10:]}}, {"$set": {"moment": DatetimeMS(2**60)}})
    collection.insert_one({"_id": ObjectId(), "strict": "1", "text": 5})
    sync(loose, [LOOSE])
    assert proven(loose)
    ((_, reasons),) = [(raw, one["reasons"]) for raw, one in lab.quarantine(LOOSE).items()]
    assert [one["path"] for one in reasons] == ["/strict"]
    lab.change_postgres(
        "UPDATE replica.loose SET text = 'bent' WHERE _extra ? '/text'", "DELETE FROM replica.loose_items"
    )
    assert not proven(loose)
    repair(loose, verify(loose, [LOOSE]))
    assert proven(loose)
    (replayed,) = replay(loose, [LOOSE])
    assert (replayed.retried, replayed.refused) == (1, 1)
    assert proven(loose)


def test_a_rule_of_the_contract_still_refuses(lab: Lab, loose: Any) -> None:
    collection = lab.collection(LOOSE)
    collection.drop()
    collection.insert_many([{"text": "x" * 11, "moment": DatetimeMS(2**62)}, {"integer": -1, "text": 5}, {"text": ""}])
    replicate(loose, [LOOSE], new_source=True, allow_shrink=True)
    found = [{reason["rule"] for reason in one["reasons"]} for one in lab.quarantine(LOOSE).values()]
    assert sorted(found, key=str) == [{"integer_at_least"}, {"text_max_length"}]
    assert proven(loose)


def test_extra_is_read_as_the_dictionary_says(lab: Lab, copied: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    one = next(document for document, aside in copied if aside == {"/text": 0.5})
    assert lab.postgres(f"""SELECT _extra -> '/text' FROM replica.loose WHERE _id = '{one["_id"]}'""") in (
        [(0.5,)],
        [("0.5",)],
    )
    where = f"FROM replica.loose WHERE _id = '{one['_id']}'"
    assert lab.clickhouse(f"SELECT JSONExtractFloat(_extra, '/text'), JSONHas(_extra, '/text') {where}") == [(0.5, 1)]
    assert json.loads(lab.clickhouse(f"SELECT JSONExtractRaw(_extra, '/text') {where}")[0][0]) == 0.5
