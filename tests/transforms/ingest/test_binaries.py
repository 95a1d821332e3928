"""Binary data of another subtype than declared, which no gate can see: never null, never taken for the declared."""

from typing import Any

import bson
import pytest
from bson import Binary

from contracts.schema.entity import EXTRA, Entity
from contracts.schema.fields import FieldOptions, binary, documents, integer, subdocument, uuid
from transforms.ingest.batch import decode_batch, transform_batch
from transforms.ingest.slow_path import transform_decoded, transform_slowly
from transforms.oracle.compare import Findings, as_stored, compare
from transforms.oracle.expected import expected_frames

GOOD = Binary(bytes(range(16)), 4)
TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"


def things(**options: Any) -> Entity:
    said: FieldOptions = {"nullable": True, **options}
    word = uuid("u", "d", **said)
    return Entity(
        "Things",
        "d",
        fields=(
            word,
            binary("b", "d", **said),
            binary("c", "d", subtype=5, **said),
            subdocument("s", "d", word, nullable=True),
            documents("i", "d", word, integer("n", "d", nullable=True), nullable=True),
        ),
    )


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"u": Binary(bytes(16), 3)}, "/u", "expected binData of subtype 4, found subtype 3"),
    ({"u": bytes(16)}, "/u", "expected binData of subtype 4, found subtype 0"),
    ({"u": Binary(bytes(15), 4)}, "/u", "a UUID has 16 bytes, and this has 15"),
    ({"u": Binary(b"", 4)}, "/u", "a UUID has 16 bytes, and this has 0"),
    ({"s": {"u": Binary(bytes(17), 4)}}, "/s/u", "a UUID has 16 bytes, and this has 17"),
    ({"i": [{"u": GOOD}, {"u": Binary(bytes(16), 3)}]}, "/i/1/u", "expected binData of subtype 4, found subtype 3"),
    ({"i": [{"n": 1}, {"u": Binary(bytes(1), 4)}]}, "/i/1/u", "a UUID has 16 bytes, and this has 1"),
    ({"b": Binary(b"a", 2)}, "/b", "expected binData of subtype 0, found subtype 2"),
    ({"c": b"a"}, "/c", "expected binData of subtype 5, found subtype 0"),
]


@pytest.mark.parametrize(("bad", "path", "rule"), BAD)
def test_another_subtype_is_refused_by_name_and_takes_no_neighbour_down(
    bad: dict[str, Any], path: str, rule: str
) -> None:
    entity, good = things(), bson.encode({"_id": bson.ObjectId(), "u": GOOD, "b": b"\xff", "c": Binary(b"\0", 5)})
    raw = bson.encode({"_id": bson.ObjectId(), **bad})
    for result in (
        transform_batch(good + raw + good, entity),
        transform_slowly([good, raw, good], entity, gated=False),
    ):
        (refused,) = result.refused
        assert refused.raw == raw
        assert [(one.path, one.rule) for one in refused.reasons] == [(path, rule)]
        assert result.frames["things"].select("u", "b", "c").unique().rows() == [(TEXT, b"\xff", b"\0")]
    assert expected_frames([raw], entity)[1] == [raw]


@pytest.mark.parametrize("bad", [one for one, _, _ in BAD])
def test_another_subtype_may_stay_with_its_row(bad: dict[str, Any]) -> None:
    entity = things(misfits="extra")
    raws = [bson.encode({"_id": bson.ObjectId(), **one}) for one in ({"u": GOOD}, bad)]
    result = transform_decoded(decode_batch(b"".join(raws), entity), entity)
    assert result.refused == []
    assert "$binary" in result.frames["things"][EXTRA][1]
    expected, unexpected = expected_frames(raws, entity)
    assert unexpected == []
    findings = Findings()
    for table in entity.tables:
        compare(expected[table.name], as_stored(result.frames[table.name], table), table, findings)
    assert findings == Findings()
