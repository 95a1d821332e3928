"""Every kind of value on its way through both stores: the source's value comes back, or the document is refused."""

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipeline.replication.replicate import replicate
from pipeline.replication.verify import verify
from tests.examples import examples
from tests.pipeline.lab import Lab

assert_accounted_for = runpy.run_path(str(Path(__file__).parents[1] / "plain_sql.py"))["assert_accounted_for"]

DOCUMENTS = examples(80)  # drawn beside the values at the edges
CONTRACT = '''
"""All that a contract can declare."""

from contracts.schema.entity import Entity
from contracts.schema.fields import (
    binary, boolean, booleans, categories, category, decimal, decimals, documents, free_form, identifier, integer,
    integers, json, money, number, numbers, object_id, object_ids, subdocument, text, texts, timestamp, timestamps,
    uuid,
)


def every(**options):
    return (
        text("text", "Any.", **options),
        category("category", "Few.", "a", "b", **options),
        integer("integer", "64 bits.", **options),
        number("number", "Double.", **options),
        boolean("boolean", "Truth.", **options),
        timestamp("moment", "Milliseconds.", **options),
        decimal("decimal", "Exact.", 34, 10, **options),
        decimal("whole", "Exact, no digit after the point.", 34, 0, **options),
        money("money", "Exact.", **options),
        texts("texts", "Some.", **options),
        categories("categories", "Some.", "a", "b", **options),
        numbers("numbers", "Some.", **options),
        integers("integers", "Some.", **options),
        booleans("booleans", "Some.", **options),
        timestamps("moments", "Some.", **options),
        decimals("decimals", "Some.", 34, 10, **options),
        object_ids("references", "Some.", **options),
        object_id("reference", "One.", **options),
        uuid("uuid", "One.", **options),
        binary("bytes", "Some.", **options),
        binary("own_bytes", "Some.", subtype=128, **options),
        texts("sparse_texts", "Some, or null.", null_items=True, **options),
        categories("sparse_categories", "Some, or null.", "a", null_items=True, **options),
        numbers("sparse_numbers", "Some, or null.", null_items=True, **options),
        integers("sparse_integers", "Some, or null.", null_items=True, **options),
        booleans("sparse_booleans", "Some, or null.", null_items=True, **options),
        timestamps("sparse_moments", "Some, or null.", null_items=True, **options),
        decimals("sparse_decimals", "Some, or null.", 34, 10, null_items=True, **options),
        object_ids("sparse_references", "Some, or null.", null_items=True, **options),
    )


ENTITY = Entity(
    collection="Everything",
    description="One of all.",
    key="key",
    fields=(
        identifier("key", "Which."),
        *every(),
        free_form("anything", "Any document."),
        json("value", "Any value.", nullable=True),
        subdocument("inner", "All again.", *every(), free_form("anything", "Any document.", nullable=True)),
        documents("items", "And again.", *every()),
        documents(
            "shapes",
            "Of JSON alone.",
            json("value", "Any value.", nullable=True),
            subdocument("within", "Of JSON alone.", free_form("anything", "Any document."), nullable=True),
            nullable=True,
        ),
        subdocument("perhaps", "Null or missing.", *every(nullable=True), nullable=True),
        subdocument("whole_or_null", "All of it or nothing.", *every(), nullable=True),
        documents("some", "Null or missing, as a whole and in each.", *every(nullable=True), nullable=True),
    ),
)
'''

