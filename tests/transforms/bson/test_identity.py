"""Which ids are equal to MongoDB, and which of them the stores have."""

from typing import Any

import bson
import pytest
from bson import Decimal128, Int64

from contracts.schema.entity import ID, Entity
from contracts.schema.fields import identifier
from contracts.schema.kinds import NUMBER
from transforms.bson.identity import id_equality_hash
from transforms.ingest.ids import to_stored_ids
from transforms.ingest.slow_path import transform_slowly
from transforms.oracle.expected import expected_frames, expected_ids

NUMBERED = Entity("Things", "d", "key", (identifier("key", "d"),), id_kind=NUMBER)
NAN = float("nan")


@pytest.mark.parametrize(
    "equal",
    [
        [1, Int64(1), 1.0, Decimal128("1"), Decimal128("1.00")],
        [0, 0.0, -0.0, Decimal128("-0"), Decimal128("0E-6176")],
        [NAN, Decimal128("NaN"), Decimal128("-NaN"), Decimal128("sNaN")],
        [float("inf"), Decimal128("Infinity")],
        [{"a": [1, NAN]}, {"a": [1.0, Decimal128("sNaN")]}],
    ],
)
def test_equal_ids_have_one_place(equal: list[Any]) -> None:
    assert len({id_equality_hash(bson.encode({ID: one})[4:-1]) for one in equal}) == 1


def test_no_id_speaks_for_another_one() -> None:
    """A long that no double holds would be taken for its neighbour."""
    ids = [bson.encode({ID: one, "key": "k"}) for one in (1, -0.0, 2.0**53, Int64(2**53 + 1), NAN, float("inf"))]
    for found in (to_stored_ids(ids, NUMBERED), expected_ids(ids, NUMBERED)):
        assert list(map(str, found)) == ["1.0", "-0.0", "9007199254740992.0", "inf"]
    assert expected_frames(ids, NUMBERED)[1] == [ids[3], ids[4]]


def test_nan_is_no_id() -> None:
    (refused,) = transform_slowly([bson.encode({ID: NAN, "key": "k"})], NUMBERED).refused
    assert [(reason.path, reason.rule.partition(":")[0]) for reason in refused.reasons] == [("/_id", "NaN is no key")]
