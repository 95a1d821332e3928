"""What follows from evidence: rules by hand-written values, then any documents at all."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, MinKey, ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.schema import fields as words
from contracts.schema.entity import Entity
from contracts.schema.namespace import Namespace
from tests.examples import examples
from transforms.inference.decide import Proposal, Word, decide, decide_id
from transforms.inference.difference import differences
from transforms.inference.evidence import KEYS, LEVELS, Survey
from transforms.inference.maps import why_whole
from transforms.inference.names import COLUMNS, Tables
from transforms.inference.render import Contract, looks_secret, render
from transforms.ingest.slow_path import transform_slowly

AT = datetime(2024, 5, 1, tzinfo=UTC)
FAR = DatetimeMS(-(2**62))


def surveyed(*documents: dict[str, Any]) -> Survey:
    survey = Survey()
    survey.observe(b"".join(bson.encode({"_id": number, **one}) for number, one in enumerate(documents)))
    return survey


def inferred(survey: Survey, collection: str = "Things", *, strict: bool = False) -> Contract:
    tables = Tables(reserved={collection})
    stem = tables.take_stem(collection)
    fields = decide(survey.root, stem, tables, strict=strict)
    id_kind = decide_id(survey.root.fields["_id"])
    return Contract(collection, stem, True, id_kind, survey, fields, "some moment", strict)


def loaded(contract: Contract) -> Entity:
    """Return what the written module declares."""
    space: dict[str, Any] = {}
    exec(render(contract), space)
    entity = space["ENTITY"]
    assert isinstance(entity, Entity)
    return entity


def of_values(*values: Any) -> Proposal:
    """Return what a field should be that has these values."""
    (field,) = inferred(surveyed(*({"v": one} for one in values))).fields
    return field


SCALARS = [
    ((1, Int64(2**60), 3.0), "integer"),
    ((1.0, 2.0), "integer"),
    ((-0.0, 1.0), "number"),
    ((1, 2.5), "number"),
    ((float("nan"),), "number"),
    ((1e300,), "number"),
    (("", "a", None), "text"),
    ((True,), "boolean"),
    ((AT,), "timestamp"),
    ((Decimal128("1.50"), Decimal128("2")), "decimal(34, 2)"),
    ((Decimal128("1E+10"),), "decimal(34, 0)"),
    ((ObjectId(),), "object_id"),
    ((Binary(bytes(16), 4), None), "uuid"),
    ((b"", b"a"), "binary"),
    ((Binary(b"a", 5),), "binary(subtype=5)"),
    ((["a"], []), "texts"),
    (([1, 2.0],), "integers"),
    (([1, 2.5],), "numbers"),
    (([True],), "booleans"),
    (([AT],), "timestamps"),
    (([ObjectId()],), "object_ids"),
    (([Decimal128("1.5")],), "decimals(34, 1)"),
    (([1, None],), "integers(null_items=True)"),
    (([None, Decimal128("1")],), "decimals(34, 0, null_items=True)"),
    ((None,), "json"),
    (({},), "json"),
    (({"a": 1},), "subdocument"),
    (([{"a": 1}],), "documents"),
    (({str(ObjectId()): 1},), "json"),
    (({"2020": 1, "2021": 2},), "json"),
    (({"2024-05-01": 1, "2024-06": 2},), "json"),
    (tuple({f"k{number}-{one}": 1 for number in range(11)} for one in range(20)), "json"),
    (({f"k{number}": 1 for number in range(KEYS + 1)},), "json"),
]


@pytest.mark.parametrize(("values", "wanted"), SCALARS)
def test_a_field_gets_the_word_that_holds_what_was_seen(values: tuple[Any, ...], wanted: str) -> None:
    word = of_values(*values).word
    assert word is not None
    arguments = f"({', '.join(word.arguments)})" if word.arguments else ""
    assert word.name + arguments == wanted


AS_JSON = [
    ((1, "a", True), "several types, none in half of the values: 1 int, 1 text, 1 boolean"),
    ((Int64(1), 1.5, "a", True), "fractions mixed with 64-bit integers"),
    ((1, FAR, FAR), "dates outside 1900 to 2299"),
    (([None],), "only nulls were seen among its items"),
    (([1, "a"],), "no word for an array of 1 int, 1 text"),
    (([[1]],), "no word for an array of 1 array"),
    (([],), "only empty arrays"),
    (([{}],), "only empty documents"),
    ((Binary(b"a"), Binary(b"a", 5)), "binary data of several subtypes"),
    ((Binary(b"a", 4),), "no word for binary of subtype 4"),
    (([b"a"],), "no word for an array of 1 binary"),
    ((MinKey(),), "no word for MinKey"),
    ((FAR,), "dates outside 1900 to 2299"),
    ((Decimal128("NaN"),), "no decimal of 34 digits"),
    ((Decimal128("1E-40"),), "no decimal of 34 digits"),
    ((Decimal128("1E+30"), Decimal128("1E-30")), "no decimal of 34 digits"),
    (([{f"{number}": 1} for number in range(3)],), "keys look like ids"),
    (({f"k{number}": 1 for number in range(KEYS + 1)},), "more than 1,000 keys, so it is a map"),
]


@pytest.mark.parametrize(("values", "why"), AS_JSON)
def test_what_no_word_of_one_type_holds_is_json_with_its_reason(values: tuple[Any, ...], why: str) -> None:
    field = of_values(*values)
    assert field.word == Word("json")
    assert why in field.why


MAJORITIES: list[tuple[tuple[Any, ...], str, list[str]]] = [
    ((1, 2, "a"), "integer", ["1 text"]),
    ((1, "", "", None, None), "integer", ["2 empty text"]),
    ((1, "a"), "text", ["1 int"]),
    (("", 1, "a", "b", True), "text", ["1 int", "1 boolean"]),
    (("",), "text", []),
    ((1.5, Int64(2), 3), "number", ["1 long"]),
    ((Int64(1), Int64(2), Int64(3), 1.5), "integer", ["1 double that is no 64-bit integer"]),
    ((AT, AT, FAR, ""), "timestamp", ["1 empty text", "1 date that no store holds"]),
    ((Decimal128("1.5"), Decimal128("NaN")), "decimal", ["1 decimal that is NaN or infinite"]),
    (({"a": 1}, "a"), "text", ["1 document"]),
    (({"a": 1}, {"a": 2}, [1], None), "subdocument", ["1 array"]),
    (([{"a": 1}, {"a": 2}, 5, None], 5), "documents", ["1 int", "1 int among the items", "1 null among the items"]),
    ((["a"], ["b"], "c"), "texts", ["1 text"]),
    ((ObjectId(), ObjectId(), "x"), "object_id", ["1 text"]),
]


@pytest.mark.parametrize(("values", "word", "misfits"), MAJORITIES)
def test_half_of_the_values_decide_and_the_others_go_aside(
    values: tuple[Any, ...], word: str, misfits: list[str]
) -> None:
    survey = surveyed(*({"v": one} for one in values))
    contract = inferred(survey)
    (field,) = contract.fields
    assert field.word is not None
    assert (field.word.name, sorted(field.misfits)) == (word, sorted(misfits))
    text = " ".join(render(contract).replace("#", " ").split())
    assert all(one in text for one in misfits)
    raws = [bson.encode({"_id": number, "v": one}) for number, one in enumerate(values)]
    entity = loaded(contract)
    found = transform_slowly(raws, entity, gated=False)
    assert found.refused == []
    assert sum(one.count for one in found.drift) == sum(int(one.split()[0]) for one in misfits)
    assert differences(entity.fields, contract.fields, entity.fields, survey.root) == []
    for one in loaded(inferred(survey, strict=True)), entity:
        assert transform_slowly(raws, one, gated=False).refused == []


IDS = [
    ((ObjectId(b"123456789012"),), "OBJECT_ID"),
    (("a", ""), "TEXT"),
    (("a" * 601,), "any_id()"),
    ((1, Int64(2), 3.0), "INTEGER"),
    ((1, 2.5), "NUMBER"),
    ((Int64(1), 2.5), "any_id()"),
    ((float("nan"),), "any_id()"),
    ((AT,), "TIMESTAMP"),
    ((FAR,), "any_id()"),
    (({"a": 1},), "any_id()"),
    ((1, "a"), "any_id()"),
    ((Binary(bytes(16), 4),), "any_id()"),
    ((None,), "any_id()"),
]


def test_arrays_of_documents_within_each_other_become_tables_as_deep_as_one_looks() -> None:
    value: dict[str, Any] = {"n": 1}
    for _ in range(5):
        value = {"n": 1, "a": [value]}
    entity = loaded(inferred(surveyed(value)))
    assert {table.name: table.key[1:] for table in entity.tables} == {
        "things": (),
        "things_a": ("_position",),
        "things_a_a": ("_a_position", "_position"),
        "things_a_a_a": ("_a_position", "_a_a_position", "_position"),
    }


@pytest.mark.parametrize(("ids", "kind"), IDS)
def test_the_kind_of_id_follows_from_all_ids(ids: tuple[Any, ...], kind: str) -> None:
    assert decide_id(surveyed(*({"_id": one} for one in ids)).root.fields["_id"]) == kind


def test_only_ids_are_required_unless_one_is_strict() -> None:
    survey = surveyed({"a": 1, "b": 1, "s": {"x": 1}}, {"a": None, "b": 2, "s": {"x": 2}})
    assert [one.required for one in inferred(survey).fields] == [False, False, False]
    strict = inferred(survey, strict=True).fields
    assert [one.required for one in strict] == [False, True, True]
    assert strict[2].fields[0].required
    assert [one.nullable for one in loaded(inferred(survey, strict=True)).fields] == [True, False, False]


def test_names_that_meet_or_that_a_store_can_not_bear_get_an_alias() -> None:
    aliases = {
        "a_b": "",
        "tags_count": "tags_count_2",
        "xmin": "xmin_2",
        "_version": "version",
        "_part": "part",
        "_extra": "extra",
        "a.b": "a_b_2",
        "": "value",
        "*": "value_2",
        "^x": "x",
        "x": "x_2",
        "[": "",
        "a[]": "",
        "n" * 64: "n" * 51,
        "#x": "x_3",
        "fine one": "",
        "\ufeffISO": "ISO",
        "padded ": "padded",
        "имя": "",
        "价": "",
        "$z": "",
        "quo\"te'": "",
    }
    document = {"tags": ["x"], **dict.fromkeys(aliases, 1), "a": {"b": 1, "c.d": 2}, "s.t": {"u": 1}, "": 5}
    contract = inferred(surveyed(document))
    assert {one.name: one.alias for one in contract.fields} == {**aliases, "tags": "", "a": "", "s.t": "s_t"}
    entity = loaded(contract)
    assert {one.name: one.alias for one in entity.fields} == {**aliases, "tags": "", "a": "", "s.t": "s_t"}
    assert {"a_b_3", "a_c_d", "s_t_u"} < set(entity.root.names)


def test_an_array_of_documents_gets_an_alias_where_its_table_has_no_name_of_its_own() -> None:
    fields = decide(surveyed({"b": [{"_id": 1, "item_id": 2}]}).root, "a", Tables({"a", "a_b"}))
    assert [(one.name, one.alias, [inner.alias for inner in one.fields]) for one in fields] == [
        ("b", "b_2", ["", "item_id_2"])
    ]


def test_a_table_gets_no_more_columns_than_a_row_can_hold() -> None:
    contract = inferred(surveyed({f"k{number}": number for number in range(COLUMNS + 50)}))
    assert len(loaded(contract).root.columns) == COLUMNS


def test_the_fields_of_most_documents_come_first_where_not_all_can_have_a_column() -> None:
    odd = {f"k{number}": number for number in range(COLUMNS)}
    contract = inferred(surveyed(odd, *[{"a": 1, "b": "x"}] * 2))
    assert {"a", "b"} < set(loaded(contract).root.names)
    assert [one.name for one in contract.fields][-2:] == ["a", "b"]  # in the order in which they were seen


def test_documents_that_are_maps_are_taken_whole_unless_some_fields_are_in_many() -> None:
    maps = [{f"k{number}": number, "list": [number]} for number in range(30)]
    assert why_whole(surveyed(*maps).root) == ""
    survey = surveyed(*({f"k{number}": number} for number in range(30)))
    contract = replace(inferred(survey), fields=())
    assert "each in few documents" in contract.why_whole
    entity = loaded(contract)
    assert (entity.whole, entity.fields) == ("document", ())


def test_tables_get_names_of_their_own() -> None:
    collections = [
        "Orders",
        "orders",
        "orders__data",
        "_orders",
        "fs.files",
        "Заказы",
        "订单",
        "$",
        "x" * 100,
        "x" * 101,
    ]
    tables = Tables(reserved=set(collections))
    stems = [tables.take_stem(one) for one in collections]
    assert len(set(stems)) == len(stems)
    assert stems[4:7] == ["fs_files", "заказы", "订单"]
    assert all(re.fullmatch(r"\w+", one) for one in stems)


def test_a_table_of_another_contract_keeps_its_name() -> None:
    """A collection of another database may be called as a table that is there, or as an array's table would be."""
    taken = Tables({"orders"}, reserved={"orders", "user", "user_roles"})
    assert taken.take_stem(Namespace("crm", "orders")) == "orders_2"
    assert taken.take_stem(Namespace("crm", "user")) == "user"
    assert not taken.has_room_for("user_roles")
    assert taken.take_stem(Namespace("crm", "user_roles")) == "user_roles"
    assert taken.take_stem("orders") == "orders_3"


