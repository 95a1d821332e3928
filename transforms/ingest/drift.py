"""What the application does that its contract does not know yet, or not expect: it is loaded, and told."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain

import polars as pl

from contracts.schema.entity import ID, Column, Field, Table
from transforms.violations import VALUE_CHARACTERS, pointer_into, shorten_text

UNDECLARED, NEW_VALUE, MISFIT, OMITTED = "undeclared field", "new value", "misfit", "omitted field"
HELD_ALONE = "only in this store"
# New values of a field, and undeclared fields or misfits of a parent; of more, none is an oversight of the contract.
_SHOWN = 50
Key = tuple[str, str, str | None]  # path, kind and value


@dataclass(frozen=True)
class Drift:
    """One way in which documents go beyond their contract.

    Attributes:
        path: JSON Pointer; ``*`` stands for any position in an array, and as its end for all other fields.
        kind: ``undeclared field``, ``new value``, ``misfit``, ``omitted field`` or ``only in this store``.
        value: The new value of a category, shortened; of a misfit its BSON type; of what the other store could not hold
            the rule that says so; None for a field, and for all others.
        count: How often it was seen.
        first_id: ``_id`` of the first document that has it, as the stores have it.
    """

    path: str
    kind: str
    value: str | None
    count: int
    first_id: str


def count_drift(found: Iterable[tuple[str, Iterable[Key]]]) -> Iterator[Drift]:
    """Yield the drift of some documents.

    Args:
        found: The ``_id`` of each, and what was set aside: path, kind and value.
    """
    counts: Counter[Key] = Counter()
    first: dict[Key, str] = {}
    for document_id, keys in found:
        for key in keys:
            counts[key] += 1
            if first.setdefault(key, document_id) > document_id:
                first[key] = document_id
    return (
        Drift(shorten_text(path), kind, value, counts[key], first[key]) for key in counts for path, kind, value in [key]
    )


def find_omitted(path: Sequence[Field], documents: int, document_id: str) -> Drift:
    """Return how many documents have a field that their contract omits, as drift.

    Args:
        path: The fields that lead to it, itself included.
        documents: How many have it.
        document_id: ``_id`` of the first one.
    """
    steps = chain.from_iterable((one.name, "*") if one.repeated else (one.name,) for one in path)
    return Drift(reduce(pointer_into, steps, ""), OMITTED, None, documents, document_id)


def find_new_values(frames: Mapping[str, pl.DataFrame], tables: Iterable[Table]) -> list[Drift]:
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


def merge_drifts(drifts: Iterable[Drift]) -> list[Drift]:
    """Add up what is the same; beyond the first values of a field, or fields of a parent, the others are one sum.

    So memory is bounded by the contract, whatever the documents have.
    """
    found: dict[Key, Drift] = {}
    shown: dict[Key, set[Key]] = defaultdict(set)
    for one in drifts:
        key, others = (one.path, one.kind, one.value), _others(one)
        member = (one.path, one.kind, None) if one.kind == MISFIT else key  # all types of misfits of a field, or none
        if key != others and one.kind in (NEW_VALUE, UNDECLARED, MISFIT) and member not in shown[others]:
            if len(shown[others]) < _SHOWN:
                shown[others].add(member)
            else:
                key = others
        earlier = found.get(key)
        count = one.count + (earlier.count if earlier else 0)
        # The slow path comes before the fast one, so what was seen first need not be first.
        first_id = min(earlier.first_id, one.first_id) if earlier else one.first_id
        found[key] = Drift(*key, count, first_id)
    return list(found.values())


def _others(one: Drift) -> Key:
    """Return under what a drift is counted where too many are like it."""
    path = one.path if one.kind == NEW_VALUE else f"{one.path.rpartition('/')[0]}/*"
    return path, one.kind, None


def _new_values(frame: pl.DataFrame, table: Table, column: Column) -> list[Drift]:
    assert column.field is not None
    rows = frame.select(ID, pl.col(column.name).alias("value"))
    if column.kind.is_array:
        rows = rows.explode("value")
    unknown = rows.filter(~pl.col("value").is_in(column.field.vocabulary))  # null is neither in nor out
    if unknown.is_empty():
        return []
    array = ("*",) if column.kind.is_array else ()
    path = reduce(pointer_into, (*table.item_path, *column.path, *array), "")
    if (unknown["value"].str.len_chars() > VALUE_CHARACTERS).any():  # a text may have 16 MB
        unknown = unknown.with_columns(pl.Series("value", map(shorten_text, unknown["value"]), pl.String))
    counted = unknown.group_by("value", maintain_order=True).agg(pl.len(), pl.col(ID).first().cast(pl.String))
    return [Drift(path, NEW_VALUE, value, count, first) for value, count, first in counted.iter_rows()]
