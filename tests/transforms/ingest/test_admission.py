"""What is proven from bytes is what the gate admits: documents of every contract, lawful ones and bent ones."""

import random
from collections.abc import Callable, Sequence
from decimal import Context
from types import SimpleNamespace
from typing import Any

import bson
import numpy as np
import pytest
from bson import Decimal128, Int64, ObjectId, Regex, Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.schema.entity import Entity
from contracts.schema.fields import any_id, documents, integer, integers, json, map_of, money, subdocument, text
from contracts.schema.kinds import NUMBER
from contracts.schema.mongo import gate
from contracts.schema.registry import entities
from tests.examples import examples
from transforms.bson.documents import decode_document, find_starts
from transforms.ingest.admission import layouts_of, sort_documents, tells_most

WIDE = Context(prec=40)
THINGS = Entity(
    "Things",
    "d",
    "_id",
    (
        integer("n", "d", nullable=True),
        money("m", "d", nullable=True),
        json("any", "d", nullable=True),
        integers("some", "d", nullable=True, null_items=True),
        subdocument("sub", "d", text("a", "d"), text("b", "d", nullable=True), nullable=True),
        documents("items", "d", text("t", "d"), documents("inner", "d", integer("i", "d")), nullable=True),
    ),
)


def proven(entity: Entity, *raws: bytes) -> list[bool]:
    layouts = layouts_of(entity)
    assert layouts is not None
    batch = b"".join(raws)
    for _ in range(8):  # each time it learns from some of the documents
        mask, located = layouts.proven(batch, np.array(find_starts(batch), np.int64))
    assert (located is not None) == mask.all()
    return [bool(one) for one in mask]


def thing(**fields: Any) -> bytes:
    return bson.encode({"_id": ObjectId(), **fields})


