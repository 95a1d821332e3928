"""The copy and the oracle find out an ``_id`` in two ways, and must come to the same for every value of BSON."""

from datetime import UTC, datetime

import bson
import pytest
from bson import Binary, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

from contracts.schema.entity import ID, Entity
from contracts.schema.fields import identifier
from contracts.schema.kinds import BOOLEAN, CATEGORY, INTEGER, NUMBER, OBJECT_ID, TEXT, TIMESTAMP, Kind, decimal_kind
from transforms.ingest.admission import layouts_of
from transforms.ingest.ids import to_stored_ids
from transforms.oracle.expected import expected_ids

_NUMBERS = [
    1,
    Int64(1),
    1.0,
    1.5,
    -0.0,
    2**53,
    Int64(2**62 + 1),
    float(2**63),
    -float(2**63),
    float("nan"),
    float("inf"),
]
_DECIMALS = [Decimal128(text) for text in ("1.5", "1.55", "1.555", "1E3", "1E8", "NaN", "-Infinity", "0E-6176")]
_TEXTS = ["a", "", "x" * 5_000, "\0", "é"]
_OTHERS = [ObjectId(), True, False, None, {"a": 1}, [1], Binary(b"x"), Regex("a"), MinKey(), MaxKey(), Timestamp(1, 1)]
_DATES = [datetime(2020, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), bson.DatetimeMS(2**62)]
VALUES = [*_NUMBERS, *_DECIMALS, *_TEXTS, *_OTHERS, *_DATES]
KINDS = (OBJECT_ID, TEXT, CATEGORY, INTEGER, NUMBER, BOOLEAN, TIMESTAMP, decimal_kind(10, 2))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_two_ways_to_an_id_come_to_the_same(kind: Kind) -> None:
    entity = Entity("Things", "d", "key", (identifier("key", "d"),), id_kind=kind)
    raws = [bson.encode({ID: one, "key": "k"}) for one in VALUES]
    found = to_stored_ids(raws, entity)
    assert found.len() > 0
    assert found.equals(expected_ids(raws, entity))


def test_a_contract_s_ids_are_made_a_contract_once() -> None:
    entity = Entity("Things", "d", "key", (identifier("key", "d"),), id_kind=TEXT)
    assert to_stored_ids([bson.encode({ID: "a"})], entity).to_list() == ["a"]
    made = layouts_of.cache_info().currsize
    for one in ("b", "c", "d"):
        assert to_stored_ids([bson.encode({ID: one})], entity).to_list() == [one]
    assert layouts_of.cache_info().currsize == made


def test_ids_are_those_of_the_stores_that_are_meant() -> None:
    entity = Entity("Things", "d", "key", (identifier("key", "d"),), id_kind=TEXT)
    raws = [bson.encode({ID: "a\0b"})]
    assert to_stored_ids(raws, entity).to_list() == []
    assert to_stored_ids(raws, entity.within({"clickhouse"})).to_list() == ["a\0b"]
