"""The JSON fields of many documents, in few calls: the texts are those of ``extended_json``.

Decoding and writing go by way of C for thousands of documents at a time. What either might change is found by looking
at the bytes that went in and the text that came out; only the documents in doubt are then written one by one.
"""

import re
from collections.abc import Sequence
from itertools import chain, groupby
from typing import Any

import bson
import numpy as np
import orjson
import polars as pl

from contracts.schema.entity import Column, Entity, Table
from transforms.bson.documents import TOGETHER, decode_documents, find_starts, split_documents, value_at
from transforms.bson.extended_json import extended, to_json_text
from transforms.bson.layouts import Located
from transforms.bson.nested import DOCUMENT, Places, cut_documents, find_values
from transforms.gc_pause import gc_paused
from transforms.ingest.rows import find_rows
from transforms.violations import Violation

_ORJSON = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME
# Between two texts, and in place of the quote before our own "$date" and the like: JSON has neither of these bytes.
_SEPARATOR, _OUR_QUOTE = "\0", "\1"
_BETWEEN = orjson.Fragment(_SEPARATOR)
# A name that begins with $ may mean something; jsonb holds neither NUL nor negative zero.
_IN_DOUBT = r'"\$|\\u0000|-0\.0'
# jsonb prints 1e17 as an integer. What looks like an exponent is quickly found, and seldom is one.
_LOOKS_LIKE_EXPONENT, _EXPONENT = r"[0-9]e[-+0-9]", r"(?:^|[:\[,])-?\d[\d.]*e"
# The last two bytes of a NaN or an infinity, which orjson writes as null. Few other bytes look so, and no text does.
_NOT_FINITE = re.compile(rb"[\xf0-\xff][\x7f\xff]")
_UNWRITTEN = '"$'  # which is in doubt


class _Texts:
    """The JSON fields of one table's rows, as they are written."""

    def __init__(self, table: Table, *, alone: bool) -> None:
        """Begin with no rows.

        Args:
            table: The table.
            alone: Whether not documents are decoded, but each document's one JSON field by itself.
        """
        self._table, self._alone = table, alone
        self._counts: list[int] = []
        self._written: dict[str, list[str]] = {column.name: [] for column in table.json_fields}

    def add(self, documents: Sequence[Any]) -> None:
        """Write the fields of the rows that some documents become."""
        owners = documents
        if self._table.parent is not None:
            rows = [find_rows(document, self._table) for document in documents]
            self._counts += map(len, rows)
            owners = list(chain.from_iterable(rows))
        for column in self._table.json_fields:
            values = owners if self._alone else [value_at(owner, column.path) for owner in owners]
            self._written[column.name] += chain.from_iterable(
                _written(values[start : start + TOGETHER]) for start in range(0, len(values), TOGETHER)
            )

    def exact(self, raws: Sequence[bytes]) -> dict[str, pl.Series]:
        """Return the texts by column, with those put right that are in doubt.

        Args:
            raws: What was decoded.
        """
        owners = np.arange(len(raws))
        if self._table.parent is not None:
            owners = owners.repeat(self._counts)
        exact: dict[str, pl.Series] = {}
        for column in self._table.json_fields:
            written = pl.Series(self._written.pop(column.name), dtype=pl.String)
            found: dict[int, str] = {}
            for number, rows in groupby(_doubtful(written, owners, raws), key=owners.__getitem__):
                ((document,), _) = decode_documents([raws[number]])
                first, values = int(np.searchsorted(owners, number)), find_rows(document, self._table)
                found |= {row: to_json_text(self._value(values[row - first], column)) for row in rows}
            exact[column.name] = _mended(written, found)
        return exact

    def _value(self, owner: Any, column: Column) -> Any:
        return owner if self._alone else value_at(owner, column.path)


