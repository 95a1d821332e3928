"""Documents of any contract, from its fields alone: what an eighth collection is made of."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from bson import Binary, Decimal128
from bson.binary import UUID_SUBTYPE

from contracts.schema.entity import ContractError, Field
from contracts.schema.kinds import (
    ANY,
    ANY_ID,
    BOOLEAN,
    CATEGORY,
    INT64_MAX,
    INTEGER,
    JSON,
    KEY_TEXT,
    NUMBER,
    OBJECT_ID,
    TEXT,
    TIMESTAMP,
    UUID_BYTES,
    Kind,
)
from generators import ragged
from generators.chunk import MISSING, Chunk, Columns, assemble, dates, decimals, rounded
from generators.world import HOUR, Integers

ROWS = 1_000
NULLS, MISSES = 0.05, 0.05  # of the values of a nullable field
MOST_ITEMS = 8
LONGEST_NUMBER = 15  # digits of a decimal's coefficient that are drawn: exact as 64-bit integers


def draw(chunk: Chunk) -> Columns:
    """Draw every field of the contract; timestamps rise in the order in which they are declared."""
    happened = chunk.moments()
    return {"_id": _ids(chunk, happened), **fields(chunk, chunk.entity.fields, happened)}


def fields(chunk: Chunk, wanted: tuple[Field, ...], happened: Integers) -> Columns:
    """Draw some fields of the contract's top level.

    Args:
        chunk: The rows.
        wanted: The fields to draw.
        happened: When each document came into being.
    """
    columns = _columns(chunk, wanted, np.arange(chunk.size), happened, ())
    _keep_rules(chunk, columns)
    return columns


def _ids(chunk: Chunk, happened: Integers) -> list[Any]:
    kind = chunk.entity.id_kind
    if kind is OBJECT_ID:
        return list(chunk.object_ids(happened))
    if kind in (TEXT, KEY_TEXT):
        return chunk.keys("D")
    if kind in (INTEGER, NUMBER):
        return list(chunk.numbers.tolist())
    if kind is TIMESTAMP:
        return dates(chunk.numbers)
    if kind is ANY_ID:
        return _ids_of_any_type(chunk, happened)
    if isinstance(kind.frame, pl.Decimal):
        return [Decimal128(str(number)) for number in chunk.numbers.tolist()]
    raise ContractError(f"{chunk.entity.collection}: no generator makes an _id that is {kind.name}")


def _ids_of_any_type(chunk: Chunk, happened: Integers) -> list[Any]:
    """Return ids of several types in turn; none equals another, as 7.0 would 7."""
    objects, texts, moments = chunk.object_ids(happened), chunk.keys("D"), dates(chunk.numbers)
    makers: list[Callable[[int], Any]] = [
        objects.__getitem__,
        texts.__getitem__,
        lambda row: int(chunk.numbers[row]),
        lambda row: int(chunk.numbers[row]) + 0.5,
        lambda row: {"kind": "made", "number": int(chunk.numbers[row])},
        moments.__getitem__,
        lambda row: Binary(int(chunk.numbers[row]).to_bytes(16, "big"), UUID_SUBTYPE),
    ]
    return [makers[number % len(makers)](row) for row, number in enumerate(chunk.numbers.tolist())]


def _columns(
    chunk: Chunk, wanted: tuple[Field, ...], rows: Integers, happened: Integers, path: tuple[str, ...]
) -> Columns:
    """Draw fields of one level.

    Args:
        chunk: The rows of the collection.
        wanted: The fields.
        rows: For each value to draw, the document it is for.
        happened: For each value to draw, the moment of the last timestamp before it.
        path: Names of the fields above.
    """
    columns: Columns = {}
    for field in wanted:
        if field.kind is TIMESTAMP:
            if columns:
                happened = np.minimum(happened + chunk.spans(HOUR, 1.5, len(rows)), chunk.window.end)
            values: list[Any] = dates(happened)
        elif field.kind is not None:
            values = _scalars(chunk, field, rows, (*path, field.name))
        elif field.repeated:
            values = _items(chunk, field, rows, happened, path)
        elif field.omitted:
            values = [f"omitted-{number}" for number in chunk.rng.integers(0, 1_000_000, len(rows)).tolist()]
        else:
            values = list(assemble(_columns(chunk, field.fields, rows, happened, (*path, field.name))))
        columns[field.name] = _with_gaps(chunk, values) if field.nullable else values
    return columns


def _items(chunk: Chunk, field: Field, rows: Integers, happened: Integers, path: tuple[str, ...]) -> list[Any]:
    counts = chunk.rng.integers(0, MOST_ITEMS, len(rows))
    owners = ragged.owners(counts)
    columns = _columns(chunk, field.fields, rows[owners], happened[owners], (*path, field.name))
    items = columns[field.fields[0].name] if field.bare else list(assemble(columns))
    split = ragged.split([None if one is MISSING else one for one in items], counts)
    return [{f"key{n}": one for n, one in enumerate(some)} for some in split] if field.keyed else list(split)


def _with_gaps(chunk: Chunk, values: list[Any]) -> list[Any]:
    luck = chunk.rng.random(len(values)).tolist()
    return [
        MISSING if lot < MISSES else None if lot < MISSES + NULLS else value
        for value, lot in zip(values, luck, strict=True)
    ]


def _scalars(chunk: Chunk, field: Field, rows: Integers, path: tuple[str, ...]) -> list[Any]:
    """Draw one value of a field, or one array of values, per row."""
    assert field.kind is not None
    if path == chunk.entity.root.column(chunk.entity.key).path:
        return _keys(chunk, field)
    if field.kind.item is None:
        return _values(chunk, field, field.kind, rows)
    counts = chunk.rng.integers(0, MOST_ITEMS, len(rows))
    items = _values(chunk, field, field.kind.item, rows[ragged.owners(counts)])
    if field.kind.null_items:
        lots = chunk.rng.random(len(items)).tolist()
        items = [None if lot < NULLS else item for item, lot in zip(items, lots, strict=True)]
    return list(ragged.split(items, counts))


def _keys(chunk: Chunk, field: Field) -> list[Any]:
    """Return business keys: the users or products themselves, or the row's number."""
    if field.kind is INTEGER:
        return list((chunk.numbers + (field.minimum or 0)).tolist())
    if field.name.endswith("user_id"):
        return list(chunk.world.users.ids(chunk.numbers))
    if field.name.endswith("product_id"):
        return list(chunk.world.products.ids(chunk.numbers))
    return chunk.keys(field.name[:1].upper())


