"""The target PostgreSQL: bulk loads by ADBC, published in one transaction; it also keeps the books."""

from collections import ChainMap
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import polars as pl
import pyarrow as pa

from contracts.schema.ddl import postgres_literal, postgres_table, postgres_type, qualified, quoted
from contracts.schema.entity import ID, Column, Table
from contracts.schema.history import HISTORY
from contracts.schema.kinds import UUID
from pipeline.stores.base import LoadFrame
from pipeline.stores.postgres import indexes
from pipeline.stores.postgres.forgetting import dropped, removed
from pipeline.stores.postgres.guards import check_columns, check_places
from pipeline.stores.postgres.locks import change_at_moments
from pipeline.stores.postgres.merge import Merge
from pipeline.stores.postgres.publication import Publication, published_names
from pipeline.stores.postgres.reader import PostgresReader
from pipeline.stores.postgres.session import JSONB_VERSION
from pipeline.stores.postgres.triggers import check_provable
from pipeline.stores.staging import Staging

# The low half of the id of this transaction, as each row that it writes has it for its xmin.
_MINE = "(pg_current_xact_id()::text::numeric % 4294967296)::bigint"


class Postgres(PostgresReader):
    """The target PostgreSQL; whoever calls its methods decides where a transaction ends."""

    # What both targets do, in the same order --------------------------------------------------------------------

    def stage(self, staging: Staging) -> None:
        """Create the staging area, with its tables, and the schema it will be published to."""
        name = quoted(staging.name)
        self.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(staging.schema)}", f"CREATE SCHEMA {name}")
        self.stage_tables(staging)
        self.execute(f"CREATE TABLE {name}._partitions (partition bigint PRIMARY KEY, loaded_by bigint NOT NULL)")
        for root in () if staging.is_full else staging.roots:
            key = root.columns[0]
            self.execute(f"CREATE TABLE {name}.{staging.documents(root)} ({quoted(key.name)} {postgres_type(key)})")

    def stage_tables(self, staging: Staging) -> None:
        """Create the tables of a staging area."""
        check_places(self.catalog, staging)
        check_columns(self.catalog, staging)
        check_provable(self.rows, published_names(staging))
        keys = [staging.keys_of(table) for table in staging.tables if table.name in staging.parts]
        self.execute(*(postgres_table(staging.name, table) for table in (*staging.tables, *keys)))

    @contextmanager
    def loading(self, staging: Staging, partition: int, tables: tuple[Table, ...]) -> Iterator[LoadFrame]:
        """Load one partition of some tables into staging, within the caller's transaction."""
        # Each row tells its partition by the transaction that wrote it.
        self.execute(f"INSERT INTO {quoted(staging.name)}._partitions VALUES ({partition}, {_MINE})")
        yield lambda table, frame: self._copy(staging.name, table, frame)

    def set_scope(self, staging: Staging, root: Table, ids: pl.Series) -> None:
        """Name documents that a staging area which is not whole speaks for, within the caller's transaction."""
        self.append(staging.name, staging.documents(root), _arrow(ids.to_frame(ID)))

    def scope_size(self, staging: Staging, root: Table) -> int:
        """Count the documents that were named, each once."""
        name = f"{quoted(staging.name)}.{staging.documents(root)}"
        return self.number(f"SELECT count(DISTINCT {quoted(root.columns[0].name)}) FROM {name}")

    def hold_keys(self, staging: Staging, name: str, column: Column, keys: pl.Series) -> None:
        """Hold some values of a column in a staging area, within the caller's transaction."""
        table = f"{quoted(staging.name)}.{staging.keys(name)}"
        self.execute(f"CREATE TABLE {table} ({quoted(column.name)} {postgres_type(column)} PRIMARY KEY)")
        if not keys.is_empty():
            self.append(staging.name, staging.keys(name), _arrow(keys.unique().to_frame(column.name)))
        self.execute(f"ANALYZE {table}")

    def speak_for(self, staging: Staging, table: Table, keys: pl.DataFrame) -> None:
        """Name the rows of a published table that an area speaks for, within the caller's transaction."""
        named = staging.keys_of(table)
        if not keys.is_empty():
            self._copy(staging.name, named, keys.select(named.names))
            self.execute(*(f"ANALYZE {qualified(staging.name, name)}" for name in (named.name, table.name)))

    def staged(self, staging: Staging, tables: Sequence[Table]) -> dict[str, ChainMap[int, int]]:
        """Count the rows of tables in staging, by name and partition; a partition that was not loaded is left out."""
        if not tables:
            return {}
        loaded = f"{quoted(staging.name)}._partitions"
        none = dict.fromkeys((int(partition) for (partition,) in self.rows(f"SELECT partition FROM {loaded}")), 0)
        found = {table.name: ChainMap[int, int]({}, none) for table in tables}
        counts = " UNION ALL ".join(
            f"SELECT {place} AS place, xmin::text::bigint AS loaded_by, n "
            f"FROM (SELECT xmin, count(*) AS n FROM {qualified(staging.name, table.name)} GROUP BY xmin) t"
            for place, table in enumerate(tables)
        )
        query = f"SELECT place, partition, n FROM ({counts}) c JOIN {loaded} USING (loaded_by)"
        for place, partition, rows in self.rows(query):
            found[tables[place].name][int(partition)] = int(rows)
        return found

    def staged_ids(self, staging: Staging, table: Table, partition: int) -> Iterator[pa.RecordBatch]:
        """Yield the first column of a table in staging, for one partition."""
        query = (
            f"SELECT {quoted(table.columns[0].name)} FROM {qualified(staging.name, table.name)} t "
            f"JOIN {quoted(staging.name)}._partitions p ON t.xmin::text::bigint = p.loaded_by "
            f"WHERE p.partition = {partition}"
        )
        yield from self.batches(query)

    def prepare(self, staging: Staging) -> None:
        """Add keys and indexes to the tables that are not published yet, and statistics to all."""
        indexes.prepare(self, staging)

    def growth(self, staging: Staging) -> dict[str, int]:
        """Count how many rows each table will have, or of one of which it holds a part: how many more than now."""
        merges = [Merge(staging, table, {}) for table in staging.tables]
        parts = [merge for merge in merges if not merge.is_whole]
        staged = self.numbers(merge.staged for merge in merges)
        gone = dict(zip((one.table.name for one in parts), self.numbers(one.published for one in parts), strict=True))
        return {one.table.name: rows - gone.get(one.table.name, 0) for one, rows in zip(merges, staged, strict=True)}

    def publish(self, staging: Staging) -> None:
        """Make the published tables equal to staging, within the caller's transaction.

        A table keeps its identity: what differs is changed, what is gone deleted, so that views, grants and
        references of users survive. A table that does not exist yet is moved in.
        """
        Publication(self, staging).publish()

    def discard(self, run_id: str) -> None:
        """Drop the staging area of a run, if there is one, and what it added to published tables."""
        self.execute(f"DROP SCHEMA IF EXISTS {quoted(f'staging_{run_id}')} CASCADE")
        left = self.catalog.left_by(run_id)
        change_at_moments(self, (f"ALTER TABLE {one} DROP {what} IF EXISTS {quoted(name)}" for one, what, name in left))

    def drop(self, schema: str, roots: Collection[str], tables: Collection[str]) -> None:
        """Drop published tables, within the caller's transaction; what is gone already is passed over.

        Raises:
            EtlError: Something of somebody's own is built on one.
        """
        there = [name for name in sorted({*roots, *tables}) if self.catalog.has_table(schema, name)]
        if there:  # in one statement, for they refer to each other
            self.execute(f"DROP TABLE {', '.join(qualified(schema, name) for name in there)}")

    def drop_history(self, roots: Collection[str], tables: Collection[str]) -> None:
        """Drop the former versions of some roots, within the caller's transaction; what is gone is passed over."""
        if self.catalog.has_schema(HISTORY):
            self.execute(*dropped(roots, tables))

    def remove_versions(self, root: str, tables: Sequence[str], before: datetime | None, ids: Sequence[str]) -> int:
        """Remove former versions of a collection, within the caller's transaction, and return how many there were."""
        versions, *_ = (self.number(one) for one in removed(root, tables, before, ids))
        return versions

    def leftovers(self) -> list[str]:
        """Return the ids of the runs that have a staging area."""
        return self.catalog.staging_areas()

    # What only PostgreSQL does ----------------------------------------------------------------------------------

    def documents(self, staging: Staging, root: Table, columns: Sequence[str]) -> str:
        """Return a query of the documents that a staging area speaks for, and of what is published of them.

        Args:
            staging: The area; it is not whole.
            root: Their collection's root table.
            columns: Which columns of it are told.
        """
        key = quoted(ID)
        values = ", ".join(f"{postgres_literal(name)}, t.{quoted(name)}" for name in columns)
        return (
            f"SELECT d.{key}::text, CASE WHEN t.{key} IS NOT NULL THEN jsonb_build_object({values}) END "
            f"FROM (SELECT DISTINCT {key} FROM {quoted(staging.name)}.{staging.documents(root)}) d "
            f"LEFT JOIN {qualified(staging.schema, root.name)} t ON t.{key} = d.{key}"
        )

    def _copy(self, schema: str, table: Table, frame: pl.DataFrame) -> None:
        if frame.is_empty():
            return
        json = [column.name for column in table.columns if column.kind.is_json]
        frame = frame.with_columns((pl.lit(JSONB_VERSION) + pl.col(name)).alias(name) for name in json)
        uuids = [column.name for column in table.columns if column.kind is UUID]
        frame = frame.with_columns(pl.col(name).str.replace_all("-", "").str.decode("hex") for name in uuids)
        self.append(schema, table.name, _arrow(frame))


def _arrow(frame: pl.DataFrame) -> pa.Table:
    """Return rows in the types of Arrow that the driver knows."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