TEXTS = [
    "",
    " ",
    "null",
    "NULL",
    "\\N",
    '"quoted" \\ \b\t\r\n',
    "\u0001\u001f\u007f\u0085",
    "e\u0301 \u00e9 \u1e9b\u0323",  # combining marks, not normalised
    "\u05e9\u05dc\u05d5\u05dd \u202e\u0645\u0631\u062d\u0628\u0627",  # right to left
    "\ufeff\ufffd\uffff\ue000\ud7ff",
    "".join(chr(plane << 16 | 0x2A) for plane in range(1, 17)),  # all planes
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "x" * 100_000,
]
INTEGERS = [0, 1, -1, 2**31 - 1, -(2**31), 2**31, 2**53 + 1, 2**63 - 1, -(2**63)]
INTEGERS_AS_DOUBLES = [0.0, -0.0, 1e15, 2.0**53, -(2.0**63), 9223372036854774784.0]
NUMBERS = [0.0, -0.0, 0.1, 1 / 3, 1e308, -1.7976931348623157e308, 2.2250738585072014e-308, 5e-324, -5e-324]
NUMBERS += [float("nan"), float("inf"), float("-inf"), 2.0**53 + 2, 7]
MOMENTS = [0, 1, -1, 999, -999, -2_208_988_800_000, 10_413_791_999_999, -2_208_988_799_999, 1_700_000_000_123]
DECIMALS = [
    "0",
    "-0",
    "0E-6176",
    "-0E+6111",
    "1E-10",
    "-1E-10",
    "9" * 24 + "." + "9" * 10,
    "-" + "9" * 24 + "." + "9" * 10,
]
DECIMALS += ["1.50", "1.5000000000", "1.50000000000000000000", "1E+23", "123456789012345678.0000000001"]
WHOLES = ["0", "9" * 34, "-" + "9" * 34, "1E+33", "5.000", "9.0E+3"]
MONEY = ["0", "0.01", "-0.01", "9999999999.99", "-9999999999.99", "1E+9", "1.5", "0.990"]
EVERY_TYPE: dict[str, Any] = {
    "double": 0.1,
    "whole double": 1.0,
    "large double": 1e300,
    "small double": 5e-324,
    "nan": float("nan"),
    "infinity": float("-inf"),
    "string": "".join(TEXTS[:-1]),
    "object": {"": {"a.b": {"a/b~c": {}}}},
    "array": [[], [[]], [None], {"0": 1}, [1, [2.5, ["3"]]]],
    "binary": b"\0\xff",
    "uuid": Binary(bytes(range(16)), 4),
    "own binary": Binary(b"x", 128),
    "objectId": ObjectId("65f0c0ffee65f0c0ffee65f0"),
    "bool": [True, False],
    "date": [
        DatetimeMS(milliseconds) for milliseconds in (*MOMENTS, 253402300799999, 253402300800000, -(2**63), 2**63 - 1)
    ],
    "null": None,
    "regex": Regex('^a/"b$', "imsx"),
    "javascript": [Code("f('\u00e9')"), Code("g()", {"a": {"b": 1.0}})],
    "int": [0, -(2**31), 2**31 - 1],
    "timestamp": Timestamp(4_294_967_295, 4_294_967_295),
    "long": [Int64(1), Int64(2**63 - 1), Int64(-(2**63)), Int64(2**53 + 1)],
    "decimal": [
        Decimal128(text) for text in ("1.50", "9.999999999999999999999999999999999E+6144", "NaN", "-Infinity", "-0")
    ],
    "minKey": MinKey(),
    "maxKey": MaxKey(),
    "what JSON or jsonb would bend": [
        -0.0,
        {"a": ["x", {"b": "\0"}]},
        {"$date": 1},
        {"a": {"$$oid": "x"}},
        {"$set": 1},
    ],
    "a DBRef": {"$ref": "c", "$id": {"$oid": -0.0}, "$db": None},
}


def _nested(value: Any, levels: int) -> Any:
    for number in range(levels):
        value = {"deeper": value} if number % 2 else [value]
    return {"outermost": value}


