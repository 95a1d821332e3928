"""The target PostgreSQL: bulk loads by ADBC, published in one transaction; it also keeps the books."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from hashlib import md5
from itertools import count

import polars as pl
import pyarrow as pa
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from contracts.schema.ddl import (
    postgres_comments,
    postgres_foreign_key,
    postgres_key,
    postgres_keys,
    postgres_literal,
    postgres_table,
    postgres_type,
    quoted,
    quoted_names,
)
from contracts.schema.entity import EXTRA, ID, Column, Table
from contracts.schema.history import HISTORY
from contracts.schema.kinds import BYTEWISE, UUID
from contracts.schema.mart import AS_OF
from pipeline.errors import DataError, EtlError
from pipeline.stores.base import Among, Condition, LoadFrame, Sight, Staging
from pipeline.stores.postgres.errors import LockedError
from pipeline.stores.postgres.evolution import MADE, Change, Found, change, made_name, type_name
from pipeline.stores.postgres.history import History, dropped, removed
from pipeline.stores.postgres.merge import Merge
from pipeline.stores.postgres.renamed import released
from pipeline.stores.postgres.session import JSONB_VERSION, Session
from pipeline.stores.postgres.triggers import Trigger, blamed, check_provable, triggers

_BUILDERS = 2  # connections that build indexes at the same time
_TABLES, _INDEX = ("r", "p"), "i"  # kinds of relations: tables and partitioned ones
_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence", "c": "a type"}
_INDEX_MEMORY = "256MB"  # of the server, for each of them
_BLINK = "100ms"  # how long we wait for those who read, for as long others wait behind us
_PAUSE_S, _PATIENCE_S = 0.5, 600.0
_IN_THE_WAY = (
    "a table whose contract has changed was being read for ten minutes on end, so it could not be changed and nothing "
    "was published; end the transactions that read it (pg_stat_activity) and run the command again"
)


class Postgres(Session):
    """The target PostgreSQL; whoever calls its methods decides where a transaction ends."""

    name = "postgres"

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
        for table in staging.tables:
            self._check_for_strangers(staging.schema, table)
            self._check_columns(staging, table)
        check_provable(self.rows, _quoted(staging))
        for table in staging.tables:
            self.execute(*postgres_table(staging.name, table))

    @contextmanager
    def loading(self, staging: Staging, partition: int, tables: tuple[Table, ...]) -> Iterator[LoadFrame]:
        """Load one partition of some tables into staging, within the caller's transaction."""
        # A row's xmin is the low half of the id of the transaction that wrote it: so each row tells its partition.
        mine = "(pg_current_xact_id()::text::numeric % 4294967296)::bigint"
        self.execute(f"INSERT INTO {quoted(staging.name)}._partitions VALUES ({partition}, {mine})")
        yield lambda table, frame: self._copy(staging.name, table, frame)

    def set_scope(self, staging: Staging, root: Table, ids: pl.Series) -> None:
        """Name documents that a staging area which is not whole speaks for, within the caller's transaction."""
        rows = ids.to_frame(ID).to_arrow(compat_level=pl.CompatLevel.oldest())
        self.append(staging.name, staging.documents(root), rows)

    def scope_size(self, staging: Staging, root: Table) -> int:
        """Count the documents that were named, each once."""
        name = f"{quoted(staging.name)}.{staging.documents(root)}"
        return int(self.rows(f"SELECT count(DISTINCT {quoted(root.columns[0].name)}) FROM {name}")[0][0])

    def hold_keys(self, staging: Staging, name: str, column: Column, keys: pl.Series) -> None:
        """Hold some values of a column in a staging area, within the caller's transaction."""
        table = f"{quoted(staging.name)}.{staging.keys(name)}"
        self.execute(f"CREATE TABLE {table} ({quoted(column.name)} {postgres_type(column)} PRIMARY KEY)")
        rows = keys.unique().to_frame(column.name).to_arrow(compat_level=pl.CompatLevel.oldest())
        if rows.num_rows:
            self.append(staging.name, staging.keys(name), rows)
        self.execute(f"ANALYZE {table}")

    def speak_for(self, staging: Staging, table: Table, keys: pl.DataFrame) -> None:
        """Name the rows of a published table that an area speaks for, within the caller's transaction."""
        columns = ", ".join(
            f"{quoted(one.name)} {postgres_type(one)}" for one in table.columns if one.name in table.key
        )
        named = f"{quoted(staging.name)}.{staging.rows_of(table)}"
        self.execute(f"CREATE TABLE {named} ({columns})")
        if not keys.is_empty():
            in_order = keys.select(name for name in table.names if name in table.key)
            self._copy(staging.name, replace(table.only(table.key), name=staging.rows_of(table)), in_order)
        self.execute(f"ANALYZE {named}", f"ANALYZE {quoted(staging.name)}.{quoted(table.name)}")

    def staged(self, staging: Staging, table: Table) -> dict[int, int]:
        """Count the rows of a table in staging, by partition."""
        name = quoted(staging.name)
        rows = self.rows(
            "SELECT partition, coalesce(n, 0)::bigint FROM "
            f"(SELECT xmin::text::bigint AS loaded_by, count(*) AS n FROM {name}.{quoted(table.name)} GROUP BY 1) c "
            f"RIGHT JOIN {name}._partitions USING (loaded_by)"
        )
        return {int(partition): int(count) for partition, count in rows}

    def staged_ids(self, staging: Staging, table: Table, partition: int) -> Iterator[pa.RecordBatch]:
        """Yield the first column of a table in staging, for one partition."""
        name, column = quoted(staging.name), quoted(table.columns[0].name)
        query = (
            f"SELECT {column} FROM {name}.{quoted(table.name)} t JOIN {name}._partitions p "
            f"ON t.xmin::text::bigint = p.loaded_by WHERE p.partition = {partition}"
        )
        yield from self._batches(query)

    def prepare(self, staging: Staging) -> None:
        """Add keys and indexes to the tables that are not published yet, and statistics to all."""
        new = [table for table in staging.tables if not self._exists(staging.schema, table)]
        missing = [table for table in new if not self._has_key(staging.name, table)]
        self.commit()  # or the locks of this look would be in the others' way
        # Each table on a connection of its own: PostgreSQL builds an index on one core.
        with ThreadPoolExecutor(_BUILDERS, thread_name_prefix="keys") as pool:
            building = [
                pool.submit(self._build, [*keys, _analyze(staging, table, whole=table in new)])
                for table in staging.tables
                if table.name not in staging.parts
                for keys in [postgres_keys(staging.name, table) if table in missing else []]
            ]
            if not staging.is_full:
                named = map(staging.documents, staging.roots)
                building.append(pool.submit(self._build, [f"ANALYZE {quoted(staging.name)}.{name}" for name in named]))
            for one in building:
                one.result()
        names = {table.name for table in new}
        self._build([postgres_foreign_key(staging.name, table) for table in missing if table.parent in names])

    def growth(self, staging: Staging) -> dict[str, int]:
        """Count how many rows each table will have, or of one of which it holds a part: how many more than now."""
        found = {}
        for table in staging.tables:
            merge = Merge(staging, table, {})
            found[table.name] = self._number(merge.staged)
            if staging.spoken_for(table):
                found[table.name] -= self._number(merge.published)
        return found

    def publish(self, staging: Staging) -> None:
        """Make the published tables equal to staging, within the caller's transaction.

        A table keeps its identity: what differs is changed, what is gone deleted, so that views, grants and
        references of users survive. A table that does not exist yet is moved in.
        """
        published = [table for table in staging.tables if self._exists(staging.schema, table)]
        check_provable(self.rows, _quoted(staging))
        whole = [table for table in published if table.name not in staging.parts]  # a part fits what is published
        changes = {table.name: self._change(staging, table) for table in whole}
        called = {table.name: dict(zip(table.names, table.names, strict=True)) for table in published}
        called |= {name: one.names for name, one in changes.items()}
        merges = {table.name: Merge(staging, table, called[table.name]) for table in published}
        ahead = [statement for one in changes.values() for statement in one.ahead]
        ahead += released(self.rows, staging, [table for table in staging.tables if table not in published])
        self._at_moments(ahead)
        forgotten = self._forgotten(staging) if staging.is_full else {}
        histories = [
            History(self, staging, root, merges, forgotten.get(root.name, ()))
            for root in staging.roots
            if root.name in staging.observed
        ]
        work = dict(merges)
        for history in histories:
            work = history.keep(work)
        dropped = [f"{quoted(staging.schema)}.{quoted(child)}" for one in forgotten.values() for child in one]
        # Emptied now, or their rows would hold on to parents' rows; dropped last, for that locks readers out.
        self.execute(*(f"DELETE FROM {child}" for child in dropped))
        for table in staging.tables:
            if table not in published:
                self._move_in(staging, table)
            elif table.name in work:
                self._merge(work[table.name])
                self.execute(*self._stamps(staging, work[table.name]))
        meddling = triggers(self.rows, _quoted(staging))
        self._prove(merges.values(), meddling)
        if any(one.waits for one in meddling):
            self.execute("SET CONSTRAINTS ALL IMMEDIATE")  # they fire now, and no more after this
            self._prove(merges.values(), meddling)
        meanwhile = [statement for one in changes.values() for statement in one.meanwhile]
        left = [*meanwhile, *self._lacking_keys(staging)]
        following = [history.last() for history in histories]  # first of all: their views read what is dropped here
        last = [one for statements, _ in following for one in statements]
        last += [*(f"DROP TABLE {child}" for child in dropped), *(one for c in changes.values() for one in c.last)]
        if left or last:
            # A table whose references wait for the end of the transaction can't be altered, so they are checked first.
            self.execute("SET CONSTRAINTS ALL IMMEDIATE", *left)
        if last:
            names = [f"{quoted(staging.schema)}.{quoted(name)}" for name, one in changes.items() if one.last]
            self._lock_out_readers([*names, *dropped, *(name for _, locked in following for name in locked)])
            self.execute(*last)
        self.execute(*(one for table in whole for one in postgres_comments(staging.schema, table)))

    def _stamps(self, staging: Staging, merge: Merge) -> list[str]:
        """Return what lets the rows that stay tell the moment, of a table of which a part is staged."""
        is_told = merge.table.name in staging.parts and AS_OF in merge.table.names
        return [merge.stamped(AS_OF)] if is_told else []

    def discard(self, run_id: str) -> None:
        """Drop the staging area of a run, if there is one, and what it added to published tables."""
        self.execute(f"DROP SCHEMA IF EXISTS {quoted(f'staging_{run_id}')} CASCADE")
        made = self.rows(
            "SELECT attrelid::regclass::text, attname::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid "
            "WHERE relkind IN ('r', 'p') AND attinhcount = 0 AND starts_with(attname, $1::text) AND NOT attisdropped",
            made_name(run_id, ""),
        )
        checks = self.rows(
            "SELECT conrelid::regclass::text, conname::text FROM pg_constraint "
            "WHERE contype = 'c' AND coninhcount = 0 AND starts_with(conname, $1::text)",
            made_name(run_id, ""),
        )
        self._at_moments(
            f"ALTER TABLE {table} DROP {what} IF EXISTS {quoted(name)}"
            for what, found in (("COLUMN", made), ("CONSTRAINT", checks))
            for table, name in found
        )

    def drop(self, schema: str, roots: Collection[str], tables: Collection[str]) -> None:
        """Drop published tables, within the caller's transaction; what is gone already is passed over.

        Raises:
            EtlError: Something of somebody's own is built on one.
        """
        there = [name for name in sorted({*roots, *tables}) if self._kind(schema, name) in ("r", "p")]
        if there:  # in one statement, for they refer to each other
            self.execute(f"DROP TABLE {', '.join(f'{quoted(schema)}.{quoted(name)}' for name in there)}")

    def drop_history(self, roots: Collection[str], tables: Collection[str]) -> None:
        """Drop the former versions of some roots, within the caller's transaction; what is gone is passed over."""
        if self.rows("SELECT to_regnamespace($1::text) IS NOT NULL", HISTORY)[0][0]:
            self.execute(*dropped(roots, tables))

    def remove_versions(self, root: str, tables: Sequence[str], before: datetime | None, ids: Sequence[str]) -> int:
        """Remove former versions of a collection, within the caller's transaction, and return how many there were."""
        versions, *_ = (self._number(one) for one in removed(root, tables, before, ids))
        return versions

    def leftovers(self) -> list[str]:
        """Return the ids of the runs that have a staging area."""
        found = self.rows("SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname, 'staging_') ORDER BY 1")
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
        numbers = count(1)
        told = [_condition(one, [f"${next(numbers)}" for _ in one.values]) for one in where]
        told += [_among(schema, among)] if among else []
        conditions = " AND ".join(told)
        query = f"SELECT {columns} FROM {quoted(schema)}.{quoted(table.name)} t{' WHERE ' * bool(told)}{conditions}"
        query += "" if limit is None else f" LIMIT {limit}"
        yield from self._batches(query, *(value for one in where for value in one.values))

    def seen(self, schema: str, tables: Sequence[Table]) -> dict[str, Sight]:
        """Look at published tables without reading rows; one that is gone, or is no table, is left out."""
        names = {f"{quoted(schema)}.{quoted(table.name)}": table.name for table in tables}
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
        return {names[name]: Sight(mark, 0 if name in nothing else None) for name, mark in marks.items()}

    def is_published(self, schema: str, table: Table) -> bool:
        """Tell whether there is a published table, by the catalog alone: no lock on it is kept."""
        return self._exists(schema, table)

    def count(self, schema: str, table: Table) -> int:
        """Count the rows of a published table."""
        return self._number(f"SELECT count(*) FROM {quoted(schema)}.{quoted(table.name)}")

    def sizes(self, schema: str, tables: Sequence[Table]) -> dict[str, int]:
        """Count the rows of published tables by name; one that is not there, or not as its contract, is left out."""
        return {table.name: self.count(schema, table) for table in tables if self.fits(schema, table)}

    def count_ids(self, schema: str, table: str, ids: Sequence[str]) -> int:
        """Count the rows of a published table without a parent that have one of some ``_id``s, given as texts."""
        named = ", ".join(map(postgres_literal, ids)) or "NULL"
        query = f"SELECT count(*) FROM {quoted(schema)}.{quoted(table)} WHERE {quoted(ID)}::text IN ({named})"
        return self._number(query)

    def count_published(self, schema: str, table: Table, most: int | None = None) -> int:
        """Count the rows of a published table, no further than to a number; none where there is no such table."""
        if not self._exists(schema, table):
            return 0
        rows = f"SELECT FROM {quoted(schema)}.{quoted(table.name)}{'' if most is None else f' LIMIT {most}'}"
        # On a connection of its own: ours would keep a lock on the table that a changed contract waits for.
        with closing(Postgres(self._uri)) as other:
            return int(other.rows(f"SELECT count(*) FROM ({rows}) AS counted")[0][0])

    def count_scope_published(self, staging: Staging, root: Table) -> int:
        """Count the published documents among those that a staging area speaks for."""
        if not self._exists(staging.schema, root):
            return 0
        published, named = f"{quoted(staging.schema)}.{quoted(root.name)}", staging.documents(root)
        some = f"SELECT {quoted(ID)} FROM {quoted(staging.name)}.{named}"
        with closing(Postgres(self._uri)) as other:  # as in count_published
            return int(other.rows(f"SELECT count(*) FROM {published} WHERE {quoted(ID)} IN ({some})")[0][0])

    def fits(self, schema: str, table: Table, ours: Collection[str] | None = None) -> bool:
        """Tell whether a published table has its contract's columns: these names and types, in any order."""
        found, owned = self._columns(schema, table), table.names if ours is None else ours
        there = {name: kind for name, kind in found.items() if name in owned}
        return there == {column.name: (type_name(column), not column.nullable) for column in table.columns}

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
            f"LEFT JOIN {quoted(staging.schema)}.{quoted(root.name)} t ON t.{key} = d.{key}"
        )

    def _copy(self, schema: str, table: Table, frame: pl.DataFrame) -> None:
        if frame.is_empty():
            return
        json = [column.name for column in table.columns if column.kind.is_json]
        frame = frame.with_columns((pl.lit(JSONB_VERSION) + pl.col(name)).alias(name) for name in json)
        uuids = [column.name for column in table.columns if column.kind is UUID]
        frame = frame.with_columns(pl.col(name).str.replace_all("-", "").str.decode("hex") for name in uuids)
        self.append(schema, table.name, frame.to_arrow(compat_level=pl.CompatLevel.oldest()))

    def _build(self, statements: Sequence[str]) -> None:
        """Run statements in a transaction and on a connection of their own, with memory for indexes."""
        with closing(self._another()) as other, other.transaction():
            # Nobody else is at a staging area; whoever is must not hold us up for ever.
            other.execute(
                f"SET maintenance_work_mem = '{_INDEX_MEMORY}'",
                "SET lock_timeout = '1min'",
                # Or the server would go on building for a process that was killed, and hold its locks.
                "SET client_connection_check_interval = '1s'",
                *statements,
            )

    def _exists(self, schema: str, table: Table) -> bool:
        return self._kind(schema, table.name) in _TABLES

    def _kind(self, schema: str, name: str) -> str | None:
        """Return what bears a name, as the catalog says it in one letter; None if nothing does."""
        query = "SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1::text)"
        return next((kind for (kind,) in self.rows(query, f"{quoted(schema)}.{quoted(name)}")), None)

    def _check_for_strangers(self, schema: str, table: Table) -> None:
        kind = self._kind(schema, table.name)
        if kind is not None and kind not in (*_TABLES, _INDEX):  # an index gives way
            raise EtlError(
                f"{schema}.{table.name} in PostgreSQL is no table, but {_KINDS.get(kind, 'something else')}, in the "
                "place of what is to be published; rename or drop it, and run the command again"
            )

    def _check_columns(self, staging: Staging, table: Table) -> None:
        """Refuse columns of somebody's own with which rows could not be added, or that a contract names now.

        Raises:
            EtlError: With the first of them.
        """
        query = (
            "SELECT attname::text, attnotnull AND NOT atthasdef AND attidentity = '' FROM pg_attribute "
            "WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
        place = f"{staging.schema}.{table.name}"
        for name, is_demanded in self.rows(query, f"{quoted(staging.schema)}.{quoted(table.name)}"):
            if name in staging.owned(table) or name.startswith(MADE):
                continue
            if name in table.names:
                raise EtlError(
                    f"{place} in PostgreSQL has a column {name!r} that no contract made, and its contract declares one "
                    "now; rename or drop it, and run the command again"
                )
            if is_demanded:
                raise EtlError(
                    f"{place} in PostgreSQL has a column {name!r} that its contract does not declare, and that "
                    "must not be null and has no default, so no row could be added; give it a default, or let it be "
                    "null, or drop it, and run the command again"
                )

    def _has_key(self, schema: str, table: Table) -> bool:
        query = "SELECT count(*) FROM pg_index WHERE indisprimary AND indrelid = to_regclass($1::text)"
        return bool(self.rows(query, f"{quoted(schema)}.{quoted(table.name)}")[0][0])

    def _has_reference(self, schema: str, table: Table) -> bool:
        query = (
            "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = to_regclass($1::text) "
            "AND confrelid = to_regclass($2::text)"
        )
        assert table.parent is not None
        names = (f"{quoted(schema)}.{quoted(name)}" for name in (table.name, table.parent))
        return bool(self.rows(query, *names)[0][0])

    def _forgotten(self, staging: Staging) -> dict[str, list[str]]:
        """Return the tables of arrays that a contract no longer has: they go stale, and hold on to parents' rows.

        By the root tables' names; one that refers to another of them comes before it.
        """
        query = (
            "SELECT relname::text FROM pg_constraint JOIN pg_class c ON c.oid = conrelid "
            "WHERE contype = 'f' AND confrelid = to_regclass($1::text) AND relnamespace = $2::regnamespace "
            # A table that a user put here is not ours to drop; ours have the parent's key and such a column for a key.
            "AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname IN ('_position', '_key')) "
            "AND EXISTS (SELECT FROM pg_index own JOIN pg_index p ON own.indisprimary AND p.indisprimary WHERE "
            "own.indrelid = c.oid AND p.indrelid = confrelid AND own.indnkeyatts = p.indnkeyatts + 1)"
        )
        current, found = {table.name for table in staging.tables}, dict[str, list[str]]()
        parents = [(table.name, table.root) for table in staging.tables]
        for parent, root in parents:  # to which those are added that are found on the way
            for (child,) in self.rows(query, f"{quoted(staging.schema)}.{quoted(parent)}", quoted(staging.schema)):
                # Books of an older version know of none.
                is_ours = child in staging.ours or parent not in staging.ours
                if child not in current and child.startswith(f"{parent}_") and is_ours:
                    parents.append((child, root))
                    found.setdefault(root, []).insert(0, child)
        return found

    def _move_in(self, staging: Staging, table: Table) -> None:
        """Make a table of staging a published one."""
        if not self._has_key(staging.name, table):  # its place was taken when it was prepared
            self.execute(*postgres_keys(staging.name, table))
        self._make_way(staging, table)
        self.execute(f"ALTER TABLE {quoted(staging.name)}.{quoted(table.name)} SET SCHEMA {quoted(staging.schema)}")

    def _make_way(self, staging: Staging, table: Table) -> None:
        """Rename the indexes whose names meet: PostgreSQL makes them of the names of tables and columns."""
        meeting = self.rows(
            "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
            "WHERE relnamespace = $2::text::regnamespace AND relname = $3::text "
            "OR indrelid = to_regclass($1::text) AND EXISTS "
            "(SELECT FROM pg_class WHERE relnamespace = $2::text::regnamespace AND relname = c.relname)",
            f"{quoted(staging.name)}.{quoted(table.name)}",
            quoted(staging.schema),
            table.name,
        )
        for number, (index,) in enumerate(meeting):
            free = md5(f"{staging.run_id} {table.name} {number}".encode(), usedforsecurity=False).hexdigest()
            self.execute(f"ALTER INDEX {index} RENAME TO {quoted(MADE + free)}")

    def _lacking_keys(self, staging: Staging) -> list[str]:
        """Return the statements that add the keys which published tables lack: some go with a dropped parent."""
        keys = [
            postgres_key(staging.schema, table) for table in staging.tables if not self._has_key(staging.schema, table)
        ]
        references = [
            postgres_foreign_key(staging.schema, table)
            for table in staging.tables
            if table.parent is not None and not self._has_reference(staging.schema, table)
        ]
        return [*keys, *references]

    def _merge(self, merge: Merge) -> None:
        """Make a published table equal to staging; of a whole one most rows are, so those that are not are found first.

        That takes one join of the two; to delete and to merge would take one each.
        """
        if not merge.is_whole or merge.among:
            self.execute(*merge.statements)
            return
        found = f"{quoted(merge.staging.name)}.{merge.staging.differing(merge.table)}"
        self.execute(f"CREATE TABLE {found} AS {merge.differing()}", f"ANALYZE {found}")
        if self._number(f"SELECT count(*) FROM {found}"):
            self.execute(*replace(merge, among=f"SELECT {quoted(ID)} FROM {found}").statements)
        self.execute(f"DROP TABLE {found}")

    def _prove(self, merges: Iterable[Merge], meddling: Sequence[Trigger]) -> None:
        """Count what has become of published tables; where a user's trigger was at it, compare every row.

        Raises:
            DataError: A table does not hold what was staged.
        """
        for merge in merges:
            published, staged = self._number(merge.published), self._number(merge.staged)
            if published == staged and not meddling:
                continue
            lacking, bent, key, extra, other_key = self.rows(merge.unequal)[0]
            if lacking or bent or extra:
                raise DataError(
                    f"{merge.staging.schema}.{merge.table.name} in PostgreSQL did not become what was to be published: "
                    f"of {staged:,} rows it lacks {lacking:,} and has {bent:,} otherwise, and {extra:,} others did not "
                    f"go (such as {merge.table.key[0]} {key or other_key}); nothing was published; {blamed(meddling)}"
                )

    def _change(self, staging: Staging, table: Table) -> Change:
        """Return what has to be done to a published table because its contract has changed."""
        indexed = (
            "SELECT attname::text FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] "
            "WHERE indrelid = to_regclass($1::text) AND indnkeyatts = 1 AND indpred IS NULL"
        )
        checks = (
            "SELECT conname::text FROM pg_constraint WHERE conrelid = to_regclass($1::text) AND contype = 'c' "
            f"AND starts_with(conname, '{MADE}')"
        )
        name = f"{quoted(staging.schema)}.{quoted(table.name)}"
        found = Found(
            self._columns(staging.schema, table),
            frozenset(one for (one,) in self.rows(indexed, name)),
            tuple(one for (one,) in self.rows(checks, name)),
            staging.owned(table),
            self._extra_is_free(name),
        )
        return change(staging.schema, table, staging.run_id, found)

    def _extra_is_free(self, name: str) -> bool:
        """Tell whether a table has a column of undeclared fields that no view, index or grant of a user's is on."""
        query = (
            "SELECT attacl IS NULL AND NOT EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_class'::regclass "
            "AND refobjid = attrelid AND refobjsubid = attnum) FROM pg_attribute "
            f"WHERE attrelid = to_regclass($1::text) AND attname = '{EXTRA}' AND NOT attisdropped"
        )
        return any(free for (free,) in self.rows(query, name))

    def _columns(self, schema: str, table: Table) -> dict[str, tuple[str, bool]]:
        """Return the columns that a table has: their types, and whether they refuse null."""
        query = (
            "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute "
            "WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped"
        )
        found = self.rows(query, f"{quoted(schema)}.{quoted(table.name)}")
        return {name: (kind, required) for name, kind, required in found}

    def _at_moments(self, statements: Iterable[str]) -> None:
        """Change published tables, each change in a transaction of its own, as soon as nobody is in the way."""
        statements = tuple(statements)
        if not statements:
            return
        with closing(self._another()) as other:
            other.execute(f"SET lock_timeout = '{_BLINK}'")
            other.commit()
            for statement in statements:
                other._as_soon_as_possible(statement)

    def _as_soon_as_possible(self, statement: str) -> None:
        def attempt() -> None:
            with self.transaction():
                self.execute(statement)

        _until_unlocked(attempt)

    def _lock_out_readers(self, names: Sequence[str]) -> None:
        """Have some tables and views for ourselves, within the caller's transaction, as soon as nobody reads them.

        Whoever comes to read while we wait for those who do queues up behind us, so we don't wait for long, but often.
        """
        if not names:
            return
        patience, tables = self._lock_timeout, ", ".join(names)
        self.execute(f"SET LOCAL lock_timeout = '{_BLINK}'", "SAVEPOINT waiting")

        def attempt() -> None:
            try:
                self.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE", f"SET LOCAL lock_timeout = {patience}")
            except LockedError:
                self.execute("ROLLBACK TO SAVEPOINT waiting")
                raise

        _until_unlocked(attempt)


def _until_unlocked(attempt: Callable[[], None]) -> None:
    """Do something again and again as long as somebody's lock is in its way.

    Raises:
        EtlError: It was in the way for too long.
    """
    locked, pause = retry_if_exception_type(LockedError), wait_fixed(_PAUSE_S)
    try:
        Retrying(retry=locked, wait=pause, stop=stop_after_delay(_PATIENCE_S))(attempt)
    except RetryError as error:
        raise EtlError(_IN_THE_WAY) from error


def _quoted(staging: Staging) -> list[str]:
    """Return the names of the tables that are published."""
    return [f"{quoted(staging.schema)}.{quoted(table.name)}" for table in staging.tables]


def _analyze(staging: Staging, table: Table, *, whole: bool) -> str:
    """Return what gathers statistics of a table in staging; of one that is only merged its key's are asked for."""
    columns = "" if whole else f" ({quoted_names(table.key)})"
    return f"ANALYZE {quoted(staging.name)}.{quoted(table.name)}{columns}"


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
        of_root = f"SELECT FROM {quoted(schema)}.{quoted(among.root)} r WHERE r.{quoted(ID)} = t.{quoted(ID)}"
        found = f"EXISTS ({of_root} AND EXISTS ({keys} = r.{column}))"
    return f"NOT {found}" if among.outside else found


def _readable(column: Column) -> str:
    name = quoted(column.name)
    as_text = column.kind.is_json or column.kind is UUID or column.kind.postgres.startswith("numeric")
    return f"{name}::text{'[]' * column.kind.is_array} AS {name}" if as_text else name
