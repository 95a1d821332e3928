"""The target ClickHouse: bulk loads in Arrow blocks, published table by table with one atomic exchange each."""

import io
import logging
import re
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed
from urllib3.exceptions import HTTPError

from contracts.schema.ddl import (
    DELETED,
    VERSION,
    clickhouse_comment,
    clickhouse_table,
    clickhouse_type,
    clickhouse_view,
)
from contracts.schema.ddl import clickhouse_names as quoted_names
from contracts.schema.ddl import clickhouse_quoted as quoted
from contracts.schema.entity import ID, Column, Table
from contracts.schema.history import HISTORY
from contracts.schema.kinds import NUMBER, UUID
from contracts.schema.mart import AS_OF
from contracts.schema.names import DATA
from contracts.schema.names import MADE as PART
from pipeline.errors import DataError, EtlError, LostError, ServerError
from pipeline.runtime.waits import SILENCE_S
from pipeline.stores.base import Among, Condition, LoadFrame, Sight, Staging
from pipeline.stores.clickhouse.buffered_inserts import buffered_inserts
from pipeline.stores.clickhouse.client import client, is_local
from pipeline.stores.clickhouse.errors import translated
from pipeline.stores.clickhouse.history import History, dropped, removed
from pipeline.text.redaction import remember

BLOCK_BYTES = 4 * 2**20  # of Arrow within one insert: all rows in one block took a tenth longer, and more memory
_LITERAL = re.compile(r"'(?:[^'\\]|\\.)*'")
_NAME = re.compile(r"`(?:[^`\\]|\\.)*`|\w+")
_ADDITION = re.compile(r"\b(INDEX|CONSTRAINT|PROJECTION) (`(?:[^`\\]|\\.)*`|\w+)")
log = logging.getLogger(__name__)
# Errors are raised and told; where nobody has set up logging, the driver's own line would stand before the sentence.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())


