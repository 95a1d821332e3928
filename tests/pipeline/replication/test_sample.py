"""A sample: random ranges of ``_id``, compared in both directions, the same ones again by the same seed."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from contracts.schema.entity import Entity
from contracts.schema.fields import documents, integer, text
from pipeline.errors import UsageError
from pipeline.replication import replicate
from pipeline.replication.comparison import Comparison
from pipeline.replication.sample import RANGES, Sample
from pipeline.replication.verify import verify
from pipeline.stores.selection import Range
from tests.pipeline.lab import Lab

ITEMS = documents("items", "Items.", text("what", "What.", nullable=True))
ROWS = 300


@pytest.fixture(scope="module")
def many(lab: Lab) -> Any:
    """Return a lab of 300 Things that are published."""
    entity = Entity("Things", "Things.", "amount", (integer("amount", "Amount."), ITEMS))
    made = type(lab)(replace(lab.connections, entities={"Things": entity}), lab.settings)
    lab.collection("Things").insert_many({"amount": n, "items": [{"what": "x"}]} for n in range(ROWS))
    replicate.replicate(made.connections)
    return made


def _verified(lab: Lab, asked: str, seed: int = 1) -> list[Comparison]:
    return verify(lab.connections, sample=Sample(asked, seed))


@pytest.mark.parametrize("asked", ["", "x", "0", "0%", "0.0%", "-1", "1.5", "%", "1%%", "٣"])
def test_a_sample_that_is_none_is_refused(asked: str) -> None:
    with pytest.raises(UsageError, match="such as 1000 or 1%"):
        Sample(asked, 0)


@pytest.mark.parametrize(
    ("asked", "size"), [("30", 30), ("10%", 30), ("0.1%", 1), ("1", 1), ("7", 7), ("1000", ROWS), ("200%", ROWS)]
)
def test_as_much_is_compared_as_is_asked_for(many: Any, asked: str, size: int) -> None:
    for one in _verified(many, asked):
        assert (one.proven, one.source, one.equal, one.documents) == (True, size, size, ROWS)


def test_the_same_seed_takes_the_same_ranges_and_others_take_others(many: Any) -> None:
    def ranges(seed: int) -> list[Range]:
        mongo = many.connections.mongo
        return list(Sample("10%", seed).ranges(mongo, "Things", mongo.cluster_time(), ROWS))

    assert ranges(1) == ranges(1)
    assert len(ranges(1)) in (RANGES, RANGES + 1)  # one may go on at the beginning
    assert len({str(ranges(seed)) for seed in range(10)}) == 10


def test_all_of_a_collection_is_some_time_in_a_sample(many: Any) -> None:
    ids = [one["_id"] for one in many.collection("Things").find({}, {"_id": 1}, sort=[("_id", 1)])]
    seen = Counter[Any]()
    for seed in range(120):
        places = Sample("60", seed).places("Things", ROWS)
        assert all(0 <= first < end <= ROWS for first, end in places)
        assert all(end <= first for (_, end), (first, _) in pairwise(places))
        assert sum(end - first for first, end in places) == 60
        seen.update(ids[place] for first, end in places for place in range(first, end))
    assert min(seen[one] for one in ids) > 5  # about 24 each


TAMPERED: dict[str, tuple[str, str]] = {
    "different": (
        "UPDATE replica.things SET amount = -1",
        "ALTER TABLE replica.things__data UPDATE amount = -1 WHERE 1 SETTINGS mutations_sync = 2",
    ),
    "missing": (
        "DELETE FROM replica.things",
        "ALTER TABLE replica.things__data DELETE WHERE 1 SETTINGS mutations_sync = 2",
    ),
    "extra": (
        "INSERT INTO replica.things SELECT _id || 'x', amount, items_count, _extra FROM replica.things",
        "INSERT INTO replica.things__data SELECT concat(_id, 'x') AS _id, * EXCEPT _id FROM replica.things__data",
    ),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_what_is_wrong_in_a_range_is_found_in_both_directions(many: Any, how: str) -> None:
    in_postgres, in_clickhouse = TAMPERED[how]
    many.change_postgres("ALTER TABLE replica.things_items DROP CONSTRAINT things_items__id_fkey", in_postgres)
    many.change_clickhouse(in_clickhouse)
    for one in _verified(many, "30"):
        assert not one.proven
        # An extra row beyond the last document of a range is in the next one.
        assert getattr(one, how) in ((range(20, 31)) if how == "extra" else (30,))
        assert one.source == 30
    replicate.replicate(many.connections)
    assert all(one.proven for one in _verified(many, "50%"))


@pytest.mark.parametrize("rows", [0, 1, 2, 11])
def test_small_collections_are_compared_whole_or_in_part(lab: Lab, rows: int) -> None:
    entity = Entity(f"Small{rows}", "Small.", "amount", (integer("amount", "Amount."),))
    lab.connections.mongo.database.create_collection(entity.collection)
    if rows:
        lab.collection(entity.collection).insert_many({"amount": n} for n in range(rows))
    small = type(lab)(replace(lab.connections, entities={entity.collection: entity}), lab.settings)
    replicate.replicate(small.connections)
    for asked, size in (("1%", min(rows, 1)), ("100%", rows), ("5", min(rows, 5))):
        assert [(one.proven, one.source) for one in _verified(small, asked)] == [(True, size)] * 2
    small.change_postgres(f"INSERT INTO replica.small{rows} VALUES ('zzzz', 1)")
    assert [one.extra for one in _verified(small, "100%", 3)] == [1, 0]