@gc_paused()  # by hundreds of thousands of values that are gone at its end
def to_json_texts(
    batch: bytes, entity: Entity, located: Located | None = None
) -> tuple[dict[str, dict[str, pl.Series]], dict[int, Violation]]:
    """Write the fields of documents that are kept as JSON.

    Args:
        batch: BSON documents, one after the other.
        entity: Their contract.
        located: Where values begin, if that is known.

    Returns:
        The texts by table and column, one per row (null where the field is null or missing); and by the document's
        place in the batch why its bytes can't be decoded without loss. If there is such a document, there are no texts.
    """
    tables = [table for table in entity.tables if table.json_fields]
    fields = _located(batch, tables, located)
    raws = fields or (split_documents(batch) if tables else [])
    texts = {table.name: _Texts(table, alone=fields is not None) for table in tables}
    lossy: dict[int, Violation] = {}
    for start in range(0, len(raws), TOGETHER):
        values, reasons = decode_documents(raws[start : start + TOGETHER])
        lossy |= {start + number: reason for number, reason in reasons.items()}
        for one in texts.values():
            one.add(values)
        del values  # those of one huge document would be in the way of its text
    if lossy:
        return {}, lossy
    return {name: one.exact(raws) for name, one in texts.items()}, {}


def write_json(values: Sequence[Any], raws: Sequence[bytes]) -> pl.Series:
    """Write values that were taken out of documents as JSON; null as null.

    Args:
        values: The value of each document, as pymongo decodes it.
        raws: The BSON of each document.
    """
    texts = [text for start in range(0, len(values), TOGETHER) for text in _written(values[start : start + TOGETHER])]
    written = pl.Series(texts, dtype=pl.String)
    in_doubt = _doubtful(written, np.arange(len(raws)), raws)
    return _mended(written, {number: to_json_text(values[number]) for number in in_doubt})


def _mended(written: pl.Series, exact: dict[int, str]) -> pl.Series:
    """Return texts with those put right that were in doubt."""
    written = written.scatter(list(exact), list(exact.values())) if exact else written
    written = written.str.replace_all(_OUR_QUOTE, '"', literal=True)
    return written.set(written == "null", None)  # a text that says so is written in quotes


def _located(batch: bytes, tables: Sequence[Table], known: Located | None) -> list[bytes] | None:
    """Return the BSON of the only JSON field of each document, or None if a look does not find it.

    To decode it alone is faster.
    """
    columns = [column for table in tables for column in table.json_fields]
    if len(columns) != 1 or tables[0].parent is not None or columns[0].nullable or len(columns[0].path) != 1:
        return None
    name = columns[0].path[0]
    if (places := known.values.get(name) if known else None) is None:
        places = find_values(batch, np.array(find_starts(batch), np.int64), name, DOCUMENT)
    return None if places is None else cut_documents(batch, places)


def _written(values: Sequence[Any]) -> list[str]:
    """Write values in one call; where that fails each by itself, and one that is too deep as what is in doubt."""
    between = [_BETWEEN] * (2 * len(values))
    between[::2] = values
    try:
        text = orjson.dumps(between, default=_extended, option=_ORJSON).decode()
    except TypeError:  # orjson wraps whatever the callback raises
        return [_UNWRITTEN] if len(values) == 1 else [text for one in values for text in _written([one])]
    return text[1:-3].split(f",{_SEPARATOR},")


def _extended(value: Any) -> Any:
    if type(value) is bson.Int64:
        return int(value)
    return orjson.Fragment(orjson.dumps(extended(value)).replace(b'"$', _OUR_QUOTE.encode() + b"$"))


def _doubtful(texts: pl.Series, owners: Places, raws: Sequence[bytes]) -> list[int]:
    """Return the rows whose texts a store might not give back as the values that they were written from, in order."""
    in_doubt = texts.str.contains(_IN_DOUBT)
    alike = texts.str.contains(_LOOKS_LIKE_EXPONENT).arg_true()
    exponents = alike.filter(texts.gather(alike).str.contains(_EXPONENT))
    with_null = (texts.str.contains("null", literal=True) & ~in_doubt).arg_true().to_numpy()
    not_finite = {number: _NOT_FINITE.search(raws[number]) for number in np.unique(owners[with_null]).tolist()}
    doubtful = {*in_doubt.arg_true(), *exponents}
    return sorted(doubtful.union(row for row in with_null.tolist() if not_finite[int(owners[row])]))
