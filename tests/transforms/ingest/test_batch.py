"""The copy's road from bytes to rows and verification's must meet, whatever the documents are."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import bson
import orjson
import polars as pl
import pytest
from bson import DatetimeMS, Decimal128, ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.schema.entity import ID, Entity, Field
from contracts.schema.fields import documents as array_of_documents
from contracts.schema.fields import free_form, identifier, integer, subdocument, text, texts, timestamp
from contracts.schema.kinds import INTEGER, KEY_TEXT, NUMBER, array_kind
from contracts.schema.mongo import gate
from contracts.schema.registry import entities
from generators import DEFECTS, World, generate
from tests.examples import examples
from transforms.bson.documents import DECODING, decode_document, split_documents
from transforms.ingest.batch import BatchResult, transform_batch
from transforms.ingest.decode import decode
from transforms.ingest.slow_path import transform_slowly
from transforms.ingest.type_check import find_type_violations
from transforms.oracle.compare import Findings, as_stored, compare
from transforms.oracle.expected import expected_frames

OPTIONS = settings(deadline=None, max_examples=examples(20), suppress_health_check=list(HealthCheck))
Document = dict[str, Any]


def found_in(found: BatchResult, raws: Iterable[bytes], entity: Entity) -> Findings:
    """Hold a digest's frames against what verification expects of the documents that were not refused."""
    refused = Counter(one.raw for one in found.refused)
    kept = [raw for raw in raws if not refused[raw]]
    frames, unexpected = expected_frames(kept, entity)
    assert unexpected == []
    findings = Findings()
    for table in entity.tables:
        frame = found.frames[table.name]
        assert frame.schema == table.frame_schema
        compare(frames[table.name], as_stored(frame, table), table, findings)
        # Beyond values: documents and items stay in order, and null arrays are not empty ones.
        assert frame[ID].to_list() == frames[table.name][ID].to_list()
        for column in table.columns:
            if column.kind.is_array:
                assert frame[column.name].is_null().to_list() == frames[table.name][column.name].is_null().to_list()
    assert len(found.frames[entity.root.name]) == len(kept)
    return findings


def distinct(made: list[Document]) -> list[Document]:
    """Return documents with an ``_id`` each."""
    return [{**one, ID: ObjectId(number.to_bytes(12, "big"))} for number, one in enumerate(made)]


def breaks_a_rule(raw: bytes, entity: Entity) -> bool:
    frames, unexpected = expected_frames([raw], entity)
    assert unexpected == []
    conditions = [rule.condition.fill_null(True) for rule in entity.rules]
    return bool(conditions) and not frames[entity.root.name].select(pl.all_horizontal(conditions)).item()


@OPTIONS
@given(st.data())
def test_lawful_documents_are_loaded_as_verification_expects_them(
    entity: Entity, lawful: Callable[[Entity], Any], passes: Callable[..., bool], data: st.DataObject
) -> None:
    raws = [bson.encode(one) for one in distinct(data.draw(st.lists(lawful(entity), max_size=6)))]
    assert all(passes(decode_document(raw), gate(entity)) for raw in raws)
    found = transform_batch(b"".join(raws), entity)
    assert [one.raw for one in found.refused] == [raw for raw in raws if breaks_a_rule(raw, entity)]
    assert found.size == sum(map(len, raws))
    assert found_in(found, raws, entity) == Findings()


PARTS = st.sampled_from(["set", "remove", "add", "wrap"])


