"""Derived for MongoDB: what the typed reader reads, and the gate that lets only lossless documents through to it."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import pyarrow as pa

from contracts.schema.entity import ID, Entity, Field
from contracts.schema.kinds import ANY_ID, NUMBER

_NOWHERE = "\1"  # what is read of items that have JSON fields only: the gate lets no such field through

_CHANGED = "%"  # with which a name begins that documents don't have
ENTRY = "%key"  # by which the reader is told the name of a map's entry; no field is called so


def read_schema(entity: Entity) -> dict[str, Any]:
    """Return the types for ``pymongoarrow.api.Schema``, nested as the documents are.

    JSON fields and an ``_id`` of any kind are absent: the reader has no type for them, they are taken from decoded
    documents.
    """
    types = _reader_types(entity.fields)
    return types if entity.id_kind is ANY_ID else {ID: entity.id_kind.reader, **types}


@lru_cache
def readable(entity: Entity) -> Entity:
    """Return the contract with names that the typed reader and Polars can address; itself if it has no others.

    Its tables are the same, but for the paths.
    """
    fields = tuple(map(_readable, entity.fields))
    return replace(entity, fields=fields) if fields != entity.fields else entity


def reader_name(name: str) -> str:
    """Return what the typed reader is told of a field's name.

    PyMongoArrow takes a dot for a path and ``[`` for an array, Polars ``*`` and ``^`` for patterns. What begins as
    these other names do is changed as well, so that no two names become one.
    """
    if name and name != "*" and not name.startswith(("^", _CHANGED)) and "." not in name and "[" not in name:
        return name
    return _CHANGED + name.encode().hex()


def _readable(field: Field) -> Field:
    name, fields = reader_name(field.name), tuple(map(_readable, field.fields))
    if (name, fields) == (field.name, field.fields):
        return field
    return replace(field, name=name, fields=fields, alias=field.label)


def gate(entity: Entity) -> dict[str, Any]:
    """Return the ``$jsonSchema`` that accepts a document only if the typed reader keeps all of it unchanged."""
    rules = _object_gate((entity.id_field, *entity.fields))
    if entity.whole:
        del rules["additionalProperties"]  # the reader takes the _id, and the column all
    if entity.id_kind is NUMBER:  # of all doubles, only NaN is not even at least this
        rules["properties"][ID]["minimum"] = float("-inf")
    return rules


def _reader_types(fields: tuple[Field, ...]) -> dict[str, Any]:
    types: dict[str, Any] = {}
    for field in fields:
        if field.repeated:
            key = {ENTRY: pa.string()} if field.keyed else {}
            types[field.name] = [{**key, **_reader_types(field.fields)} or {_NOWHERE: pa.bool_()}]
        elif field.fields:
            # A struct of nothing has no length in Arrow, so one with only JSON fields is left out as well.
            if inside := _reader_types(field.fields):
                types[field.name] = inside
        elif field.kind is not None and not field.kind.is_json:
            types[field.name] = field.kind.reader
    return types


def _object_gate(fields: tuple[Field, ...]) -> dict[str, Any]:
    plain = [field for field in fields if not _is_path(field.name)]
    others = {_only(field.name): field for field in fields if _is_path(field.name)}
    required = [field.name for field in plain if not field.nullable]
    present = [_has(pattern) for pattern, field in others.items() if not field.nullable]
    return {
        "bsonType": "object",
        "properties": {field.name: _field_gate(field) for field in plain},
        # Undeclared fields vanish in the typed reader, so a document that has one must not reach it.
        "additionalProperties": False,
        **({"required": required} if required else {}),
        **({"patternProperties": {pattern: _field_gate(field) for pattern, field in others.items()}} if others else {}),
        **({"allOf": present} if present else {}),
    }


def _is_path(name: str) -> bool:
    """Return whether MongoDB takes a name in a schema for a path: then only a pattern tells the field itself."""
    return not name or "." in name


def _only(name: str) -> str:
    """Return the pattern that one name alone matches."""
    plain = (one if one.isalnum() or not one.isascii() else f"\\x{{{ord(one):02x}}}" for one in name)
    return f"^{''.join(plain)}\\z"


def _has(pattern: str) -> dict[str, Any]:
    """Return the rule that a document has a field of a name: it is none in which whatever is called so is unlawful."""
    return {"not": {"bsonType": "object", "patternProperties": {pattern: {"not": {}}}}}


def of_name(name: str, rules: dict[str, Any]) -> dict[str, Any]:
    """Return the ``$jsonSchema`` of documents in which a field, if there is one, keeps some rules."""
    return {"patternProperties": {_only(name): rules}} if _is_path(name) else {"properties": {name: rules}}


def _field_gate(field: Field) -> dict[str, Any]:
    if field.omitted:
        return {}
    if field.keyed:
        value = _field_gate(field.fields[0]) if field.bare else _object_gate(field.fields)
        rules: dict[str, Any] = {"bsonType": "object", "additionalProperties": value}
    elif field.repeated:
        rules = {"bsonType": "array", "items": _object_gate(field.fields)}
    elif field.kind is None:
        rules = _object_gate(field.fields)
    else:
        rules = dict(field.kind.gate)
    if field.nullable:
        types = rules["bsonType"]
        rules["bsonType"] = [*([types] if isinstance(types, str) else types), "null"]
    return rules
