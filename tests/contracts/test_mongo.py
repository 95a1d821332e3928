"""What is derived for MongoDB: the reader's types, and a gate that leaves nothing undeclared."""

from collections.abc import Iterator
from typing import Any

import bson
import pyarrow as pa
import pytest
from bson import Decimal128
from pymongoarrow.api import Schema

from contracts.schema.entity import Entity, Field
from contracts.schema.fields import boolean, documents, free_form, identifier, integer, money, subdocument, text
from contracts.schema.kinds import INTEGER, KEY_TEXT
from contracts.schema.mongo import gate, read_schema
from contracts.schema.registry import entities

ENTITIES = entities()
STRING, DATE = {"bsonType": "string"}, {"bsonType": "date"}


def test_what_the_reader_reads_of_a_session() -> None:
    assert read_schema(ENTITIES["UserSessions"]) == {
        "_id": bson.ObjectId,
        "session_id": pa.string(),
        "user_id": pa.string(),
        "start_time": pa.timestamp("ms"),
        "end_time": pa.timestamp("ms"),
        "pages_visited": [pa.string()],
        "device": {"type": pa.string(), "os": pa.string(), "browser": pa.string()},
        "actions": [{"type": pa.string(), "target": pa.string(), "at": pa.timestamp("ms")}],
    }


def test_money_is_read_as_decimal128_and_free_form_not_at_all() -> None:
    assert read_schema(ENTITIES["ProductPriceHistory"]) == {
        "_id": bson.ObjectId,
        "product_id": pa.string(),
        "price_changes": [{"changed_at": pa.timestamp("ms"), "price": Decimal128}],
        "current_price": Decimal128,
        "currency": pa.string(),
    }
    assert "details" not in read_schema(ENTITIES["EventLogs"])


def test_a_subdocument_of_nothing_to_read_is_left_out() -> None:
    inner = subdocument("outer", "d", subdocument("inner", "d", free_form("notes", "d")))
    assert list(read_schema(Entity("Things", "d", "k", (identifier("k", "d"), inner)))) == ["_id", "k"]


def test_the_gate_of_sessions() -> None:
    device = dict.fromkeys(("type", "os", "browser"), STRING)
    action = {"type": STRING, "target": STRING, "at": DATE}
    assert gate(ENTITIES["UserSessions"]) == {
        "bsonType": "object",
        "additionalProperties": False,
        "required": ["_id", "session_id", "user_id", "start_time", "pages_visited", "device", "actions"],
        "properties": {
            "_id": {"bsonType": "objectId"},
            "session_id": STRING,
            "user_id": STRING,
            "start_time": DATE,
            "end_time": {"bsonType": ["date", "null"]},
            "pages_visited": {"bsonType": "array", "items": STRING},
            "device": {
                "bsonType": "object",
                "properties": device,
                "required": list(device),
                "additionalProperties": False,
            },
            "actions": {
                "bsonType": "array",
                "items": {
                    "bsonType": "object",
                    "properties": action,
                    "required": list(action),
                    "additionalProperties": False,
                },
            },
        },
    }


def test_numbers_pass_the_gate_only_where_they_stay_exact() -> None:
    entity = Entity("Things", "d", "k", (integer("k", "d"), money("m", "d", nullable=True)), id_kind=INTEGER)
    properties = gate(entity)["properties"]
    assert properties["_id"] == properties["k"]
    assert properties["k"]["bsonType"] == ["int", "long", "double"]
    assert (properties["k"]["minimum"], properties["k"]["maximum"]) == (-(2**63), 2**63 - 1)
    assert all(type(properties["k"][bound]) is bson.Int64 for bound in ("minimum", "maximum"))
    assert properties["m"] == {
        "bsonType": ["decimal", "null"],
        "multipleOf": Decimal128("0.01"),
        "minimum": Decimal128("-9999999999.99"),
        "maximum": Decimal128("9999999999.99"),
    }


def test_deriving_never_changes_the_type_table() -> None:
    entity = Entity("Things", "d", "k", (text("k", "d"), boolean("b", "d", nullable=True)), id_kind=KEY_TEXT)
    first = gate(entity)
    assert gate(entity) == first
    assert first["properties"]["b"]["bsonType"] == ["bool", "null"]
    assert gate(Entity("Others", "d", "b", (boolean("b", "d"),)))["properties"]["b"] == {"bsonType": "bool"}


def objects(fields: tuple[Field, ...], rules: dict[str, Any]) -> Iterator[tuple[tuple[Field, ...], dict[str, Any]]]:
    """Yield the fields of each level of a document with the part of the gate that is about them."""
    yield fields, rules
    for field in fields:
        if field.fields:
            inner = rules["properties"][field.name]
            yield from objects(field.fields, inner["items"] if field.repeated else inner)


ALL_LEVELS = [
    pytest.param(fields, rules, id=f"{name} {number}")
    for name, entity in {
        **ENTITIES,
        "Nested": Entity(
            "Nested",
            "d",
            "k",
            (
                identifier("k", "d"),
                subdocument("s", "d", text("t", "d", nullable=True), nullable=True),
                documents("l", "d", subdocument("u", "d", integer("n", "d")), nullable=True),
            ),
        ),
    }.items()
    for number, (fields, rules) in enumerate(objects((entity.id_field, *entity.fields), gate(entity)))
]


@pytest.mark.parametrize(("fields", "rules"), ALL_LEVELS)
def test_each_level_admits_the_declared_fields_alone(fields: tuple[Field, ...], rules: dict[str, Any]) -> None:
    assert rules["additionalProperties"] is False
    assert list(rules["properties"]) == [field.name for field in fields]
    assert rules.get("required", []) == [field.name for field in fields if not field.nullable]
    assert rules.get("required") != []  # MongoDB refuses an empty list
    for field in fields:
        types = rules["properties"][field.name]["bsonType"]
        assert ("null" in types) is field.nullable


@pytest.mark.parametrize("entity", ENTITIES.values(), ids=ENTITIES)
def test_the_reader_takes_its_types_and_covers_the_gate(entity: Entity) -> None:
    types = read_schema(entity)
    assert Schema(types) is not None
    free = [field.name for field in entity.fields if field.kind is not None and field.kind.is_json]
    assert sorted([*types, *free]) == sorted(gate(entity)["properties"])
