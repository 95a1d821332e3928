"""The edges: one module per database; the two targets show the same methods in the same order."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import md5
from typing import Any, Protocol

import polars as pl
import pyarrow as pa

from contracts.schema.entity import ID, Column, Table

LoadFrame = Callable[[Table, pl.DataFrame], None]


@dataclass(frozen=True)
class Among:
    """Rows are meant by a value that is one of those which an area holds.

    Attributes:
        area: The staging area, which :meth:`Target.hold_keys` was given the values in.
        keys: What they were called there.
        column: The column of the rows that is looked at; of rows of a child table it is the root's.
        root: Name of that root, of child tables whose own rows have no such column.
        outside: Whether the other rows are meant.
    """

    area: "Staging"
    keys: str
    column: str
    root: str | None = None
    outside: bool = False


@dataclass(frozen=True)
class Staging:
    """Where the tables of one run are gathered before they are published together.

    Attributes:
        run_id: The run.
        schema: Where they will be published, ``replica`` or ``marts``; ClickHouse calls it a database.
        tables: What is gathered, parents before children.
        version: The run's cluster time as one number: a later one is greater.
        is_full: Whether it holds all rows of its tables. If not, it holds those of the documents that
            :meth:`Target.set_scope` named, and all other documents stay as they are published.
        parts: Names of tables of which it holds a part of the rows all the same: of those that
            :meth:`Target.speak_for` named. Others stay as they are published, and show the moment where they tell one.
        ours: The columns that contracts have made of the published tables, by table, as far as the books know: what
            else they have is somebody else's.
        observed: Since when the former versions of documents are kept, as a number, by root table; of those alone.
    """

    run_id: str
    schema: str
    tables: tuple[Table, ...]
    version: int
    is_full: bool = True
    ours: Mapping[str, Collection[str]] = field(default_factory=dict)
    observed: Mapping[str, int] = field(default_factory=dict)
    parts: Collection[str] = ()

    def owned(self, table: Table) -> Collection[str]:
        """Return which columns of a published table are ours; the contract's where the books don't know."""
        return self.ours.get(table.name, table.names)

    @property
    def name(self) -> str:
        """The name of the staging schema or database."""
        return f"staging_{self.run_id}"

    @property
    def roots(self) -> tuple[Table, ...]:
        """The tables that have no parent: one per collection."""
        return tuple(table for table in self.tables if table.parent is None)

    def documents(self, table: Table) -> str:
        """Return the name of the table of the documents that are spoken for in a table, which is its root's."""
        return self._of_root("documents", table)

    def keys(self, name: str) -> str:
        """Return what the table of some keys is called."""
        return f"_keys_{md5(name.encode(), usedforsecurity=False).hexdigest()}"

    def is_part(self, table: Table) -> bool:
        """Tell whether rows of a published table stay that this area does not hold."""
        return not self.is_full or table.name in self.parts

    def rows_of(self, table: Table) -> str:
        """Return what the keys of the rows are called that it speaks for, of a table of which it holds a part."""
        return self.keys(f"rows of {table.name}")

    def spoken_for(self, table: Table) -> tuple[tuple[str, ...], str] | None:
        """Return the columns and the table of the keys by which the rows are told that this area speaks for.

        None if these are all rows of the table.
        """
        if table.name in self.parts:
            return table.key, self.rows_of(table)
        return None if self.is_full else ((ID,), self.documents(table))

    @property
    def moment(self) -> datetime:
        """The run's cluster time as rows tell it."""
        return datetime.fromtimestamp(self.version >> 32, UTC)

    def changed(self, table: Table) -> str:
        """Return the name of the table of the documents that a publish changes, where former versions are kept."""
        return self._of_root("changed", table)

    def changing(self, table: Table) -> str:
        """Return what that table is called until it is complete, where it can't be made in a transaction."""
        return self._of_root("changing", table)

    def differing(self, table: Table) -> str:
        """Return the name of the table of the documents whose rows of a table a publish changes."""
        return f"_differing_{md5(table.name.encode(), usedforsecurity=False).hexdigest()}"

    def _of_root(self, what: str, table: Table) -> str:
        # Told by the root's name alone, which may be as long as PostgreSQL allows.
        return f"_{what}_{md5(table.root.encode(), usedforsecurity=False).hexdigest()}"

    def family(self, root: Table) -> tuple[Table, ...]:
        """Return a root table and its child tables."""
        return tuple(table for table in self.tables if table.root == root.name)


@dataclass(frozen=True)
class Sight:
    """What a store tells of a published table at a glance, without reading its rows.

    Attributes:
        mark: Something that changes when the table is written anew as a whole, as by TRUNCATE.
        most: It has no more rows than this; None if that can't be told.
    """

    mark: str
    most: int | None


@dataclass(frozen=True)
class Condition:
    """What rows must satisfy that are read; a null satisfies no comparison.

    Attributes:
        column: The column that is looked at.
        operator: ``=``, ``<>``, ``<``, ``<=``, ``>``, ``>=``, ``IN``, ``IS NULL`` or ``IS NOT NULL``.
        values: What it is compared with, as Polars has it: one value, several for ``IN``, none for the last two.
    """

    column: Column
    operator: str
    values: tuple[Any, ...] = ()


def within(table: Table, after: Any, upto: Any) -> list[Condition]:
    """Return the conditions for rows of a range of a table's first column.

    Args:
        table: The table.
        after: Only rows that are greater; None for no bound.
        upto: Only rows that are at most this; None for no bound.
    """
    bounds = ((">", after), ("<=", upto))
    return [Condition(table.columns[0], operator, (value,)) for operator, value in bounds if value is not None]


