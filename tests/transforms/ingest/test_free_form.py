"""Free-form documents as JSON: each value comes back as what it was, from jsonb too."""

import json
import math
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any

import bson
import orjson
import polars as pl
import pytest
from bson import (
    Binary,
    Code,
    DatetimeMS,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
    json_util,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.schema import fields as words
from contracts.schema.entity import Entity, Field
from contracts.schema.fields import documents, free_form, subdocument
from tests.examples import examples
from transforms.bson.documents import decode_document, find_lossy_decoding, make_document
from transforms.bson.extended_json import from_json_text, to_json_text
from transforms.ingest.free_form import to_json_texts
from transforms.oracle.canonical_json import canonical_json, canonical_text
from transforms.violations import Violation

OID = ObjectId("5f5f5f5f5f5f5f5f5f5f5f5f")


def alone(raw: bytes) -> str:
    """Write the field v of a document by itself."""
    return to_json_text(decode_document(raw)["v"])


def thing(*fields: Field) -> Entity:
    return Entity("Things", "d", fields=fields)


def together(raw: bytes, *, entity: Entity) -> str:
    """Write the field v of a document together with those of others, and the neighbours as they always are."""
    neighbour = bson.encode({"v": {"n": None, "t": "null", "x": 0.5}})
    texts, refused = to_json_texts(neighbour + raw + neighbour, entity)
    assert refused == {}
    (found,) = texts["things"].values()
    assert found[0] == found[2] == '{"n":null,"t":"null","x":0.5}'
    assert isinstance(found[1], str)
    return found[1]


def written(batch: bytes, *paths: str, nullable: bool = True) -> tuple[dict[str, pl.Series], dict[int, Violation]]:
    """Return the texts of free-form fields of some documents, and the reasons against these of any kind."""
    fields = []
    for path in paths:
        *above, name = path.split(".")
        field = free_form(name, "d", nullable=nullable)
        for parent in reversed(above):
            field = subdocument(parent, "d", field)
        fields.append(field)
    texts, refused = to_json_texts(batch, thing(*fields))
    return texts.get("things", {}), refused


def in_items(raw: bytes) -> str:
    """Write the field v of a document as that of one item among others."""
    neighbours = [{"s": {"v": 0.5}}, {"s": {}}, {"s": None}, {}]
    value, items = raw[4:-1], [bson.encode(one) for one in neighbours]
    items.insert(1, make_document(b"\3s\0" + make_document(value)))
    document = make_document(b"\4v\0" + make_document(*(b"\3%d\0" % n + one for n, one in enumerate(items))))
    inside = documents("v", "d", subdocument("s", "d", words.json("v", "d"), nullable=True))
    texts, refused = to_json_texts(bson.encode({}) + document + document, thing(inside))
    assert refused == {}
    found = texts["things_v"]["s_v"].to_list()
    assert [*found[:1], *found[2:6], *found[7:]] == ["0.5", None, None, None, "0.5", None, None, None]
    assert found[1] == found[6]
    return str(found[1])


# Several roads for each value: they must meet.
WRITERS: dict[str, Callable[[bytes], str]] = {
    "alone": alone,
    "together": partial(together, entity=thing(free_form("v", "d"))),
    "in whole documents": partial(together, entity=thing(free_form("v", "d", nullable=True))),
    "any": partial(together, entity=thing(words.json("v", "d"))),
    "in items": in_items,
}
every_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
a_writer = st.sampled_from(sorted(WRITERS)).map(WRITERS.__getitem__)


def stored(value: Any) -> bytes:
    """Return a document that has the value in its field v."""
    return bson.encode({"v": value})


def parsed(text: str) -> Any:
    """Read JSON as jsonb would: numbers digit by digit, names only once, no NUL."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in found]
        assert len(set(names)) == len(names)
        assert not any("\0" in name for name in names)
        return dict(found)

    def double(token: str) -> float:
        # jsonb keeps the digits but no exponent: without a point the number would come back as an integer.
        assert "e" not in token.lower()
        assert format(Decimal(token), "f") == token
        assert token.lstrip("-").strip("0.") or not token.startswith("-")
        return float(token)

    def constant(token: str) -> None:
        pytest.fail(f"{token} is no JSON")

    found = json.loads(text, object_pairs_hook=pairs, parse_float=double, parse_constant=constant)
    assert "\\u0000" not in text.replace("\\\\", "")
    return found


def same(left: Any, right: Any) -> bool:
    """Compare parsed JSON: doubles by bits, and never equal to integers."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(same(*both) for both in zip(left, right, strict=True))
    if isinstance(left, float):
        return left.hex() == right.hex()
    return bool(left == right)


def extended(value: Any) -> Any:
    """Return what json_util makes of a value; another writer of the same format, in Python only."""
    return json.loads(json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS))


