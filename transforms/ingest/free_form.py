"""The free-form fields of many documents as JSON, in few calls: the texts are those of ``extended_json``.

Decoding and writing go by way of C for thousands of documents at a time. What either might change is found by looking
at the bytes that went in and the text that came out; only the documents in doubt are then written one by one.
"""

import re
from collections.abc import Sequence
from typing import Any

import bson
import numpy as np
import orjson
import polars as pl

from contracts.schema.entity import Column
from transforms.bson.documents import TOGETHER, decode_documents, find_starts, split_documents, value_at
from transforms.bson.extended_json import extended, to_json_text
from transforms.bson.nested import DOCUMENT, cut_documents, find_values
from transforms.gc_pause import gc_paused
from transforms.violations import Violation

_ORJSON = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME
# Between two texts, and in place of the quote before our own "$date" and the like: JSON has neither of these bytes.
_SEPARATOR, _OUR_QUOTE = "\0", "\1"
_BETWEEN = orjson.Fragment(_SEPARATOR)
# A name that begins with $ may mean something; jsonb holds neither NUL nor negative zero.
_IN_DOUBT = r'"\$|\\u0000|-0\.0'
# jsonb prints 1e17 as an integer. What looks like an exponent is quickly found, and seldom is one.
_LOOKS_LIKE_EXPONENT, _EXPONENT = r"[0-9]e[-+0-9]", r"[:\[,]-?\d[\d.]*e"
# The last two bytes of a NaN or an infinity, which orjson writes as null. Few other bytes look so, and no text does.
_NOT_FINITE = re.compile(rb"[\xf0-\xff][\x7f\xff]")
_STANDS_IN = "{}"  # for what is refused
_UNWRITTEN = '"$'  # which is in doubt


@gc_paused()  # by hundreds of thousands of values that are gone at its end
def to_json_texts(batch: bytes, columns: Sequence[Column]) -> tuple[dict[str, pl.Series], dict[int, Violation]]:
    """Write the free-form fields of documents as JSON.

    Args:
        batch: BSON documents, one after the other.
        columns: The columns of the free-form fields.

    Returns:
        The texts by column, one per document (null where the field is null or missing), and by the document's place
        in the batch why its bytes can't be decoded without loss.
    """
    texts: dict[str, list[str]] = {column.name: [] for column in columns}
    refused: dict[int, Violation] = {}
    fields = _located(batch, columns[0]) if len(columns) == 1 else None
    raws = fields or (split_documents(batch) if columns else [])
    for start in range(0, len(raws), TOGETHER):
        values, reasons = decode_documents(raws[start : start + TOGETHER])
        for column in columns:
            texts[column.name] += _written(values if fields else [value_at(one, column.path) for one in values])
        refused |= {start + number: reason for number, reason in reasons.items()}
        del values  # those of one huge document would be in the way of its text
    exact: dict[str, pl.Series] = {}
    for column in columns:
        exact[column.name] = _exact(texts[column.name], raws, column, alone=fields is not None)
    # A column must be free of nulls where the contract says so, also for a document that is refused.
    lost = pl.Series(list(refused), dtype=pl.UInt32)
    return {name: one.scatter(lost, _STANDS_IN) if refused else one for name, one in exact.items()}, refused


def _located(batch: bytes, column: Column) -> list[bytes] | None:
    """Return the BSON of a field of each document, or None if a look does not find it; to decode it alone is faster."""
    if column.nullable or len(column.path) > 1:
        return None
    places = find_values(batch, np.array(find_starts(batch), np.int64), column.path[0], DOCUMENT)
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


def _exact(texts: Sequence[str], raws: Sequence[bytes], column: Column, *, alone: bool) -> pl.Series:
    """Put texts right that are in doubt."""
    written = pl.Series(texts, dtype=pl.String)
    exact: dict[int, str] = {}
    for number in _doubtful(written, raws):
        ((value,), _) = decode_documents([raws[number]])
        exact[number] = to_json_text(value if alone else value_at(value, column.path))
    written = written.scatter(list(exact), list(exact.values())) if exact else written
    written = written.str.replace_all(_OUR_QUOTE, '"', literal=True)
    return written.set(written == "null", None)  # what no document is written as


def _extended(value: Any) -> Any:
    if type(value) is bson.Int64:
        return int(value)
    return orjson.Fragment(orjson.dumps(extended(value)).replace(b'"$', _OUR_QUOTE.encode() + b"$"))


def _doubtful(texts: pl.Series, raws: Sequence[bytes]) -> list[int]:
    """Return the places of the texts that a store might not give back as the values that they were written from."""
    in_doubt = texts.str.contains(_IN_DOUBT)
    alike = texts.str.contains(_LOOKS_LIKE_EXPONENT).arg_true()
    exponents = alike.filter(texts.gather(alike).str.contains(_EXPONENT))
    with_null = (texts.str.contains("null", literal=True) & ~in_doubt).arg_true()
    not_finite = [number for number in with_null if _NOT_FINITE.search(raws[number])]
    return [*in_doubt.arg_true(), *exponents, *not_finite]
