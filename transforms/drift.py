"""What the application does that its contract does not know yet: it is loaded, and told."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from contracts.schema.entity import ID, Column, Table
from transforms.reasons import escaped

UNDECLARED, NEW_VALUE = "undeclared field", "new value"
_SHOWN_VALUES = 50  # of one field; a category that takes more new values than that is none
_POSITION = re.compile(r"/\d+(?=/)")


@dataclass(frozen=True)
class Drift:
    """One way in which documents go beyond their contract.

    Attributes:
        path: JSON Pointer; ``*`` stands for any position in an array.
        kind: ``undeclared field`` or ``new value``.
        value: The new value of a category; None for a field.
        count: How often it was seen.
        first_id: ``_id`` of the first document that has it, as the stores have it.
    """

    path: str
    kind: str
    value: str | None
    count: int
    first_id: str


def undeclared(pointers: Iterable[str], document_id: str) -> list[Drift]:
    """Return the drift of one document that has undeclared fields at these places."""
    return [Drift(_POSITION.sub("/*", pointer), UNDECLARED, None, 1, document_id) for pointer in pointers]


def new_values(frames: Mapping[str, pl.DataFrame], tables: Iterable[Table]) -> list[Drift]:
    """Return the values of categories that their vocabularies don't have.

    Args:
        frames: Rows by table.
        tables: The tables, with their vocabularies.
    """
    return [
        drift
        for table in tables
        for column in table.columns
        if column.field is not None and column.field.vocabulary and not column.field.closed
        for drift in _new_values(frames[table.name], table, column)
    ]


def merged(drifts: Iterable[Drift]) -> list[Drift]:
    """Add up what is the same; beyond the first values of a field, the others are counted together as ``None``."""
    found: dict[tuple[str, str, str | None], Drift] = {}
    values: dict[str, int] = {}
    for one in drifts:
        key = (one.path, one.kind, one.value)
        if one.kind == NEW_VALUE and key not in found:
            values[one.path] = values.get(one.path, 0) + 1
            if values[one.path] > _SHOWN_VALUES:
                key = (one.path, one.kind, None)
        earlier = found.get(key)
        count = one.count + (earlier.count if earlier else 0)
        # The careful lane comes before the fast one, so what was seen first need not be first.
        first_id = min(earlier.first_id, one.first_id) if earlier else one.first_id
        found[key] = Drift(*key, count, first_id)
    return list(found.values())


def _new_values(frame: pl.DataFrame, table: Table, column: Column) -> list[Drift]:
    assert column.field is not None
    rows = frame.select(ID, pl.col(column.name).alias("value"))
    if column.kind.is_array:
        rows = rows.explode("value")
    unknown = rows.filter(~pl.col("value").is_in(column.field.vocabulary))  # null is neither in nor out
    if unknown.is_empty():
        return []
    array = ("*",) if column.kind.is_array else ()
    item = (*table.path, "*") if table.parent is not None else ()
    path = "".join(f"/{step if step == '*' else escaped(step)}" for step in (*item, *column.path, *array))
    counted = unknown.group_by("value", maintain_order=True).agg(pl.len(), pl.col(ID).first().cast(pl.String))
    return [Drift(path, NEW_VALUE, value, count, first) for value, count, first in counted.iter_rows()]