def test_evidence_stands_beside_the_fields_and_secrets_are_not_shown() -> None:
    documents = [{"state": ("new", "sent")[one % 2], "at": "2024-05-01", "password": "geheim"} for one in range(20)]
    contract = inferred(surveyed(*documents, {"state": 5}), collection='Shop\'s "best"\n')
    text = " ".join(render(contract).replace("#", " ").split())
    assert "Kept in _extra, since they do not fit: 1 int." in text
    assert '2 distinct ("new", "sent"), the longest has 4 characters' in text
    assert "In 20 of 21: text (as in 0), 1 distinct" in text
    assert "all look like dates" in text
    assert "smells of a secret" in text
    assert "geheim" not in text
    assert loaded(contract).collection == 'Shop\'s "best"\n'
    assert [one.name for one in contract.to_decide] == ["password"]
    assert any(looks_secret(one.name) for one in contract.every)


def test_values_are_not_shown_where_a_name_around_them_smells_of_a_secret_or_a_person() -> None:
    document = {"credentials": {"hash": "geheim"}, "phone": "geheim", "passenger": {"first_name": "geheim"}}
    text = render(inferred(surveyed(*[document] * 20)))
    assert "geheim" not in text
    assert text.count("1 distinct") == 2  # how many there are tells nothing of a person