def bits(value: Any) -> Any:
    """Return a value with what Python takes for equal told apart, and with what the JSON does not tell made one."""
    if isinstance(value, dict):
        return {name: bits(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return list(map(bits, value))
    if isinstance(value, Code):
        return Code, str(value), bits(value.scope)
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value.hex()
    if isinstance(value, Decimal128):  # some values have several forms, and a text each
        return Decimal128, str(value)
    return int if type(value) is Int64 else type(value), value


@settings(deadline=None, max_examples=examples(150))
@given(st.data(), a_writer)
def test_any_value_reads_back_as_it_was(anything: Any, data: st.DataObject, write: Callable[[bytes], str]) -> None:
    names = st.text(max_size=3).filter(_is_key) | st.sampled_from(["$oid", "$$date", "$text", "$code", "$scope", "$x"])
    raw = stored(data.draw(st.dictionaries(names, anything, max_size=3)))
    value = decode_document(raw)["v"]
    text = write(raw)
    assert same(orjson.loads(text), parsed(text))
    assert bits(from_json_text(text)) == bits(value)
    assert canonical_text(text) == canonical_json(value)


def _is_key(name: str) -> bool:
    return "\0" not in name and not any("\ud800" <= letter <= "\udfff" for letter in name)


@settings(deadline=None, max_examples=examples(150))
@given(a_writer, st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70).map(float))
@example(WRITERS["together"], 0.1)
@example(WRITERS["any"], 1e15)
@example(WRITERS["any"], 1e16)
@example(WRITERS["any"], 9007199254740993.0)
@example(WRITERS["any"], 1e17)
@example(WRITERS["any"], 123456789012345680.0)
@example(WRITERS["any"], 1e21)
@example(WRITERS["any"], 1e22)
@example(WRITERS["any"], 1e23)
@example(WRITERS["any"], -1e300)
@example(WRITERS["any"], 1.7976931348623157e308)
@example(WRITERS["any"], 5e-324)
@example(WRITERS["any"], 2.2250738585072014e-308)
@example(WRITERS["any"], 1e-5)
@example(WRITERS["any"], 1e-7)
def test_doubles_stay_doubles_to_the_last_bit(write: Callable[[bytes], str], number: float) -> None:
    if number == 0:
        number = abs(number)
    for around in ({"x": number}, {"x": [number]}, {"x": [None, number]}, {"a": "e+", "x": number}):
        text = write(stored(around))
        assert same(parsed(text), around)
        assert same(orjson.loads(text), around)
        # Digit by digit as PostgreSQL prints its numerics.
        assert "." in text


@pytest.mark.parametrize("name", ["Infinity", "-Infinity", "NaN"])
@pytest.mark.parametrize("others", [{}, {"n": None}, {"t": "null"}, {"d": DatetimeMS(0)}, {"b": b"x"}, {"z": 1e17}])
@every_writer
def test_numbers_that_are_none_never_become_null(
    name: str, others: dict[str, Any], write: Callable[[bytes], str]
) -> None:
    found = parsed(write(stored({**others, "x": float(name), "y": [float(name)]})))
    assert found["x"] == {"$numberDouble": name}
    assert found["y"] == [{"$numberDouble": name}]
    assert set(found) == {*others, "x", "y"}


@every_writer
def test_no_nan_with_a_payload_becomes_null(write: Callable[[bytes], str], raw: SimpleNamespace) -> None:
    for tail in (b"\xf0\x7f", b"\xff\x7f", b"\xf8\xff", b"\xf0\xff"):
        inner = raw.document(b"\x01x\0" + b"\x01\0\0\0\0\0" + tail)
        assert write(raw.document(raw.inside("v", inner))) == '{"x":{"$numberDouble":"NaN"}}'


EXACT: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "true"),
    (1, "1"),
    (Int64(1), "1"),
    (1.0, "1.0"),
    (2**63 - 1, "9223372036854775807"),
    (-(2**63), "-9223372036854775808"),
    (2**53 + 1, "9007199254740993"),
    (1e17, "100000000000000000.0"),
    (1.5e-7, "0.00000015"),
    ("", '""'),
    ("\\u0000", '"\\\\u0000"'),
    ('"$', '"\\"$"'),
    ("$5", '"$5"'),
    ("-0.0", '"-0.0"'),
    ("null", '"null"'),
    ("[1e+5", '"[1e+5"'),
    ("\x01\x1f\x7f\u2028 ä👍", '"\\u0001\\u001f\x7f\u2028 ä👍"'),
    (DatetimeMS(0), '{"$date":"1970-01-01T00:00:00Z"}'),
    (DatetimeMS(1), '{"$date":"1970-01-01T00:00:00.001Z"}'),
    (DatetimeMS(-1), '{"$date":{"$numberLong":"-1"}}'),
    (DatetimeMS(253402300799999), '{"$date":"9999-12-31T23:59:59.999Z"}'),
    (DatetimeMS(253402300800000), '{"$date":{"$numberLong":"253402300800000"}}'),
    (DatetimeMS(2**63 - 1), '{"$date":{"$numberLong":"9223372036854775807"}}'),
    (OID, '{"$oid":"5f5f5f5f5f5f5f5f5f5f5f5f"}'),
    (Decimal128("1.10"), '{"$numberDecimal":"1.10"}'),
    (Decimal128("-0E+3"), '{"$numberDecimal":"-0E+3"}'),
    (Decimal128("NaN"), '{"$numberDecimal":"NaN"}'),
    (b"\0\xff", '{"$binary":{"base64":"AP8=","subType":"00"}}'),
    (Binary(b"ab", 2), '{"$binary":{"base64":"YWI=","subType":"02"}}'),
    (Binary(bytes(16), 3), '{"$binary":{"base64":"AAAAAAAAAAAAAAAAAAAAAA==","subType":"03"}}'),
    (Binary(bytes(16), 4), '{"$binary":{"base64":"AAAAAAAAAAAAAAAAAAAAAA==","subType":"04"}}'),
    (Binary(b"", 255), '{"$binary":{"base64":"","subType":"ff"}}'),
    (Regex("^a/b$", "imsx"), '{"$regularExpression":{"pattern":"^a/b$","options":"imsx"}}'),
    (Regex("", "lu"), '{"$regularExpression":{"pattern":"","options":"lu"}}'),
    (Code("f()"), '{"$code":"f()"}'),
    (Code("f()", {}), '{"$code":"f()","$scope":{}}'),
    (Code("f()", {"x": 1e17}), '{"$code":"f()","$scope":{"x":100000000000000000.0}}'),
    (Timestamp(4294967295, 1), '{"$timestamp":{"t":4294967295,"i":1}}'),
    (MinKey(), '{"$minKey":1}'),
    (MaxKey(), '{"$maxKey":1}'),
    ({"": {"a/b": {"~": {"a.b": 1}}}}, '{"":{"a/b":{"~":{"a.b":1}}}}'),
    ({"x": [], "y": {}}, '{"x":[],"y":{}}'),
    ({"a$b": 1, "é": 2}, '{"a$b":1,"é":2}'),
]


