"""What ClickHouse's catalog tells of tables: which there are, what they are like, and whose they are."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.schema.entity import Table
from contracts.schema.names import DATA, MADE
from pipeline.stores.clickhouse.names import NAME, STAYING, data_name, part_prefix, plain, root_in
from pipeline.stores.staging import Staging

_MOST_NAMED = 200  # tables in a question, which a line has to hold; with more, all of a database are told
_PART_OF = f"substring(name, 1, position(name, '{MADE}'))"  # what part_prefix gives of the table of a part


@dataclass(frozen=True)
class Catalog:
    """The catalog, by some session.

    Attributes:
        rows: Returns the rows of a query.
    """

    rows: Callable[..., list[tuple[Any, ...]]]

    def has_database(self, name: str) -> bool:
        """Return whether there is a database."""
        return bool(self.rows("SELECT 1 FROM system.databases WHERE name = {name:String}", name=name))

    def comment(self, database: str, table: str) -> str | None:
        """Return a table's comment, or None if there is no such table."""
        return self.comments(database, [table]).get(table)

    def comments(self, database: str, tables: Sequence[str]) -> dict[str, str]:
        """Return the comments of those of some tables that there are."""
        query, given = "SELECT name, comment FROM system.tables WHERE database = {database:String}", {}
        if len(tables) <= _MOST_NAMED:
            query, given = f"{query} AND name IN {{names:Array(String)}}", {"names": [*tables]}
        wanted = set(tables)
        return {name: said for name, said in self.rows(query, database=database, **given) if name in wanted}

    def columns(self, database: str, table: str) -> dict[str, str]:
        """Return the types of a table's columns, in order."""
        return self.columns_of(database, [table])[table]

    def columns_of(self, database: str, tables: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the types of some tables' columns, in order, by table; none of a table that is not there."""
        query = (
            "SELECT table, name, type FROM system.columns "
            "WHERE database = {database:String} AND table IN {tables:Array(String)} ORDER BY table, position"
        )
        found: dict[str, dict[str, str]] = {table: {} for table in tables}
        for table, name, kind in self.rows(query, database=database, tables=list(tables)):
            found[table][name] = kind
        return found

    def parts(
        self, staging: Staging, tables: Iterable[Table], area: Iterable[str] | None = None
    ) -> dict[str, list[int]]:
        """Return the numbers of the partitions of each table that were loaded, of an area as it is or was found."""
        prefixes = {part_prefix(table): table.name for table in tables}
        found: dict[str, list[int]] = {name: [] for name in prefixes.values()}
        for part in self.area(staging) if area is None else area:
            table, made, number = part.rpartition(MADE)
            if table + made in prefixes:
                found[table].append(int(number))
        return {name: sorted(numbers) for name, numbers in found.items()}

    def area(self, staging: Staging) -> dict[str, int]:
        """Return the tables of an area that are about a staging's, and how many rows each has.

        ClickHouse knows that without reading them. There may be many others: of other tables, which are published too.
        """
        query, given = "SELECT name, coalesce(total_rows, 0) FROM system.tables WHERE database = {area:String}", {}
        if len(staging.tables) <= _MOST_NAMED:
            query += " AND (name IN {named:Array(String)} OR " + _PART_OF + " IN {parts:Array(String)})"
            given["named"] = [STAYING, *map(staging.rows_of, staging.tables)]
            given["parts"] = [*map(part_prefix, staging.tables)]
        return {name: int(rows) for name, rows in self.rows(query, area=staging.name, **given)}

    def unchanged(self, staging: Staging) -> list[str]:
        """Return the tables of which an area holds a part that has no rows, and of which none is to go."""
        parts = [table for table in staging.tables if table.name in staging.parts]
        there = self.area(staging) if parts else {}
        return [table.name for table in parts if not there.get(staging.rows_of(table))]

    def ours(self, database: str, roots: Collection[str]) -> Iterator[tuple[str, str]]:
        """Yield the tables behind views that we have published of some roots, each with its root's name."""
        query = (
            "WITH behind AS (SELECT name FROM system.tables WHERE database = {database:String} AND "
            "substring(comment, position(comment, ' ') + 1) IN {roots:Array(String)}) "
            "SELECT name, comment, as_select FROM system.tables WHERE database = {database:String} "
            f"AND (name IN behind OR concat(name, '{DATA}') IN behind)"
        )
        found = self.rows(query, database=database, roots=list(roots))
        there = {name: (comment, select) for name, comment, select in found}
        for name, (comment, _) in there.items():
            # One that somebody has renamed bears our comment as well, but no view of its name reads it.
            _, select = there.get(name.removesuffix(DATA), ("", ""))
            if name.endswith(DATA) and root_in(comment) in roots and name in map(plain, NAME.findall(select)):
                yield name, root_in(comment)

    def forgotten(self, staging: Staging) -> dict[str, list[str]]:
        """Return the tables of arrays that a contract no longer has, by their roots: what they hold goes stale."""
        found = {table.name: list[str]() for table in staging.roots}
        current = {data_name(table) for table in staging.tables}
        for name, root in self.ours(staging.schema, found):
            if name not in current:
                found[root].append(name.removesuffix(DATA))
        return found

    def staging_areas(self) -> list[str]:
        """Return the ids of the runs that have a staging area."""
        found = self.rows("SELECT name FROM system.databases WHERE startsWith(name, 'staging_') ORDER BY name")
        return [name.removeprefix("staging_") for (name,) in found]