def _values(chunk: Chunk, field: Field, kind: Kind, rows: Integers) -> list[Any]:
    """Draw values of one kind."""
    size = len(rows)
    if kind in (TEXT, KEY_TEXT, CATEGORY):
        return _texts(chunk, field, rows)
    if kind is INTEGER:
        return list(_integers(chunk, field, size).tolist())
    if kind is NUMBER:
        low, high = _bounds(field, 1_000)
        return rounded(np.clip(np.round(low + chunk.rng.random(size) * (high - low), 3), low, high), 3)
    if kind is BOOLEAN:
        return list(chunk.chance(0.5, size).tolist())
    if kind is TIMESTAMP:
        return dates(chunk.rng.permutation(chunk.moments())[rows])
    if kind.subtype is not None:
        drawn = [chunk.rng.bytes(UUID_BYTES) for _ in range(size)]
        return [Binary(one, kind.subtype) for one in drawn] if kind.subtype else list(drawn)
    if kind is JSON:
        return _documents(chunk, size)
    if kind is ANY:
        return _anything(chunk, size)
    if kind is OBJECT_ID:
        return list(chunk.references(size))
    if isinstance(kind.frame, pl.Decimal):
        return list(_decimals(chunk, field, kind.frame, size))
    raise ContractError(f"{chunk.entity.collection}: no generator makes the field {field.name!r}, which is {kind.name}")


def _texts(chunk: Chunk, field: Field, rows: Integers) -> list[str]:
    """Draw what the field's name promises: ids of users and products, names, cities; else known values or phrases."""
    size, stem = len(rows), field.name.removesuffix("s")
    if field.vocabulary:
        return chunk.pick(field.vocabulary, size)
    if stem.endswith("user_id"):
        return chunk.world.users.ids(chunk.world.users.draw(chunk.rng, size))
    if stem.endswith("product_id"):
        return chunk.world.products.ids(chunk.world.products.draw(chunk.rng, size))
    if stem.endswith("_id"):
        return [f"{stem[:1].upper()}{number:07d}" for number in chunk.rng.integers(0, chunk.rows + 1, size).tolist()]
    words = chunk.words
    named = {"name": words.names, "city": words.cities, "user_agent": words.user_agents, "title": words.queries}
    phrases = next((texts for name, texts in named.items() if stem.endswith(name)), words.questions)
    return [_fitted(text, field) for text in chunk.pick(phrases, size)]


