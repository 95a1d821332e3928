"""The free-form fields of many documents as JSON, in few calls: the texts are those of ``extended_json``.

Decoding and writing go by way of C for thousands of documents at a time. What either might change is found by looking
at the bytes that went in and the text that came out; only the documents in doubt are then written one by one.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import bson
import orjson
import polars as pl

from contracts.schema.entity import Column
from transforms.documents import TOGETHER, decoded, documents
from transforms.extended_json import UnrepresentableError, extended, json_text
from transforms.reasons import Reason, escaped

_ORJSON = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME
# Between two texts, and in place of the quote before our own "$date" and the like: JSON has neither of these bytes.
_SEPARATOR, _OUR_QUOTE = "\0", "\1"
_BETWEEN = orjson.Fragment(_SEPARATOR)
# A name that begins with $ would read back as another type; jsonb holds neither NUL nor negative zero, and prints 1e17
# as an integer.
_IN_DOUBT = r'"\$|\\u0000|-0\.0|[:\[,]-?\d[\d.]*e'
# The last two bytes of a NaN or an infinity, which orjson writes as null. Few other bytes look so, and no text does.
_NOT_FINITE = re.compile(rb"[\xf0-\xff][\x7f\xff]")
_STANDS_IN = "{}"  # for what is refused


def json_texts(batch: bytes, columns: Sequence[Column]) -> tuple[dict[str, pl.Series], dict[int, Reason]]:
    """Write the free-form fields of documents as JSON.

    Args:
        batch: BSON documents, one after the other.
        columns: The columns of the free-form fields.

    Returns:
        The texts by column, one per document (null where the field is null or missing), and by the document's place
        in the batch the first reason why it can't be held exactly.
    """
    texts: dict[str, list[pl.Series]] = {column.name: [] for column in columns}
    refused: dict[int, Reason] = {}
    raws = documents(batch) if columns else []
    located = _located(raws, columns[0]) if len(columns) == 1 else None
    for start in range(0, len(raws), TOGETHER):
        some = (located or raws)[start : start + TOGETHER]
        values = list(decoded(some))
        reasons = {number: value for number, value in enumerate(values) if isinstance(value, Reason)}
        for column in columns:
            fields = [None if isinstance(one, Reason) else one if located else _field(one, column) for one in values]
            written, unheld = _written(fields, some, column)
            texts[column.name].append(written)
            reasons = unheld | reasons
        refused |= {start + number: reason for number, reason in reasons.items()}
    # A column must be free of nulls where the contract says so, also for a document that is refused.
    empty = pl.Series([], dtype=pl.String)
    series = {name: pl.concat([empty, *parts]) for name, parts in texts.items()}
    lost = pl.Series(list(refused), dtype=pl.UInt32)
    return {name: one.scatter(lost, _STANDS_IN) if len(lost) else one for name, one in series.items()}, refused


def _located(raws: Sequence[bytes], column: Column) -> list[bytes] | None:
    """Return the BSON of a field of each document, or None if a look does not find it; to decode it alone is faster.

    Every document has the field, so where its name stands only once, of whatever type, that is where it is.
    """
    if column.nullable or len(column.path) > 1:
        return None
    name = column.path[0].encode() + b"\0"
    if any(raw.count(name) != 1 for raw in raws):
        return None
    places = (raw.index(name) + len(name) for raw in raws)
    return [raw[at : at + int.from_bytes(raw[at : at + 4], "little")] for raw, at in zip(raws, places, strict=True)]


def _field(document: Any, column: Column) -> Any:
    for name in column.path:
        document = document.get(name) if document is not None else None
    return document


def _written(values: Sequence[Any], raws: Sequence[bytes], column: Column) -> tuple[pl.Series, dict[int, Reason]]:
    """Write values, null for None; of those that can't be held exactly return the first reason, by place."""
    pointer = "".join(f"/{escaped(name)}" for name in column.path)
    texts = _written_together(values)
    doubtful: Iterable[int] = range(len(values)) if texts is None else _doubtful(texts, raws)
    exact: dict[int, str | None] = {}
    reasons: dict[int, Reason] = {}
    for number in doubtful:
        try:
            exact[number] = None if values[number] is None else json_text(values[number], pointer)
        except UnrepresentableError as error:
            exact[number], reasons[number] = _STANDS_IN, error.reason
    if texts is None:
        return pl.Series(list(exact.values()), dtype=pl.String), reasons
    texts = texts.scatter(list(exact), list(exact.values())) if exact else texts
    texts = texts.str.replace_all(_OUR_QUOTE, '"', literal=True)
    return texts.set(texts == "null", None), reasons  # what no document is written as


def _written_together(values: Sequence[Any]) -> pl.Series | None:
    """Write values in one call; None if one of them has no exact JSON form."""
    between = [_BETWEEN] * (2 * len(values))
    between[::2] = values
    try:
        text = orjson.dumps(between, default=_extended, option=_ORJSON).decode()
    except TypeError:  # orjson wraps whatever the callback raises
        return None
    return pl.Series([text[1:-3]], dtype=pl.String).str.split(f",{_SEPARATOR},").explode()


def _extended(value: Any) -> Any:
    if type(value) is bson.Int64:
        return int(value)
    text = orjson.dumps(extended(value, "")).decode()
    return orjson.Fragment(text.replace('"$', f"{_OUR_QUOTE}$"))


def _doubtful(texts: pl.Series, raws: Sequence[bytes]) -> list[int]:
    """Return the places of the texts that a store might not give back as the values that they were written from."""
    in_doubt = texts.str.contains(_IN_DOUBT)
    with_null = (texts.str.contains("null", literal=True) & ~in_doubt).arg_true()
    not_finite = [number for number in with_null if _NOT_FINITE.search(raws[number])]
    return [*in_doubt.arg_true(), *not_finite]