def altered(value: Any, data: st.DataObject, anything: Any) -> Any:
    """Return a copy with something changed somewhere inside."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 4)):
        name = data.draw(st.sampled_from(sorted(value)))
        how = data.draw(PARTS)
        if how == "remove":
            return {key: inner for key, inner in value.items() if key != name}
        if how == "add":
            return {**value, data.draw(st.sampled_from(["new", "a/b", "~", "", "type", "$x"])): data.draw(anything)}
        if how == "wrap":
            return {**value, name: [value[name]]}
        return {**value, name: altered(value[name], data, anything)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 3)):
        place = data.draw(st.integers(0, len(value) - 1))
        return [*value[:place], altered(value[place], data, anything), *value[place + 1 :]]
    return data.draw(anything)


def altered_document(document: Document, data: st.DataObject, anything: Any) -> Document:
    name = data.draw(st.sampled_from([*sorted(document), "new", "a/b", "$x"]))
    if name not in document or not data.draw(st.integers(0, 9)):
        return {**document, name: data.draw(anything)}
    if name != ID and not data.draw(st.integers(0, 5)):
        return {key: value for key, value in document.items() if key != name}
    return {**document, name: altered(document[name], data, anything)}


def at(document: Any, pointer: str) -> tuple[bool, Any]:
    """Resolve a JSON Pointer."""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and name in document:
            document = document[name]
        elif isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        else:
            return False, None
    return True, document


@settings(deadline=None, max_examples=examples(25), suppress_health_check=list(HealthCheck))
@given(st.data())
def test_whatever_a_document_holds_it_is_loaded_exactly_or_refused(
    entity: Entity, lawful: Callable[[Entity], Any], anything: Any, passes: Callable[..., bool], data: st.DataObject
) -> None:
    made = distinct(data.draw(st.lists(lawful(entity), min_size=1, max_size=3)))
    made[0] = altered_document(made[0], data, anything)
    raws = [bson.encode(one) for one in made]
    decoded = [decode_document(raw) for raw in raws]
    lanes: dict[bool, list[bytes]] = {True: [], False: []}
    for raw, document in zip(raws, decoded, strict=True):
        lanes[passes(document, gate(entity))].append(raw)
    fast, slow = transform_batch(b"".join(lanes[True]), entity), transform_slowly(lanes[False], entity)
    assert found_in(fast, lanes[True], entity) == Findings()
    assert found_in(slow, lanes[False], entity) == Findings()
    for one in (*fast.refused, *slow.refused):
        assert one.raw in raws
        assert one.reasons
        for reason in one.reasons:
            exists, _ = at(decode_document(one.raw), reason.path)
            # A missing field has no place, nor has what stands in a code's scope or a database reference.
            assert exists or reason.rule.startswith(("required", "a name that begins", "NUL", "negative zero"))


@settings(deadline=None, max_examples=examples(25), suppress_health_check=list(HealthCheck))
@given(st.data())
def test_reasons_are_given_just_where_the_gate_would_refuse_declared_fields(
    entity: Entity, lawful: Callable[[Entity], Any], anything: Any, passes: Callable[..., bool], data: st.DataObject
) -> None:
    document = data.draw(lawful(entity))
    if data.draw(st.booleans()):
        document = altered_document(document, data, anything)
    raw = bson.encode(document)
    document = decode_document(raw)
    admitted = passes(document, gate(entity), closed=False)
    assert (next(find_type_violations(document, entity), None) is None) == admitted


# --- Generated worlds


@pytest.fixture(scope="module")
def world() -> World:
    return World.sized(entities(), dict.fromkeys(entities(), 800), 11)


@pytest.mark.parametrize("name", entities())
def test_a_generated_world_with_defects_is_sorted_as_promised(
    name: str, world: World, passes: Callable[..., bool]
) -> None:
    entity = entities()[name]
    batches = list(generate(entity, 800, world=world, defects=0.25))
    made = [bson.encode(one) for batch in batches for one in batch.documents]
    counted = sum((batch.defects for batch in batches), Counter[str]())
    lanes: dict[bool, list[bytes]] = {True: [], False: []}
    for raw in made:
        lanes[_admitted(raw, entity, passes)].append(raw)
    fast, slow = transform_batch(b"".join(lanes[True]), entity), transform_slowly(lanes[False], entity)
    assert found_in(fast, lanes[True], entity) == Findings()
    assert found_in(slow, lanes[False], entity) == Findings()
    lost = sum(count for defect, count in counted.items() if DEFECTS[defect].outcome == "quarantined")
    mended = sum(count for defect, count in counted.items() if DEFECTS[defect].outcome == "mended")
    assert counted.total() == 200
    assert len(fast.refused) + len(slow.refused) == lost
    assert slow.frames[entity.root.name]["_extra"].is_not_null().sum() == mended
    assert all(one.reasons for one in (*fast.refused, *slow.refused))


def _admitted(raw: bytes, entity: Entity, passes: Callable[..., bool]) -> bool:
    """Return whether the gate admits a document; what can't be decoded it does not look into."""
    try:
        document = decode_document(raw)
    except bson.errors.InvalidBSON:
        text_as_it_comes = DECODING.with_options(unicode_decode_error_handler="replace")
        document = bson.decode(raw, text_as_it_comes)
    return passes(document, gate(entity))


