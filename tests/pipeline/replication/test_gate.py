"""The gate, the slow path and the proof against documents that nobody planned."""

import runpy
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.codec_options import DatetimeConversion
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pymongo.errors import BulkWriteError

from contracts.schema.entity import Entity, Field
from contracts.schema.kinds import INTEGER, JSON, TIMESTAMP
from pipeline.replication.replicate import replicate
from pipeline.replication.verify import verify
from tests.examples import examples
from tests.pipeline.lab import Lab

DOCUMENTS = examples(120)  # of each contract
assert_accounted_for = runpy.run_path(str(Path(__file__).parents[1] / "plain_sql.py"))["assert_accounted_for"]

# --- BSON that Python objects can't say


@dataclass(frozen=True)
class Raw:
    """A value by its type and its bytes."""

    kind: int
    payload: bytes


Pairs = list[tuple[str, Any]]


class Document(list[Any]):
    """A document as pairs of name and value: names may stand twice."""


def bson_of(pairs: Pairs) -> bytes:
    inside = b"".join(_element(name, value) for name, value in pairs)
    return struct.pack("<i", len(inside) + 5) + inside + b"\0"


def _element(name: str, value: Any) -> bytes:
    key = name.encode("utf-8", "surrogateescape") + b"\0"
    if isinstance(value, Raw):
        return bytes([value.kind]) + key + value.payload
    if isinstance(value, Document):
        return b"\x03" + key + bson_of(value)
    if isinstance(value, list):
        return b"\x04" + key + bson_of([(str(number), item) for number, item in enumerate(value)])
    plain = bson.encode({"": value})[4:-1]
    return plain[:1] + key + plain[2:]


def _text(payload: bytes) -> Raw:
    return Raw(0x02, struct.pack("<i", len(payload) + 1) + payload + b"\0")


SYMBOL = Raw(0x0E, struct.pack("<i", 2) + b"s\0")
UNDEFINED = Raw(0x06, b"")
DB_POINTER = Raw(0x0C, struct.pack("<i", 2) + b"c\0" + bytes(12))
DECIMAL_TOO_BIG = Raw(0x13, b"\xff" * 14 + b"\x41\x30")  # a coefficient above 10^34 - 1
NAN_WITH_PAYLOAD = Raw(0x01, struct.pack("<Q", 0x7FF8_0000_0000_0123))
ODD_ARRAY = Raw(0x04, bson_of([("x", "a"), ("x", "b")]))
ARRAY_IN_DISORDER = Raw(0x04, bson_of([("1", "a"), ("0", "b")]))
STRANGE = [SYMBOL, UNDEFINED, DB_POINTER, DECIMAL_TOO_BIG, NAN_WITH_PAYLOAD, ODD_ARRAY, ARRAY_IN_DISORDER]
STRANGE += [_text(b"\xff\xfe"), _text(b"\xed\xa0\x80"), _text(b"a\0b"), _text(b"\xc0\x80"), _text(b"\xf4\x90\x80\x80")]

# --- Values

PLAIN: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**31 - 1,
    Int64(2**53 + 1),
    Int64(2**63 - 1),
    Int64(-(2**63)),
    0.0,
    -0.0,
    7.5,
    3.0,
    2.0**63,
    -(2.0**63),
    1e300,
    5e-324,
    float("nan"),
    float("inf"),
    "",
    "text",
    "a\0b",
    "\U0010ffff\u202e\u0301",
    "x" * 601,
    b"bytes",
    Binary(b"\x01" * 16, 4),
    Binary(b"x", 128),
    ObjectId("65f0c0ffee65f0c0ffee65f0"),
    DatetimeMS(0),
    DatetimeMS(-1),
    DatetimeMS(568_971_820_800_000),
    DatetimeMS(-(2**63)),
    DatetimeMS(2**63 - 1),
    Decimal128("1.5"),
    Decimal128("0E-6176"),
    Decimal128("-0"),
    Decimal128("9.999999999999999999999999999999999E+6144"),
    Decimal128("NaN"),
    Decimal128("-Infinity"),
    Regex("^a", "im"),
    Code("f()"),
    Code("f()", {"a": 1}),
    Timestamp(4_294_967_295, 1),
    MinKey(),
    MaxKey(),
    [],
    [None],
    ["a", 1],
    [[["deep"]]],
    [Document([("a", 1)])],
    Document([]),
    Document([("$date", "yesterday")]),
    Document([("$ref", "c"), ("$id", 1)]),
    Document([("a", 1), ("$id", 1), ("$db", None), ("$ref", "c")]),
    Document([("a", 1), ("a", 1)]),
    Document([("", 1), ("a/b~c", Document([("", [1.5])]))]),
]
ANY = st.one_of(
    st.sampled_from(PLAIN),
    st.sampled_from(STRANGE),
    st.text(max_size=5),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(),
    st.binary(max_size=5),
)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
MOMENTS = st.integers(-2_208_988_800_000, 10_413_791_999_999).map(DatetimeMS)
ODD_NAMES = ["foo", "", "a/b", "~", "$set", "$ref", "$id", "$db", "a.b", "_id", "_extra", "0", "\u00e9", "\udcff"]
NAMES = st.sampled_from(ODD_NAMES) | TEXTS
FREE_VALUES = st.one_of(
    TEXTS,
    st.booleans(),
    st.none(),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats().filter(lambda number: number != 0),
    st.datetimes().map(lambda moment: DatetimeMS(moment)),
    st.binary(max_size=4),
)
FREE_NAMES = TEXTS.filter(lambda name: not name.startswith("$"))
FREE = st.recursive(
    FREE_VALUES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(FREE_NAMES, inner), max_size=3, unique_by=lambda pair: pair[0]).map(Document)
    ),
    max_leaves=6,
)