def test_what_is_too_much_or_too_deep_is_not_looked_at_and_not_declared() -> None:
    deep: Any = 1
    for _ in range(90):
        deep = {"a": [deep]} if _ % 2 else {"a": deep}
    documents = [{"deep": deep, "items": [{"deep": deep}]}, {f"k{number}": 1 for number in range(10 * KEYS)}]
    survey = surveyed(*documents)
    assert len(survey.root.fields) == KEYS
    assert survey.root.unread > 0
    entity = loaded(inferred(survey))
    result = transform_slowly([bson.encode({"_id": n, **one}) for n, one in enumerate(documents)], entity, gated=False)
    assert not result.refused
    assert LEVELS < 90


def test_maps_take_no_other_field_s_place() -> None:
    """Entries are documents of ten fields, more than can be looked at in all: what comes behind is declared as well."""
    votes = {f"{number:024x}": {f"f{place}": number for place in range(10)} for number in range(1_500)}
    documents = [{"votes": votes, "more": votes, "title": f"t{one}", "by": {"name": "a", "at": AT}} for one in range(3)]
    (of_votes, of_more, title, by) = inferred(surveyed(*documents)).fields
    for one in (of_votes, of_more):
        assert (one.word and one.word.name, one.why.endswith("so it is a map")) == ("json", True)
    assert title.word == Word("text")
    assert [one.word for one in by.fields] == [Word("text"), Word("timestamp")]