class ClickHouse:
    """One ClickHouse server as a target.

    Args:
        uri: ``https://user:password@host:port/database``, or ``http`` without TLS.
        insert_bytes: Bytes of Arrow that are gathered for one insert.
        silence: Seconds that the server may be silent before it is asked whether it is still at work.
    """

    name = "clickhouse"
    patience = 120.0  # seconds for an exchange that goes on without us

    def __init__(self, uri: str, insert_bytes: int = 2**24, silence: float = SILENCE_S) -> None:
        self._shown, self._insert_bytes = remember(uri), insert_bytes
        # Over a network it is worth its time; on one machine it is only work.
        self._arrow = pa.ipc.IpcWriteOptions(compression=None if is_local(uri) else "lz4")
        with self._translated():
            # An insert is done when it is said to be; staging is counted right after.
            self.client = client(uri, silence, async_insert=0)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    # What both targets do, in the same order --------------------------------------------------------------------

    def stage(self, staging: Staging) -> None:
        """Create the staging area, and the database it will be published to."""
        self.stage_tables(staging)
        self.execute(
            f"CREATE DATABASE IF NOT EXISTS {quoted(staging.schema)}", f"CREATE DATABASE {quoted(staging.name)}"
        )

    def stage_tables(self, staging: Staging) -> None:
        """Look at what tables of a staging area will take the place of; loading creates them."""
        for table in staging.tables:
            if table.name in staging.parts:  # was looked at, and is not exchanged
                continue
            self._check_for_strangers(staging.schema, table)
            if staging.is_full:
                self._tell_what_goes(staging, table)

    @contextmanager
    def loading(self, staging: Staging, partition: int, tables: tuple[Table, ...]) -> Iterator[LoadFrame]:
        """Load one partition of some tables into tables of its own, so that doing it again replaces them."""
        for table in tables:
            self.execute(clickhouse_table(staging.name, _part(table, partition), table, _mark(staging, table)))
        parts = {table: _part(table, partition) for table in tables}
        # Many small inserts would leave as many parts, to be merged again and again.
        with buffered_inserts(
            lambda table, frames: self._insert(staging, parts[table], table, frames), self._insert_bytes
        ) as load:
            yield load

    def set_scope(self, staging: Staging, root: Table, ids: pl.Series) -> None:
        """Name documents that a staging area which is not whole speaks for."""
        key, named = root.columns[0], staging.documents(root)
        name = f"{quoted(staging.name)}.{named}"
        column = f"{quoted(key.name)} {key.kind.clickhouse}"
        self.execute(f"CREATE TABLE IF NOT EXISTS {name} ({column}) ENGINE = MergeTree ORDER BY ()")
        self._append(staging.name, named, ids.to_frame(key.name))

    def scope_size(self, staging: Staging, root: Table) -> int:
        """Count the documents that were named, each once."""
        name = f"{quoted(staging.name)}.{staging.documents(root)}"
        key = quoted(root.columns[0].name)
        # It counts doubles by their bits; of both zeros, which are one _id, this makes one.
        value = f"{key} + 0" if root.columns[0].kind is NUMBER else key
        return int(self.rows(f"SELECT uniqExact({value}) FROM {name}")[0][0])

    def hold_keys(self, staging: Staging, name: str, column: Column, keys: pl.Series) -> None:
        """Hold some values of a column in a staging area."""
        key, table = quoted(column.name), f"{quoted(staging.name)}.{staging.keys(name)}"
        self.execute(f"CREATE OR REPLACE TABLE {table} ({key} {column.kind.clickhouse}) ENGINE = MergeTree ORDER BY ()")
        self._append(staging.name, staging.keys(name), keys.unique().to_frame(column.name))

    def speak_for(self, staging: Staging, table: Table, keys: pl.DataFrame) -> None:
        """Name the rows of a published table that an area speaks for."""
        columns = ", ".join(f"{quoted(one.name)} {clickhouse_type(one)}" for one in table.only(table.key).columns)
        named = staging.rows_of(table)
        self.execute(
            f"CREATE OR REPLACE TABLE {quoted(staging.name)}.{named} ({columns}) ENGINE = MergeTree ORDER BY ()"
        )
        self._append(staging.name, named, keys)

    def staged(self, staging: Staging, table: Table) -> dict[int, int]:
        """Count the rows of a table in staging, by partition."""
        parts = self._parts(staging, table)
        counts = {
            number: self.rows(f"SELECT count() FROM {quoted(staging.name)}.{quoted(_part(table, number))} FINAL")
            for number in parts
        }
        return {number: int(rows[0][0]) for number, rows in counts.items()}

    def staged_ids(self, staging: Staging, table: Table, partition: int) -> Iterator[pa.RecordBatch]:
        """Yield the first column of a table in staging, for one partition."""
        part = f"{quoted(staging.name)}.{quoted(_part(table, partition))}"
        query = f"SELECT {quoted(table.columns[0].name)} FROM {part}"
        with self._translated(), self.client.query_arrow_stream(query, use_strings=True) as batches:
            yield from batches

    def prepare(self, staging: Staging) -> None:
        """Gather the partitions of each table into one, by hard links."""
        unchanged = self._unchanged(staging)
        for table in (one for one in staging.tables if one.name not in unchanged):
            is_full = f"{quoted(staging.name)}.{quoted(table.name)}"
            self.execute(clickhouse_table(staging.name, table.name, table, _mark(staging, table)))
            for number in self._parts(staging, table):
                part = f"{quoted(staging.name)}.{quoted(_part(table, number))}"
                self.execute(f"ALTER TABLE {is_full} ATTACH PARTITION tuple() FROM {part}")

    def growth(self, staging: Staging) -> dict[str, int]:
        """Count how many rows each table will have, or of one of which it holds a part: how many more than now."""
        found = dict.fromkeys(self._unchanged(staging), 0)
        for table in (one for one in staging.tables if one.name not in found):
            found[table.name] = sum(self.staged(staging, table).values())
            if staging.is_part(table):
                found[table.name] -= self._spoken_for(staging, table)[0]
        return found

    def publish(self, staging: Staging) -> None:
        """Exchange the published tables with staging, one by one; what is exchanged already is left alone.

        The views that people read keep their names and see the new rows at once.
        """
        named = self._named_rows(staging) if staging.is_full else {}
        staging, unchanged = replace(staging, parts=frozenset(named)), {one for one, rows in named.items() if not rows}
        forgotten = self._forgotten(staging) if staging.is_full and not staging.parts else {}
        histories = {
            root.name: History(self.execute, self.rows, staging, root, forgotten.get(root.name, ()))
            for root in staging.roots
            if root.name in staging.observed
        }
        for root in staging.roots:
            # Where there is nothing yet, or this run's rows since a publish that was cut short, nothing ends by it.
            if root.name in histories and self.run_of(staging.schema, root) not in (None, staging.run_id):
                histories[root.name].keep()
        for table in staging.tables:
            data = data_name(table)
            staged = f"{quoted(staging.name)}.{quoted(table.name)}"
            published = f"{quoted(staging.schema)}.{quoted(data)}"
            if staging.is_part(table):
                if table.name not in unchanged:
                    self._apply(staging, table)
                    self._prove_applied(staging, table)
                if table.name in staging.parts and AS_OF in table.names:
                    self._stamp(staging, table)
                if table.parent is None:
                    self.execute(clickhouse_comment(staging.schema, data, _mark(staging, table)))
                continue
            self._check_for_strangers(staging.schema, table)
            # The comment tells which run a table's rows are from, so a publish that was cut short can be finished.
            comment = self._comment(staging.schema, data)
            if comment is None:
                self.execute(f"RENAME TABLE {staged} TO {published}")
            elif comment != _mark(staging, table):
                self.execute(f"EXCHANGE TABLES {staged} AND {published}")
            # A contract that has changed since what is finished here was begun names columns that the rows don't have.
            there = table.only(self._columns(staging.schema, data))
            self.execute(clickhouse_view(staging.schema, data, there))
            self._prove_exchanged(staging, table)
        for history in histories.values():
            history.follow()
        for view in (one for names in forgotten.values() for one in names):
            self._drop(staging.schema, f"{view}{DATA}")

    def discard(self, run_id: str) -> None:
        """Drop the staging area of a run, if there is one."""
        self.execute(f"DROP DATABASE IF EXISTS {quoted(f'staging_{run_id}')} SYNC")

    def drop(self, schema: str, roots: Collection[str], tables: Collection[str]) -> None:
        """Drop the published tables of some roots, and the views that people read; what is gone is passed over."""
        found = {name for name, root in self._ours(schema) if root in roots}
        # Whoever was killed in between has left a table without its view.
        left = {f"{name}{DATA}" for name in tables}
        found |= {name for name in left if (self._comment(schema, name) or "").partition(" ")[2] in roots}
        for name in sorted(found):
            self._drop(schema, name)

    def drop_history(self, roots: Collection[str], tables: Collection[str]) -> None:
        """Drop the former versions of some roots, and the views on them; what is gone is passed over."""
        if self.rows("SELECT 1 FROM system.databases WHERE name = {name:String}", name=HISTORY):
            self.execute(*dropped(roots, tables))

    def remove_versions(self, root: str, tables: Sequence[str], before: datetime | None, ids: Sequence[str]) -> int:
        """Remove former versions of a collection, for good, and return how many there were."""
        numbers = []
        for _, count, removal in removed(root, tables, before, ids):
            numbers.append(self._number(count))
            self.execute(removal)
        return numbers[0]

    def leftovers(self) -> list[str]:
        """Return the ids of the runs that have a staging area."""
        found = self.rows("SELECT name FROM system.databases WHERE startsWith(name, 'staging_') ORDER BY name")
        return [name.removeprefix("staging_") for (name,) in found]

    def read(
        self,
        schema: str,
        table: Table,
        where: Sequence[Condition] = (),
        limit: int | None = None,
        among: Among | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a published table; decimals and JSON as text, timestamps in UTC."""
        columns = ", ".join(_readable(column) for column in table.columns)
        given: dict[str, Any] = {}
        told = [*(_condition(one, given) for one in where), *([_among(schema, among)] if among else [])]
        conditions = " AND ".join(told)
        query = f"SELECT {columns} FROM {quoted(schema)}.{quoted(table.name)} AS t{' WHERE ' * bool(told)}{conditions}"
        query += "" if limit is None else f" LIMIT {limit}"
        with self._translated(), self.client.query_arrow_stream(query, parameters=given, use_strings=True) as batches:
            yield from (_as_bytes(batch, table) for batch in batches)

    def seen(self, schema: str, tables: Sequence[Table]) -> dict[str, Sight]:
        """Look at published tables without reading rows; one that is gone, or whose view is, is left out."""
        query = "SELECT name, engine, total_rows FROM system.tables WHERE database = {database:String}"
        found = {name: (engine, rows) for name, engine, rows in self.rows(query, database=schema)}
        sights = {}
        for table in tables:
            view, data = found.get(table.name), found.get(data_name(table))
            if view and data and view[0] == "View" and "MergeTree" in data[0]:
                # All versions of its rows, and such as are deleted and not yet merged away, count here.
                sights[table.name] = Sight("", None if data[1] is None else int(data[1]))
        return sights

    def is_published(self, schema: str, table: Table) -> bool:
        """Tell whether there is a published table, by the catalog alone."""
        return self._comment(schema, data_name(table)) is not None

    def count(self, schema: str, table: Table) -> int:
        """Count the rows of a published table."""
        return self._number(f"SELECT count() FROM {quoted(schema)}.{quoted(table.name)}")

    def sizes(self, schema: str, tables: Sequence[Table]) -> dict[str, int]:
        """Count the rows of published tables by name; one that is not there, or not as its contract, is left out."""
        found: dict[str, dict[str, str]] = {}
        query = "SELECT table, name, type FROM system.columns WHERE database = {database:String}"
        for table, name, kind in self.rows(query, database=schema):
            found.setdefault(table, {})[name] = kind
        kinds = {one.name: {column.name: clickhouse_type(column) for column in one.columns} for one in tables}
        whole = {one.name: found.get(data_name(one), {}).items() for one in tables if one.name in found}
        fit = [one for one in tables if one.name in whole and kinds[one.name].items() <= whole[one.name]]
        counts = (f"SELECT {place}, count() FROM {quoted(schema)}.{quoted(one.name)}" for place, one in enumerate(fit))
        return {fit[place].name: int(rows) for place, rows in (self.rows(" UNION ALL ".join(counts)) if fit else [])}

    def count_ids(self, schema: str, table: str, ids: Sequence[str]) -> int:
        """Count the rows of a published table without a parent that have one of some ``_id``s, given as texts."""
        condition = f"toString({quoted(ID)}) IN {{ids:Array(String)}}"
        query = f"SELECT count() FROM {quoted(schema)}.{quoted(table)} WHERE {condition}"
        return int(self.rows(query, ids=list(ids))[0][0])

    def count_published(self, schema: str, table: Table, most: int | None = None) -> int:
        """Count the rows of a published table, no further than to a number; none where there is no such table."""
        if self._comment(schema, data_name(table)) is None:
            return 0
        name = f"{quoted(schema)}.{quoted(data_name(table))}"
        rows = f"SELECT 1 FROM {name} FINAL{'' if most is None else f' LIMIT {most}'}"
        return int(self.rows(f"SELECT count() FROM ({rows})")[0][0])

    def count_scope_published(self, staging: Staging, root: Table) -> int:
        """Count the published documents among those that a staging area speaks for."""
        if self._comment(staging.schema, data_name(root)) is None:
            return 0
        published = f"{quoted(staging.schema)}.{quoted(data_name(root))}"
        named = f"{quoted(staging.name)}.{staging.documents(root)}"
        return int(self.rows(f"SELECT count() FROM {published} FINAL WHERE {quoted(ID)} IN {named}")[0][0])

    def fits(self, schema: str, table: Table, ours: Collection[str] | None = None) -> bool:
        """Tell whether a published table has its contract's columns: these names and types, in any order."""
        found = self._columns(schema, data_name(table))
        owned = table.names if ours is None else ours
        there = {name: kind for name, kind in found.items() if name in owned}
        return there == {column.name: clickhouse_type(column) for column in table.columns}

    def run_of(self, schema: str, table: Table) -> str | None:
        """Return the run that a published table without a parent shows, as it tells itself; None if it is not there."""
        return self.runs_of(schema, [table]).get(table.name)

    def runs_of(self, schema: str, tables: Sequence[Table]) -> dict[str, str]:
        """Return the runs that published tables without a parent show, as they tell themselves, by name."""
        query = (
            "SELECT name, comment FROM system.tables "
            "WHERE database = {database:String} AND name IN {names:Array(String)}"
        )
        names = {data_name(table): table.name for table in tables}
        found = self.rows(query, database=schema, names=list(names))
        return {names[name]: comment.partition(" ")[0] for name, comment in found}

    # What only ClickHouse does ----------------------------------------------------------------------------------

    def execute(self, *statements: str) -> None:
        """Run statements."""
        with self._translated():
            for statement in statements:
                self.client.command(statement)

    def rows(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query; ``{name:Type}`` stands for a parameter."""
        with self._translated():
            return [tuple(row) for row in self.client.query(query, parameters=parameters).result_rows]

    def _number(self, query: str) -> int:
        return int(self.rows(query)[0][0])

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
            going_on(lambda: self.rows(query, area=f"staging_{run_id}")[0][0])
        except RetryError:
            raise LostError(
                f"ClickHouse at {self._shown} is still at an exchange of run {run_id}, which lost us"
            ) from None

    def _unchanged(self, staging: Staging) -> list[str]:
        """Return the tables of which an area holds a part that has no rows, and of which none is to go."""
        return [name for name, rows in self._named_rows(staging).items() if not rows] if staging.is_full else []

    def _named_rows(self, staging: Staging) -> dict[str, int]:
        """Return of how many rows of tables an area holds what they are to be, of those of which it holds a part."""
        named = {staging.rows_of(table): table.name for table in staging.tables}
        query = (
            "SELECT name, total_rows FROM system.tables "
            "WHERE database = {area:String} AND name IN {names:Array(String)}"
        )
        found = self.rows(query, area=staging.name, names=list(named))
        return {named[name]: int(rows or 0) for name, rows in found}

    def _apply(self, staging: Staging, table: Table) -> None:
        """Bring the enlisted rows in a published table to what staging has of them; twice does no harm."""
        named = staging.spoken_for(table)
        assert named is not None
        spoken_for, staged = quoted_names(named[0]), f"{quoted(staging.name)}.{quoted(table.name)}"
        published = f"{quoted(staging.schema)}.{quoted(data_name(table))}"
        key, columns = quoted_names(table.key), quoted_names(self._columns(staging.name, table.name))
        # Of rows with one key and version the one that was inserted last is kept.
        self.execute(f"INSERT INTO {published} ({columns}) SELECT {columns} FROM {staged}")
        # A deletion is a row, too: a tombstone of a version that is no older than the row which it hides.
        self.execute(
            f"INSERT INTO {published} ({key}, {VERSION}, {DELETED}) "
            f"SELECT {key}, greatest({VERSION}, {staging.version}), 1 FROM {published} FINAL "
            f"WHERE ({spoken_for}) IN {quoted(staging.name)}.{named[1]} "
            f"AND ({key}) NOT IN (SELECT {key} FROM {staged})"
        )

    def _stamp(self, staging: Staging, table: Table) -> None:
        """Let the rows that stay tell the moment, those that tell one."""
        published, as_of = f"{quoted(staging.schema)}.{quoted(data_name(table))}", quoted(AS_OF)
        columns = quoted_names(name for name in table.names if name != AS_OF)
        moment = f"fromUnixTimestamp64Milli({int(staging.moment.timestamp() * 1000)}, 'UTC')"
        # Of all versions that one column alone is quickly read; the newest versions, of a large table, are not.
        if self._number(f"SELECT count() FROM {published} WHERE {as_of} <> {moment}"):
            self.execute(
                f"INSERT INTO {published} ({columns}, {as_of}, {VERSION}, {DELETED}) "
                f"SELECT {columns}, {moment}, greatest({VERSION}, {staging.version}), 0 FROM {published} FINAL "
                f"WHERE {as_of} <> {moment}"
            )

    def _prove_exchanged(self, staging: Staging, table: Table) -> None:
        """Count what people see against what was staged.

        Raises:
            DataError: They are not the same.
        """
        parts = [f"{quoted(staging.name)}.{quoted(_part(table, number))}" for number in self._parts(staging, table)]
        data = f"{quoted(staging.schema)}.{quoted(data_name(table))}"
        # ClickHouse knows how many rows there are, whatever their versions; of merged parts they may be fewer.
        if self._number(f"SELECT count() FROM {data}") == sum(
            self._number(f"SELECT count() FROM {one}") for one in parts
        ):
            return
        published, staged = self.count(staging.schema, table), sum(self.staged(staging, table).values())
        if published != staged:
            raise DataError(_not_become(staging, table, published, staged))

    def _prove_applied(self, staging: Staging, table: Table) -> None:
        """Count the rows of the documents that were spoken for against what was staged.

        Raises:
            DataError: They are not the same, or some are of another version.
        """
        staged = self._number(f"SELECT count() FROM {quoted(staging.name)}.{quoted(table.name)} FINAL")
        published, of_ours = self._spoken_for(staging, table)
        if not published == of_ours == staged:
            raise DataError(_not_become(staging, table, of_ours, staged))

    def _spoken_for(self, staging: Staging, table: Table) -> tuple[int, int]:
        """Count the published rows of the documents that are spoken for, and those of this run among them."""
        published = f"{quoted(staging.schema)}.{quoted(data_name(table))}"
        named = staging.spoken_for(table)
        assert named is not None
        query = f"SELECT count(), countIf({VERSION} = {staging.version}) FROM {published} FINAL"
        ((rows, ours),) = self.rows(f"{query} WHERE ({quoted_names(named[0])}) IN {quoted(staging.name)}.{named[1]}")
        return int(rows), int(ours)

    def _insert(self, staging: Staging, part: str, table: Table, frames: list[pl.DataFrame]) -> None:
        arrays = [column.name for column in table.columns if column.kind.is_array]
        # ClickHouse has no null arrays; the array's count tells null from empty.
        rows = pl.concat(frames).with_columns(
            *(pl.col(name).fill_null([]) for name in arrays),
            pl.lit(staging.version, pl.UInt64).alias(VERSION),
            pl.lit(0, pl.UInt8).alias(DELETED),
        )
        self._append(staging.name, part, rows)

    def _append(self, database: str, table: str, rows: pl.DataFrame) -> None:
        """Append rows in one insert."""
        if rows.is_empty():  # of which no Arrow stream can be made
            return
        name = f"{quoted(database)}.{quoted(table)}"
        with self._translated():
            self.client.raw_insert(name, list(map(quoted, rows.columns)), self._arrow_stream(rows), fmt="ArrowStream")

    def _arrow_stream(self, rows: pl.DataFrame) -> Generator[bytes, None, None]:
        """Yield rows as an Arrow stream, piece by piece: all at once would be in memory twice more."""
        sink, in_block = io.BytesIO(), max(1, len(rows) * BLOCK_BYTES // (1 + int(rows.estimated_size())))
        with ExitStack() as stack:
            writer = None
            for block in rows.iter_slices(in_block):
                arrow = block.to_arrow(compat_level=pl.CompatLevel.oldest())
                writer = writer or stack.enter_context(pa.ipc.new_stream(sink, arrow.schema, options=self._arrow))
                writer.write_table(arrow)
                yield sink.getvalue()
                sink.seek(0)
                sink.truncate()
        yield sink.getvalue()

    def _columns(self, database: str, table: str) -> dict[str, str]:
        """Return the types of a table's columns, in order."""
        query = (
            "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String} "
            "ORDER BY position"
        )
        return dict(self.rows(query, database=database, table=table))

    def _forgotten(self, staging: Staging) -> dict[str, list[str]]:
        """Return the tables of arrays that a contract no longer has, by their roots: what they hold goes stale."""
        found = {table.name: list[str]() for table in staging.roots}
        current = {data_name(table) for table in staging.tables}
        for name, root in self._ours(staging.schema):
            if name not in current and root in found:
                found[root].append(name.removesuffix(DATA))
        return found

    def _ours(self, database: str) -> Iterator[tuple[str, str]]:
        """Yield the tables behind views that we have published, each with the root table that it belongs to."""
        query = "SELECT name, comment, as_select FROM system.tables WHERE database = {database:String}"
        there = {name: (comment, select) for name, comment, select in self.rows(query, database=database)}
        for name, (comment, _) in there.items():
            # One that somebody has renamed bears our comment as well, but no view of its name reads it.
            _, select = there.get(name.removesuffix(DATA), ("", ""))
            if name.endswith(DATA) and name in map(_plain, _NAME.findall(select)):
                yield name, comment.partition(" ")[2]

    def _drop(self, database: str, data: str) -> None:
        """Drop a table and, before it, the view that people read."""
        shown, behind = (f"{quoted(database)}.{quoted(one)}" for one in (data.removesuffix(DATA), data))
        self.execute(f"DROP VIEW IF EXISTS {shown}", f"DROP TABLE {behind} SYNC")

    def _check_for_strangers(self, database: str, table: Table) -> None:
        """Refuse to put a table in the place of what is not ours: it would be gone.

        Raises:
            EtlError: The name of the view or of the table behind it is taken.
        """
        query = "SELECT name, engine, comment FROM system.tables WHERE database = {database:String} AND name IN "
        query += "({view:String}, {data:String})"
        for name, engine, comment in self.rows(query, database=database, view=table.name, data=data_name(table)):
            of = comment.partition(" ")[2]  # told by the mark
            ours = engine == "View" if name == table.name else "MergeTree" in engine and of == _root(table)
            if not ours:
                what = f"a {engine} of {of or 'somebody else'}" if "MergeTree" in engine else f"a {engine}"
                raise EtlError(
                    f"{database}.{name} in ClickHouse is {what}, in the place of what {table.name} is to be published "
                    "as; rename or drop it, and run the command again"
                )

    def _tell_what_goes(self, staging: Staging, table: Table) -> None:
        """Warn of what somebody has put on a table that is going to be exchanged."""
        query = (
            "SELECT create_table_query, "
            "arrayMap((d, t) -> concat(d, '.', t), dependencies_database, dependencies_table) "
            "FROM system.tables WHERE database = {database:String} AND name = {name:String}"
        )
        data = data_name(table)
        for create, views in self.rows(query, database=staging.schema, name=data):
            known = {*staging.owned(table), *table.names, VERSION, DELETED}
            columns = [f"COLUMN {name}" for name in self._columns(staging.schema, data) if name not in known]
            others = _ADDITION.findall(_LITERAL.sub("''", create))
            goes = [
                *columns,
                *(f"{what} {name}" for what, name in others if _plain(name).removeprefix("by_") not in known),
            ]
            if goes:
                log.warning(
                    "%s.%s in ClickHouse is exchanged by this publish; what somebody has added to it is gone then: %s",
                    *(staging.schema, data, ", ".join(goes)),
                )
            if views:
                log.warning(
                    "%s.%s in ClickHouse is exchanged by this publish, which materialized views on it don't see, so "
                    "these go stale: %s; refreshable ones on %s.%s read all rows",
                    *(staging.schema, data, ", ".join(views), staging.schema, table.name),
                )

    def _comment(self, database: str, table: str) -> str | None:
        """Return a table's comment, or None if there is no such table."""
        query = "SELECT comment FROM system.tables WHERE database = {database:String} AND name = {name:String}"
        found = self.rows(query, database=database, name=table)
        return str(found[0][0]) if found else None

    def _parts(self, staging: Staging, table: Table) -> list[int]:
        """Return the numbers of the partitions that were loaded."""
        query = (
            "SELECT name FROM system.tables WHERE database = {database:String} AND startsWith(name, {prefix:String})"
        )
        found = self.rows(query, database=staging.name, prefix=f"{table.name}{PART}")
        return sorted(int(name.removeprefix(f"{table.name}{PART}")) for (name,) in found)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (ClickHouseError, HTTPError) as error:
            if isinstance(error.__cause__, ServerError):  # in the midst of rows the driver wraps what we raise
                raise error.__cause__ from error
            raise translated(error, self._shown) from error


def _not_become(staging: Staging, table: Table, published: int, staged: int) -> str:
    return (
        f"{staging.schema}.{table.name} in ClickHouse has {published:,} rows of the run {staging.run_id}, of which "
        f"{staged:,} were to be published; a TTL, a row policy, a mutation or a deletion of somebody's own may have "
        "done that"
    )


def data_name(table: Table) -> str:
    """Return the name of the table behind a view."""
    return f"{table.name}{DATA}"


def _plain(name: str) -> str:
    """Return a name as it was before ClickHouse quoted it."""
    return re.sub(r"\\(.)", r"\1", name.strip("`"))


def _part(table: Table, partition: int) -> str:
    return f"{table.name}{PART}{partition}"


def _mark(staging: Staging, table: Table) -> str:
    """Return the comment of a table: the run that its rows are from, and the root table that it belongs to."""
    return f"{staging.run_id} {_root(table)}"


def _root(table: Table) -> str:
    return table.root


def _condition(condition: Condition, given: dict[str, Any]) -> str:
    """Return a condition in SQL, and add its values to the parameters."""
    # Of the table, not of what is selected: there a decimal is a text.
    column, kind = f"t.{quoted(condition.column.name)}", condition.column.kind
    places = []
    for value in condition.values:
        given[name := f"value{len(given)}"] = value
        places.append(f"{{{name}:{'String' if kind.frame == pl.String() else kind.clickhouse}}}")
    if condition.operator == "IN":
        return f"{column} IN ({', '.join(places)})"
    return " ".join((column, condition.operator, *places))


def _among(schema: str, among: Among) -> str:
    """Return in SQL that rows, called t, have one of some keys."""
    column, keys = quoted(among.column), f"{quoted(among.area.name)}.{among.area.keys(among.keys)}"
    found = f"t.{column} IN {keys}"
    if among.root:
        root = f"{quoted(schema)}.{quoted(among.root)}"
        found = f"t.{quoted(ID)} IN (SELECT {quoted(ID)} FROM {root} WHERE {column} IN {keys})"
    return f"NOT ({found})" if among.outside else found


def _readable(column: Column) -> str:
    name = quoted(column.name)
    if column.kind.clickhouse.startswith("Decimal"):
        return f"toString({name}) AS {name}"
    if column.kind.item is not None and column.kind.item.clickhouse.startswith("Decimal"):
        return f"arrayMap(one -> toString(one), {name}) AS {name}"
    if column.kind is UUID:
        return f"toString({name}) AS {name}"
    return f"hex({name}) AS {name}" if column.kind.frame == pl.Binary() else name


def _as_bytes(batch: pa.RecordBatch, table: Table) -> pa.RecordBatch:
    """Return rows with binary data as bytes: in a column of texts, whose type Arrow knows, they come as digits."""
    for place, column in enumerate(table.columns):
        if column.kind.frame == pl.Binary():
            digits = pl.Series(pl.from_arrow(batch.column(place)))
            batch = batch.set_column(place, column.name, digits.str.decode("hex").to_arrow())
    return batch