def lawful_value(field: Field) -> st.SearchStrategy[Any]:
    assert field.kind is not None
    if field.kind.item is not None:
        return st.lists(TEXTS, max_size=3)
    if field.kind is JSON:
        return FREE.filter(lambda value: isinstance(value, Document)) | st.just(Document([("depth", _deep(100))]))
    if field.kind is TIMESTAMP:
        return MOMENTS
    if field.kind is INTEGER:
        low = -(2**63) if field.minimum is None else field.minimum
        numbers = st.integers(low, 2**63 - 1 if field.maximum is None else field.maximum).map(Int64)
        return numbers | st.integers(max(low, 0), 5).filter(bool).map(float)
    if field.kind.gate["bsonType"] == "decimal":
        return st.decimals(0, 9_999_999_999, places=2).map(Decimal128) | st.just(Decimal128("1E+3"))
    if field.closed:
        return st.sampled_from(field.vocabulary)
    texts = TEXTS | st.sampled_from(field.vocabulary) if field.vocabulary else TEXTS
    return texts.filter(bool) if field.min_length else texts


def _deep(levels: int) -> Any:
    return Document([("deeper", _deep(levels - 1))]) if levels else [1.5, Decimal128("0.10"), MinKey()]


def lawful_fields(fields: tuple[Field, ...]) -> st.SearchStrategy[Document]:
    values = [st.tuples(st.just(field.name), _lawful(field)) for field in fields]
    return st.permutations(values).flatmap(lambda some: st.tuples(*some)).map(lambda pairs: Document(pairs))


def _lawful(field: Field) -> st.SearchStrategy[Any]:
    if field.repeated:
        return st.lists(lawful_fields(field.fields), max_size=3)
    value = lawful_fields(field.fields) if field.kind is None else lawful_value(field)
    return st.none() | value if field.nullable else value


def _containers(document: Document, fields: tuple[Field, ...]) -> Iterator[tuple[Document, tuple[Field, ...]]]:
    """Yield the document and every declared document within, with the fields declared for it."""
    yield document, fields
    known = {field.name: field for field in fields}
    for name, value in document:
        inside = known[name].fields if name in known else ()
        for one in value if isinstance(value, list) and not isinstance(value, Document) else [value]:
            if inside and isinstance(one, Document):
                yield from _containers(one, inside)


@dataclass
class Made:
    """A document, and where it must end if that is known: ``loaded``, ``mended``."""

    raw: bytes
    end: str | None


@st.composite
def documents(draw: Callable[..., Any], entity: Entity) -> Made:
    document = draw(lawful_fields(entity.fields))
    end = _end_of_lawful(document, entity)
    document.insert(0, ("_id", ObjectId()))
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        end = _bend(draw, document, entity, end)
    return Made(bson_of(document), end)


def _end_of_lawful(document: Document, entity: Entity) -> str | None:
    """Times of one document are in any order, which the rules over several columns may refuse."""
    return None if entity.rules else "loaded"


def _bend(draw: Callable[..., Any], document: Document, entity: Entity, end: str | None) -> str | None:
    places = list(_containers(document, (entity.id_field, *entity.fields)))
    inside, fields = places[draw(st.integers(0, len(places) - 1))]
    turn = draw(st.sampled_from(["undeclared", "any extra", "replace", "replace", "replace", "drop", "twice", "item"]))
    if turn == "undeclared":
        names = {name for name, _ in inside} | {field.name for field in fields}
        name = draw(FREE_NAMES.filter(lambda name: name not in names))
        inside.append((name, draw(FREE)))
        return end and "mended"
    if turn == "any extra":
        inside.append((draw(NAMES), draw(ANY)))
    elif inside:
        place = draw(st.integers(0, len(inside) - 1))
        name, value = inside[place]
        if turn == "replace":
            inside[place] = (name, draw(ANY))
        elif turn == "drop" and name != "_id":
            del inside[place]
        elif turn == "twice" and name != "_id":
            inside.insert(draw(st.integers(place, len(inside))), (name, draw(st.just(value) | ANY)))
        elif turn == "item" and isinstance(value, list) and not isinstance(value, Document):
            inside[place] = (name, [*value, draw(ANY)])
    return None