@pytest.mark.parametrize(("value", "text"), EXACT, ids=[repr(value)[:40] for value, _ in EXACT])
@pytest.mark.parametrize(
    "others", [{}, {"n": None}, {"x": math.nan}, {"r": MinKey()}], ids=["fast", "null", "nan", "slow"]
)
@every_writer
def test_each_type_has_one_form_on_every_way(
    write: Callable[[bytes], str], value: Any, text: str, others: dict[str, Any]
) -> None:
    assert write(stored({**others, "v": value})).endswith(f'"v":{text}}}')


REWRITTEN: list[tuple[Any, str]] = [
    ({"a": "x\0y"}, '{"a":{"$text":{"base64":"eAB5"}}}'),
    ({"a": [1, {"b": "\0"}]}, '{"a":[1,{"b":{"$text":{"base64":"AA=="}}}]}'),
    ({"a": -0.0}, '{"a":{"$numberDouble":"-0.0"}}'),
    ({"a": [-0.05, -0.0]}, '{"a":[-0.05,{"$numberDouble":"-0.0"}]}'),
    ({"$a": 1}, '{"$a":1}'),
    ({"a": {"$date": "today"}}, '{"a":{"$$date":"today"}}'),
    ({"a": [{"b": {"$$numberLong": "1"}}]}, '{"a":[{"b":{"$$$numberLong":"1"}}]}'),
    ({"$text": {"base64": "AA=="}, "$$": {"$": 1}}, '{"$$text":{"base64":"AA=="},"$$":{"$":1}}'),
    ({"a": {"$ref": "c", "$id": 1}}, '{"a":{"$ref":"c","$id":1}}'),
    ({"a": {"$id": OID, "$ref": "c"}}, '{"a":{"$id":{"$oid":"5f5f5f5f5f5f5f5f5f5f5f5f"},"$ref":"c"}}'),
    ({"a": Code("\0")}, '{"a":{"$code":{"$text":{"base64":"AA=="}}}}'),
    ({"a": Code("f", {"$code": -0.0})}, '{"a":{"$code":"f","$scope":{"$$code":{"$numberDouble":"-0.0"}}}}'),
    ({"a": 1e16, "b": Decimal128("1" * 20)}, '{"a":10000000000000000.0,"b":{"$numberDecimal":"11111111111111111111"}}'),
    ({"d": DatetimeMS(0), "a": {"$oid": 0}}, '{"d":{"$date":"1970-01-01T00:00:00Z"},"a":{"$$oid":0}}'),
]


