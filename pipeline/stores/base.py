"""What both stores do, as the rest of the pipeline sees it: the published tables are read, and new ones published."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import polars as pl
import pyarrow as pa

from contracts.schema.entity import Column, Table
from pipeline.stores.conditions import Among, Condition
from pipeline.stores.staging import Staging

LoadFrame = Callable[[Table, pl.DataFrame], None]


@dataclass(frozen=True)
class TableStats:
    """What a store tells of a published table at a glance, without reading its rows.

    Attributes:
        mark: Something that changes when the table is written anew as a whole, as by TRUNCATE.
        most: It has no more rows than this; None if that can't be told.
    """

    mark: str
    most: int | None


class Reader(Protocol):
    """A store whose published tables are read; nothing is changed by it."""

    name: str

    def quoted(self, name: str) -> str:
        """Quote an identifier as the store reads it."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""

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
            schema: ``replica``, ``history`` or ``marts``.
            table: The table.
            where: Only rows that satisfy all of these; texts are compared by their bytes.
            limit: No more rows than this.
            among: Only rows that have one of some values that a staging area holds.
        """

    def stats(self, schema: str, tables: Sequence[Table]) -> dict[str, TableStats]:
        """Look at published tables without reading rows; one that is gone, or whose view is, is left out."""

    def is_published(self, schema: str, table: Table) -> bool:
        """Return whether there is a published table, by the catalog alone: no lock on it is kept."""

    def fits(self, schema: str, table: Table, ours: Collection[str] | None = None) -> bool:
        """Return whether a published table has its contract's columns: these names and types, in any order.

        Args:
            schema: ``replica`` or ``marts``.
            table: The contract's columns.
            ours: Which of the published table's columns contracts have made; None if that is not known.
        """

    def count(self, schema: str, table: Table) -> int:
        """Count the rows of a published table."""

    def sizes(self, schema: str, tables: Sequence[Table]) -> dict[str, int]:
        """Count the rows of published tables by name; one that is not there, or not as its contract, is left out."""

    def count_ids(self, schema: str, table: str, ids: Sequence[str]) -> int:
        """Count the rows of a published table without a parent that have one of some ``_id``s, given as texts."""

    def count_published(self, schema: str, tables: Sequence[Table], most: int | None = None) -> dict[str, int]:
        """Count the rows of published tables by name, no further than to a number; none where there is no table."""

    def count_scope_published(self, staging: Staging, roots: Sequence[Table]) -> dict[str, int]:
        """Count the published documents among those that a staging area which is not whole speaks for, by root."""


class Target(Reader, Protocol):
    """A store that tables are published to."""

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

    def staged(self, staging: Staging, tables: Sequence[Table]) -> Mapping[str, Mapping[int, int]]:
        """Count the rows of tables in staging, by name and partition; a partition that was not loaded is left out."""

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