@settings(deadline=None, max_examples=examples(15), suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_is_proven_the_gate_admits_whatever_bytes_are_changed(
    entity: Entity, lawful: Callable[[Entity], Any], passes: Callable[..., bool], data: st.DataObject
) -> None:
    raws = [bson.encode(one) for one in data.draw(st.lists(lawful(entity), min_size=1, max_size=3))]
    chance, bent = random.Random(raws[0]), []
    for raw in raws:
        changed = bytearray(raw)
        for _ in range(chance.randrange(3)):  # never of its length, by which documents are told from each other
            changed[chance.randrange(4, len(raw))] = chance.choice([*range(20), chance.randrange(256)])
        bent.append(bytes(changed))
    for raw, is_proven in zip(bent, proven(entity, *bent), strict=True):
        try:
            document = decode_document(raw)
        except Exception:  # of damaged bytes no gate would know; MongoDB stores none
            continue
        assert passes(document, gate(entity)) or not is_proven


@pytest.mark.hypothesis  # what is drawn is drawn within
@pytest.mark.parametrize("name", entities())
def test_lawful_documents_are_proven_whatever_order_and_nulls(name: str, lawful: Callable[[Entity], Any]) -> None:
    entity = entities()[name]

    @settings(deadline=None, max_examples=examples(10), suppress_health_check=list(HealthCheck))
    @given(st.lists(lawful(entity), min_size=1, max_size=4))
    def try_them(drawn: list[dict[str, Any]]) -> None:
        assert all(proven(entity, *(bson.encode(_plainly(one)) for one in drawn)))

    try_them()


def _plainly(value: Any) -> Any:
    """Return a value with each decimal as it is mostly written: ten as 10, not as 1E+1, which is left in doubt."""
    if isinstance(value, dict):
        return {name: _plainly(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plainly(inner) for inner in value]
    return Decimal128(f"{WIDE.normalize(value.to_decimal()):f}") if isinstance(value, Decimal128) else value


LAWFUL: list[dict[str, Any]] = [
    {},
    {"n": 1, "m": Decimal128("12.50")},
    {"m": Decimal128("12"), "n": Int64(2**62)},
    {"n": -3.0},
    {"n": -(2.0**63)},
    {"any": [1, {"x": None}], "some": [1, None, 2.0, Int64(3)]},
    {"sub": {"b": None, "a": "x"}, "items": []},
    {"items": [{"inner": [{"i": 1}] * 12, "t": "x"}, {"t": "y", "inner": []}] * 6},
    {"n": None, "m": None, "any": None, "some": None, "sub": None, "items": None},
]
UNLAWFUL: list[dict[str, Any]] = [
    {"n": 7.5},
    {"n": 2.0**63},
    {"n": float("nan")},
    {"n": float("-inf")},
    {"n": "1"},
    {"m": 1.5},
    {"m": Decimal128("1.005")},
    {"m": Decimal128("NaN")},
    {"m": Decimal128("Infinity")},
    {"m": Decimal128("1E+40")},
    {"some": [1, "2"]},
    {"some": [1, 2.5]},
    {"sub": {"b": "x"}},
    {"sub": {"a": "x", "c": 1}},
    {"sub": []},
    {"items": [{"t": "x"}]},
    {"items": [{"t": "x", "inner": [{"i": "1"}]}]},
    {"items": [{"t": "x", "inner": [], "more": 1}]},
    {"items": [None]},
    {"undeclared": 1},
]


@pytest.mark.parametrize("number", range(len(LAWFUL)))
def test_a_lawful_document_is_proven_beside_all_others(number: int) -> None:
    among = [thing(**one) for one in (*LAWFUL, *UNLAWFUL)]
    random.Random(number).shuffle(among)
    assert proven(THINGS, thing(**LAWFUL[number]), *among)[0]


@pytest.mark.parametrize("number", range(len(UNLAWFUL)))
def test_an_unlawful_document_is_in_doubt_wherever_it_stands(number: int) -> None:
    one, lawful = thing(**UNLAWFUL[number]), [thing(**fields) for fields in LAWFUL]
    assert proven(THINGS, one, *lawful) == [False, *[True] * len(lawful)]
    assert proven(THINGS, *lawful, one) == [*[True] * len(lawful), False]


def test_names_twice_and_odd_forms_are_in_doubt(raw: SimpleNamespace) -> None:
    key = raw.element("_id", ObjectId())
    odd_array = raw.document(raw.element("0", 1), raw.element("0", 2))
    forms = [
        raw.document(key, raw.element("n", 1), raw.element("n", 1)),
        raw.document(key, raw.inside("sub", raw.document(raw.element("a", "1"), raw.element("a", "2")))),
        raw.document(key, raw.inside("some", odd_array, b"\x04")),
        raw.document(raw.element("n", 1)),
        raw.document(key, raw.element("any", Regex("^a"))),
        thing(items=[{"t": "x", "inner": [{"i": 1}] * 1_001}]),
    ]
    assert proven(THINGS, thing(n=2), *forms) == [True, *[False] * len(forms)]


def test_a_gate_with_words_of_other_kinds_is_asked_about_all() -> None:
    assert layouts_of(Entity("Whole", "d", "_id", whole="document", id_kind=any_id())) is None
    assert layouts_of(Entity("Maps", "d", "_id", (map_of("of", "d", integer("n", "d")),))) is None
    assert layouts_of(Entity("Dots", "d", "_id", (integer("a.b", "d", alias="ab"),))) is None


def test_an_id_of_any_kind_is_told_and_nan_is_none() -> None:
    ids = [1, 1.5, "x", None, {"a": [1]}, ObjectId(), float("nan"), Timestamp(1, 1)]
    assert all(proven(Entity("Any", "d", "_id", id_kind=any_id()), *(bson.encode({"_id": one}) for one in ids)))
    numbers = [bson.encode({"_id": one}) for one in (1, -0.5, float("inf"), float("nan"), Int64(1))]
    assert proven(Entity("Numbers", "d", "_id", id_kind=NUMBER), *numbers) == [True, True, True, False, False]


def test_mongodb_is_asked_only_about_documents_in_doubt() -> None:
    lawful, strange, twice = thing(n=1), thing(n=7.5), thing(any=Regex("x"))
    asked: list[bytes] = []

    def passing(raws: Sequence[bytes]) -> set[bytes]:
        asked.extend(raws)
        return {twice}

    layouts = layouts_of(THINGS)
    assert layouts is not None
    found = sort_documents(b"".join([lawful, strange, twice, lawful]), layouts, passing)
    assert asked == [strange, twice]
    assert (found.admitted, found.refused, found.located) == (lawful + twice + lawful, [strange], None)
    assert sort_documents(lawful * 3, layouts, passing).admitted == lawful * 3
    assert len(asked) == 2


def test_where_layouts_tell_little_mongodb_sorts() -> None:
    layouts = layouts_of(THINGS)
    assert layouts is not None
    assert tells_most(b"", layouts)
    assert tells_most(thing(n=1) * 9 + thing(n="1"), layouts)
    assert not tells_most(thing(n=1) * 2 + thing(n="1"), layouts)
