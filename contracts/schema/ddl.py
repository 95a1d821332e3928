"""Derived for the stores: the statements that create a contract's tables in PostgreSQL and ClickHouse."""

from collections.abc import Iterable

import polars as pl

from contracts.schema.entity import DELETED as DELETED
from contracts.schema.entity import VERSION as VERSION
from contracts.schema.entity import Column, Table
from contracts.schema.kinds import TEXTS


def quoted(name: str) -> str:
    """Quote an identifier for PostgreSQL."""
    return '"' + name.replace('"', '""') + '"'


def clickhouse_quoted(name: str) -> str:
    """Quote an identifier for ClickHouse, which reads backslashes as escapes, unlike PostgreSQL."""
    return quoted(name.replace("\\", "\\\\"))


def qualified(schema: str, name: str) -> str:
    """Return the name of a table with its schema's, quoted for PostgreSQL."""
    return f"{quoted(schema)}.{quoted(name)}"


def clickhouse_qualified(database: str, name: str) -> str:
    """Return the name of a table with its database's, quoted for ClickHouse."""
    return f"{clickhouse_quoted(database)}.{clickhouse_quoted(name)}"


def postgres_table(schema: str, table: Table) -> str:
    """Return the statement that creates a table, bare of keys: a COPY is fastest without them."""
    columns = ", ".join(f"{quoted(column.name)} {postgres_type(column)}" for column in table.columns)
    # A row that is brought to another moment finds room beside itself then, and no index has to learn its new place.
    room = " WITH (fillfactor = 45)" * table.is_stamped
    return f"CREATE TABLE {qualified(schema, table.name)} ({columns}){room}"


def postgres_type(column: Column) -> str:
    """Return the type and nullability of one column."""
    return f"{column.kind.postgres}{'' if column.nullable else ' NOT NULL'}"


def postgres_comments(schema: str, table: Table) -> dict[str, tuple[str, str]]:
    """Return what the catalog is to say of a table and of its columns, and the statement that has it say so.

    By the column's name; that of the table itself is empty.
    """
    name = qualified(schema, table.name)
    words = {"": table.description} | {column.name: column.description for column in table.columns}
    places = {"": f"TABLE {name}"} | {one: f"COLUMN {name}.{quoted(one)}" for one in table.names}
    return {one: (said, f"COMMENT ON {places[one]} IS {postgres_literal(said)}") for one, said in words.items()}


def postgres_keys(schema: str, table: Table) -> list[str]:
    """Return the statements that add the primary key and the indexes to a loaded table."""
    return [postgres_key(schema, table), *(postgres_index(schema, table, column) for column in table.indexes)]


def postgres_key(schema: str, table: Table) -> str:
    """Return the statement that adds the primary key."""
    return f"ALTER TABLE {qualified(schema, table.name)} ADD PRIMARY KEY ({quoted_names(table.key)})"


def postgres_index(schema: str, table: Table, column: str, called: str = "") -> str:
    """Return the statement that adds the index on one column, whatever it is called for now."""
    return f"CREATE INDEX ON {qualified(schema, table.name)} {_index(table.column(column), called or column)}"


def postgres_foreign_key(schema: str, table: Table) -> str:
    """Return the statement that ties a child table to its parent in the same schema."""
    assert table.parent is not None
    refers = table.key[:-1]
    # Deferred, so that a publish may change parents and children in any order within its transaction.
    return (
        f"ALTER TABLE {qualified(schema, table.name)} ADD FOREIGN KEY ({quoted_names(refers)}) "
        f"REFERENCES {qualified(schema, table.parent)} DEFERRABLE INITIALLY DEFERRED"
    )


def clickhouse_table(database: str, name: str, table: Table, comment: str) -> str:
    """Return the statement that creates the ReplacingMergeTree behind a table's view.

    It is ordered by the key, because that is what replaces a row; other ways in are served by skip indexes.

    Args:
        database: Where to create it.
        name: What to call it.
        table: Its columns and key.
        comment: Kept in the catalog; tells which run the rows are from.
    """
    columns = [clickhouse_column(column) for column in table.columns]
    columns += [f"{VERSION} UInt64 CODEC(T64, ZSTD(1))", f"{DELETED} UInt8 DEFAULT 0 CODEC(ZSTD(1))"]
    columns += [_skip_index(table.column(column)) for column in table.indexes]
    return (
        f"CREATE OR REPLACE TABLE {clickhouse_qualified(database, name)} ({', '.join(columns)}) "
        f"ENGINE = ReplacingMergeTree({VERSION}, {DELETED}) ORDER BY ({clickhouse_names(table.key)}) "
        f"COMMENT {clickhouse_literal(comment)}"
    )


def clickhouse_view(database: str, source: str, table: Table) -> str:
    """Return the statement that creates the view people read: the newest version of each row, columns commented."""
    columns = ", ".join(map(_clickhouse_described, table.columns))
    return (
        f"CREATE OR REPLACE VIEW {clickhouse_qualified(database, table.name)} ({columns}) AS "
        f"SELECT {clickhouse_names(table.names)} FROM {clickhouse_qualified(database, source)} FINAL "
        f"COMMENT {clickhouse_literal(table.description)}"
    )


def clickhouse_type(column: Column) -> str:
    """Return the type of one column, as the catalog spells it."""
    return column.kind.clickhouse_type(nullable=column.nullable)


def clickhouse_column(column: Column) -> str:
    """Return how a table's statement declares one column: its type, its comment, how it is compressed."""
    codec = f" CODEC({column.kind.codec})" if column.kind.codec else ""
    return f"{_clickhouse_described(column)}{codec}"


def _clickhouse_described(column: Column) -> str:
    comment = clickhouse_literal(column.description)
    return f"{clickhouse_quoted(column.name)} {clickhouse_type(column)} COMMENT {comment}"


def _skip_index(column: Column) -> str:
    # Ids are looked up one by one, which a bloom filter serves; times are asked for in ranges.
    kind = "bloom_filter(0.01)" if column.kind.clickhouse in ("String", "UUID") else "minmax"
    return f"INDEX {clickhouse_quoted('by_' + column.name)} {clickhouse_quoted(column.name)} TYPE {kind} GRANULARITY 4"


def _index(column: Column, called: str) -> str:
    bounded = column.field is not None and column.field.max_length is not None
    # What has no bound may be larger than a b-tree entry; a hash index holds any.
    endless = column.kind.is_json or column.kind.frame == pl.Binary() or (column.kind in TEXTS and not bounded)
    method = "hash" if endless else "btree"
    return f"USING {method} ({quoted(called)})"


def clickhouse_comment(database: str, name: str, comment: str) -> str:
    """Return the statement that gives a table in ClickHouse another comment."""
    return f"ALTER TABLE {clickhouse_qualified(database, name)} MODIFY COMMENT {clickhouse_literal(comment)}"


def quoted_names(names: Iterable[str]) -> str:
    """Quote identifiers for PostgreSQL and join them with commas."""
    return ", ".join(quoted(name) for name in names)


def clickhouse_names(names: Iterable[str]) -> str:
    """Quote identifiers for ClickHouse and join them with commas."""
    return ", ".join(clickhouse_quoted(name) for name in names)


def postgres_literal(text: str) -> str:
    """Return a text as a literal of PostgreSQL."""
    return "'" + text.replace("'", "''") + "'"


def clickhouse_literal(text: str) -> str:
    """Return a text as a literal of ClickHouse."""
    # Unlike PostgreSQL, ClickHouse reads backslashes as escapes.
    return postgres_literal(text.replace("\\", "\\\\"))
