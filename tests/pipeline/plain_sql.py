"""What must have become of documents, worked out from pymongo's decode and plain SQL: no code of the project's proof.

The tests that need it run it by its path.
"""

import json
import struct
import uuid
from base64 import b64encode
from typing import Any

import bson
import polars as pl
from bson import Decimal128, ObjectId, json_util
from bson.codec_options import DatetimeConversion
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument

from contracts.schema.entity import Entity, Field, Table
from contracts.schema.kinds import INTEGER, NUMBER, TIMESTAMP, UUID, Kind
from contracts.schema.special_names import SPECIAL_NAMES
from tests.pipeline.lab import Lab

OPTIONS = DEFAULT_RAW_BSON_OPTIONS.with_options(datetime_conversion=DatetimeConversion.DATETIME_MS)
TARGETS = ("postgres", "clickhouse")


def _plain(value: Any) -> Any:
    """Return documents as dicts, also where pymongo would make DBRefs of them."""
    if isinstance(value, RawBSONDocument):
        return {name: _plain(inner) for name, inner in value.items()}
    return list(map(_plain, value)) if isinstance(value, list) else value


def _declared(document: Any, fields: tuple[Field, ...], at: str, extra: dict[str, Any]) -> dict[str, Any]:
    known = {field.name: field for field in fields}
    kept = {}
    for name, value in document.items():
        pointer = f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
        if name not in known:
            extra[pointer] = value
        elif known[name].repeated and value is not None:
            kept[name] = [_declared(v, known[name].fields, f"{pointer}/{n}", extra) for n, v in enumerate(value)]
        elif known[name].fields and value is not None:
            kept[name] = _declared(value, known[name].fields, pointer, extra)
        else:
            kept[name] = value
    return kept


def _cell(value: Any, kind: Kind, *, counts: bool) -> Any:
    if value is None:
        return None
    if counts:
        return len(value)
    if kind.item is not None:
        return [_cell(item, kind.item, counts=False) for item in value]
    if kind is NUMBER:
        return _bits(value)
    if kind is TIMESTAMP:
        return int(value)
    if kind is UUID:
        return str(uuid.UUID(bytes=bytes(value)))
    if kind.subtype is not None:
        return bytes(value)
    if kind.is_json:
        return json.loads(json_util.dumps(_told_apart(value), json_options=json_util.RELAXED_JSON_OPTIONS))
    if kind is INTEGER:
        assert value == int(value)
        return int(value)
    if isinstance(value, Decimal128):
        return value.to_decimal()
    return str(value) if isinstance(value, ObjectId) else value