# --- One bad document among good ones

THINGS = Entity(
    "Things",
    "d",
    "key",
    (
        identifier("key", "d"),
        timestamp("end", "d", nullable=True),
        texts("tags", "d", nullable=True),
        subdocument("sub", "d", text("a", "d", nullable=True), integer("b", "d"), nullable=True),
        array_of_documents("items", "d", text("t", "d"), integer("n", "d", nullable=True), nullable=True),
        integer("num", "d", nullable=True),
        text("firm", "d"),
    ),
)


def good(number: int, skip: int = 0) -> bytes:
    """Return a lawful document in which some of the fields that may be missing are."""
    optional = {
        "end": DatetimeMS(number),
        "tags": ["a"] * (number % 3),
        "sub": {"b": number, **({"a": "x"} if number % 2 else {})},
        "items": [{"t": "x", **({"n": 5} if item % 2 else {})} for item in range(number % 4)],
        "num": number,
    }
    present = {name: value for place, (name, value) in enumerate(optional.items()) if not skip >> place & 1}
    return bson.encode({ID: ObjectId(number.to_bytes(12, "big")), "key": f"k{number}", **present, "firm": "f"})


def twice(raw: SimpleNamespace, *elements: bytes) -> bytes:
    start = raw.element(ID, ObjectId(b"\xff" * 12)), raw.element("key", "twice"), raw.element("firm", "f")
    return bytes(raw.document(*start, *elements))


TWICE: dict[str, Callable[[SimpleNamespace], list[bytes]]] = {
    "_id": lambda r: [r.element("_id", ObjectId())],
    "key": lambda r: [r.element("key", "again")],
    "firm": lambda r: [r.element("firm", "g")],
    "end": lambda r: [r.element("end", DatetimeMS(77)), r.element("end", DatetimeMS(78))],
    "end, one null": lambda r: [r.element("end", None), r.element("end", DatetimeMS(78))],
    "end, both null": lambda r: [r.element("end", None), r.element("end", None)],
    "tags": lambda r: [r.element("tags", ["p"]), r.element("tags", ["q"])],
    "num": lambda r: [r.element("num", 1), r.element("num", 2)],
    "num apart": lambda r: [r.element("num", 1), r.element("end", None), r.element("num", 2)],
    "sub": lambda r: [r.element("sub", {"b": 1}), r.element("sub", {"b": 2})],
    "sub.a": lambda r: [r.inside("sub", r.document(r.element("a", "1"), r.element("a", "2"), r.element("b", 1)))],
    "sub.b": lambda r: [r.inside("sub", r.document(r.element("b", 1), r.element("b", 2)))],
    "items": lambda r: [r.element("items", [{"t": "1"}]), r.element("items", [{"t": "2"}])],
    "items.t": lambda r: [_items(r, r.document(r.element("t", "1"), r.element("t", "2")))],
    "items.n": lambda r: [_items(r, r.document(r.element("t", "1"), r.element("n", 1), r.element("n", 2)))],
}


def _items(raw: SimpleNamespace, item: bytes) -> bytes:
    return bytes(raw.inside("items", raw.document(raw.inside("0", item)), b"\x04"))


@pytest.mark.parametrize("case", TWICE)
def test_a_name_that_stands_twice_never_becomes_a_neighbour_s_value(case: str, raw: SimpleNamespace) -> None:
    bad = twice(raw, *TWICE[case](raw))
    for skip in range(32):  # every set of missing fields, before and after it
        raws = [good(1, skip), good(2), bad, good(3, skip), good(4, ~skip), good(5, skip)]
        found = transform_batch(b"".join(raws), THINGS)
        assert [(one.raw, [reason.rule for reason in one.reasons]) for one in found.refused] == [
            (bad, ["duplicate field names"])
        ]
        assert found_in(found, raws, THINGS) == Findings()


