"""What of a document goes aside, and what a column shows in its place."""

import bson
from bson import Decimal128, Int64
from bson.raw_bson import RawBSONDocument

from contracts.schema.entity import Entity
from contracts.schema.fields import category, documents, integer, text, texts, timestamp
from generators.breaches import breaches
from transforms.bson.extended_json import from_json_text
from transforms.ingest.slow_path import transform_slowly
from transforms.oracle.compare import Findings, as_stored, compare
from transforms.oracle.expected import expected_frames

OTHERS = [True, float("nan"), Decimal128("7"), {"a": 1}, [1]]


def test_a_number_among_texts_without_rules_is_shown_as_a_text_and_exact_aside() -> None:
    fields = (
        text("plain", "P.", nullable=True),
        text("short", "S.", nullable=True, max_length=9),
        category("few", "F.", "a", nullable=True),
    )
    entity = Entity("Things", "d", fields=fields, misfits="extra")
    numbers = [7, Int64(2**53 + 1), 7.0, -0.0, 0.5, 1e16, -2.5e-7]
    values = [*numbers, *OTHERS]
    raws = [bson.encode({"_id": bson.ObjectId(), "plain": one, "short": one, "few": one}) for one in values]
    found = transform_slowly(raws, entity, gated=False)
    root = found.frames["things"]
    wanted = ["7", "9007199254740993", "7", "0", "0.5", "1e+16", "-2.5e-07"]
    assert root["plain"].to_list() == [*wanted, None, "nan", None, None, None]
    assert root["short"].null_count() == root["few"].null_count() == len(values)
    asides = [from_json_text(one) for one in root["_extra"]]
    assert [repr(one["/plain"]) for one in asides] == [repr(int(one) if type(one) is Int64 else one) for one in values]
    expected, unexpected = expected_frames(raws, entity)
    findings = Findings()
    compare(expected["things"], as_stored(root, entity.root), entity.root, findings)
    assert (unexpected, findings) == ([], Findings())


def test_documents_that_break_a_contract_are_refused_also_where_misfits_go_aside() -> None:
    fields = (
        text("plain", "P.", nullable=True),
        text("short", "S.", nullable=True, max_length=9),
        timestamp("at", "A.", nullable=True),
        integer("required", "R.", minimum=0),
        documents("items", "I.", texts("tags", "T.", nullable=True), nullable=True),
    )
    entity = Entity("Things", "d", fields=fields, misfits="extra")
    broken = list(breaches(entity))
    for one in broken:
        raw = bytes(one.document.raw) if isinstance(one.document, RawBSONDocument) else bson.encode(one.document)
        assert bool(transform_slowly([raw], entity, gated=False).refused) is not one.mended, one.name
    assert {one.name for one in broken} > {"fraction_in_integer at required", "things.short_max_length"}
    assert "far_date at at" not in {one.name for one in broken}
