"""The target ClickHouse: bulk loads in Arrow blocks, published table by table with one atomic exchange each."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import polars as pl
import pyarrow as pa
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from contracts.schema.ddl import DELETED, VERSION, clickhouse_table, clickhouse_type
from contracts.schema.ddl import clickhouse_qualified as qualified
from contracts.schema.ddl import clickhouse_quoted as quoted
from contracts.schema.entity import Column, Table
from contracts.schema.history import HISTORY
from contracts.schema.kinds import NUMBER
from contracts.schema.names import DATA
from pipeline.errors import LostError
from pipeline.runtime.waits import SILENCE_S
from pipeline.stores.base import LoadFrame
from pipeline.stores.clickhouse.buffered_inserts import buffered_inserts
from pipeline.stores.clickhouse.forgetting import dropped, removed
from pipeline.stores.clickhouse.guards import check_places, tell_what_goes
from pipeline.stores.clickhouse.names import STAYING, mark, part_name, root_in
from pipeline.stores.clickhouse.publication import Publication, drop_table, spoken_for, staged_rows
from pipeline.stores.clickhouse.reader import ClickHouseReader
from pipeline.stores.staging import Staging


class ClickHouse(ClickHouseReader):
    """One ClickHouse server as a target.

    Args:
        uri: ``https://user:password@host:port/database``, or ``http`` without TLS.
        insert_bytes: Bytes of Arrow that are gathered for one insert.
        silence: Seconds that the server may be silent before it is asked whether it is still at work.
    """

    patience = 120.0  # seconds for an exchange that goes on without us

    def __init__(self, uri: str, insert_bytes: int = 2**24, silence: float = SILENCE_S) -> None:
        super().__init__(uri, silence)
        self._insert_bytes = insert_bytes

    # What both targets do, in the same order --------------------------------------------------------------------

    def stage(self, staging: Staging) -> None:
        """Create the staging area, and the database it will be published to."""
        self.stage_tables(staging)
        self.execute(
            f"CREATE DATABASE IF NOT EXISTS {quoted(staging.schema)}", f"CREATE DATABASE {quoted(staging.name)}"
        )

    def stage_tables(self, staging: Staging) -> None:
        """Look at what tables of a staging area will take the place of; loading creates them."""
        tables = [table for table in staging.tables if table.name not in staging.parts]  # those are not exchanged
        if tables:
            check_places(self.catalog, staging, tables)
        if tables and staging.is_full:
            tell_what_goes(self.catalog, staging, tables)

    @contextmanager
    def loading(self, staging: Staging, partition: int, tables: tuple[Table, ...]) -> Iterator[LoadFrame]:
        """Load one partition of some tables into tables of its own, so that doing it again replaces them."""
        parts = {table: part_name(table, partition) for table in tables}
        for table, part in parts.items():
            self.execute(clickhouse_table(staging.name, part, table, mark(staging, table)))
        # Many small inserts would leave as many parts, to be merged again and again.
        with buffered_inserts(
            lambda table, frames: self._insert(staging, parts[table], table, frames), self._insert_bytes
        ) as load:
            yield load

    def set_scope(self, staging: Staging, root: Table, ids: pl.Series) -> None:
        """Name documents that a staging area which is not whole speaks for."""
        key, named = root.columns[0], staging.documents(root)
        name, column = f"{quoted(staging.name)}.{named}", f"{quoted(key.name)} {key.kind.clickhouse}"
        self.execute(f"CREATE TABLE IF NOT EXISTS {name} ({column}) ENGINE = MergeTree ORDER BY ()")
        self.append(staging.name, named, ids.to_frame(key.name))

    def scope_size(self, staging: Staging, root: Table) -> int:
        """Count the documents that were named, each once."""
        key = quoted(root.columns[0].name)
        # It counts doubles by their bits; of both zeros, which are one _id, this makes one.
        value = f"{key} + 0" if root.columns[0].kind is NUMBER else key
        return self.number(f"SELECT uniqExact({value}) FROM {quoted(staging.name)}.{staging.documents(root)}")

    def hold_keys(self, staging: Staging, name: str, column: Column, keys: pl.Series) -> None:
        """Hold some values of a column in a staging area."""
        key, table = quoted(column.name), f"{quoted(staging.name)}.{staging.keys(name)}"
        self.execute(f"CREATE OR REPLACE TABLE {table} ({key} {column.kind.clickhouse}) ENGINE = MergeTree ORDER BY ()")
        self.append(staging.name, staging.keys(name), keys.unique().to_frame(column.name))

    def speak_for(self, staging: Staging, table: Table, keys: pl.DataFrame) -> None:
        """Name the rows of a published table that an area speaks for."""
        columns = ", ".join(f"{quoted(one.name)} {clickhouse_type(one)}" for one in table.only(table.key).columns)
        name = f"{quoted(staging.name)}.{staging.rows_of(table)}"
        self.execute(f"CREATE OR REPLACE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY ()")
        self.append(staging.name, staging.rows_of(table), keys)

    def stay(self, staging: Staging, names: Iterable[str]) -> None:
        """Note in an area that it holds nothing of some published tables, as all of their rows stay.

        Whoever finishes a publish that was cut short has only the area to go by, and what it lacks may have been lost.
        """
        table = qualified(staging.name, STAYING)
        self.execute(f"CREATE TABLE IF NOT EXISTS {table} (name String) ENGINE = MergeTree ORDER BY ()")
        self.append(staging.name, STAYING, pl.DataFrame({"name": [*names]}))

    def staged(self, staging: Staging, tables: Sequence[Table]) -> dict[str, dict[int, int]]:
        """Count the rows of tables in staging, by name and partition; a partition that was not loaded is left out."""
        return staged_rows(self, staging, tables)

    def staged_ids(self, staging: Staging, table: Table, partition: int) -> Iterator[pa.RecordBatch]:
        """Yield the first column of a table in staging, for one partition."""
        part = qualified(staging.name, part_name(table, partition))
        yield from self.batches(f"SELECT {quoted(table.columns[0].name)} FROM {part}")

    def prepare(self, staging: Staging) -> None:
        """Gather the partitions of each table into one, by hard links."""
        unchanged = self.catalog.unchanged(staging)
        changed = [table for table in staging.tables if table.name not in unchanged]
        parts = self.catalog.parts(staging, changed)
        for table in changed:
            self.execute(clickhouse_table(staging.name, table.name, table, mark(staging, table)))
            for number in parts[table.name]:
                part = qualified(staging.name, part_name(table, number))
                whole = qualified(staging.name, table.name)
                self.execute(f"ALTER TABLE {whole} ATTACH PARTITION tuple() FROM {part}")

    def growth(self, staging: Staging) -> dict[str, int]:
        """Count how many rows each table will have, or of one of which it holds a part: how many more than now."""
        found = dict.fromkeys(self.catalog.unchanged(staging), 0)
        changed = [table for table in staging.tables if table.name not in found]
        staged = staged_rows(self, staging, changed)
        for table in changed:
            found[table.name] = sum(staged[table.name].values())
            if staging.is_part(table):
                found[table.name] -= spoken_for(self, staging, table)[0]
        return found

    def publish(self, staging: Staging) -> None:
        """Exchange the published tables with staging, one by one; what is exchanged already is left alone.

        The views that people read keep their names and see the new rows at once.
        """
        Publication(self, staging).publish()

    def discard(self, run_id: str) -> None:
        """Drop the staging area of a run, if there is one."""
        self.execute(f"DROP DATABASE IF EXISTS {quoted(f'staging_{run_id}')} SYNC")

    def drop(self, schema: str, roots: Collection[str], tables: Collection[str]) -> None:
        """Drop the published tables of some roots, and the views that people read; what is gone is passed over."""
        found = {name for name, _ in self.catalog.ours(schema, roots)}
        # Whoever was killed in between has left a table without its view.
        left = self.catalog.comments(schema, [f"{name}{DATA}" for name in tables])
        found |= {name for name, comment in left.items() if root_in(comment) in roots}
        for name in sorted(found):
            drop_table(self, schema, name)

    def drop_history(self, roots: Collection[str], tables: Collection[str]) -> None:
        """Drop the former versions of some roots, and the views on them; what is gone is passed over."""
        if self.catalog.has_database(HISTORY):
            self.execute(*dropped(roots, tables))

    def remove_versions(self, root: str, tables: Sequence[str], before: datetime | None, ids: Sequence[str]) -> int:
        """Remove former versions of a collection, for good, and return how many there were."""
        numbers = []
        for count, removal in removed(root, tables, before, ids):
            numbers.append(self.number(count))
            self.execute(removal)
        return numbers[0]

    def leftovers(self) -> list[str]:
        """Return the ids of the runs that have a staging area."""
        return self.catalog.staging_areas()

    # What only ClickHouse does ----------------------------------------------------------------------------------

    def await_exchanges(self, run_id: str) -> None:
        """Wait until no exchange with the staging of a run goes on, such as one whose answer was lost.

        Raises:
            LostError: One goes on for long.
        """
        query = (
            "SELECT count() FROM system.processes WHERE position(query, {area:String}) > 0 "
            "AND match(query, '^(EXCHANGE|RENAME) ')"
        )
        going_on = Retrying(retry=retry_if_result(bool), wait=wait_fixed(0.2), stop=stop_after_delay(self.patience))
        try:
            going_on(lambda: self.number(query, area=f"staging_{run_id}"))
        except RetryError:
            raise LostError(
                f"ClickHouse at {self._shown} is still exchanging tables for run {run_id}, whose connection was lost"
            ) from None

    def _insert(self, staging: Staging, part: str, table: Table, frames: list[pl.DataFrame]) -> None:
        arrays = [column.name for column in table.columns if column.kind.is_array]
        # ClickHouse has no null arrays; the array's count tells null from empty.
        rows = pl.concat(frames).with_columns(
            *(pl.col(name).fill_null([]) for name in arrays),
            pl.lit(staging.version, pl.UInt64).alias(VERSION),
            pl.lit(0, pl.UInt8).alias(DELETED),
        )
        self.append(staging.name, part, rows)
