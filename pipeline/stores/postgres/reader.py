"""The published tables of PostgreSQL, as they are read and counted."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import count

import pyarrow as pa

from contracts.schema.ddl import postgres_literal, qualified, quoted
from contracts.schema.entity import ID, Column, Table
from contracts.schema.kinds import BYTEWISE, UUID
from pipeline.stores.base import TableStats
from pipeline.stores.conditions import Among, Condition, select
from pipeline.stores.postgres.catalog import Catalog
from pipeline.stores.postgres.evolution import type_name
from pipeline.stores.postgres.session import Session
from pipeline.stores.staging import Staging


class PostgresReader(Session):
    """A session that reads published tables; whoever calls its methods decides where a transaction ends."""

    name = "postgres"
    quoted = staticmethod(quoted)

    @property
    def catalog(self) -> Catalog:
        """What the catalog tells."""
        return Catalog(self.rows)

    def read(
        self,
        schema: str,
        table: Table,
        where: Sequence[Condition] = (),
        limit: int | None = None,
        among: Among | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a published table; decimals and JSON as text, timestamps in UTC."""
        numbers = count(1)
        told = [_condition(one, [f"${next(numbers)}" for _ in one.values]) for one in where]
        told += [_among(schema, among)] if among else []
        query = select(map(_readable, table.columns), f"{qualified(schema, table.name)} AS t", told, limit)
        yield from self.batches(query, *(value for one in where for value in one.values))

    def stats(self, schema: str, tables: Sequence[Table]) -> dict[str, TableStats]:
        """Look at published tables without reading rows; one that is gone, or is no table, is left out."""
        names = {qualified(schema, table.name): table.name for table in tables}
        # TRUNCATE gives a table another file, as does whatever else writes it anew; so does a table of the same name.
        query = (
            "WITH RECURSIVE ours AS (SELECT name, to_regclass(name)::oid AS oid FROM unnest($1::text[]) name "
            "UNION SELECT name, inhrelid FROM pg_inherits JOIN ours ON inhparent = ours.oid) "
            "SELECT name, string_agg(relfilenode::text, ' ' ORDER BY c.oid) FROM ours JOIN pg_class c USING (oid) "
            "WHERE relkind IN ('r', 'p') GROUP BY name"
        )
        marks: dict[str, str] = dict(self.rows(query, list(names)))
        empty = " UNION ALL ".join(
            f"SELECT {place} WHERE NOT EXISTS (SELECT FROM {name})" for place, name in enumerate(marks)
        )
        nothing = {list(marks)[place] for (place,) in (self.rows(empty) if marks else [])}
        return {names[name]: TableStats(mark, 0 if name in nothing else None) for name, mark in marks.items()}

    def is_published(self, schema: str, table: Table) -> bool:
        """Return whether there is a published table, by the catalog alone: no lock on it is kept."""
        return self.catalog.has_table(schema, table.name)

    def fits(self, schema: str, table: Table, ours: Collection[str] | None = None) -> bool:
        """Return whether a published table has its contract's columns: these names and types, in any order."""
        found = self.catalog.columns(schema, [table.name])
        return _fits(table, found[table.name], table.names if ours is None else ours)

    def count(self, schema: str, table: Table) -> int:
        """Count the rows of a published table."""
        return self.number(f"SELECT count(*) FROM {qualified(schema, table.name)}")

    def sizes(self, schema: str, tables: Sequence[Table]) -> dict[str, int]:
        """Count the rows of published tables by name; one that is not there, or not as its contract, is left out."""
        found = self.catalog.columns(schema, [table.name for table in tables])
        fit = [table.name for table in tables if _fits(table, found[table.name], table.names)]
        counts = self.numbers(f"SELECT count(*) FROM {qualified(schema, name)}" for name in fit)
        return dict(zip(fit, counts, strict=True))

    def count_ids(self, schema: str, table: str, ids: Sequence[str]) -> int:
        """Count the rows of a published table without a parent that have one of some ``_id``s, given as texts."""
        named = ", ".join(map(postgres_literal, ids)) or "NULL"
        return self.number(f"SELECT count(*) FROM {qualified(schema, table)} WHERE {quoted(ID)}::text IN ({named})")

    def count_published(self, schema: str, tables: Sequence[Table], most: int | None = None) -> dict[str, int]:
        """Count the rows of published tables by name, no further than to a number; none where there is no table."""
        upto = "" if most is None else f" LIMIT {most}"
        rows = {table.name: f"SELECT FROM {qualified(schema, table.name)}{upto}" for table in tables}
        queries = {name: f"SELECT count(*) FROM ({one}) AS counted" for name, one in rows.items()}
        return self._count_apart(schema, tables, queries)

    def count_scope_published(self, staging: Staging, roots: Sequence[Table]) -> dict[str, int]:
        """Count the published documents among those that a staging area speaks for, by root."""
        area, key, queries = quoted(staging.name), quoted(ID), dict[str, str]()
        for root in roots:
            named = f"SELECT {key} FROM {area}.{staging.documents(root)}"
            queries[root.name] = f"SELECT count(*) FROM {qualified(staging.schema, root.name)} WHERE {key} IN ({named})"
        return self._count_apart(staging.schema, roots, queries)

    def _count_apart(self, schema: str, tables: Sequence[Table], queries: Mapping[str, str]) -> dict[str, int]:
        """Count on a connection of its own: ours would keep locks on the tables that a changed contract waits for."""
        there = [table.name for table in self.catalog.existing(schema, tables)]
        found = dict.fromkeys(queries, 0)
        if there:
            with closing(Session(self._uri, self.wait, self._silence)) as other:
                found |= zip(there, other.numbers(queries[name] for name in there), strict=True)
        return found


def _fits(table: Table, found: Mapping[str, tuple[str, bool]], owned: Collection[str]) -> bool:
    """Return whether of the columns that a table has those that are ours are its contract's."""
    there = {name: kind for name, kind in found.items() if name in owned}
    return there == {column.name: (type_name(column), not column.nullable) for column in table.columns}


def _condition(condition: Condition, places: Sequence[str]) -> str:
    """Return a condition in SQL; the places stand for its values."""
    # Said here as well: a table that was made before all keys had this collation is ordered as its database is.
    column = quoted(condition.column.name) + BYTEWISE * condition.column.kind.postgres.startswith("text")
    if condition.operator == "IN":
        return f"{column} IN ({', '.join(places)})"
    return " ".join((column, condition.operator, *places))


def _among(schema: str, among: Among) -> str:
    """Return in SQL that rows, called t, have one of some keys."""
    column = quoted(among.column)
    keys = f"SELECT FROM {quoted(among.area.name)}.{among.area.keys(among.keys)} k WHERE k.{column}"
    found = f"EXISTS ({keys} = t.{column})"
    if among.root:
        of_root = f"SELECT FROM {qualified(schema, among.root)} r WHERE r.{quoted(ID)} = t.{quoted(ID)}"
        found = f"EXISTS ({of_root} AND EXISTS ({keys} = r.{column}))"
    return f"NOT {found}" if among.outside else found


def _readable(column: Column) -> str:
    name = quoted(column.name)
    as_text = column.kind.is_json or column.kind is UUID or column.kind.postgres.startswith("numeric")
    return f"{name}::text{'[]' * column.kind.is_array} AS {name}" if as_text else name
