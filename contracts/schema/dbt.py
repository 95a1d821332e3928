"""The tables of the stores as sources of dbt: names, descriptions, and tests of their keys, in YAML."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from contracts.schema.ddl import quoted
from contracts.schema.entity import Column, Entity, Table
from contracts.schema.history import HISTORY, former_table, versions_of
from contracts.schema.mart import Mart

WRITTEN = "# Written by mongo-marts from the contracts; write it anew when they change."
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")  # names that both stores take as they are
_ABOUT = {
    "replica": "The copies of MongoDB's collections, exact, all of one moment until changes are followed.",
    HISTORY: "What documents of the replica were before; the views _versions have the current version as well.",
    "marts": "Computed from the replica; each row bears the moment that it shows.",
}

Sources = dict[str, list[dict[str, Any]]]


def sources(entities: Iterable[Entity], marts: Iterable[Mart]) -> Sources:
    """Return the tables of each schema as dbt describes them; a schema without tables is left out.

    Args:
        entities: The contracts of collections.
        marts: Those of marts.
    """
    known = list(entities)
    kept = (one for one in known if one.history)
    past = ([*map(former_table, one.tables), *versions_of(one)] for one in kept)
    found = {
        "replica": [_table(table, "replica") for one in known for table in one.tables],
        HISTORY: [_table(table, HISTORY) for tables in past for table in tables],
        "marts": [_table(mart.table, "marts") for mart in marts],
    }
    return {schema: sorted(tables, key=lambda one: str(one["name"])) for schema, tables in found.items() if tables}


def as_yaml(found: Sources) -> str:
    """Return sources as a file of dbt's."""
    schemas = [
        {"name": schema, "schema": schema, "description": _ABOUT[schema], "tables": tables}
        for schema, tables in found.items()
    ]
    return "\n".join([WRITTEN, *_lines({"version": 2, "sources": schemas}), ""])


def _table(table: Table, schema: str) -> dict[str, Any]:
    """Describe a table; a key of several columns is tested as a whole, a row of a child table has its parent."""
    made: dict[str, Any] = {"name": _literally(table.name), "description": _text(table.description)}
    if not _PLAIN.fullmatch(table.name):
        made["quoting"] = {"identifier": True}
    if len(table.key) > 1:
        whole = _literally(f"({', '.join(map(quoted, table.key))})")
        made["data_tests"] = [{"unique": {"column_name": whole}}]
    return made | {"columns": [_column(column, table, schema) for column in table.columns]}


def _column(column: Column, table: Table, schema: str) -> dict[str, Any]:
    made: dict[str, Any] = {"name": _literally(column.name), "description": _text(column.description)}
    if not _PLAIN.fullmatch(column.name):
        made["quote"] = True
    tests: list[Any] = []
    if column.name in table.key:
        tests += ["not_null", *(["unique"] if len(table.key) == 1 else [])]
    if table.parent is not None and column.name == table.key[0]:
        given = {"to": f"source('{schema}', '{table.root}')", "field": _literally(column.name)}
        tests.append({"relationships": {"arguments": given}})  # as dbt has it since 1.10.5
    return made | ({"data_tests": tests} if tests else {})


def _text(text: str) -> str:
    """Return a description as dbt shows it; what it would take for a template is not one."""
    return text.replace("{{", "{ {").replace("{%", "{ %").replace("{#", "{ #")


def _literally(name: str) -> str:
    """Return a name so that dbt, which takes it for a template, makes it of that."""
    return re.sub(r"\{[{%#]", lambda found: f"{{{{ '{found[0]}' }}}}", name)


def _scalar(value: Any) -> str:
    """Return a scalar as JSON, which YAML reads; but half a surrogate pair is no character there."""
    written = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in written)


def _lines(value: Any, indent: str = "") -> Iterator[str]:
    """Yield the lines of a value."""
    for key, one in value.items():
        if isinstance(one, dict):
            yield f"{indent}{key}:"
            yield from _lines(one, f"{indent}  ")
        elif isinstance(one, list):
            yield f"{indent}{key}:"
            for item in one:
                yield from _item(item, f"{indent}  ")
        else:
            yield f"{indent}{key}: {_scalar(one)}"


def _item(item: Any, indent: str) -> Iterator[str]:
    if not isinstance(item, dict):
        yield f"{indent}- {_scalar(item)}"
        return
    first, *rest = _lines(item, f"{indent}  ")
    yield f"{indent}- {first.strip()}"
    yield from rest
