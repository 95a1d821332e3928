"""What PostgreSQL's catalog tells of tables: which there are, what they are like, and whose they are."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.schema.ddl import qualified, quoted
from contracts.schema.entity import EXTRA, Table
from pipeline.stores.postgres.evolution import MADE, Found, made_name
from pipeline.stores.staging import Staging

TABLES = ("r", "p")  # kinds of relations, in the catalog's letters: tables and partitioned ones
_COLUMNS = (
    "FROM unnest($1::text[]) place JOIN pg_attribute ON attrelid = to_regclass(place) "
    "WHERE attnum > 0 AND NOT attisdropped ORDER BY place, attnum"
)


@dataclass(frozen=True)
class Catalog:
    """The catalog, by some connection.

    Attributes:
        rows: Returns the rows of a query.
    """

    rows: Callable[..., list[tuple[Any, ...]]]

    def has_schema(self, name: str) -> bool:
        """Return whether there is a schema."""
        return bool(self.rows("SELECT to_regnamespace($1::text) IS NOT NULL", name)[0][0])

    def kinds(self, schema: str, names: Iterable[str]) -> dict[str, str]:
        """Return what bears some names, in one letter; those that nothing bears are left out."""
        places = _places(schema, names)
        query = (
            "SELECT place, relkind::text FROM unnest($1::text[]) place JOIN pg_class c ON c.oid = to_regclass(place)"
        )
        return {places[place]: kind for place, kind in self.rows(query, [*places])}

    def has_table(self, schema: str, name: str) -> bool:
        """Return whether there is a table of a name."""
        return self.kinds(schema, [name]).get(name) in TABLES

    def existing(self, schema: str, tables: Sequence[Table]) -> list[Table]:
        """Return those tables that there are."""
        kinds = self.kinds(schema, [table.name for table in tables])
        return [table for table in tables if kinds.get(table.name) in TABLES]

    def columns(self, schema: str, names: Sequence[str]) -> dict[str, dict[str, tuple[str, bool]]]:
        """Return the columns that each table has, in order: their types, and whether they refuse null."""
        places, found = _places(schema, names), dict[str, dict[str, tuple[str, bool]]]((name, {}) for name in names)
        query = f"SELECT place, attname::text, format_type(atttypid, atttypmod), attnotnull {_COLUMNS}"
        for place, column, kind, required in self.rows(query, [*places]):
            found[places[place]][column] = kind, required
        return found

    def demanded(self, schema: str, names: Sequence[str]) -> dict[str, dict[str, bool]]:
        """Return the columns that each table has, in order, and whether a row must give each a value."""
        places, found = _places(schema, names), dict[str, dict[str, bool]]((name, {}) for name in names)
        query = f"SELECT place, attname::text, attnotnull AND NOT atthasdef AND attidentity = '' {_COLUMNS}"
        for place, column, is_demanded in self.rows(query, [*places]):
            found[places[place]][column] = is_demanded
        return found

    def said(self, schema: str, names: Iterable[str]) -> dict[tuple[str, str], str]:
        """Return the comments on tables and on their columns, by the names of both; a table's own has no column."""
        places = _places(schema, names)
        query = (
            "SELECT place, coalesce(attname::text, ''), description FROM unnest($1::text[]) place "
            "JOIN pg_description ON objoid = to_regclass(place) AND classoid = 'pg_class'::regclass "
            "LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND objsubid > 0"
        )
        return {(places[place], column): words for place, column, words in self.rows(query, [*places])}

    def keyed(self, schema: str, names: Iterable[str]) -> set[str]:
        """Return which of some tables have a primary key."""
        places = _places(schema, names)
        query = "SELECT place FROM unnest($1::text[]) place JOIN pg_index ON indrelid = to_regclass(place)"
        return {places[place] for (place,) in self.rows(f"{query} WHERE indisprimary", [*places])}

    def has_reference(self, schema: str, child: str, parent: str) -> bool:
        """Return whether a table refers to another one."""
        query = (
            "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = to_regclass($1::text) "
            "AND confrelid = to_regclass($2::text)"
        )
        return bool(self.rows(query, qualified(schema, child), qualified(schema, parent))[0][0])

    def found(self, staging: Staging, table: Table) -> Found:
        """Return what a published table is like."""
        indexed = (
            "SELECT attname::text FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] "
            "WHERE indrelid = to_regclass($1::text) AND indnkeyatts = 1 AND indpred IS NULL"
        )
        checks = (
            "SELECT conname::text FROM pg_constraint WHERE conrelid = to_regclass($1::text) AND contype = 'c' "
            f"AND starts_with(conname, '{MADE}')"
        )
        name = qualified(staging.schema, table.name)
        return Found(
            self.columns(staging.schema, [table.name])[table.name],
            frozenset(one for (one,) in self.rows(indexed, name)),
            tuple(one for (one,) in self.rows(checks, name)),
            staging.owned(table),
            self._extra_is_free(name),
        )

    def _extra_is_free(self, name: str) -> bool:
        """Return whether a table has a column of undeclared fields that no view, index or grant of a user's is on."""
        query = (
            "SELECT attacl IS NULL AND NOT EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_class'::regclass "
            "AND refobjid = attrelid AND refobjsubid = attnum) FROM pg_attribute "
            f"WHERE attrelid = to_regclass($1::text) AND attname = '{EXTRA}' AND NOT attisdropped"
        )
        return any(free for (free,) in self.rows(query, name))

    def forgotten(self, staging: Staging) -> dict[str, list[str]]:
        """Return the tables of arrays that a contract no longer has: they go stale, and hold on to parents' rows.

        By the root tables' names; one that refers to another of them comes before it.
        """
        current, found = {table.name for table in staging.tables}, dict[str, list[str]]()
        roots = {table.name: table.root for table in staging.tables}
        parents = [*roots]
        while parents:  # and then those that are found
            children = []
            for parent, child in self._children(staging.schema, parents):
                # Books of an older version know of none.
                is_ours = child in staging.ours or parent not in staging.ours
                if child not in current and child.startswith(f"{parent}_") and is_ours:
                    children.append(child)
                    roots[child] = roots[parent]
                    found.setdefault(roots[child], []).insert(0, child)
            parents = children
        return found

    def _children(self, schema: str, parents: Iterable[str]) -> list[tuple[str, str]]:
        """Return the tables of arrays that refer to some tables, each after the one that it refers to."""
        places = _places(schema, parents)
        query = (
            "SELECT place, relname::text FROM unnest($1::text[]) place "
            "JOIN pg_constraint ON contype = 'f' AND confrelid = to_regclass(place) "
            "JOIN pg_class c ON c.oid = conrelid WHERE relnamespace = $2::regnamespace "
            # A table that a user put here is not ours to drop; ours have the parent's key and such a column for a key.
            "AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname IN ('_position', '_key')) "
            "AND EXISTS (SELECT FROM pg_index own JOIN pg_index p ON own.indisprimary AND p.indisprimary WHERE "
            "own.indrelid = c.oid AND p.indrelid = confrelid AND own.indnkeyatts = p.indnkeyatts + 1)"
        )
        return [(places[place], child) for place, child in self.rows(query, [*places], quoted(schema))]

    def indexes_in_the_way(self, staging: Staging, table: Table) -> list[str]:
        """Return the indexes whose names meet when a table of staging is moved in, quoted.

        PostgreSQL makes them of the names of tables and columns.
        """
        query = (
            "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
            "WHERE relnamespace = $2::text::regnamespace AND relname = $3::text "
            "OR indrelid = to_regclass($1::text) AND EXISTS "
            "(SELECT FROM pg_class WHERE relnamespace = $2::text::regnamespace AND relname = c.relname)"
        )
        found = self.rows(query, qualified(staging.name, table.name), quoted(staging.schema), table.name)
        return [index for (index,) in found]

    def left_by(self, run_id: str) -> Iterator[tuple[str, str, str]]:
        """Yield what a run has added to published tables: the table, quoted, ``COLUMN`` or ``CONSTRAINT``, its name."""
        columns = (
            "SELECT attrelid::regclass::text, attname::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid "
            "WHERE relkind IN ('r', 'p') AND attinhcount = 0 AND starts_with(attname, $1::text) AND NOT attisdropped"
        )
        checks = (
            "SELECT conrelid::regclass::text, conname::text FROM pg_constraint "
            "WHERE contype = 'c' AND coninhcount = 0 AND starts_with(conname, $1::text)"
        )
        for what, query in (("COLUMN", columns), ("CONSTRAINT", checks)):
            for table, name in self.rows(query, made_name(run_id, "")):
                yield table, what, name

    def staging_areas(self) -> list[str]:
        """Return the ids of the runs that have a staging area."""
        found = self.rows("SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname, 'staging_') ORDER BY 1")
        return [name.removeprefix("staging_") for (name,) in found]


def _places(schema: str, names: Iterable[str]) -> dict[str, str]:
    """Return the names of tables by what they are called in SQL."""
    return {qualified(schema, name): name for name in names}
