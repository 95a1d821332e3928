"""Which parts of a decoded document the rows of a contract's tables are made of."""

from collections.abc import Sequence
from typing import Any

from contracts.schema.entity import Table
from transforms.bson.documents import value_at


def find_rows(document: Any, table: Table) -> Sequence[Any]:
    """Return what the rows of a table are made of, in order: the document, or the items of an array within it.

    Args:
        document: What :func:`transforms.bson.documents.decode_document` made of it.
        table: One of its contract's tables.
    """
    return [document] if table.parent is None else value_at(document, table.path) or ()