def _told_apart(value: Any) -> Any:
    """Return a value with what JSON or jsonb would bend written as the data dictionary says."""
    if isinstance(value, dict):
        special = [name for name in value if name.lstrip("$") in SPECIAL_NAMES and name[:1] == "$"]
        return {f"${name}" if name in special else name: _told_apart(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return list(map(_told_apart, value))
    if type(value) is str and "\0" in value:
        return {"$text": {"base64": b64encode(value.encode()).decode()}}
    return {"$numberDouble": "-0.0"} if repr(value) == "-0.0" else value


def _bits(number: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", number))[0])


def _rows(document: Any, table: Table) -> list[list[Any]]:
    def cell(owner: Any, column: Any) -> Any:
        for name in column.path:
            owner = None if owner is None else owner.get(name)
        return _cell(owner, column.kind, counts=column.counts)

    if table.parent is None:
        return [[cell(document, column) for column in table.columns]]
    items: Any = document
    for name in table.path:
        items = None if items is None else items.get(name)
    rest = table.columns[2:]
    return [[str(document["_id"]), n, *(cell(item, one) for one in rest)] for n, item in enumerate(items or [])]


_POSTGRES_MILLISECONDS = "(extract(epoch FROM {}) * 1000)::bigint"
_POSTGRES_BITS = "('x' || encode(float8send({}), 'hex'))::bit(64)::bigint"


def _column(target: str, name: str, kind: Kind) -> str:
    """Return the SQL of a column in a form that hides nothing: milliseconds, bits, digits."""
    quoted, is_postgres = f'"{name}"', target == "postgres"
    if kind is TIMESTAMP:
        return _POSTGRES_MILLISECONDS.format(quoted) if is_postgres else f"toUnixTimestamp64Milli({quoted})"
    if kind is NUMBER:
        return _POSTGRES_BITS.format(quoted) if is_postgres else f"reinterpretAsInt64({quoted})"
    if kind.frame == pl.Binary():
        return f"encode({quoted}, 'hex')" if is_postgres else f"lower(hex({quoted}))"
    if kind.is_json or kind is UUID or _is_decimal(kind):
        return f"{quoted}::text" if is_postgres else f"toString({quoted})"
    if kind.item in (NUMBER, TIMESTAMP):
        item = (_POSTGRES_BITS if kind.item is NUMBER else _POSTGRES_MILLISECONDS).format("item")
        items = f"ARRAY(SELECT {item} FROM unnest({quoted}) WITH ORDINALITY u(item, n) ORDER BY n)"
        number = "reinterpretAsInt64" if kind.item is NUMBER else "toUnixTimestamp64Milli"
        return items if is_postgres else f"arrayMap(item -> {number}(item), {quoted})"
    if kind.item is not None and _is_decimal(kind.item):
        return f"{quoted}::text[]" if is_postgres else f"arrayMap(item -> toString(item), {quoted})"
    return quoted


def _is_decimal(kind: Kind) -> bool:
    return kind.gate["bsonType"] == "decimal"


def stored(lab: Lab, target: str, table: Table) -> dict[str, list[list[Any]]]:
    """Return what a store holds, by document, by plain SQL."""
    columns = ", ".join(_column(target, column.name, column.kind) for column in table.columns)
    order = ", ".join(f'"{name}"' for name in table.key)
    query = f'SELECT {columns} FROM replica."{table.name}" ORDER BY {order}'
    found: dict[str, list[list[Any]]] = {}
    for row in lab.postgres(query) if target == "postgres" else lab.clickhouse(query):
        values = [_as_read(value, column.kind) for value, column in zip(row, table.columns, strict=True)]
        for place, column in enumerate(table.columns):  # null and empty arrays are told apart by their count
            if column.kind.is_array and values[table.names.index(f"{column.name}_count")] is None:
                values[place] = None
        found.setdefault(row[0], []).append(values)
    return found


def _as_read(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    if kind.is_json:
        return json.loads(value)
    if kind.frame == pl.Binary():
        return bytes.fromhex(value)
    if kind.item is not None:
        return [_as_read(item, kind.item) for item in value]
    return Decimal128(value).to_decimal() if _is_decimal(kind) else value


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return struct.pack("<d", left) == struct.pack("<d", right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(value, right[name]) for name, value in left.items())
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    return (
        isinstance(left, bool) == isinstance(right, bool)
        and isinstance(left, float) == isinstance(right, float)
        and bool(left == right)
    )


def assert_accounted_for(lab: Lab, entity: Entity, ends: dict[bytes, str | None]) -> None:
    """Assert that each document is in both stores as pymongo reads it, or in quarantine with reasons."""
    quarantine = lab.quarantine(entity.collection)
    raws = lab.raw_documents(entity.collection)
    assert quarantine.keys() <= set(raws)
    for one in quarantine.values():
        assert one["reasons"]
        assert all(reason["rule"] for reason in one["reasons"])
    for target in TARGETS:
        tables = {table.name: stored(lab, target, table) for table in entity.tables}
        loaded = 0
        for raw in raws:
            if raw in quarantine:
                assert ends.get(raw) is None, (target, quarantine[raw]["reasons"], raw)
                continue
            loaded += 1
            document = _plain(bson.decode(raw, OPTIONS))
            extra: dict[str, Any] = {}
            declared = _declared(document, (entity.id_field, *entity.fields), "", extra)
            assert bool(extra) or ends.get(raw) != "mended"
            for table in entity.tables:
                wanted = _rows(declared | {"_extra": extra or None}, table)
                found = tables[table.name].pop(str(document["_id"]), [])
                assert _same(wanted, found), (target, table.name, wanted, found)
        assert not any(tables.values())  # nothing that the source does not have
        ((count,),) = (lab.postgres if target == "postgres" else lab.clickhouse)(
            f"SELECT count(*) FROM replica.{entity.table}"
        )
        assert count == loaded
