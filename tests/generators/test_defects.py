"""Each broken document is broken once, in the way that was announced."""

from collections import Counter

import bson
import numpy as np
import pytest
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument

from contracts.schema.registry import entities
from generators import DEFECTS, World
from generators.batches import generate
from generators.defects import STAND_IN, break_document, fitting

COLLECTIONS = [*sorted(entities()), "WarehouseVisits"]
ROWS = 400
LENIENT = CodecOptions(unicode_decode_error_handler="replace", datetime_conversion=DatetimeConversion.DATETIME_AUTO)
# What the judge says of a document with the defect; the others can't be seen in a decoded document.
VERDICTS = {
    "another_subtype": ": subtype",
    "undeclared_field": ": undeclared",
    "undeclared_nested_field": ": undeclared",
    "number_in_text": "int for ",
    "fraction_in_integer": "float for integer",
    "infinity_in_integer": "float for integer",
    "boolean_in_integer": "bool for integer",
    "long_in_number": "Int64 for number",
    "text_in_timestamp": "str for timestamp",
    "double_in_decimal": "no decimal",
    "digit_too_many": "digits",
    "scalar_for_array": "no array",
    "scalar_for_subdocument": "no document",
    "scalar_for_free_form": "str for document",
    "null_item": "no",
    "null_in_required": "missing",
    "missing_field": "missing",
    "foreign_id": "_id: ",
    "rule_broken": "rule ",
    "far_date": "DatetimeMS for timestamp",
    "out_of_range": "out of range",
    "unknown_value": "unknown value",
    "empty_text": "length",
    "text_too_long": "length",
    "nul_in_text": "NUL",
}


def as_bytes(document):
    return bytes(document.raw) if isinstance(document, RawBSONDocument) else bson.encode(document)


@pytest.fixture(scope="module", params=COLLECTIONS)
def entity(request, contracts, eighth):
    return (contracts | {eighth.collection: eighth})[request.param]


@pytest.fixture(scope="module")
def broken(entity):
    """Pairs of a defect and a document that has it, several of each kind that fits."""
    (batch,) = generate(entity, ROWS, world=World(2, 400, 400))
    rng = np.random.default_rng(1)
    made = [break_document(entity, dict(one), turn, rng) for turn, one in enumerate(batch.documents)]
    return [(defect, document) for document, defect in made]


def test_every_kind_that_fits_takes_its_turn(entity, broken):
    counted = Counter(defect.name for defect, _ in broken)
    kinds = fitting(entity)
    assert set(counted) == {defect.name for defect in kinds}
    assert min(counted.values()) >= ROWS // len(kinds) * 0.8


def test_each_is_broken_once_as_announced(entity, broken, problems):
    for defect, document in broken:
        if defect.name in VERDICTS:
            found = problems(entity, bson.decode(as_bytes(document), LENIENT))
            assert len(found) == 1, (defect.name, found)
            assert VERDICTS[defect.name] in found[0] or "NoneType for" in found[0], (defect.name, found)


def test_invalid_bytes_are_refused_by_the_decoder(broken):
    for defect, document in broken:
        if defect.name.startswith("invalid_utf8"):
            with pytest.raises(bson.errors.InvalidBSON):
                bson.decode(as_bytes(document))
            assert "\ufffd" in str(bson.decode(as_bytes(document), LENIENT))
        else:
            bson.decode(as_bytes(document), LENIENT)
        assert STAND_IN.encode() not in as_bytes(document)


def test_names_are_twice_in_the_bytes_only_where_announced(broken):
    for defect, document in broken:
        if not defect.name.startswith("invalid_utf8"):
            raw = as_bytes(document)
            once = bson.encode(bson.decode(raw, LENIENT))
            assert (len(once) < len(raw)) is defect.name.startswith("duplicate"), defect.name


def test_ids_stay_unique(broken):
    assert len({str(bson.decode(as_bytes(document), LENIENT)["_id"]) for _, document in broken}) == ROWS


def test_lawful_documents_stay_as_they_were(entity):
    world = World(2, 400, 400)
    (lawful,) = generate(entity, ROWS, world=world)
    before = [as_bytes(one) for one in lawful.documents]
    (batch,) = generate(entity, ROWS, world=world, defects=0.5)
    assert [as_bytes(one) for one in lawful.documents] == before
    assert sum(one == as_bytes(other) for one, other in zip(before, batch.documents, strict=True)) == ROWS // 2


def test_the_seven_collections_and_an_eighth_show_every_kind(contracts, eighth):
    shown = {defect.name for entity in (*contracts.values(), eighth) for defect in fitting(entity)}
    assert shown == set(DEFECTS)
    unseen = {name for name in DEFECTS if name.startswith(("invalid_utf8", "duplicate"))}
    assert set(VERDICTS) | unseen == set(DEFECTS)