def test_items_with_all_their_fields_twice_are_refused_also_within_a_subdocument(raw: SimpleNamespace) -> None:
    parts = array_of_documents("parts", "d", integer("n", "d"))
    entity = Entity("Things", "d", "key", (identifier("key", "d"), subdocument("sub", "d", parts)))

    def with_item(number: int, *elements: bytes) -> bytes:
        array = raw.inside("parts", raw.document(raw.inside("0", raw.document(*elements))), b"\x04")
        start = raw.element(ID, ObjectId(number.to_bytes(12, "big"))), raw.element("key", "k")
        return bytes(raw.document(*start, raw.inside("sub", raw.document(array))))

    raws = [
        with_item(1, raw.element("n", 1)),
        with_item(2, raw.element("n", 2), raw.element("n", 3)),
        with_item(3, raw.element("n", 4)),
    ]
    found = transform_batch(b"".join(raws), entity)
    assert [one.raw for one in found.refused] == [raws[1]]
    assert found_in(found, raws, entity) == Findings()


@pytest.mark.parametrize("name", ["0", "7", "x", ""])
def test_a_nan_is_kept_whatever_an_item_is_called(name: str, raw: SimpleNamespace) -> None:
    entity = Entity("Things", "d", "key", (identifier("key", "d"), Field("numbers", array_kind(NUMBER), "d")))
    array = raw.inside("numbers", raw.document(raw.element(name, math.nan), raw.element(name, 1.5)), b"\x04")
    one = bytes(raw.document(raw.element(ID, ObjectId()), raw.element("key", "k"), array))
    found = transform_batch(one, entity)
    assert found.refused == []
    assert found_in(found, [one], entity) == Findings()


def test_a_free_form_column_may_be_called_as_another_field_is() -> None:
    inside = subdocument("a", "d", free_form("b", "d")), subdocument("c", "d", free_form("d", "d", nullable=True))
    others = subdocument("a_b", "d", integer("n", "d")), array_of_documents("c_d", "d", integer("n", "d"))
    entity = Entity("Things", "d", "key", (identifier("key", "d"), *inside, *others))
    made = [{"key": "k", "a": {"b": {"x": 1}}, "a_b": {"n": 2}, "c": {}, "c_d": [{"n": 3}]}]
    raws = [bson.encode(one) for one in distinct(made)]
    found = transform_batch(b"".join(raws), entity)
    assert found.refused == []
    assert found_in(found, raws, entity) == Findings()


@pytest.mark.parametrize("count", [1, 3])
def test_arrays_that_are_all_empty_are_no_reason(count: int) -> None:
    entity = Entity(
        "Things",
        "A thing.",
        "name",
        (
            identifier("name", "Name."),
            texts("tags", "Tags."),
            array_of_documents("parts", "Parts.", integer("n", "N.")),
        ),
    )
    raws = [bson.encode(one) for one in distinct([{"name": "a", "tags": [], "parts": []}] * count)]
    found = transform_batch(b"".join(raws), entity)
    assert found.refused == []
    assert found_in(found, raws, entity) == Findings()


def test_names_that_only_seem_to_stand_twice_are_no_reason() -> None:
    document = decode_document(good(3)) | {"firm": "\tend", "key": "\nend", "tags": ["\x10num", "\x10num", "b"]}
    nested = document | {"items": [{"t": "n", "n": 1}, {"t": "\x10n", "n": 2}]}
    for one in (document, nested):
        raw = bson.encode(one)
        assert transform_batch(raw, THINGS).refused == []


BAD_TEXTS = {
    "stray byte": b"\xff\xfe\xfd\xfc",
    "overlong": b"\xc0\x80aa",
    "surrogate": b"\xed\xa0\x80a",
    "beyond Unicode": b"\xf4\x90\x80\x80",
    "cut off": b"aa\xe2\x82",
    "continuation": b"a\x80\x80a",
}