OID = ObjectId("65f0c0ffee65f0c0ffee65f0")
ITEMS: dict[str, list[Any]] = {
    "texts": TEXTS,
    "categories": ["a", "new", ""],
    "numbers": NUMBERS,
    "integers": [*map(Int64, INTEGERS), *INTEGERS_AS_DOUBLES],
    "booleans": [True, False, False],
    "moments": [*map(DatetimeMS, MOMENTS)],
    "decimals": [*map(Decimal128, DECIMALS)],
    "references": [OID, ObjectId(bytes(12)), ObjectId(b"\xff" * 12)],
}
PLAIN = {
    "text": "a",
    "category": "a",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "moment": DatetimeMS(1),
    "decimal": Decimal128("1"),
    "whole": Decimal128("1"),
    "money": Decimal128("1"),
    "texts": [],
    "categories": [],
    "numbers": [],
    "integers": [],
    "booleans": [],
    "moments": [],
    "decimals": [],
    "references": [],
    "reference": OID,
    "uuid": Binary(bytes(range(240, 256)), 4),
    "bytes": b"",
    "own_bytes": Binary(b"", 128),
    **{f"sparse_{name}": [] for name in ITEMS},
}
EDGES: dict[str, list[Any]] = {
    "text": TEXTS,
    "category": TEXTS,
    "integer": [*map(Int64, INTEGERS), 5, *INTEGERS_AS_DOUBLES],
    "number": NUMBERS,
    "boolean": [True, False],
    "moment": [*map(DatetimeMS, MOMENTS)],
    "decimal": [*map(Decimal128, DECIMALS)],
    "whole": [*map(Decimal128, WHOLES)],
    "money": [*map(Decimal128, MONEY)],
    "reference": [*ITEMS["references"]],
    "uuid": [Binary(one, 4) for one in (bytes(16), b"\xff" * 16, bytes(range(16)), b"\0\xfe" * 8)],
    "bytes": [b"\0", bytes(range(256)), b"\\x00", "text ä".encode(), b"x" * 100_000],
    "own_bytes": [Binary(one, 128) for one in (b"\0\xff", b"")],
    **{name: [[], items] for name, items in ITEMS.items()},
    **{f"sparse_{name}": [[None], [None, *items, None], items] for name, items in ITEMS.items()},
}
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
DOUBLES = st.floats(width=64)  # NaN, infinities and subnormals among them
LONGS = st.integers(-(2**63), 2**63 - 1).map(Int64)
DRAWN: dict[str, st.SearchStrategy[Any]] = {
    "text": TEXT,
    "category": TEXT,
    "integer": LONGS,
    "number": DOUBLES | st.integers(-(2**31), 2**31 - 1),
    "boolean": st.booleans(),
    "moment": st.integers(MOMENTS[5], MOMENTS[6]).map(DatetimeMS),
    "decimal": st.tuples(st.integers(-(10**34) + 1, 10**34 - 1), st.integers(0, 10)).map(
        lambda pair: Decimal128(f"{pair[0]}E-10") if pair[1] else Decimal128(f"{pair[0] % 10**24}")
    ),
    "whole": st.integers(-(10**34) + 1, 10**34 - 1).map(lambda number: Decimal128(str(number))),
    "money": st.integers(-(10**12) + 1, 10**12 - 1).map(lambda cents: Decimal128(f"{cents}E-2")),
    "reference": st.binary(min_size=12, max_size=12).map(ObjectId),
    "uuid": st.binary(min_size=16, max_size=16).map(lambda one: Binary(one, 4)),
    "bytes": st.binary(max_size=20),
    "own_bytes": st.binary(max_size=20).map(lambda one: Binary(one, 128)),
}
for several in ITEMS:
    one = DRAWN["category" if several == "categories" else several.removesuffix("s")]
    DRAWN |= {several: st.lists(one, max_size=4), f"sparse_{several}": st.lists(st.none() | one, max_size=3)}