class Target(Protocol):
    """What both targets do."""

    name: str

    def stage(self, staging: Staging) -> None:
        """Create the staging area, with its tables, and the schema it will be published to."""

    def stage_tables(self, staging: Staging) -> None:
        """Create the tables of a staging area.

        What somebody has put on the published tables and would end the publish is refused; what it would cost is told.
        """

    def loading(self, staging: Staging, partition: int, tables: tuple[Table, ...]) -> AbstractContextManager[LoadFrame]:
        """Load one partition of some tables into staging; doing it again replaces what an earlier try left."""

    def set_scope(self, staging: Staging, root: Table, ids: pl.Series) -> None:
        """Name documents that a staging area which is not whole speaks for, by their ``_id`` as the stores have it.

        Args:
            staging: The area.
            root: Which collection's; its table is one of the area's.
            ids: The ``_id``s; an ``_id`` may be named twice.
        """

    def scope_size(self, staging: Staging, root: Table) -> int:
        """Count the documents that :meth:`set_scope` named of a collection, each once."""

    def hold_keys(self, staging: Staging, name: str, column: Column, keys: pl.Series) -> None:
        """Hold some values of a column in a staging area, to read rows by them or to publish a part; once each.

        Args:
            staging: The area.
            name: What they are called.
            column: The column.
            keys: Its values, as the contract has them.
        """

    def speak_for(self, staging: Staging, table: Table, keys: pl.DataFrame) -> None:
        """Name the rows of a published table that an area speaks for, of one of which it holds a part.

        Args:
            staging: The area; the table is among its parts.
            table: The table.
            keys: The columns of its key, for each row that the area holds, and for each that is to go.
        """

    def staged(self, staging: Staging, table: Table) -> Mapping[int, int]:
        """Count the rows of a table in staging, by partition."""

    def staged_ids(self, staging: Staging, table: Table, partition: int) -> Iterator[pa.RecordBatch]:
        """Yield the first column of a table in staging, for one partition."""

    def prepare(self, staging: Staging) -> None:
        """Do the slow part of a publish, which nobody who reads the published tables notices; twice does no harm.

        It is done on connections of its own, so nobody may hold on to the staging area meanwhile.
        """

    def growth(self, staging: Staging) -> dict[str, int]:
        """Count how many rows each table will have, or of an area that is not whole: how many more than now."""

    def publish(self, staging: Staging) -> None:
        """Make the published tables equal to staging, and count; readers see the old rows or the new ones.

        Raises:
            DataError: A table has other rows than staging.
        """

    def discard(self, run_id: str) -> None:
        """Drop the staging area of a run, if there is one."""

    def drop(self, schema: str, roots: Collection[str], tables: Collection[str]) -> None:
        """Drop what is published of some collections, and is ours; what is gone already is passed over.

        Args:
            schema: ``replica`` or ``marts``.
            roots: Names of their root tables.
            tables: Names of all their tables, these among them, as far as they are known.
        """

    def drop_history(self, roots: Collection[str], tables: Collection[str]) -> None:
        """Drop the former versions of collections; what is gone already is passed over.

        Args:
            roots: Their root tables.
            tables: All tables of which former versions were kept.
        """

    def remove_versions(self, root: str, tables: Sequence[str], before: datetime | None, ids: Sequence[str]) -> int:
        """Remove former versions of a collection, for good, and return how many there were.

        Args:
            root: Its root table.
            tables: All its tables of which former versions are kept.
            before: Of all documents those that ended by this moment; None for all of some documents.
            ids: The ``_id``s of these, as texts.
        """

    def leftovers(self) -> list[str]:
        """Return the ids of the runs that have a staging area."""

    def read(
        self,
        schema: str,
        table: Table,
        where: Sequence[Condition] = (),
        limit: int | None = None,
        among: Among | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a published table; decimals and JSON as text, timestamps in UTC.

        Args:
            schema: ``replica`` or ``marts``.
            table: The table.
            where: Only rows that satisfy all of these; texts are compared by their bytes.
            limit: No more rows than this.
            among: Only rows that have one of some values that a staging area holds.
        """

    def seen(self, schema: str, tables: Sequence[Table]) -> dict[str, Sight]:
        """Look at published tables without reading rows; one that is gone, or whose view is, is left out."""

    def is_published(self, schema: str, table: Table) -> bool:
        """Tell whether there is a published table, by the catalog alone: no lock on it is kept."""

    def count(self, schema: str, table: Table) -> int:
        """Count the rows of a published table."""

    def sizes(self, schema: str, tables: Sequence[Table]) -> dict[str, int]:
        """Count the rows of published tables by name; one that is not there, or not as its contract, is left out."""

    def count_ids(self, schema: str, table: str, ids: Sequence[str]) -> int:
        """Count the rows of a published table without a parent that have one of some ``_id``s, given as texts."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""

    def count_published(self, schema: str, table: Table, most: int | None = None) -> int:
        """Count the rows of a published table, no further than to a number; none where there is no such table."""

    def count_scope_published(self, staging: Staging, root: Table) -> int:
        """Count the published documents among those that a staging area which is not whole speaks for."""

    def fits(self, schema: str, table: Table, ours: Collection[str] | None = None) -> bool:
        """Tell whether a published table has its contract's columns: these names and types, in any order.

        Args:
            schema: ``replica`` or ``marts``.
            table: The contract's columns.
            ours: Which of the published table's columns contracts have made; None if that is not known.
        """