@pytest.mark.parametrize("place", ["firm", "key", "tags", "item", "sub"])
@pytest.mark.parametrize("case", BAD_TEXTS)
def test_invalid_utf8_is_refused_alone(case: str, place: str) -> None:
    document = decode_document(good(7)) | {"key": "k7"}
    inner = {"firm": {"firm": "QQQQ"}, "key": {"key": "QQQQ"}, "tags": {"tags": ["x", "QQQQ"]}}
    inner |= {"item": {"items": [{"t": "QQQQ"}]}, "sub": {"sub": {"a": "QQQQ", "b": 1}}}
    bad = bson.encode(document | inner[place]).replace(b"QQQQ", BAD_TEXTS[case])
    raws = [good(1), bad, good(2)]
    found = transform_batch(b"".join(raws), THINGS)
    assert [one.raw for one in found.refused] == [bad]
    assert found.refused[0].reasons[0].rule == "undecodable BSON"
    assert found_in(found, raws, THINGS) == Findings()


@pytest.mark.parametrize("places", [{0}, {999}, {500}, {0, 1, 998, 999}, {10, 11, 500}, set(range(0, 1000, 100))])
def test_culprits_among_a_thousand_stand_alone(places: set[int], raw: SimpleNamespace) -> None:
    def bad(number: int) -> bytes:
        if number % 2:
            return good(number).replace(b"\0f\0", b"\0\xff\0")
        return bytes(raw.document(good(number)[4:-1], raw.element("key", "again")))

    raws = [bad(number) if number in places else good(number, number % 32) for number in range(1000)]
    found = transform_batch(b"".join(raws), THINGS)
    assert [one.raw for one in found.refused] == [raws[place] for place in sorted(places)]
    assert found_in(found, raws, THINGS) == Findings()


def test_all_may_be_bad(raw: SimpleNamespace) -> None:
    raws = [bytes(raw.document(good(number)[4:-1], raw.element("key", "again"))) for number in range(5)]
    found = transform_batch(b"".join(raws), THINGS)
    assert [one.raw for one in found.refused] == raws
    assert found_in(found, raws, THINGS) == Findings()


def test_nothing_becomes_nothing(entity: Entity) -> None:
    found = transform_batch(b"", entity)
    assert (found.refused, found.size) == ([], 0)
    assert {name: frame.schema for name, frame in found.frames.items()} == {
        table.name: table.frame_schema for table in entity.tables
    }
    assert all(frame.is_empty() for frame in found.frames.values())
    assert decode(b"", entity).num_rows == 0


def test_batches_are_cut_where_documents_end() -> None:
    raws = [good(number) for number in range(4)]
    assert split_documents(b"".join(raws)) == raws
    assert split_documents(b"") == []


@pytest.mark.parametrize("length", [0, 1, 4, 2**31, 2**32 - 1])
def test_what_follows_a_length_that_can_not_be_is_refused(length: int) -> None:
    damaged = length.to_bytes(4, "little") + good(2)[4:]
    found = transform_batch(good(1) + damaged, THINGS)
    assert [one.raw for one in found.refused] == [damaged]
    assert found_in(found, [good(1), damaged], THINGS) == Findings()


# --- Several things at once


def test_a_document_tells_all_its_reasons() -> None:
    entity = entities()["SupportTickets"]
    message = {"sender": "user", "text": "t", "sent_at": DatetimeMS(0)}
    document = {
        ID: ObjectId(b"a" * 12),
        "ticket_id": "",
        "user_id": "u" * 601,
        "status": "a\0b",
        "issue_type": "",
        "messages": [message, {**message, "sender": "robot"}, {**message, "text": "\0", "sent_at": DatetimeMS(2**62)}],
        "created_at": DatetimeMS(1),
        "updated_at": DatetimeMS(0),
    }
    lawful_one = {**document, ID: ObjectId(b"b" * 12), "ticket_id": "t", "user_id": "u", "status": "", "messages": []}
    raws = [bson.encode(document), bson.encode({**lawful_one, "updated_at": DatetimeMS(1)})]
    (refused,) = transform_batch(b"".join(raws), entity).refused
    assert refused.raw == raws[0]
    assert {(reason.path, reason.rule, reason.value) for reason in refused.reasons} == {
        ("/ticket_id", "ticket_id_min_length", ""),
        ("/user_id", "user_id_max_length", "u" * 601),
        ("/status", "status_has_no_nul_for_postgres", "a\0b"),
        ("", "updated_after_created", None),
        ("/messages/1/sender", "sender_in_vocabulary", "robot"),
        ("/messages/2/text", "text_has_no_nul_for_postgres", "\0"),
        ("/messages/2/sent_at", "sent_at_in_clickhouse_range", f"{2**62} ms since 1970"),
    }


