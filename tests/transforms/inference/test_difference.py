"""What a declared field holds of what was seen."""

from typing import Any

import bson
import pytest

from contracts.schema.field import Field
from contracts.schema.fields import documents, integer, map_of, text
from contracts.schema.kinds import INTEGER
from transforms.inference.difference import holds
from transforms.inference.evidence import Survey

PRICES, TITLES = map_of("v", "d", INTEGER), map_of("v", "d", text("t", "d"))
CASES = [
    (PRICES, {"CHF": 9, "": None}, True),
    (PRICES, {}, True),
    (PRICES, {"CHF": 9, "EUR": "x"}, False),
    (PRICES, [9], False),
    (TITLES, {"de": {"t": "x"}, "fr": {}}, True),
    (TITLES, {"de": {"t": "x"}, "fr": 1}, False),
    (documents("v", "d", integer("n", "d")), {"n": 1}, False),
]


@pytest.mark.parametrize(("field", "value", "held"), CASES)
def test_a_map_holds_any_names_and_values_of_its_kind(field: Field, value: Any, held: bool) -> None:
    survey = Survey()
    survey.observe(bson.encode({"_id": 1, "v": value}))
    assert holds(field, survey.root.fields["v"]) is held