def test_names_of_any_length_are_no_burden() -> None:
    """A column's name is cut at once, not by letters, and what is called by a book is left aside."""
    book = "ü" * 7_000_000
    contract = inferred(surveyed({"ж" * 900: 1, book: 1, "a": 2}))
    assert [len(one.name) for one in contract.fields] == [900, 1]
    assert len(loaded(contract).root.columns) == 4
    assert len(render(contract)) < 10_000
    within = inferred(surveyed({"a": {book: 1}})).fields[0]
    assert (within.word, "very long names" in within.why) == (Word("json"), True)


def test_an_array_that_is_an_item_s_id_meets_no_other_column() -> None:
    entity = loaded(inferred(surveyed({"items": [{"_id": [{"a": 1}], "item_id": [1, 2]}]})))
    names = [table.names for table in entity.tables]
    assert all(len(set(some)) == len(some) for some in names)
    assert "item_id_count" in names[1]


def test_what_a_terminal_obeys_is_in_no_file() -> None:
    document = {"a" * 61: {"p": 1, "p\x1b[2J": 2, "p\u202e": [{"\x1b": 1}]}, "\x1b]0;x\x07": {"\n": None}}
    text = render(inferred(surveyed(document), collection="x\x1b[2J"))
    assert all(line.isprintable() for line in text.splitlines())