def test_a_broken_rule_and_a_free_form_that_stands_twice_are_both_told(raw: SimpleNamespace) -> None:
    entity = entities()["SearchQueries"]
    document = {ID: ObjectId(), "query_id": "q", "user_id": "", "query_text": "", "timestamp": DatetimeMS(0)}
    elements = bson.encode({**document, "results_count": -1})[4:-1]
    twice = raw.inside("filters", raw.document(raw.element("a", 1), raw.element("a", 2)))
    (refused,) = transform_batch(raw.document(elements, twice), entity).refused
    assert {reason.path for reason in refused.reasons} == {"/user_id", "/results_count", "/a"}


def test_the_careful_lane_keeps_undeclared_fields_by_their_pointer() -> None:
    entity = entities()["UserSessions"]
    device = {"type": "t", "os": "o", "browser": "b", "a/b": {"~": 1}}
    document = {
        ID: ObjectId(b"a" * 12),
        "session_id": "s",
        "user_id": "u",
        "start_time": DatetimeMS(0),
        "pages_visited": [],
        "device": device,
        "~new": Decimal128("1.0"),
        "$odd": [1.0],
        "actions": [{"type": "t", "target": "x", "at": DatetimeMS(0)}] * 2,
    }
    document["actions"] = [document["actions"][0], {**document["actions"][1], "": None}]
    raw = bson.encode(document)
    found = transform_slowly([raw], entity)
    assert found.refused == []
    assert found_in(found, [raw], entity) == Findings()
    (extra,) = found.frames["user_sessions"]["_extra"]
    assert orjson.loads(extra) == {
        "/device/a~1b": {"~": 1},
        "/~0new": {"$numberDecimal": "1.0"},
        "/$odd": [1.0],
        "/actions/1/": None,
    }


@pytest.mark.parametrize("value", [{"sender": "user", "text": "t", "sent_at": DatetimeMS(0)}, {}, "scalar", None, 1])
def test_what_is_no_array_is_never_taken_for_an_empty_one(value: Any) -> None:
    entity = entities()["SupportTickets"]
    names = dict.fromkeys(("ticket_id", "user_id", "status", "issue_type"), "x")
    times = dict.fromkeys(("created_at", "updated_at"), DatetimeMS(0))
    raw = bson.encode({ID: ObjectId(), **names, "messages": value, **times, "undeclared": 1})
    (refused,) = transform_slowly([raw], entity).refused
    assert refused.reasons[0].path == "/messages"
    assert "array" in refused.reasons[0].rule


@pytest.mark.parametrize(
    ("kind", "ids"), [(INTEGER, [1.0, 2, 2**60, -3.0]), (KEY_TEXT, ["1", 'a"b', "ä", "~"])], ids=["integer", "text"]
)
def test_extras_go_with_their_documents_whatever_the_id_is(kind: Any, ids: list[Any]) -> None:
    entity = Entity("Things", "d", "key", (identifier("key", "d"),), id_kind=kind)
    raws = [bson.encode({ID: one, "key": "" if one == ids[1] else "k", "n": n}) for n, one in enumerate(ids)]
    found = transform_slowly(raws, entity)
    assert [one.raw for one in found.refused] == [raws[1]]
    assert found.frames["things"]["_extra"].to_list() == ['{"/n":0}', '{"/n":2}', '{"/n":3}']
    assert found_in(found, raws, entity) == Findings()
