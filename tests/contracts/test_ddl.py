"""The statements for both stores, as texts; that real engines take them is tested with the engines."""

import re
from dataclasses import replace

import pytest

from contracts.schema.ddl import (
    clickhouse_comment,
    clickhouse_table,
    clickhouse_view,
    postgres_comments,
    postgres_foreign_key,
    postgres_keys,
    postgres_table,
    quoted,
    quoted_names,
)
from contracts.schema.entity import Entity, Table
from contracts.schema.fields import category, free_form, identifier, integer, money, subdocument, text, texts, timestamp
from contracts.schema.kinds import KEY_TEXT
from contracts.schema.registry import entities, marts

TRICKY = Entity(
    "Tricky",
    "It's a \\ and a 'quote'.",
    "key",
    (
        identifier("key", 'The "key".'),
        text("open", "Any length.", nullable=True),
        category("kind", "Kind.", nullable=True),
        money("fee", "Fee.", nullable=True),
        texts("tags", "Tags.", nullable=True),
        free_form("notes", "Notes."),
        timestamp("at", "When.", nullable=True),
        subdocument("select", "A keyword.", integer('or"der', "A quote in the name.")),
    ),
    indexes=("key", "open", "kind", "at"),
    id_kind=KEY_TEXT,
)
TABLES = {
    table.name: table
    for table in (
        *(table for entity in (*entities().values(), TRICKY) for table in entity.tables),
        *(mart.table for mart in marts().values()),
    )
}


def test_identifiers_are_quoted() -> None:
    assert quoted('a"b') == '"a""b"'
    assert quoted_names(["a", "select"]) == '"a", "select"'


def test_a_table_in_postgresql() -> None:
    assert postgres_table("replica", TRICKY.root) == (
        'CREATE TABLE "replica"."tricky" ("_id" text COLLATE "C" NOT NULL, "key" text NOT NULL, "open" text, '
        '"kind" text, "fee" numeric(12, 2), "tags" text[], "tags_count" bigint, "notes" jsonb NOT NULL, '
        '"at" timestamptz, "select_or""der" bigint NOT NULL, "_extra" jsonb)'
    )
    comments = postgres_comments("replica", TRICKY.root)
    words = "It's a \\ and a 'quote'."
    assert comments[""] == (words, "COMMENT ON TABLE \"replica\".\"tricky\" IS 'It''s a \\ and a ''quote''.'")
    assert [*comments] == ["", *TRICKY.root.names]


def test_keys_and_indexes_in_postgresql() -> None:
    assert postgres_keys("s", TRICKY.root) == [
        'ALTER TABLE "s"."tricky" ADD PRIMARY KEY ("_id")',
        'CREATE INDEX ON "s"."tricky" USING btree ("key")',
        # Texts without a bound would fail in a b-tree.
        'CREATE INDEX ON "s"."tricky" USING hash ("open")',
        'CREATE INDEX ON "s"."tricky" USING hash ("kind")',
        'CREATE INDEX ON "s"."tricky" USING btree ("at")',
    ]
    child = TABLES["support_tickets_messages"]
    assert postgres_keys("s", child) == [
        'ALTER TABLE "s"."support_tickets_messages" ADD PRIMARY KEY ("_id", "_position")'
    ]
    assert postgres_foreign_key("s", child) == (
        'ALTER TABLE "s"."support_tickets_messages" ADD FOREIGN KEY ("_id") REFERENCES "s"."support_tickets" '
        "DEFERRABLE INITIALLY DEFERRED"
    )


def test_a_table_in_clickhouse() -> None:
    statement = clickhouse_table("replica", "tricky_1", TRICKY.root, "run 'x'\\")
    assert statement.startswith('CREATE OR REPLACE TABLE "replica"."tricky_1" ("_id" String COMMENT ')
    assert "\"kind\" LowCardinality(Nullable(String)) COMMENT 'Kind.'" in statement
    assert "\"fee\" Nullable(Decimal(12, 2)) COMMENT 'Fee.'" in statement
    assert "\"tags\" Array(String) COMMENT 'Tags.' CODEC(ZSTD(1))" in statement
    assert '"tags_count" Nullable(Int64) COMMENT' in statement
    assert "\"at\" Nullable(DateTime64(3, 'UTC')) COMMENT 'When.' CODEC(DoubleDelta, ZSTD(1))" in statement
    assert "\"notes\" String COMMENT 'Notes.'" in statement
    assert 'INDEX "by_key" "key" TYPE bloom_filter(0.01) GRANULARITY 4' in statement
    assert 'INDEX "by_at" "at" TYPE minmax GRANULARITY 4' in statement
    assert 'ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY ("_id")' in statement
    assert statement.endswith("COMMENT 'run ''x''\\\\'")  # backslashes are escapes there


def test_the_view_that_people_read_in_clickhouse() -> None:
    statement = clickhouse_view("replica", "tricky_1", TRICKY.root)
    assert statement.startswith('CREATE OR REPLACE VIEW "replica"."tricky" ("_id" String COMMENT ')
    assert ' FROM "replica"."tricky_1" FINAL COMMENT ' in statement
    assert statement.endswith("COMMENT 'It''s a \\\\ and a ''quote''.'")
    assert "_version" not in statement
    assert "_deleted" not in statement


def test_backslashes_in_names_are_escaped_in_every_statement_for_clickhouse() -> None:
    odd = replace(TRICKY.root, name="a\\b")
    for statement in (
        clickhouse_table("replica", odd.name, odd, ""),
        clickhouse_view("replica", "behind", odd),
        clickhouse_comment("replica", odd.name, ""),
    ):
        assert '"replica"."a\\\\b"' in statement


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_column_of_every_table_is_there_in_order(table: Table) -> None:
    names = [quoted(name) for name in table.names]
    create = postgres_table("s", table)
    assert re.findall(r'[(,] ?("(?:[^"]|"")+") ', create.partition(f"{quoted(table.name)} ")[2]) == names
    for statement in (clickhouse_table("d", "x", table, ""), clickhouse_view("d", "x", table)):
        places = [statement.index(f"{name} ") for name in names]
        assert places == sorted(places)
    not_null = {column.name for column in table.columns if not column.nullable}
    assert create.count(" NOT NULL") == len(not_null)
    # A key can't be null in either store.
    assert not_null.issuperset(table.key)


def test_pages_have_room_where_all_rows_are_brought_to_the_next_moment() -> None:
    room = {name for name, mart in marts().items() if "fillfactor" in postgres_table("marts", mart.table)}
    assert {"user_activity", "funnel_daily"} <= room
    assert room.isdisjoint({"session_facts", "price_drops"})
    bears = replace(TRICKY.root, columns=(*TRICKY.root.columns, marts()["user_activity"].table.column("as_of")))
    assert "fillfactor" not in postgres_table("replica", bears)  # nobody stamps a collection's field of that name
