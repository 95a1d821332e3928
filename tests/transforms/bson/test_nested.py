"""What is cut out of a batch is what the typed reader finds there by itself, or it is not cut out at all."""

from collections.abc import Sequence
from typing import Any

import bson
import numpy as np
import pytest
from bson import DatetimeMS, ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongoarrow.api import Schema, find_arrow_all

from contracts.schema.entity import Entity
from contracts.schema.mongo import read_schema
from contracts.schema.registry import entities
from tests.examples import examples
from transforms.bson.documents import find_starts, resize_batches
from transforms.bson.nested import ARRAY, DOCUMENT, Nested, cut_documents, cut_items, find_values
from transforms.ingest.admission import layouts_of
from transforms.ingest.decode import _OneBatch, decode

SESSIONS = entities()["UserSessions"]


def session(**changes: Any) -> dict[str, Any]:
    lawful = {
        "_id": ObjectId(b"sessionsixty"),
        "session_id": "s",
        "user_id": "u",
        "start_time": DatetimeMS(0),
        "end_time": DatetimeMS(1),
        "pages_visited": ["/"],
        "device": {"type": "mobile", "os": "iOS", "browser": "Safari"},
        "actions": [],
    }
    return lawful | changes


def batch(*documents: dict[str, Any]) -> bytes:
    return b"".join(map(bson.encode, documents))


def beginnings(documents: bytes) -> Any:
    return np.array(find_starts(documents), np.int64)


def read_nested(documents: bytes, entity: Entity) -> Any:
    """Return what PyMongoArrow reads without any help."""
    return find_arrow_all(_OneBatch(documents), {}, schema=Schema(read_schema(entity)))


