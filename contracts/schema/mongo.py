"""Derived for MongoDB: what the typed reader reads, and the gate that lets only lossless documents through to it."""

from typing import Any

from contracts.schema.entity import ID, Entity, Field
from contracts.schema.kinds import ANY_ID, JSON, NUMBER


def read_schema(entity: Entity) -> dict[str, Any]:
    """Return the types for ``pymongoarrow.api.Schema``, nested as the documents are.

    Free-form fields and an ``_id`` of any kind are absent: the reader has no type for them, they are taken from the raw
    BSON.
    """
    types = _reader_types(entity.fields)
    return types if entity.id_kind is ANY_ID else {ID: entity.id_kind.reader, **types}


def gate(entity: Entity) -> dict[str, Any]:
    """Return the ``$jsonSchema`` that accepts a document only if the typed reader keeps all of it unchanged."""
    rules = _object_gate((entity.id_field, *entity.fields))
    if entity.id_kind is NUMBER:  # of all doubles, only NaN is not even at least this
        rules["properties"][ID]["minimum"] = float("-inf")
    return rules


def _reader_types(fields: tuple[Field, ...]) -> dict[str, Any]:
    types: dict[str, Any] = {}
    for field in fields:
        if field.repeated:
            types[field.name] = [_reader_types(field.fields)]
        elif field.fields:
            # A struct of nothing has no length in Arrow, so one with only free-form fields is left out as well.
            if inside := _reader_types(field.fields):
                types[field.name] = inside
        elif field.kind is not None and field.kind is not JSON:
            types[field.name] = field.kind.reader
    return types


def _object_gate(fields: tuple[Field, ...]) -> dict[str, Any]:
    required = [field.name for field in fields if not field.nullable]
    return {
        "bsonType": "object",
        "properties": {field.name: _field_gate(field) for field in fields},
        # Undeclared fields vanish in the typed reader, so a document that has one must not reach it.
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }


def _field_gate(field: Field) -> dict[str, Any]:
    if field.repeated:
        rules: dict[str, Any] = {"bsonType": "array", "items": _object_gate(field.fields)}
    elif field.kind is None:
        rules = _object_gate(field.fields)
    else:
        rules = dict(field.kind.gate)
    if field.nullable:
        types = rules["bsonType"]
        rules["bsonType"] = [*([types] if isinstance(types, str) else types), "null"]
    return rules