def drawn(entity: Entity, number: int) -> list[Made]:
    """Return documents as Hypothesis draws them; the engines then see all of them at once."""
    found: list[Made] = []

    @settings(
        max_examples=number,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(documents(entity))
    def draw(one: Made) -> None:
        found.append(one)

    draw()
    return found


def insert(lab: Lab, collection: str, raws: list[bytes]) -> int:
    """Insert what MongoDB takes, and return how much that is."""
    lab.collection(collection).drop()
    lab.connections.mongo.database.create_collection(collection)
    there = lab.collection(collection)
    # The answer quotes an _id that is there already, which may be a moment out of Python's range.
    options = there.codec_options.with_options(datetime_conversion=DatetimeConversion.DATETIME_MS)
    try:
        there.with_options(options).insert_many([RawBSONDocument(raw) for raw in raws], ordered=False)
    except BulkWriteError as error:
        return len(raws) - len(error.details["writeErrors"])
    return len(raws)


def assert_proven(lab: Lab, names: tuple[str, ...] = ()) -> None:
    for one in verify(lab.connections, names):
        assert one.proven, (one.collection, one.target, one.differences)


@pytest.mark.hypothesis  # what is drawn is drawn within
def test_whatever_mongodb_stores_is_loaded_equal_or_quarantined_with_reasons(lab: Lab) -> None:
    ends: dict[str, dict[bytes, str | None]] = {}
    for entity in lab.connections.chosen():
        made = drawn(entity, DOCUMENTS)
        assert insert(lab, entity.collection, [one.raw for one in made]) > DOCUMENTS * 0.8
        ends[entity.collection] = {one.raw: one.end for one in made}
    _, accounts = replicate(lab.connections)
    assert_proven(lab)
    for entity in lab.connections.chosen():
        assert_accounted_for(lab, entity, ends[entity.collection])
    shares = {one.collection: one.quarantined / one.source for one in accounts}
    assert all(0.1 < share < 0.9 for share in shares.values()), shares  # both ways are well trodden


def test_each_bson_type_in_each_place_of_each_contract(lab: Lab) -> None:
    for entity in lab.connections.chosen():
        raws = [raw for value in [*PLAIN, *STRANGE] for raw in _with_value_in_each_place(entity, value)]
        stored = insert(lab, entity.collection, raws)
        assert len(raws) * 0.9 < stored < len(raws)  # it takes no regex as an _id, nor an id twice
    replicate(lab.connections)
    assert_proven(lab)
    for entity in lab.connections.chosen():
        assert_accounted_for(lab, entity, {})


def _with_value_in_each_place(entity: Entity, value: Any) -> Iterator[bytes]:
    """Yield lawful documents but for one value: of a field, of one nobody declared, of ``_id``."""
    yield bson_of([("_id", value), *_filled(entity)])
    for place, (selection, _) in enumerate(_containers(_filled(entity), entity.fields)):
        for name in [*(name for name, _ in selection), "new"]:
            document = _filled(entity)
            inside, _ = list(_containers(document, entity.fields))[place]
            inside[:] = [pair for pair in inside if pair[0] != name] + [(name, value)]
            yield bson_of([("_id", ObjectId()), *document])


def test_names_that_stand_twice_in_all_ways(lab: Lab) -> None:
    """Each field alone, and all of a document's at once: then the typed reader's columns are of equal length."""
    for entity in lab.connections.chosen():
        raws = []
        for place, (selection, _) in enumerate(_containers(_filled(entity), entity.fields)):
            for names in [*([name] for name, _ in selection), [name for name, _ in selection]]:
                document = _filled(entity)
                inside, _ = list(_containers(document, entity.fields))[place]
                inside += [pair for pair in inside if pair[0] in names]
                lawful = [bson_of([("_id", ObjectId()), *_filled(entity)]) for _ in range(2)]
                raws += [lawful[0], bson_of([("_id", ObjectId()), *document]), lawful[1]]
        assert insert(lab, entity.collection, raws) == len(raws)
    _, accounts = replicate(lab.connections)
    assert {one.quarantined * 3 for one in accounts} == {one.source for one in accounts}
    assert_proven(lab)


def _filled(entity: Entity) -> Document:
    """Return a lawful document whose arrays have an item each."""
    return Document([(field.name, _filling(field)) for field in entity.fields])


def _filling(field: Field) -> Any:
    if field.kind is None:
        inside = Document([(one.name, _filling(one)) for one in field.fields])
        return [inside] if field.repeated else inside
    if field.kind.item is not None:
        return ["a"]
    by_type = {"date": DatetimeMS(1), "decimal": Decimal128("1.50"), "object": Document([("a", 1)]), "string": "a"}
    kind = field.kind.gate["bsonType"]
    return field.vocabulary[0] if field.vocabulary else by_type[kind] if isinstance(kind, str) else 1
