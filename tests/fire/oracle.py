"""What the stores must hold, worked out from the data dictionary that people read: no code of the project.

Each row of the dictionary's tables says where a column's value stands in the document, and of which type it is there.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import bson
import clickhouse_connect
from adbc_driver_postgresql import dbapi
from bson import Decimal128, ObjectId, json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

DICTIONARY = Path(__file__).parents[2] / "docs/data-dictionary.md"
_OPTIONS = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
_RAW = CodecOptions(document_class=RawBSONDocument)
Rows = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Column:
    """One row of the dictionary.

    Attributes:
        name: Name of the column.
        source: What the dictionary says of where the value stands.
        bson: What it says of the type.
        types: The types in PostgreSQL and ClickHouse.
    """

    name: str
    source: str
    bson: str
    types: dict[str, str]


@dataclass(frozen=True)
class Table:
    """One table of the dictionary.

    Attributes:
        collection: The collection that its rows are of.
        name: Its name in both stores.
        columns: Its columns.
    """

    collection: str
    name: str
    columns: tuple[Column, ...]

    @property
    def is_child(self) -> bool:
        """Whether it has a row per item of an array."""
        return any(column.name == "_position" for column in self.columns)


def tables() -> list[Table]:
    """Read the dictionary."""
    text, found = DICTIONARY.read_text().partition("## The collections")[2].partition("## The marts")[0], []
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        collection = section.split("\n")[0]
        for part in re.split(r"^#### replica\.", section, flags=re.MULTILINE)[1:]:
            rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", part, re.MULTILINE)
            found.append(Table(collection, part.split("\n")[0], tuple(_column(*row) for row in rows)))
    assert len({table.collection for table in found}) == 7
    return found


def _column(name: str, rest: str) -> Column:
    _, source, kind, postgres, clickhouse, *_ = (cell.strip() for cell in rest.split(" | "))
    return Column(name, source, kind, {"postgres": postgres.strip("`"), "clickhouse": clickhouse.strip("`")})


# What the documents say


def documents(database: "Database[Any]", collection: str) -> list[bytes]:
    """Return the documents of a collection, as MongoDB has them."""
    return [one.raw for one in database.get_collection(collection, codec_options=_RAW).find()]


def is_broken(document: dict[str, Any], wanted: list[Table]) -> bool:
    """Return whether a document has a truth value in a declared place, as the writers break them."""
    declared = {_names(column.source)[0] for table in wanted for column in table.columns if "`" in column.source}
    return any(document.get(name) is True for name in declared)


def rows(document: dict[str, Any], table: Table) -> Iterator[tuple[Any, ...]]:
    """Yield what a table must hold of a document."""
    items: list[Any] = [None]
    if table.is_child:
        array = next(_names(column.source)[0] for column in table.columns if "[]" in column.source)
        items = document.get(array) or []
    for position, item in enumerate(items):
        yield tuple(_value(document, item, position, column) for column in table.columns)


def _names(source: str) -> list[str]:
    return source.split("`")[1].replace("[]", "").split(".")


def _value(document: dict[str, Any], item: Any, position: int, column: Column) -> Any:
    if column.source.startswith("place in "):
        return position
    if column.source == "undeclared fields":
        known = {"fire_note"} & document.keys()
        return _json({f"/{name}": document[name] for name in known}) if known else None
    names, value = _names(column.source), document
    if "[]" in column.source:
        names, value = names[1:], item
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    if column.source.startswith("length of"):
        return None if value is None else len(value)
    return _plain(value, column)


def _plain(value: Any, column: Column) -> Any:
    if column.bson == "object":
        return _json(value)
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, Decimal128):
        return value.to_decimal()
    return int(value) if column.bson.startswith("date") and value is not None else value


def _json(value: Any) -> Any:
    return json.loads(json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS))


# What the stores hold


def _selected(store: str, column: Column) -> str:
    kind, name = column.types[store], f'"{column.name}"'
    if "timestamptz" in kind:
        return f"(extract(epoch FROM {name}) * 1000)::bigint"
    if "DateTime64" in kind:
        return f"toUnixTimestamp64Milli({name})"
    return f"{name}::text" if kind == "jsonb" or kind.startswith("numeric") else name


def _read(value: Any, column: Column) -> Any:
    if value is None:
        return None
    if column.types["postgres"] == "jsonb":
        return json.loads(value)
    if column.types["postgres"].startswith("numeric"):
        return Decimal(value)
    return list(value) if column.bson.startswith("array") else value


class Stores:
    """Both stores, read by plain SQL."""

    def __init__(self, postgres: str, clickhouse: str) -> None:
        self._postgres = dbapi.connect(postgres, autocommit=True)
        self._clickhouse = clickhouse_connect.get_client(dsn=clickhouse)

    def close(self) -> None:
        """Close the connections."""
        self._clickhouse.close()
        self._postgres.close()

    def ask(self, store: str, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        if store == "clickhouse":
            return [tuple(row) for row in self._clickhouse.query(query).result_rows]
        with self._postgres.cursor() as cursor:
            cursor.execute(query)
            return [tuple(row) for row in cursor.fetchall()]

    def checkpoint(self) -> None:
        """Let PostgreSQL drop the log that it no longer needs: its disk is small."""
        with self._postgres.cursor() as cursor:
            cursor.execute("CHECKPOINT")

    def rows(self, store: str, table: Table) -> Rows:
        """Return the rows of a table, by document."""
        names = [column.name for column in table.columns]
        order = '"_id", "_position"' if table.is_child else '"_id"'
        selected = ", ".join(_selected(store, column) for column in table.columns)
        found: Rows = {}
        for row in self.ask(store, f'SELECT {selected} FROM replica."{table.name}" ORDER BY {order}'):
            values = [_read(value, column) for value, column in zip(row, table.columns, strict=True)]
            for place, name in enumerate(names):  # ClickHouse has no null arrays: the count tells them apart
                if f"{name}_count" in names and values[names.index(f"{name}_count")] is None:
                    values[place] = None
            found.setdefault(row[0], []).append(tuple(values))
        return found

    def quarantine(self, collection: str) -> set[bytes]:
        """Return the documents of a collection that are in quarantine."""
        query = f"SELECT bson FROM etl.quarantine WHERE collection = '{collection}' AND resolved_at IS NULL"
        return {raw for (raw,) in self.ask("postgres", query)}


def compare(database: "Database[Any]", stores: Stores) -> tuple[int, list[str]]:
    """Hold every document against both stores.

    Returns:
        How many documents were compared, each in each store, and what is lost, bent or invented.
    """
    compared, wrong, every = 0, list[str](), tables()
    for collection in dict.fromkeys(table.collection for table in every):
        wanted = [table for table in every if table.collection == collection]
        decoded = {raw: bson.decode(raw, _OPTIONS) for raw in documents(database, collection)}
        broken = {raw for raw, document in decoded.items() if is_broken(document, wanted)}
        if broken != (refused := stores.quarantine(collection)):
            wrong.append(f"{collection}: {len(broken - refused)} not in quarantine, {len(refused - broken)} needlessly")
        for store in ("postgres", "clickhouse"):
            compared += len(decoded)
            for table in wanted:
                wrong += _differences(store, table, decoded, broken, stores.rows(store, table))
    return compared, wrong


def _differences(
    store: str, table: Table, decoded: dict[bytes, dict[str, Any]], broken: set[bytes], found: Rows
) -> list[str]:
    wrong = []
    for raw, document in decoded.items():
        expected = [] if raw in broken else list(rows(document, table))
        held = found.pop(str(document["_id"]), [])
        if expected != held:
            what = "lost" if not held else "bent"
            wrong.append(f"{what}: {store} {table.name} {document['_id']}: {held} instead of {expected}"[:500])
    return [*wrong, *(f"invented: {store} {table.name} {one}" for one in found)]