def test_a_value_is_where_the_field_is_in_each_document() -> None:
    raws = [bson.encode({"a": {"n": n}, "b": "a"}) for n in range(3)]
    together = b"".join(raws)
    places = find_values(together, beginnings(together), "a", DOCUMENT)
    assert places is not None
    assert [bson.decode(one) for one in cut_documents(together, places)] == [{"n": 0}, {"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    "documents",
    [
        [{"a": {}}, {}],
        [{"a": {}}, {"a": []}],
        [{"a": {}, "b": {"a": 1}}],
        [{"a": {}, "b": "\x03a"}],
        [{"a": {}, "b": b"\x02a\0"}],
    ],
    ids=["missing", "of another type", "also deeper", "a text like it", "a binary like it"],
)
def test_a_field_that_is_not_beyond_doubt_is_not_cut_out(documents: Sequence[dict[str, Any]]) -> None:
    together = batch(*documents)
    assert find_values(together, beginnings(together), "a", DOCUMENT) is None


def test_a_field_that_stands_twice_is_not_cut_out_whatever_its_types() -> None:
    once, other = bson.encode({"a": {}, "b": 1}), bson.encode({"a": {}, "b": "x"})
    for twice in (once.replace(b"\x10b\0", b"\x10a\0"), other.replace(b"\x02b\0", b"\x02a\0")):
        assert find_values(twice, beginnings(twice), "a", DOCUMENT) is None
        lacking = twice + bson.encode({"c": 1})  # one has what another lacks
        assert find_values(lacking, beginnings(lacking), "a", DOCUMENT) is None


def items_of(together: bytes) -> Nested | None:
    places = find_values(together, beginnings(together), "a", ARRAY)
    assert places is not None
    return cut_items(together, places)


@pytest.mark.parametrize("counts", [(0,), (3,), (0, 2, 0), (11, 1, 100)])
def test_the_items_of_arrays_come_in_order(counts: tuple[int, ...]) -> None:
    documents = [{"a": [{"d": d, "n": n} for n in range(count)]} for d, count in enumerate(counts)]
    together = batch(*documents)
    found = items_of(together)
    assert found is not None
    assert tuple(found.counts) == counts
    assert bson.decode_all(found.batch) == [item for one in documents for item in one["a"]]


@pytest.mark.parametrize("array", [[1], [{}, None], [{}] * 101], ids=["no document", "a null", "too many"])
def test_items_that_are_odd_are_not_cut_out(array: list[Any]) -> None:
    together = batch({"a": [{}]}, {"a": array})
    assert items_of(together) is None


@pytest.mark.parametrize("name", [b"x\0", b"\0", b"10\0"])
def test_items_of_any_name_are_read_or_left_alone(name: bytes) -> None:
    inner = b"\x03" + name + bson.encode({"n": 1}) + b"\0"
    array = (len(inner) + 4).to_bytes(4, "little") + inner
    body = b"\x04a\0" + array + b"\0"
    document = (len(body) + 4).to_bytes(4, "little") + body
    found = items_of(document)
    assert found is None or bson.decode_all(found.batch) == [{"n": 1}]


TEXTS = st.sampled_from(["", "a", "actions", "\x04actions", "\x03device", "device", "type", "\x02type", "ü"])
TIMES = st.integers(-(2**40), 2**40).map(DatetimeMS)
LAWFUL = st.fixed_dictionaries(
    {
        "session_id": TEXTS,
        "pages_visited": st.lists(TEXTS, max_size=3),
        "device": st.fixed_dictionaries({"type": TEXTS, "os": TEXTS, "browser": TEXTS}),
        "actions": st.lists(st.fixed_dictionaries({"type": TEXTS, "target": TEXTS, "at": TIMES}), max_size=12),
    },
    optional={"end_time": TIMES | st.none()},
)


@settings(max_examples=examples(150))
@given(st.lists(LAWFUL, max_size=4))
def test_what_is_cut_out_reads_as_it_does_in_its_place(drawn: list[dict[str, Any]]) -> None:
    documents = batch(*(session(**one) for one in drawn))
    expected = read_nested(documents, SESSIONS)
    assert decode(documents, SESSIONS).equals(expected)
    layouts = layouts_of(SESSIONS)
    assert layouts is not None
    _, located = layouts.proven(documents, beginnings(documents))  # not of all before it has seen them all
    assert decode(documents, SESSIONS, located).equals(expected)


@pytest.mark.parametrize("within", ["device", "actions"])
def test_a_field_twice_within_a_nested_document_is_not_passed_over(within: str) -> None:
    item = {"type": "view", "target": "t", "more": "m", "at": DatetimeMS(0)}
    device = {"type": "mobile", "os": "iOS", "more": "m", "browser": "Safari"}
    lawful = session(device=device) if within == "device" else session(actions=[item, item])
    for name in lawful[within] if within == "device" else item:
        if name in ("more", "at"):
            continue
        raw = _with_twice(lawful, within, name)
        with pytest.raises(Exception, match=r"\w"):
            decode(bson.encode(session()) + raw, SESSIONS)


def _with_twice(document: dict[str, Any], within: str, name: str) -> bytes:
    """Return a document in which a field of a subdocument, or of each item, stands twice."""

    def twice(one: dict[str, Any]) -> bytes:
        elements = [bson.encode({key: one[key]})[4:-1] for key in one if key != "more"]
        body = b"".join([*elements, bson.encode({name: "again"})[4:-1], b"\0"])
        return (len(body) + 4).to_bytes(4, "little") + body

    def element(key: str, value: Any) -> bytes:
        if key != within:
            return bson.encode({"": 0, key: value})[11:-1]
        if isinstance(value, dict):
            return b"\x03" + key.encode() + b"\0" + twice(value)
        inner = b"".join(b"\x03%d\0%b" % (number, twice(one)) for number, one in enumerate(value)) + b"\0"
        return b"\x04" + key.encode() + b"\0" + (len(inner) + 4).to_bytes(4, "little") + inner

    body = b"".join(element(key, value) for key, value in document.items()) + b"\0"
    return (len(body) + 4).to_bytes(4, "little") + body


@given(st.lists(st.lists(st.integers(0, 40), max_size=5), max_size=6), st.integers(20, 120))
def test_batches_are_joined_and_cut_between_documents(sizes: list[list[int]], size: int) -> None:
    raws = [[bson.encode({"x": "x" * length}) for length in one] for one in sizes]
    found = [batch for batch in resize_batches([b"".join(one) for one in raws], size) if batch]
    assert b"".join(found) == b"".join(raw for one in raws for raw in one)
    assert all(len(one) <= size or len(find_starts(one)) == 1 for one in found)
    for one in found:
        assert sum(int.from_bytes(one[at : at + 4], "little") for at in find_starts(one)) == len(one)
