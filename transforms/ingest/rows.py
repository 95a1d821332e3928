"""Which parts of a decoded document the rows of a contract's tables are made of."""

from collections.abc import Iterator, Sequence
from typing import Any

from contracts.schema.entity import Table
from transforms.bson.documents import value_at

Places = tuple[Any, ...]


def find_rows(document: Any, table: Table) -> Sequence[Any]:
    """Return what the rows of a table are made of, in order: the document, or the items of an array within it.

    Args:
        document: What :func:`transforms.bson.documents.decode_document` made of it.
        table: One of its contract's tables.
    """
    return [item for _, item in find_items(document, table)]


def find_items(document: Any, table: Table) -> Iterator[tuple[Places, Any]]:
    """Yield what the rows of a table are made of, each with the places that lead to it: one for each array.

    Args:
        document: As for :func:`find_rows`.
        table: Likewise.
    """
    found: Iterator[tuple[Places, Any]] = iter([((), document)])
    for level in table.levels:
        found = _within(found, level)
    return found


def _within(owners: Iterator[tuple[Places, Any]], level: Table) -> Iterator[tuple[Places, Any]]:
    for places, owner in owners:
        value = value_at(owner, level.path)
        for place, item in value.items() if level.is_map and value else enumerate(value or ()):
            yield (*places, place), item
