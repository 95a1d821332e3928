"""What a contract becomes: tables and columns as specified, and errors that name the field."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from contracts.schema.entity import TEXT_KEY_CHARACTERS, ContractError, Entity, Field
from contracts.schema.fields import (
    binary,
    boolean,
    categories,
    category,
    date,
    decimal,
    documents,
    free_form,
    identifier,
    integer,
    map_of,
    money,
    omit,
    rule,
    subdocument,
    text,
    texts,
    timestamp,
)
from contracts.schema.kinds import (
    BOOLEAN,
    CATEGORY,
    DATE,
    INTEGER,
    JSON,
    KEY_TEXT,
    NUMBER,
    OBJECT_ID,
    TEXT,
    UUID,
    array_kind,
)
from contracts.schema.mart import DAILY, Mart, as_of
from contracts.schema.registry import entities

# The specification, column by column: t text, c category, i integer, ts timestamp, j JSON, m money, [] arrays;
# ? stands for null allowed.
SPECIFIED = {
    "user_sessions": (
        "_id:oid session_id:t user_id:t start_time:ts end_time:ts? pages_visited:[t] pages_visited_count:i "
        "device_type:c device_os:c device_browser:c actions_count:i _extra:j?"
    ),
    "user_sessions_actions": "_id:oid _position:i type:c target:t at:ts",
    "product_price_history": "_id:oid product_id:t price_changes_count:i current_price:m currency:c _extra:j?",
    "product_price_history_price_changes": "_id:oid _position:i changed_at:ts price:m",
    "event_logs": "_id:oid event_id:t timestamp:ts event_type:c details:j _extra:j?",
    "support_tickets": (
        "_id:oid ticket_id:t user_id:t status:c issue_type:c messages_count:i created_at:ts updated_at:ts _extra:j?"
    ),
    "support_tickets_messages": "_id:oid _position:i sender:c text:t sent_at:ts",
    "user_recommendations": (
        "_id:oid user_id:t recommended_products:[t] recommended_products_count:i last_updated:ts _extra:j?"
    ),
    "moderation_queue": (
        "_id:oid review_id:t user_id:t product_id:t review_text:t rating:i moderation_status:c flags:[c] "
        "flags_count:i submitted_at:ts _extra:j?"
    ),
    "search_queries": ("_id:oid query_id:t user_id:t query_text:t timestamp:ts filters:j results_count:i _extra:j?"),
}
KINDS = {
    "ObjectId": "oid",
    "text": "t",
    "category": "c",
    "integer": "i",
    "timestamp": "ts",
    "document": "j",
    "decimal(12, 2)": "m",
    "array of text": "[t]",
    "array of category": "[c]",
}
TABLES = {table.name: table for entity in entities().values() for table in entity.tables}


def things(*fields: Field, **options: Any) -> Entity:
    return Entity("Things", "One thing.", "thing_id", (identifier("thing_id", "Its key."), *fields), **options)


@pytest.mark.parametrize("name", SPECIFIED)
def test_tables_have_exactly_the_specified_columns(name: str) -> None:
    columns = [f"{one.name}:{KINDS[one.kind.name]}{'?' * one.nullable}" for one in TABLES[name].columns]
    assert " ".join(columns) == SPECIFIED[name]


def test_there_are_no_other_tables() -> None:
    assert set(TABLES) == set(SPECIFIED)


@pytest.mark.parametrize("name", SPECIFIED)
def test_every_table_and_column_is_described(name: str) -> None:
    table = TABLES[name]
    assert table.description.endswith(".")
    assert all(column.description.strip() for column in table.columns)
    assert table.frame_schema == pl.Schema({column.name: column.kind.frame for column in table.columns})


@pytest.mark.parametrize("entity", entities().values(), ids=entities())
def test_keys_and_parents(entity: Entity) -> None:
    assert entity.root.key == ("_id",)
    assert entity.root.parent is None
    assert entity.key in entity.root.names
    for child in entity.children:
        assert child.key == ("_id", "_position")
        assert child.parent == entity.table
        assert child.name == f"{entity.table}_{'_'.join(child.path)}"


def test_a_collection_need_not_have_a_business_key() -> None:
    entity = Entity("Things", "Things.", fields=(text("name", "Its name."),))
    assert (entity.key, entity.root.key) == ("_id", ("_id",))


def test_items_within_items_refer_to_the_outer_items_row() -> None:
    arrays = documents("a", "d", subdocument("s", "d", documents("a", "d", documents("a", "d", text("t", "d")))))
    tables = Entity("Things", "d", fields=(arrays,)).tables
    assert {table.name: (table.parent, table.key) for table in tables} == {
        "things": (None, ("_id",)),
        "things_a": ("things", ("_id", "_position")),
        "things_a_s_a": ("things_a", ("_id", "_a_position", "_position")),
        "things_a_s_a_a": ("things_a_s_a", ("_id", "_a_position", "_s_a_position", "_position")),
    }
    assert [table.root for table in tables] == ["things"] * 4
    same = documents("a", "d", documents("a", "d", documents("a", "d", text("t", "d"))))
    *_, last = Entity("Things", "d", fields=(same,)).tables
    assert last.key == ("_id", "_a_position", "_a_a_position", "_position")


def test_the_closed_vocabularies_are_sender_and_rating_alone() -> None:
    closed = {
        f"{name}.{column.name}": column.field.vocabulary
        for name, table in TABLES.items()
        for column in table.columns
        if column.field is not None and column.field.closed
    }
    assert closed == {"support_tickets_messages.sender": ("user", "agent")}
    rating = TABLES["moderation_queue"].column("rating").field
    assert rating is not None
    assert (rating.minimum, rating.maximum) == (1, 5)


def test_ids_are_any_text_that_is_not_empty_and_fits_an_index() -> None:
    for table in TABLES.values():
        for column in table.columns:
            if column.name.endswith("_id") and column.name != "_id":
                assert column.field is not None
                assert (column.field.min_length, column.field.max_length) == (1, TEXT_KEY_CHARACTERS)


@pytest.mark.parametrize("kind", [TEXT, KEY_TEXT, CATEGORY])
def test_a_text_that_is_the_key_fits_an_index_and_is_ordered_by_its_bytes(kind: Any) -> None:
    entity = things(documents("items", "d", integer("n", "d")), id_kind=kind)
    assert entity.id_field.max_length == TEXT_KEY_CHARACTERS
    assert {table.column("_id").kind for table in entity.tables} == {KEY_TEXT}
    assert KEY_TEXT.postgres == 'text COLLATE "C"'


@pytest.mark.parametrize(
    ("collection", "table"),
    [("UserSessions", "user_sessions"), ("Things", "things"), ("already_snake", None)],
)
def test_the_stem_is_the_snake_case_of_the_collection(collection: str, table: str | None) -> None:
    entity = Entity(collection, "One.", "k", (text("k", "Key."),))
    assert entity.table == (table or collection)


def test_an_item_s_own_id_becomes_item_id() -> None:
    (child,) = things(documents("lines", "Lines.", text("_id", "Id."), integer("n", "Number."))).children
    assert child.names == ["_id", "_position", "item_id", "n"]
    assert child.column("item_id").path == ("_id",)


def test_fields_of_a_nullable_subdocument_are_nullable_at_any_depth() -> None:
    inner = subdocument("in", "Inner.", text("a", "A."), texts("b", "B."), documents("c", "C.", text("x", "X.")))
    entity = things(subdocument("out", "Outer.", inner, nullable=True), subdocument("firm", "Firm.", text("a", "A.")))
    nullable = {column.name: column.nullable for column in entity.root.columns}
    assert nullable == {
        "_id": False,
        "thing_id": False,
        "out_in_a": True,
        "out_in_b": True,
        "out_in_b_count": True,
        "out_in_c_count": True,
        "firm_a": False,
        "_extra": True,
    }
    (child,) = entity.children
    assert (child.name, child.path) == ("things_out_in_c", ("out", "in", "c"))
    assert not child.column("x").nullable


def test_the_count_of_an_array_is_null_where_the_array_may_be() -> None:
    entity = things(texts("tags", "Tags.", nullable=True), documents("lines", "Lines.", text("t", "T."), nullable=True))
    assert entity.root.column("tags_count").nullable
    assert entity.root.column("lines_count").nullable
    assert entity.root.column("tags_count").counts


def test_only_keeps_the_columns_asked_for() -> None:
    table = TABLES["user_sessions"].only(["user_id", "device_os"])
    assert table.names == ["user_id", "device_os"]
    assert table.key == ()


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "neither kind nor fields": (lambda: things(Field("odd", None, "d")), "'odd'.*neither a kind nor fields"),
    "nested neither": (lambda: things(subdocument("sub", "d", subdocument("odd", "d"))), r"'sub\.odd'"),
    "kind and fields": (lambda: things(Field("odd", TEXT, "d", fields=(text("t", "t"),))), "'odd'"),
    "flattened names meet": (
        lambda: things(text("device_type", "d"), subdocument("device", "d", text("type", "d"))),
        r"'device_type' and 'device\.type' both become the column 'device_type'",
    ),
    "count meets a field": (lambda: things(texts("tags", "d"), integer("tags_count", "d")), "'tags_count'"),
    "item_id meets _id": (
        lambda: things(documents("lines", "d", text("_id", "d"), text("item_id", "d"))),
        "things_lines.*'_id' and 'item_id'",
    ),
    "_extra is taken": (lambda: things(free_form("_extra", "d")), "'_extra'"),
    "_id is taken": (lambda: things(text("_id", "d")), "'_id'"),
    "_id of parts": (lambda: things(subdocument("_id", "d", text("t", "d"))), "'_id'"),
    "_id of many": (lambda: things(documents("_id", "d", text("t", "d"))), "'_id'"),
    "a path for a name": (lambda: things(subdocument("s", "d", text("a.b", "d"))), r"'s_a\.b': .* alias='s_a_b'"),
    "a pattern for a name": (lambda: things(text("^a.*$", "d")), r"'\^a\.\*\$': .* alias='a'"),
    "all for a name": (lambda: things(text("*", "d")), r"'\*': .* alias='value'"),
    "a dot in an alias": (lambda: things(text("a", "d", alias="b.c")), "ClickHouse takes a dot"),
    "an alias that is another field's name": (
        lambda: things(text("a", "d"), text("b", "d", alias="a")),
        "'a' and 'b' both become the column 'a'; .* alias='a_2'",
    ),
    "a field that is declared twice": (
        lambda: things(text("a", "d"), text("a", "d", alias="b")),
        "declares the field 'a' twice",
    ),
    "a field within another one, twice": (
        lambda: things(subdocument("s", "d", text("a", "d"), text("a", "d", alias="b"))),
        "the field 's' declares 'a' twice",
    ),
    "_position is taken": (lambda: things(documents("lines", "d", integer("_position", "d"))), "'_position'"),
    "_version is ClickHouse's": (lambda: things(integer("_version", "d")), "'_version'"),
    "_deleted is ClickHouse's": (lambda: things(documents("lines", "d", boolean("_deleted", "d"))), "'_deleted'"),
    "xmin is PostgreSQL's": (lambda: things(integer("xmin", "d")), "'xmin'"),
    "a field without a name": (lambda: things(text("", "d")), "no name.* alias="),
    "a column of PostgreSQL": (lambda: things(text("ctid", "d")), "'ctid' is a name that PostgreSQL keeps for itself"),
    "a column of ClickHouse": (
        lambda: things(text("_part", "d")),
        "'_part' is a name that ClickHouse keeps for itself",
    ),
    "a column of the pipeline": (lambda: things(text("_version", "d")), "'_version' is a name that the pipeline keeps"),
    "a column of a run": (lambda: things(text("#1", "d")), "'#1' is a name that the pipeline keeps"),
    "long column": (lambda: things(text("f" * 64, "d")), "f{64} is longer than 63 bytes"),
    "long column in bytes": (lambda: things(text("é" * 32, "d")), "é{32} is longer than 63 bytes"),
    "long flattened column": (
        lambda: things(subdocument("s" * 40, "d", text("t" * 30, "d"))),
        "s{40}_t{30} is longer",
    ),
    "long count": (lambda: things(texts("f" * 60, "d")), "f{60}_count is longer"),
    "long child table": (
        lambda: things(subdocument("s" * 30, "d", documents("l" * 26, "d", text("t", "d")))),
        "table things_s{30}_l{26} is longer",
    ),
    "omitted within a map": (
        lambda: map_of("m", "d", text("t", "d"), omit("o")),
        "'m' is a map, and nothing can be left",
    ),
    "two kinds of a map's values": (lambda: map_of("m", "d", TEXT, INTEGER), "takes fields or one kind"),
    "no kind of a map's values": (lambda: map_of("m", "d", "x"), "map_of"),
    "arrays that become one table": (
        lambda: things(
            documents("a", "d", documents("b_c", "d", text("t", "d"))),
            documents("a_b", "d", documents("c", "d", text("t", "d"))),
        ),
        "two arrays become the table 'things_a_b_c'",
    ),
    "a field called as an outer item's place": (
        lambda: things(documents("orders", "d", documents("lines", "d", integer("_orders_position", "d")))),
        r"'_orders_position' and '_orders_position' both become",
    ),
    "dates": (lambda: things(date("on", "d")), "'on' is date"),
    "UUIDs as binary data": (lambda: binary("b", "d", subtype=4), "4 is declared as uuid"),
    "no subtype": (lambda: binary("b", "d", subtype=256), "subtype 256 is no kind"),
    "binary key": (lambda: things(id_kind=UUID), "_id that is UUID can't be a key"),
    "a rule on bytes": (
        lambda: things(binary("b", "d"), rules=(rule("long", pl.col("b").bin.size() > 1, "d"),)),
        "the rule long looks at 'b', which is binary data",
    ),
    "mart with bytes": (lambda: Mart("m", "d", ("k",), (text("k", "d"), binary("b", "d"))), "'b'"),
    "array of free-form": (lambda: things(Field("notes", array_kind(JSON), "d")), "'notes'"),
    "free-form key": (lambda: things(id_kind=JSON), "_id that is document"),
    "array key": (lambda: things(id_kind=array_kind(TEXT)), "_id that is array of text"),
    "date key": (lambda: things(id_kind=DATE), "'_id' is date"),
    "unknown business key": (lambda: Entity("Things", "d", "no_such", (text("t", "d"),)), "'no_such'"),
    "nested business key": (lambda: Entity("Things", "d", "t", (subdocument("s", "d", text("t", "d")),)), "'t'"),
    "unknown index": (lambda: things(indexes=("no_such",)), "'no_such'"),
    "too many digits": (lambda: decimal("fee", "d", 35, 2), "fee"),
    "more after the point than in all": (lambda: decimal("fee", "d", 2, 3), "fee"),
    "no digits": (lambda: decimal("fee", "d", 0, 0), "fee"),
    "limits of a text": (lambda: Field("t", TEXT, "d", minimum=1), "'t' has a minimum or maximum, but is no number"),
    "limits of a subdocument": (lambda: subdocument("s", "d", text("t", "d"), maximum=1), "'s'"),
    "limits of a truth value": (lambda: boolean("b", "d", minimum=0), "'b'"),
    "limits of a moment": (lambda: timestamp("at", "d", minimum=0), "'at'"),
    "length of a number": (lambda: Field("n", NUMBER, "d", max_length=1), "'n'.*length.*no text"),
    "length of a document": (lambda: free_form("f", "d", max_length=1), "'f'"),
    "vocabulary of a number": (lambda: Field("n", INTEGER, "d", vocabulary=("1",)), "'n' has a vocabulary"),
    "closed without words": (lambda: category("c", "d", closed=True), "'c' is closed without"),
    "limits crossed": (lambda: money("m", "d", minimum=2, maximum=1), "'m'.*2 and 1"),
    "lengths crossed": (lambda: text("t", "d", min_length=2, max_length=1), "'t'.*2 and 1"),
    "mart with a subdocument": (lambda: Mart("m", "d", ("k",), (text("k", "d"), subdocument("s", "d"))), "'s'"),
    "mart with an array": (lambda: Mart("m", "d", ("k",), (text("k", "d"), texts("tags", "d"))), "'tags'"),
    "mart with free-form": (lambda: Mart("m", "d", ("k",), (text("k", "d"), free_form("f", "d"))), "'f'"),
    "mart that does not say what ages": (
        lambda: Mart("m", "d", ("k",), (text("k", "d"), as_of(ages=True)), ages=DAILY),
        "its as_of may be null, so ages has to say in which rows it is not",
    ),
    "mart without its key": (lambda: Mart("m", "d", ("no_such",), (text("k", "d"),)), "'no_such'"),
    "mart computed apart by no key": (
        lambda: Mart("m", "d", ("k",), (text("k", "d"), text("l", "d")), by=pl.col("m")),
        r"m: .* apart by col\(\"m\"\), .* none of its columns",
    ),
    "mart with two of a name": (lambda: Mart("m", "d", ("k",), (text("k", "d"), text("k", "d"))), "'k'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_derived_fails_at_once_with_the_name(case: str) -> None:
    make, told = REFUSED[case]
    with pytest.raises(ContractError, match=told):
        make()


@pytest.mark.parametrize(
    "field",
    [
        text("f" * 63, "d"),
        text("é" * 31, "d"),
        Field("a", array_kind(INTEGER), "d", minimum=0),
        Field("a", array_kind(NUMBER), "d", maximum=0),
        Field("a", array_kind(BOOLEAN), "d"),
        categories("a", "d", "x", closed=True),
        decimal("d", "d", 34, 34),
        decimal("d", "d", 34, 0),
        integer("n", "d", minimum=3, maximum=3),
        subdocument("s", "d", free_form("f", "d"), nullable=True),
        Field("ref", OBJECT_ID, "d", nullable=True),
    ],
    ids=lambda field: f"{field.name[:4]} {field.kind.name if field.kind else 'subdocument'}",
)
def test_what_is_at_the_edge_can_be_derived(field: Field) -> None:
    assert things(field).root.columns


def test_a_rule_is_part_of_the_root_table() -> None:
    kept = rule("n_even", pl.col("n") % 2 == 0, "Even.")
    entity = things(integer("n", "d"), rules=(kept,))
    assert entity.root.rules == (kept,)


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda: text("x", "X.", misfits="extra"), "the field 'x' says misfits='extra', .* nullable=True as well"),
        (lambda: text("x", "X.", misfits="aside"), "the field 'x' says misfits='aside', which is neither"),
        (
            lambda: documents("x", "X.", text("y", "Y."), nullable=True, misfits="extra"),
            "the field 'x' says misfits='extra', so an item .* all its fields must be nullable",
        ),
        (lambda: things(text("x", "X."), misfits="aside"), "misfits is 'aside', neither 'refuse' nor 'extra'"),
    ],
)
def test_misfits_that_no_null_could_stand_for_are_refused_in_a_sentence(
    declare: Callable[[], object], says: str
) -> None:
    with pytest.raises(ContractError, match=says):
        declare()


def test_what_a_contract_says_of_misfits_holds_for_fields_that_may_be_null_and_say_nothing() -> None:
    fields = (
        text("said", "S.", nullable=True, misfits="refuse"),
        text("required", "R."),
        subdocument("within", "W.", text("x", "X.", nullable=True), text("y", "Y."), nullable=True),
        documents("items", "I.", text("x", "X.", nullable=True), text("y", "Y."), nullable=True),
        documents("loose", "L.", text("x", "X.", nullable=True), nullable=True),
    )
    entity = things(*fields, misfits="extra")
    found = {one.name: one for one in entity.fields}
    assert {name for name, one in found.items() if one.misfits == "extra"} >= {"within", "loose"}
    assert all(found[name].misfits == "refuse" for name in ("said", "required", "items"))
    assert [one.misfits for one in found["within"].fields] == ["extra", "refuse"]
    assert [one.misfits for one in found["items"].fields] == ["extra", "refuse"]
    assert entity.keeps_misfits and not things(*fields[:2]).keeps_misfits
