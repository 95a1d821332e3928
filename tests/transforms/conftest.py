"""Documents for the transforms: lawful ones of any contract, any values at all, and bytes that pymongo can't write."""

import math
import re
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from types import SimpleNamespace
from typing import Any

import bson
import polars as pl
import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import strategies as st

from contracts.schema.entity import Entity, Field
from contracts.schema.fields import (
    binary,
    boolean,
    booleans,
    categories,
    category,
    decimal,
    decimals,
    documents,
    free_form,
    identifier,
    integer,
    integers,
    json,
    money,
    number,
    numbers,
    object_id,
    object_ids,
    rule,
    subdocument,
    text,
    texts,
    timestamp,
    timestamps,
    uuid,
)
from contracts.schema.frame import FIRST_MOMENT, LAST_MOMENT
from contracts.schema.kinds import (
    BOOLEAN,
    INT64_MAX,
    INT64_MIN,
    INTEGER,
    JSON,
    NUMBER,
    OBJECT_ID,
    TIMESTAMP,
    Kind,
)
from contracts.schema.registry import entities

Strategy = st.SearchStrategy[Any]
EVERYTHING = Entity(
    "EverythingAtOnce",
    "A contract that uses every kind wherever it can stand.",
    "key",
    (
        identifier("key", "d"),
        text("open", "d", nullable=True),
        texts("tags", "d", nullable=True),
        categories("flags", "d", "a", "b"),
        integers("ints", "d", nullable=True),
        numbers("numbers", "d"),
        booleans("truths", "d"),
        timestamps("moments", "d", nullable=True),
        decimals("amounts", "d", 12, 2),
        texts("sparse", "d", null_items=True),
        numbers("sparse_numbers", "d", null_items=True),
        decimals("sparse_amounts", "d", 34, 5, null_items=True, nullable=True),
        integer("i", "d", minimum=-5, nullable=True),
        number("n", "d", nullable=True),
        boolean("b", "d", nullable=True),
        money("m", "d", nullable=True),
        decimal("wide", "d", 34, 10),
        timestamp("begun", "d", nullable=True),
        timestamp("ended", "d", nullable=True),
        object_id("ref", "d", nullable=True),
        free_form("notes", "d", nullable=True),
        json("any", "d", nullable=True),
        uuid("uuid", "d", nullable=True),
        binary("bytes", "d"),
        documents(
            "shapes", "d", subdocument("s", "d", json("v", "d"), nullable=True), free_form("w", "d"), nullable=True
        ),
        subdocument(
            "outer",
            "d",
            integer("i", "d"),
            free_form("notes", "d"),
            json("any", "d"),
            subdocument("inner", "d", timestamp("at", "d"), text("t", "d", nullable=True), texts("tags", "d")),
            documents("parts", "d", money("m", "d"), text("_id", "d", nullable=True)),
            nullable=True,
        ),
        subdocument("firm", "d", category("c", "d", "x", "y", closed=True), number("n", "d", nullable=True)),
        documents(
            "items",
            "d",
            text("t", "d", nullable=True),
            integer("i", "d", nullable=True),
            subdocument("place", "d", number("n", "d"), texts("tags", "d", nullable=True), nullable=True),
            timestamp("at", "d"),
            object_ids("refs", "d", null_items=True),
            json("any", "d", nullable=True),
            uuid("uuid", "d"),
            binary("bytes", "d", subtype=128, nullable=True),
            subdocument("deep", "d", free_form("notes", "d"), json("any", "d")),
            timestamps("moments", "d", null_items=True, nullable=True),
            nullable=True,
        ),
        text("a/b~c", "d", nullable=True),
    ),
    rules=(rule("ended_after_begun", pl.col("ended") >= pl.col("begun"), "d"),),
)
ENTITIES = {**entities(), "EverythingAtOnce": EVERYTHING}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for ``entity`` once per contract."""
    if "entity" in metafunc.fixturenames:
        metafunc.parametrize("entity", ENTITIES.values(), ids=ENTITIES)


@pytest.fixture(scope="session")
def everything() -> Entity:
    return EVERYTHING


# --- Bytes


def _element(name: str, value: Any) -> bytes:
    return bson.encode({name: value})[4:-1]


def _document(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return (len(body) + 5).to_bytes(4, "little") + body + b"\0"


def _inside(name: str, document: bytes, code: bytes = b"\x03") -> bytes:
    return code + name.encode() + b"\0" + document


@pytest.fixture(scope="session")
def raw() -> SimpleNamespace:
    """Build BSON by hand: elements, documents of elements, and documents as elements."""
    return SimpleNamespace(element=_element, document=_document, inside=_inside)


# --- Lawful documents


def _texts(low: int = 0, high: int | None = None) -> Strategy:
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.text(letters, min_size=low, max_size=min(high or 20, 20))


def _integers(low: int, high: int) -> Strategy:
    plain = st.integers(low, high)
    doubles = st.integers(max(low, -(2**53)), min(high, 2**53)).map(float)
    return st.one_of(plain, plain.map(Int64), doubles, st.sampled_from([low, high]))


def _decimals(precision: int, scale: int) -> Strategy:
    def write(unscaled: int, spare: int, negative: bool) -> Decimal128:
        # The same number may be written with fewer digits, and zero with a sign.
        digits, exponent = abs(unscaled), -scale
        while spare and digits and digits % 10 == 0:
            digits, exponent, spare = digits // 10, exponent + 1, spare - 1
        return Decimal128(Decimal((int(negative), tuple(map(int, str(digits))), exponent)))

    limit = 10 ** min(precision, 34) - 1
    round_amounts = st.integers(0, 99).map(lambda amount: amount * 10**scale)
    return st.builds(write, st.integers(0, limit) | round_amounts, st.integers(0, 3), st.booleans())


def _free_form() -> tuple[Strategy, Strategy]:
    keys = _texts(0, 6).filter(lambda key: not key.startswith("$"))
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(INT64_MIN, INT64_MAX),
        st.floats().filter(lambda x: x != 0 or str(x) == "0.0"),
        _texts(),
        st.integers(INT64_MIN, INT64_MAX).map(DatetimeMS),
        st.binary(min_size=12, max_size=12).map(ObjectId),
        st.binary(max_size=5).map(Binary),
        _decimals(34, 3),
    )
    values = st.recursive(
        leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(keys, v, max_size=3), max_leaves=6
    )
    return st.dictionaries(keys, values, max_size=4), values.filter(lambda value: value is not None)


_DOCUMENTS_OF_ANY_SHAPE, _ANY_VALUES = _free_form()


def _values(kind: Kind, field: Field) -> Strategy:
    if kind.subtype is not None:
        return st.binary(min_size=16, max_size=16).map(lambda one: Binary(one, kind.subtype or 0))
    if kind.is_json:
        return _DOCUMENTS_OF_ANY_SHAPE if kind is JSON else _ANY_VALUES
    if kind is OBJECT_ID:
        return st.binary(min_size=12, max_size=12).map(ObjectId)
    if kind is TIMESTAMP:
        first, last = (round(moment.timestamp() * 1000) for moment in (FIRST_MOMENT, LAST_MOMENT))
        return (st.integers(first, last) | st.sampled_from([first, last, 0, -1])).map(DatetimeMS)
    if kind is BOOLEAN:
        return st.booleans()
    if kind is INTEGER:
        low = INT64_MIN if field.minimum is None else field.minimum
        return _integers(low, INT64_MAX if field.maximum is None else field.maximum)
    if kind is NUMBER:
        return st.floats() | st.integers(-(2**31), 2**31 - 1) | st.sampled_from([math.nan, -math.inf, -0.0])
    if isinstance(kind.frame, pl.Decimal):
        amounts = _decimals(kind.frame.precision or 0, kind.frame.scale)
        low = field.minimum
        return amounts if low is None else amounts.map(lambda m: Decimal128(m.to_decimal().copy_abs()))
    if field.vocabulary and field.closed:
        return st.sampled_from(field.vocabulary)
    return _texts(field.min_length or 0, field.max_length)


def _lawful(fields: Sequence[Field]) -> Strategy:
    required = {field.name: _field(field) for field in fields if not field.nullable}
    optional = {field.name: st.none() | _field(field) for field in fields if field.nullable}
    return st.fixed_dictionaries(required, optional=optional)


def _field(field: Field) -> Strategy:
    if field.kind is None:
        inside = _lawful(field.fields)
        return st.lists(inside, max_size=3) if field.repeated else inside
    if field.kind.item is None:
        return _values(field.kind, field)
    items = _values(field.kind.item, field)
    return st.lists(st.none() | items if field.kind.null_items else items, max_size=3)


def _document_of(entity: Entity) -> Strategy:
    """Documents of a contract, their fields in any order after the ``_id``."""

    def shuffled(document: dict[str, Any], order: Any) -> dict[str, Any]:
        names = list(document)
        order.shuffle(names)
        return {"_id": document["_id"], **{name: document[name] for name in names}}

    return st.builds(shuffled, _lawful((entity.id_field, *entity.fields)), st.randoms(use_true_random=False))


_DOCUMENTS = {name: _document_of(entity) for name, entity in ENTITIES.items()}


@pytest.fixture(scope="session")
def lawful() -> Callable[[Entity], Strategy]:
    """Return documents that keep a contract in everything but, perhaps, its rules over several columns."""
    return lambda entity: _DOCUMENTS[entity.collection]


# --- Any values


def _anything() -> Strategy:
    strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    strings |= st.sampled_from(["\0", "a\0b", "\\u0000", '"$', "null", "-0.0", "1e5", "[1e5", ":-0.0", "\ud7ff\ue000"])
    keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
    keys |= st.sampled_from(["", "$", "$date", "$ref", "$id", "a/b", "~", "null", "\\u0000", '"$'])
    codes = st.builds(Code, strings, st.none() | st.dictionaries(keys, strings | st.floats(), max_size=2))
    no_nul = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**31), 2**31 - 1),
        st.integers(INT64_MIN, INT64_MAX).map(Int64),
        st.floats(),
        st.sampled_from([-0.0, 1e16, 1e17, 1e22, -1e-7, 5e-324, 1.7976931348623157e308, 123456789012345680.0]),
        strings,
        st.integers(INT64_MIN, INT64_MAX).map(DatetimeMS),
        st.sampled_from([-1, 0, 1, 253402300799999, 253402300800000]).map(DatetimeMS),
        st.binary(min_size=12, max_size=12).map(ObjectId),
        st.builds(Binary, st.binary(max_size=5), st.sampled_from([0, 1, 2, 5, 6, 128, 255])),
        st.builds(Binary, st.binary(min_size=16, max_size=16), st.sampled_from([3, 4])),
        st.binary(min_size=16, max_size=16).map(Decimal128.from_bid),
        codes,
        st.builds(Regex, no_nul, st.integers(0, 127).map(lambda flags: flags & 0b1111110)),
        st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
        st.sampled_from([MinKey(), MaxKey()]),
    )
    return st.recursive(leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(keys, v, max_size=4), max_leaves=8)


_ANYTHING = _anything()


@pytest.fixture(scope="session")
def anything() -> Strategy:
    """Return any value that BSON can hold and pymongo can write."""
    return _ANYTHING


# --- The gate


@pytest.fixture(scope="session")
def passes() -> Callable[..., bool]:
    """Return a judge of decoded values by a ``$jsonSchema``, which knows as much of it as gates use.

    Undeclared fields are none of its business if ``closed`` is false.
    """
    return _passes


def _passes(value: Any, rules: dict[str, Any], *, closed: bool = True) -> bool:
    if not rules:  # of what is omitted
        return True
    types = rules["bsonType"]
    name = _TYPES.get(type(value))
    if name not in ([types] if isinstance(types, str) else types):
        return False
    if isinstance(value, dict) and isinstance(rules.get("additionalProperties"), dict):
        return all(_passes(inner, rules["additionalProperties"], closed=closed) for inner in value.values())
    if isinstance(value, dict) and "properties" in rules:
        patterns = rules.get("patternProperties", {})
        known = rules["properties"] | {key: inner for one, inner in patterns.items() for key in value if _is(one, key)}
        return (
            set(rules.get("required", ())) <= set(value)
            and all(any(_is(one, key) for key in value) for one in _required_patterns(rules))
            and (not closed or set(value) <= set(known))
            and all(_passes(inner, known[key], closed=closed) for key, inner in value.items() if key in known)
        )
    if isinstance(value, list) and "items" in rules:
        return all(_passes(item, rules["items"], closed=closed) for item in value)
    if "multipleOf" not in rules or value is None:
        return True
    number, low, high, step = (_exact(one) for one in (value, rules["minimum"], rules["maximum"], rules["multipleOf"]))
    if not number.is_finite() or not low <= number <= high:
        return False
    _, digits, exponent = number.normalize(_WIDE).as_tuple()
    return int(exponent) >= int(step.as_tuple().exponent) or digits == (0,)


def _required_patterns(rules: dict[str, Any]) -> list[str]:
    return [pattern for has in rules.get("allOf", ()) for pattern in has["not"]["patternProperties"]]


def _is(pattern: str, name: str) -> bool:
    as_python_writes_it = re.sub(r"\\x\{([0-9a-f]+)\}", r"\\x\1", pattern).replace(r"\z", r"\Z")
    return re.match(as_python_writes_it, name) is not None


_WIDE = Context(prec=60)


def _exact(number: Any) -> Decimal:
    return number.to_decimal() if isinstance(number, Decimal128) else Decimal(number)


_TYPES = {
    type(None): "null",
    bool: "bool",
    int: "int",
    Int64: "long",
    float: "double",
    str: "string",
    dict: "object",
    list: "array",
    ObjectId: "objectId",
    DatetimeMS: "date",
    Decimal128: "decimal",
    bytes: "binData",
    Binary: "binData",
    Regex: "regex",
    Code: "javascript",
    Timestamp: "timestamp",
    MinKey: "minKey",
    MaxKey: "maxKey",
}
