"""An eighth contract generates without more code."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from bson import Binary, Decimal128, ObjectId

from contracts.schema.entity import ContractError, Entity
from contracts.schema.fields import date, identifier, integer
from contracts.schema.kinds import ANY_ID, BOOLEAN, INTEGER, NUMBER, TEXT, TIMESTAMP, decimal_kind
from generators import World, generate

WORLD = World(3, 500, 400)


def documents(entity, rows=3000):
    return [one for batch in generate(entity, rows, world=WORLD) for one in batch.documents]


def test_every_kind_of_field_is_drawn_lawfully(eighth, problems):
    made = documents(eighth)
    assert not [problem for one in made for problem in problems(eighth, one)][:5]
    assert len({one["visit_id"] for one in made}) == len({one["_id"] for one in made}) == 3000
    assert {one["gate"] for one in made} == {"north", "south"}
    assert {one["doors"] for one in made} == set(range(-3, 4))


def test_what_may_lack_does_lack_sometimes(eighth):
    made = documents(eighth)
    assert any("left_at" not in one for one in made)
    assert any(one.get("left_at", "") is None for one in made)
    assert any(one.get("car", "") is None for one in made)
    assert any(one.get("car") and one["car"]["owner"].get("name", "") is None for one in made)
    assert [] in [one["stops"] for one in made]


def test_users_and_products_are_those_of_the_world(eighth):
    made = documents(eighth)
    assert {one["guide_user_id"] for one in made} <= set(WORLD.users.ids(np.arange(500)))
    assert {one for visit in made for one in visit["product_ids"]} <= set(WORLD.products.ids(np.arange(400)))


ID_KINDS = [
    (INTEGER, {int}),
    (TEXT, {str}),
    (TIMESTAMP, {datetime}),
    (NUMBER, {int}),
    (decimal_kind(9, 2), {Decimal128}),
    (ANY_ID, {ObjectId, str, int, float, dict, datetime, Binary}),
]


@pytest.mark.parametrize(("kind", "wanted"), ID_KINDS)
def test_ids_of_other_kinds_are_unique_too(kind, wanted):
    entity = Entity("Counters", "Counters.", "number", (integer("number", "Number.", minimum=5),), id_kind=kind)
    made = documents(entity, 100)
    assert {type(one["_id"]) for one in made} == wanted
    assert len({repr(one["_id"]) for one in made}) == len({one["number"] for one in made}) == 100
    assert min(one["number"] for one in made) == 5


def test_what_no_generator_can_make_is_named(eighth):
    with pytest.raises(ContractError, match="born_on"):
        documents(replace(eighth, fields=(*eighth.fields, date("born_on", "A day."))), 10)
    with pytest.raises(ContractError, match="_id that is boolean"):
        documents(Entity("Flags", "Flags.", "name", (identifier("name", "Name."),), id_kind=BOOLEAN), 10)


def test_a_collection_named_as_one_of_our_modules_is_no_matter():
    entity = Entity("World", "Worlds.", "name", (identifier("name", "Name."),))
    assert len(documents(entity, 10)) == 10