@pytest.mark.parametrize(("value", "text"), REWRITTEN, ids=[repr(value)[:40] for value, _ in REWRITTEN])
@every_writer
def test_what_would_read_back_as_something_else_is_written_so_that_it_does_not(
    write: Callable[[bytes], str], value: Any, text: str
) -> None:
    assert write(stored(value)) == text
    assert bson.encode(from_json_text(text)) == bson.encode(value)
    assert canonical_text(text) == canonical_json(value)


@every_writer
@pytest.mark.parametrize("leaf", [1, math.nan, DatetimeMS(-1)])
def test_a_hundred_levels(write: Callable[[bytes], str], leaf: Any) -> None:
    value: Any = {"v": leaf}
    for level in range(99):
        value = {"v": value} if level % 2 else {"v": [value]}
    assert same(parsed(write(stored(value))), extended(value))


# --- Whole documents


def test_texts_stand_in_the_order_of_the_documents(raw: SimpleNamespace) -> None:
    made = [
        bson.encode({"_id": 1, "d": {"a": 1}, "s": {"d": {}}}),
        bson.encode({"_id": 2, "d": None, "s": None}),
        bson.encode({"_id": 3}),
        bson.encode({"_id": 4, "d": {"a": "\0"}, "s": {"d": {"a": 1}}}),
        raw.document(raw.element("_id", 5), raw.inside("d", b"\x05\0\0\0\0"), raw.element("d", {"x": 1})),
        raw.document(raw.element("_id", 6), b"\x02d\0\x03\0\0\0\xff\xfe\0"),
        bson.encode({"_id": 7, "s": {"x": 1}}),
    ]
    texts, refused = written(b"".join(made[:4] + made[6:]), "d", "s.d")
    with_nul = '{"a":{"$text":{"base64":"AA=="}}}'
    assert texts["d"].to_list() == ['{"a":1}', None, None, with_nul, None]
    assert texts["s_d"].to_list() == ["{}", None, None, '{"a":1}', None]
    assert refused == {}
    texts, refused = written(b"".join(made), "d", "s.d")
    assert texts == {}
    assert {place: (reason.path, reason.rule.split(":")[0]) for place, reason in refused.items()} == {
        4: ("/d", "duplicate field names"),
        5: ("/d", "undecodable BSON"),
    }


LOSSY = {
    "twice at the top": lambda r: r.document(r.element("a", 1), r.element("a", 2)),
    "twice inside": lambda r: r.document(r.inside("a", r.document(r.element("b", 1), r.element("b", 1)))),
    "twice in an item": lambda r: r.document(
        r.inside("a", r.document(r.inside("0", r.document(r.element("b", 1), r.element("b", 1)))), b"\x04")
    ),
    "twice, one a document": lambda r: r.document(r.element("a", {"x": 1}), r.element("a", None)),
    "symbol": lambda r: r.document(b"\x0ea\0\x02\0\0\0s\0"),
    "undefined": lambda r: r.document(b"\x06a\0"),
    "pointer": lambda r: r.document(b"\x0ca\0\x02\0\0\0s\0" + bytes(12)),
    "regex letters in disorder": lambda r: r.document(b"\x0ba\0x\0xi\0"),
    "unknown regex letter": lambda r: r.document(b"\x0ba\0x\0q\0"),
    "array with other names": lambda r: r.document(r.inside("a", r.document(b"\x0a7\0", b"\x0a7\0"), b"\x04")),
    # Its own names make up for the field that is lost.
    "a loss that something longer hides": lambda r: r.document(
        r.inside("a", r.document(b"\x0a\0", b"\x0a\0", b"\x0a\0"), b"\x04"), b"\x0a\0", b"\x0a\0"
    ),
}


