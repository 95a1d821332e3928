"""What has changed in documents against declared fields, and the lines that are proposed."""

from typing import Any

import bson
import pytest
from bson import Binary, Decimal128, Int64

from contracts.schema.entity import Entity
from contracts.schema.field import Field
from contracts.schema.fields import (
    binary,
    categories,
    decimal,
    documents,
    integer,
    integers,
    json,
    map_of,
    number,
    omit,
    subdocument,
    text,
    timestamp,
    uuid,
)
from contracts.schema.kinds import ANY_ID, INTEGER, Kind
from transforms.inference.decide import decide, decide_id
from transforms.inference.difference import difference_of_id, differences, holds
from transforms.inference.evidence import Survey
from transforms.inference.names import Tables


def changes(fields: list[Field], *seen: dict[str, Any]) -> dict[str, str]:
    """Return what has changed, by path."""
    survey = Survey.keeping(50)
    survey.observe(b"".join(bson.encode({"_id": number, **one}) for number, one in enumerate(seen)))
    proposals = decide(survey.root, "things", Tables())
    return {one.path: one.change for one in differences(fields, proposals, (), survey.root)}


@pytest.mark.parametrize(
    ("field", "values", "change"),
    [
        (integer("v", "V."), [1, Int64(2**60), 3.0], None),
        (integer("v", "V."), [1, 1.5], "other type"),
        (number("v", "V."), [1, 1.5], None),
        (number("v", "V."), [Int64(1)], "other type"),
        (decimal("v", "V.", 6, 2), [Decimal128("1234.56")], None),
        (decimal("v", "V.", 6, 2), [Decimal128("12345.6")], "other type"),
        (decimal("v", "V.", 6, 2), [Decimal128("1.234")], "other type"),
        (text("v", "V."), ["a", None], "no longer in all"),
        (text("v", "V.", nullable=True), ["a", None], None),
        (timestamp("v", "V."), ["2024-01-01"], "other type"),
        (integers("v", "V."), [[1, None]], "other type"),
        (integers("v", "V.", null_items=True), [[1, None], []], None),
        (categories("v", "V.", "a"), [["a", "b"]], "new values"),
        (map_of("v", "V.", integer("n", "N.")), [{"de": {"n": 1}, "fr": {"n": 2}}], None),
        (map_of("v", "V.", integer("n", "N.")), [[1]], "other type"),
        (omit("v"), ["secret", 1], None),
        (json("v", "V."), [bson.MinKey(), bson.Regex("a")], None),
        (map_of("v", "V.", INTEGER), [{"de": 1, "fr": "x"}], "other type"),
        (documents("v", "V.", integer("n", "N.")), [[{"n": 1}], []], None),
        (documents("v", "V.", integer("n", "N.")), [{"n": 1}], "other type"),
        (subdocument("v", "V.", integer("n", "N.")), [{"n": 1}], None),
        (subdocument("v", "V.", integer("n", "N.")), [[{"n": 1}]], "other type"),
    ],
)
def test_what_a_field_holds_has_not_changed(field: Field, values: list[Any], change: str | None) -> None:
    assert changes([field], *({"v": one} for one in values)).get("v") == change


@pytest.mark.parametrize(
    ("ids", "kind", "lines"),
    [
        ([1, 2.0], INTEGER, None),
        ([1, "a"], INTEGER, ("id_kind=any_id(),",)),
        ([1, 2.5], INTEGER, ("id_kind=NUMBER,",)),
        ([1, "a", None], ANY_ID, None),
    ],
)
def test_ids_of_another_type_are_told_with_the_kind_that_holds_them(
    ids: list[Any], kind: Kind, lines: tuple[str, ...] | None
) -> None:
    survey = Survey()
    survey.observe(b"".join(bson.encode({"_id": one}) for one in ids))
    seen = survey.root.fields["_id"]
    found = difference_of_id(Entity("Things", "Things.", "_id", (), id_kind=kind).id_field, seen, decide_id(seen))
    assert (found.lines if found else None) == lines


def test_what_is_deep_is_told_by_its_path_and_what_is_gone_too() -> None:
    inner = documents("parts", "P.", integer("n", "N."), text("gone", "G.", nullable=True))
    found = changes([documents("lines", "L.", inner)], {"lines": [{"parts": [{"n": 1, "m": 2}]}]})
    assert found == {"lines.parts.gone": "gone", "lines.parts.m": "new"}


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


def test_of_a_maps_values_is_told_what_has_changed_in_them() -> None:
    inner = subdocument("s", "S.", integer("a", "A."), nullable=True)
    field = map_of("v", "V.", integer("n", "N."), text("t", "T.", nullable=True), integer("old", "O."), inner)
    entries = {"de": {"n": 1, "t": 2, "s": {"a": "x", "b": 1}}, "fr": {"more": True}}
    assert changes([field], {"v": entries}) == {
        "v.*.n": "no longer in all",
        "v.*.t": "other type",
        "v.*.old": "gone",
        "v.*.s.a": "other type",
        "v.*.s.b": "new",
        "v.*.more": "new",
    }


def test_a_minority_of_another_type_is_told_where_it_would_be_refused() -> None:
    seen: list[dict[str, Any]] = [{"v": 1}] * 3 + [{"v": "x"}]
    survey = Survey.keeping(50)
    survey.observe(b"".join(bson.encode({"_id": number, **one}) for number, one in enumerate(seen)))
    proposals, inferred = decide(survey.root, "things", Tables()), [integer("v", "V.", nullable=True)]
    for misfits, told in (("refuse", ["some of another type"]), ("extra", [])):
        declared = [integer("v", "V.", nullable=True, misfits=misfits)]
        assert [one.change for one in differences(declared, proposals, inferred, survey.root)] == told


def test_binary_data_are_told_by_their_subtype() -> None:
    one, other = Binary(b"x" * 16, 4), Binary(b"x")
    fields = [uuid("u", "d"), binary("b", "d"), binary("five", "d", subtype=5)]
    whole = {"u": one, "b": other, "five": Binary(b"x", 5)}
    assert changes(fields, whole, whole) == {}
    assert changes(fields, whole, {"u": one, "b": other}) == {"five": "no longer in all"}
    assert changes(fields, whole, whole | {"u": other}) == {"u": "other type"}
    assert changes(fields, whole, whole | {"five": "x"}) == {"five": "other type"}