def _fitted(text: str, field: Field) -> str:
    """Return a text of lawful length."""
    if len(text) < (field.min_length or 0):
        text = text * (field.min_length or 0)
    return text[: field.max_length]


def _integers(chunk: Chunk, field: Field, size: int) -> Integers:
    low, high = _bounds(field, 10_000)
    if field.maximum is None:
        skewed: Integers = low + np.minimum(chunk.rng.lognormal(4, 1.5, size), high - low).astype(np.int64)
        return skewed
    return chunk.rng.integers(low, high, size, endpoint=True)


def _bounds(field: Field, width: int) -> tuple[int, int]:
    """Return the least and the greatest value to draw: the declared ones, or as far apart as ``width``."""
    if field.minimum is None and field.maximum is not None:
        return field.maximum - width, field.maximum
    low = field.minimum or 0
    return low, min(low + width, INT64_MAX) if field.maximum is None else field.maximum


def _decimals(chunk: Chunk, field: Field, frame: pl.Decimal, size: int) -> list[Decimal128]:
    """Draw amounts, in units of the last digit; most are far from the greatest one."""
    digits = min(frame.precision or LONGEST_NUMBER, LONGEST_NUMBER)
    unit, limit = 10**frame.scale, 10**digits - 1
    low = 0 if field.minimum is None else max(field.minimum * unit, -limit)
    high = limit if field.maximum is None else min(field.maximum * unit, limit)
    low = min(low, high)
    drawn = np.exp(chunk.rng.random(size) * np.log(high - low + 1)).astype(np.int64)
    return decimals(np.clip(low + drawn - 1, low, high), frame.scale)


def _documents(chunk: Chunk, size: int) -> list[Any]:
    rows = zip(
        chunk.pick(chunk.words.queries, size),
        rounded(chunk.rng.normal(0, 100, size), 2),
        chunk.rng.integers(0, 1_000, size).tolist(),
        chunk.chance(0.3, size).tolist(),
        strict=True,
    )
    return [
        {"note": note, "score": score} if short else {"label": note, "values": [count, score, None], "at": {"n": count}}
        for note, score, count, short in rows
    ]


def _anything(chunk: Chunk, size: int) -> list[Any]:
    """Draw documents, and among them arrays of arrays and scalars of several types."""
    lots, counts = chunk.rng.random(size).tolist(), chunk.rng.integers(0, 1_000, size).tolist()
    kinds: tuple[Callable[[dict[str, Any], int], Any], ...] = (
        lambda document, count: document,
        lambda document, count: [[count, None], [document]],
        lambda document, count: count,
        lambda document, count: str(count),
        lambda document, count: [count / 2, True],
    )
    documents = zip(lots, _documents(chunk, size), counts, strict=True)
    return [kinds[int(lot * len(kinds))](document, count) for lot, document, count in documents]


def _keep_rules(chunk: Chunk, columns: Columns) -> None:
    """Exchange the two values of a row where they break a rule over two fields, such as an end before its start."""
    for rule in chunk.entity.rules:
        names = rule.condition.meta.root_names()
        paths = {name: chunk.entity.root.column(name).path for name in names}
        if len(names) != 2 or not all(len(path) == 1 and path[0] in columns for path in paths.values()):
            continue
        values = {name: columns[path[0]] for name, path in paths.items()}
        first, second = values.values()
        frame = pl.DataFrame(
            {name: [None if value is MISSING else value for value in drawn] for name, drawn in values.items()}
        ).cast({name: chunk.entity.root.column(name).kind.frame for name in names})
        kept = frame.select(rule.condition.fill_null(True)).to_series().to_list()
        for row, lawful in enumerate(kept):
            if not lawful:
                first[row], second[row] = second[row], first[row]