WHERE = {
    "twice inside": ("/a/b", "duplicate field names"),
    "twice in an item": ("/a/0/b", "duplicate field names"),
    "symbol": ("/a", "the BSON type symbol, which can't be kept"),
    "undefined": ("/a", "the BSON type undefined, which can't be kept"),
    "pointer": ("/a", "the BSON type dbPointer, which can't be kept"),
    "unknown regex letter": ("", "a form of BSON that can't be kept"),
}


@pytest.mark.parametrize("case", WHERE)
def test_what_python_objects_do_not_hold_is_told_with_its_place(case: str, raw: SimpleNamespace) -> None:
    bytes_ = LOSSY[case](raw)
    found = find_lossy_decoding(decode_document(bytes_), bytes_)
    assert found is not None
    assert (found.path, found.rule) == WHERE[case]


@pytest.mark.parametrize("case", LOSSY)
def test_bytes_that_python_objects_do_not_hold_are_noticed(case: str, raw: SimpleNamespace) -> None:
    bytes_ = LOSSY[case](raw)
    assert find_lossy_decoding(decode_document(bytes_), bytes_)
    whole = raw.document(raw.inside("d", bytes_))
    for nullable in (False, True):
        texts, refused = written(whole, "d", nullable=nullable)
        assert list(refused) == [0]
        assert texts == {}


def test_documents_that_are_many_are_told_apart_by_their_place() -> None:
    many = [{"v": {"n": number, "s": "\0" if number % 1999 == 7 else "x" * (number % 5)}} for number in range(4100)]
    odd = {7: bson.encode({"v": {"a": 1, "b": 2}}).replace(b"b\0", b"a\0"), 4005: bson.encode({"v": 1})}
    raws = [odd.get(number) or bson.encode(one) for number, one in enumerate(many)]
    _, refused = written(b"".join(raws), "v", nullable=False)
    assert list(refused) == [7]
    del odd[7]
    raws = [odd.get(number) or bson.encode(one) for number, one in enumerate(many)]
    texts, refused = written(b"".join(raws), "v", nullable=False)
    assert refused == {}
    for number, text in enumerate(texts["v"]):
        assert number == 4005 or from_json_text(text) == many[number]["v"]


def test_a_text_that_looks_like_the_field_is_not_taken_for_it() -> None:
    decoy = bson.encode({"v": {"not": "it"}})[4:-1].decode("latin-1")
    made = [{"_id": 1, "t": decoy, "v": {"a": 1}}, {"_id": 2, "t": "", "v": {"t": decoy}}]
    texts, refused = written(b"".join(map(bson.encode, made)), "v", nullable=False)
    assert texts["v"][0] == '{"a":1}'
    assert refused == {}
    assert from_json_text(texts["v"][1]) == {"t": decoy}


def test_a_field_that_stands_twice_is_noticed_whatever_its_types(raw: SimpleNamespace) -> None:
    for second in (1, {"a": 1}, None, "text", [1]):
        twice = raw.document(raw.element("_id", 1), raw.element("v", {}), raw.element("v", second))
        _, refused = written(twice, "v", nullable=False)
        assert refused[0].rule == "duplicate field names"


def test_nothing_gives_nothing() -> None:
    texts, refused = written(b"", "v", nullable=False)
    assert texts["v"].to_list() == [] and refused == {}
    assert written(bson.encode({})) == ({}, {})


@settings(deadline=None, max_examples=examples(150))
@given(st.data())
def test_what_pymongo_writes_is_never_taken_for_changed(anything: Any, data: st.DataObject) -> None:
    value = data.draw(st.dictionaries(st.sampled_from(["b", "_id", "a", ""]), anything, max_size=4))
    bytes_ = bson.encode({"": value})[6:-1]  # with its fields in this order
    decoded = decode_document(bytes_)
    assert find_lossy_decoding(decoded, bytes_) is None
