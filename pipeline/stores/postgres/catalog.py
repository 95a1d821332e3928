"""What PostgreSQL's catalog tells of tables: which there are, what they are like, and whose they are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from contracts.schema.ddl import qualified, quoted
from contracts.schema.entity import EXTRA, Table
from pipeline.stores.postgres.evolution import MADE, Found, made_name
from pipeline.stores.staging import Staging

TABLES = ("r", "p")  # kinds of relations, in the catalog's letters: tables and partitioned ones
_OF_A_TABLE = "WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"


@dataclass(frozen=True)
class Catalog:
    """The catalog, by some connection.

    Attributes:
        rows: Returns the rows of a query.
    """

    rows: Callable[..., list[tuple[Any, ...]]]

    def has_schema(self, name: str) -> bool:
        """Tell whether there is a schema."""
        return bool(self.rows("SELECT to_regnamespace($1::text) IS NOT NULL", name)[0][0])

    def kind(self, schema: str, name: str) -> str | None:
        """Return what bears a name, in one letter; None if nothing does."""
        query = "SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1::text)"
        return next((kind for (kind,) in self.rows(query, qualified(schema, name))), None)

    def has_table(self, schema: str, name: str) -> bool:
        """Tell whether there is a table of a name."""
        return self.kind(schema, name) in TABLES

    def columns(self, schema: str, name: str) -> dict[str, tuple[str, bool]]:
        """Return the columns that a table has, in order: their types, and whether they refuse null."""
        query = f"SELECT attname::text, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute {_OF_A_TABLE}"
        return {column: (kind, required) for column, kind, required in self.rows(query, qualified(schema, name))}

    def demanded(self, schema: str, name: str) -> dict[str, bool]:
        """Return the columns that a table has, in order, and whether a row must give each a value."""
        demands = "attnotnull AND NOT atthasdef AND attidentity = ''"
        query = f"SELECT attname::text, {demands} FROM pg_attribute {_OF_A_TABLE}"
        return dict(self.rows(query, qualified(schema, name)))

    def has_key(self, schema: str, name: str) -> bool:
        """Tell whether a table has a primary key."""
        query = "SELECT count(*) FROM pg_index WHERE indisprimary AND indrelid = to_regclass($1::text)"
        return bool(self.rows(query, qualified(schema, name))[0][0])

    def has_reference(self, schema: str, child: str, parent: str) -> bool:
        """Tell whether a table refers to another one."""
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
            self.columns(staging.schema, table.name),
            frozenset(one for (one,) in self.rows(indexed, name)),
            tuple(one for (one,) in self.rows(checks, name)),
            staging.owned(table),
            self._extra_is_free(name),
        )

    def _extra_is_free(self, name: str) -> bool:
        """Tell whether a table has a column of undeclared fields that no view, index or grant of a user's is on."""
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
        parents = [(table.name, table.root) for table in staging.tables]
        for parent, root in parents:  # to which those are added that are found on the way
            for child in self._children(staging.schema, parent):
                # Books of an older version know of none.
                is_ours = child in staging.ours or parent not in staging.ours
                if child not in current and child.startswith(f"{parent}_") and is_ours:
                    parents.append((child, root))
                    found.setdefault(root, []).insert(0, child)
        return found

    def _children(self, schema: str, parent: str) -> list[str]:
        """Return the tables of arrays that refer to a table."""
        query = (
            "SELECT relname::text FROM pg_constraint JOIN pg_class c ON c.oid = conrelid "
            "WHERE contype = 'f' AND confrelid = to_regclass($1::text) AND relnamespace = $2::regnamespace "
            # A table that a user put here is not ours to drop; ours have the parent's key and such a column for a key.
            "AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname IN ('_position', '_key')) "
            "AND EXISTS (SELECT FROM pg_index own JOIN pg_index p ON own.indisprimary AND p.indisprimary WHERE "
            "own.indrelid = c.oid AND p.indrelid = confrelid AND own.indnkeyatts = p.indnkeyatts + 1)"
        )
        return [child for (child,) in self.rows(query, qualified(schema, parent), quoted(schema))]

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