def test_documents_that_can_not_be_decoded_are_counted_and_tell_nothing() -> None:
    good, twice = bson.encode({"_id": 1, "a": "abcd"}), bson.encode({"_id": 2, "b": 1, "c": 2}).replace(b"c\0", b"b\0")
    survey = Survey()
    survey.observe(good + good.replace(b"abcd", b"ab\xff\xfe") + twice)
    assert (survey.documents, survey.unreadable) == (3, 2)
    assert set(survey.root.fields) == {"_id", "a"}


# Any documents at all; without what no text can hold: NUL.
_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
_NAMES = st.sampled_from(["a", "b", "a_b", "a_count", "_id", "item_id", "", "x.y", "*", "1", "имя"]) | _TEXTS
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(),
    _TEXTS,
    st.integers(-(2**63), 2**63 - 1).map(DatetimeMS),
    st.sampled_from(
        [AT, ObjectId(), Binary(b"a"), MinKey(), Decimal128("NaN"), Decimal128("1.50"), Decimal128("1E+9")]
    ),
)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=8
)
_DOCUMENTS = st.lists(st.dictionaries(_NAMES.filter(lambda one: one != "_id"), _VALUES, max_size=6), min_size=1)


@given(_DOCUMENTS, st.booleans())
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow])
def test_no_document_that_was_read_is_refused(documents: list[dict[str, Any]], strict: bool) -> None:
    raws = [bson.encode({"_id": number, **one}) for number, one in enumerate(documents)]
    survey = Survey()
    survey.observe(b"".join(raws))
    assert survey.unreadable == 0
    contract = inferred(survey, strict=strict)
    entity = loaded(contract)
    assert differences(entity.fields, contract.fields, entity.fields, survey.root) == []
    result = transform_slowly(raws, entity, gated=False)
    assert [one.reasons for one in result.refused] == []
    assert result.frames[entity.root.name].height == len(raws)


def test_the_words_that_are_written_are_there() -> None:
    for values, _ in SCALARS:
        word = of_values(*values).word
        assert word is not None
        assert hasattr(words, word.name)
