"""The seed decides everything, and every document is lawful unless it is broken on purpose."""

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.schema.fields import integer
from contracts.schema.registry import entities
from generators import World, generate, rows_at
from generators.batches import CHUNK_ROWS
from tests.examples import examples

COLLECTIONS = sorted(entities())
HASHING = """
import hashlib, bson
from bson.raw_bson import RawBSONDocument
from contracts.schema.fields import integer
from contracts.schema.registry import entities
from generators import World, generate
digest, known = hashlib.sha256(), entities()
world = World.sized(known, dict.fromkeys(known, 300), 3)
for entity in known.values():
    for batch in generate(entity, 300, world=world, defects=0.2):
        for one in batch.documents:
            digest.update(one.raw if isinstance(one, RawBSONDocument) else bson.encode(one))
print(digest.hexdigest())
"""


def as_bytes(batches: Iterable) -> list[bytes]:
    return [
        bytes(one.raw) if isinstance(one, RawBSONDocument) else bson.encode(one)
        for batch in batches
        for one in batch.documents
    ]


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_same_seed_same_bytes_and_other_seed_other_documents(contracts, collection):
    def made(seed: int, defects: float = 0.0) -> list[bytes]:
        world = World.sized(contracts, {collection: 200}, seed)
        return as_bytes(generate(contracts[collection], 200, world=world, defects=defects))

    assert made(1) == made(1)
    assert made(1, 0.3) == made(1, 0.3)
    assert not set(made(1)) & set(made(2))


def test_another_process_with_another_hash_seed_makes_the_same():
    def run(hash_seed: str) -> str:
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.getcwd()}
        ran = subprocess.run([sys.executable, "-c", HASHING], capture_output=True, check=True, env=environment)
        return ran.stdout.decode()

    assert run("1") == run("2")


def test_a_chunk_does_not_depend_on_those_before_it(contracts):
    entity, rows = contracts["SearchQueries"], CHUNK_ROWS + 100
    world = World.sized(contracts, {"SearchQueries": rows}, 1)
    in_turn = [as_bytes([batch]) for batch in generate(entity, rows, world=world, defects=0.01)]
    others = generate(contracts["EventLogs"], 10, world=world)
    interleaved = [
        as_bytes([batch])
        for batch, _ in zip(generate(entity, rows, world=world, defects=0.01), [*others, 0], strict=True)
    ]
    assert interleaved == in_turn
    assert [len(batch) for batch in in_turn] == [CHUNK_ROWS, 100]
    again = World.sized(contracts, {"SearchQueries": rows}, 1)
    *_, last = generate(entity, rows, world=again, defects=0.01)
    assert as_bytes([last]) == in_turn[-1]


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_every_document_is_lawful(contracts, made, problems, collection):
    entity = contracts[collection]
    found = [(one["_id"], problem) for one in made[collection] for problem in problems(entity, one)]
    assert not found[:5]
    assert [tuple(one) for one in made[collection][:50]] == [("_id", *(field.name for field in entity.fields))] * 50


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_keys_are_unique_and_ids_rise(contracts, made, collection):
    ids = [one["_id"] for one in made[collection]]
    assert len(set(ids)) == len(ids)
    assert len({one[contracts[collection].key] for one in made[collection]}) == len(ids)
    seconds = [one.generation_time.timestamp() for one in ids]
    assert all(after >= before - 4 for before, after in pairwise(seconds))


def test_ids_of_different_collections_and_seeds_never_meet(contracts, made):
    ids = [one["_id"] for documents in made.values() for one in documents]
    assert len(set(ids)) == len(ids)


def test_the_id_bears_the_time_of_the_document(made):
    for collection, name in (
        ("UserSessions", "start_time"),
        ("SupportTickets", "created_at"),
        ("EventLogs", "timestamp"),
    ):
        for one in made[collection][::50]:
            assert one["_id"].generation_time.replace(tzinfo=None) == one[name].replace(microsecond=0)


def test_scale_one_is_a_hundred_thousand_documents(contracts):
    assert sum(rows_at(entity, 1) for entity in contracts.values()) == 100_000
    assert {rows_at(entity, 0) for entity in contracts.values()} == {0}


def test_a_field_that_a_generator_does_not_know_is_drawn_by_its_kind(contracts, problems):
    known = contracts["SearchQueries"]
    fields = (*(field for field in known.fields if field.name != "filters"), integer("clicks", "Clicks.", minimum=3))
    changed = replace(known, fields=fields, indexes=())
    (batch,) = generate(changed, 40, world=World(1, 50, 50))
    assert not [problem for one in batch.documents for problem in problems(changed, one)]
    assert all(one["clicks"] >= 3 and "filters" not in one for one in batch.documents)


@settings(max_examples=examples(25), deadline=None)
@given(
    collection=st.sampled_from(COLLECTIONS),
    rows=st.integers(0, 60),
    seed=st.integers(0, 2**63),
    defects=st.floats(0, 1),
)
def test_announced_numbers_are_exact(collection, rows, seed, defects):
    contracts = entities()
    world = World.sized(contracts, {collection: rows}, seed)
    lawful = as_bytes(generate(contracts[collection], rows, world=world))
    batches = list(generate(contracts[collection], rows, world=world, defects=defects))
    differing = sum(one != other for one, other in zip(lawful, as_bytes(batches), strict=True))
    assert len(lawful) == rows
    assert differing == sum(batch.defects.total() for batch in batches) == round(rows * defects)