EVERY = st.fixed_dictionaries(DRAWN)
ANY_SHAPE = st.recursive(
    TEXT | DOUBLES | LONGS | st.booleans() | st.none() | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def _document(**changes: Any) -> dict[str, Any]:
    lawful = {"key": "k", **PLAIN, "anything": {}, "inner": PLAIN, "items": []}
    return {"_id": ObjectId()} | lawful | changes


def _edges() -> Iterator[dict[str, Any]]:
    for name, values in EDGES.items():
        for value in values:
            one = PLAIN | {name: value}
            yield _document(**one, inner=one, items=[one, PLAIN, one], perhaps={name: value}, some=[{name: value}, {}])
        yield _document(perhaps={name: None}, some=[{name: None}])
    for absent in ({}, {"perhaps": None, "some": None, "whole_or_null": None}, {"perhaps": {}, "some": []}):
        yield _document(**absent)
    yield _document(whole_or_null=PLAIN, perhaps=PLAIN, some=[PLAIN, {}, PLAIN])
    for name, value in EVERY_TYPE.items():
        yield _document(
            anything={name: value},
            inner=PLAIN | {"anything": {"within": value}},
            value=value,
            shapes=[{"value": value, "within": {"anything": {name: value}}}, {}, {"value": [value], "within": None}],
        )
    for value in (float("nan"), float("inf"), -0.0, 1e17, 5e-324, "null", "", "\0", {"$oid": 1}, [[]], [None], {}):
        yield _document(value=value, shapes=[{"value": one} for one in (value, None, [value])])
    for levels in (1, 10, 100):
        yield _document(anything=_nested(EVERY_TYPE, levels), inner=PLAIN | {"anything": None})


def _drawn() -> Iterator[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    @settings(
        max_examples=DOCUMENTS,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(EVERY, EVERY, st.lists(EVERY, max_size=2), st.dictionaries(TEXT, ANY_SHAPE))
    def draw(own: Any, inner: Any, items: Any, anything: Any) -> None:
        found.append(_document(**own, inner=inner, items=items, anything=anything))

    draw()
    yield from found


@pytest.fixture(scope="module")
def everything(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("contracts")
    (folder / "everything.py").write_text(CONTRACT)
    with lab.another(contracts=(folder,)) as connections:
        yield connections


def _replicated(lab: Lab, everything: Any, documents: list[dict[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
    """Replicate documents, prove it, and return the reasons against those that were refused, by ``_id``."""
    collection = lab.collection("Everything")
    collection.drop()
    collection.insert_many(documents)
    replicate(everything, ["Everything"])
    for one in verify(everything, ["Everything"]):
        assert one.proven, (one.target, one.differences)
    assert_accounted_for(lab, everything.entities["Everything"], {})
    refused = lab.postgres("SELECT _id, reasons::text FROM etl.quarantine WHERE resolved_at IS NULL")
    return {orjson.loads(key)["$oid"]: orjson.loads(reasons) for key, reasons in refused}


@pytest.mark.hypothesis  # what is drawn is drawn within
def test_every_value_that_fits_comes_back_from_both_stores(lab: Lab, everything: Any) -> None:
    documents = [*_edges(), *_drawn()]
    assert _replicated(lab, everything, documents) == {}


TOO_MUCH: dict[str, list[Any]] = {
    "text": ["a\0b", "\0"],
    "category": ["a\0b"],
    "integer": [2.0**63, 0.5, float("nan"), float("inf"), 1e300, True, "1", Decimal128("1")],
    "number": [Int64(2**53 + 1), "1", Decimal128("1"), True],
    "boolean": [0, 1, "true"],
    "moment": [*map(DatetimeMS, (MOMENTS[5] - 1, MOMENTS[6] + 1, 2**63 - 1, -(2**63))), Timestamp(1, 1), "2024-01-01"],
    "decimal": [
        *map(Decimal128, ("1E-11", "1E+24", "-1E+24", "0.00000000005", "NaN", "Infinity", "1E+6144", "1E-6176")),
        1,
    ],
    "whole": [*map(Decimal128, ("0.5", "1E+34", "-1E+34"))],
    "money": [*map(Decimal128, ("0.001", "10000000000.00", "19.999", "-0.005")), 1.0, Int64(5)],
    "texts": [["a", None], ["a\0"], "a", [["a"]], [1]],
    "categories": [[None]],
    "numbers": [[None], [Int64(2**60)]],
    "integers": [[0.5], [None], [2.0**63]],
    "booleans": [[1], [None]],
    "moments": [[None], [DatetimeMS(0), DatetimeMS(MOMENTS[6] + 1)], [0]],
    "decimals": [[None], [Decimal128("1E-11")], [1]],
    "references": [[None], ["65f0c0ffee65f0c0ffee65f0"]],
    "reference": ["65f0c0ffee65f0c0ffee65f0", OID.binary],
    "uuid": [Binary(bytes(16), 3), Binary(bytes(15), 4), bytes(16), "00000000-0000-0000-0000-000000000000"],
    "bytes": [Binary(b"a", 5), Binary(bytes(16), 4), "a", [b"a"]],
    "own_bytes": [b"a", Binary(b"a", 129)],
    "sparse_texts": [[None, 1], "a", ["a", None, "\0"]],
    "sparse_integers": [[None, 0.5], [None, Int64(1), True]],
    "sparse_moments": [[None, DatetimeMS(MOMENTS[5] - 1)]],
    "sparse_decimals": [[None, Decimal128("1E-11")]],
}


def test_every_value_that_does_not_fit_is_refused_by_name(lab: Lab, everything: Any) -> None:
    places: dict[str, list[str]] = {}
    documents = []
    for name, values in TOO_MUCH.items():
        for value in [*values, None]:
            one = PLAIN | {name: value}
            for at, document in (
                (f"/{name}", _document(**one)),
                (f"/inner/{name}", _document(inner=one)),
                (f"/items/1/{name}", _document(items=[PLAIN, one])),
                (f"/whole_or_null/{name}", _document(whole_or_null=one)),
                *(((f"/some/0/{name}", _document(some=[{name: value}])),) if value is not None else ()),
            ):
                places[str(document["_id"])] = [at]
                documents.append(document)
    refused = _replicated(lab, everything, documents)
    assert refused.keys() == places.keys(), [one for one in documents if str(one["_id"]) not in refused]
    for key, reasons in refused.items():
        (place,) = places[key]
        assert all(reason["path"].startswith(place) for reason in reasons), (place, reasons)


def test_decimals_over_their_whole_range_are_never_rounded(lab: Lab, everything: Any) -> None:
    """Each either fits 34 digits, ten of them after the point, or is refused."""
    documents, fits = [], []
    for exponent in range(-46, 30):
        for digits in ("1", "9" * 34, "5" + "0" * 33, "123456789"):
            for sign in ("", "-"):
                value = Decimal128(f"{sign}{digits}E{exponent}")
                documents.append(_document(decimal=value))
                unscaled = int(digits)
                shifted = exponent + 10
                exact = shifted >= 0 or unscaled % 10**-shifted == 0
                size = unscaled * 10**shifted if shifted >= 0 else unscaled // 10**-shifted
                fits.append(exact and size < 10**34)
    refused = _replicated(lab, everything, documents)
    for document, fit in zip(documents, fits, strict=True):
        assert (str(document["_id"]) in refused) is not fit, document["decimal"]
