"""One publish to ClickHouse: a table at a time is exchanged or brought to what staging holds, and it is counted.

It may be cut short anywhere and done again: what is published already is told by the comments of the tables, and left
alone.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from contracts.schema.ddl import DELETED, VERSION, clickhouse_comment, clickhouse_view
from contracts.schema.ddl import clickhouse_names as quoted_names
from contracts.schema.ddl import clickhouse_qualified as qualified
from contracts.schema.ddl import clickhouse_quoted as quoted
from contracts.schema.entity import Table
from contracts.schema.mart import AS_OF
from contracts.schema.names import DATA
from pipeline.errors import DataError
from pipeline.stores.clickhouse.guards import check_places
from pipeline.stores.clickhouse.history import History
from pipeline.stores.clickhouse.names import STAYING, data_name, mark, part_name
from pipeline.stores.clickhouse.reader import ClickHouseReader
from pipeline.stores.staging import Staging

# Requests: two end in two thirds of the time, on two cores. More would gain little, and each stamp of a large table
# takes the server memory.
_AT_A_TIME = 2


class Publication:
    """What a publish finds, and what it is going to do.

    Args:
        store: Where the tables are.
        staging: What is published; of which tables it holds a part is found out here.
    """

    def __init__(self, store: ClickHouseReader, staging: Staging) -> None:
        self._store, self._catalog = store, store.catalog
        self._area = self._catalog.area(staging)
        self._partial = self._found_partial(staging) if staging.is_full else {}
        self._staging = replace(staging, parts=frozenset(self._partial))
        self._forgotten = self._catalog.forgotten(staging) if staging.is_full and not self._partial else {}

    def publish(self) -> None:
        """Make the published tables equal to staging.

        Raises:
            DataError: A table has other rows than staging.
            EtlError: Something of somebody else's stands in the place of a table.
        """
        histories = self._kept()
        whole = [table for table in self._staging.tables if not self._staging.is_part(table)]
        comments = check_places(self._catalog, self._staging, whole) if whole else {}
        columns = self._shown(whole, comments)
        for table in self._staging.tables:
            if self._staging.is_part(table):
                self._bring_up(table)
            else:
                self._exchange(table, comments.get(data_name(table)), columns[table.name])
        self._prove_exchanged(whole)
        self._stamp(self._staging.stamped)
        _each(self._mark, (one for one in self._staging.tables if one.name in self._partial))
        for history in histories:
            history.follow()
        for name in (one for names in self._forgotten.values() for one in names):
            drop_table(self._store, self._staging.schema, f"{name}{DATA}")

    def _found_partial(self, staging: Staging) -> dict[str, int]:
        """Return the tables of which an area holds a part, or nothing as all rows stay, and how many rows it names."""
        there = self._area
        staying = self._store.rows(f"SELECT name FROM {qualified(staging.name, STAYING)}") if STAYING in there else []
        stays = {name for (name,) in staying}
        named = {one.name: 0 if one.name in stays else there.get(staging.rows_of(one)) for one in staging.tables}
        return {name: rows for name, rows in named.items() if rows is not None}

    def _kept(self) -> list[History]:
        """Keep the versions that end by this publish, before it changes anything."""
        histories = []
        for root in (one for one in self._staging.roots if one.name in self._staging.observed):
            history = History(self._store, self._staging, root, self._forgotten.get(root.name, ()))
            histories.append(history)
            # Where there is nothing yet, or this run's rows since a publish that was cut short, nothing ends by it.
            if self._store.run_of(self._staging.schema, root) not in (None, self._staging.run_id):
                history.keep()
        return histories

    def _shown(self, tables: Sequence[Table], comments: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """Return the columns of what is going to be published, by table.

        A contract that has changed since what is finished here was begun names columns that the rows don't have.
        """
        found = dict[str, dict[str, str]]()
        done = [one for one in tables if comments.get(data_name(one)) == mark(self._staging, one)]
        for schema, names in (
            (self._staging.name, {one.name: one.name for one in tables if one not in done}),
            (self._staging.schema, {data_name(one): one.name for one in done}),
        ):
            columns = self._catalog.columns_of(schema, list(names)) if names else {}
            found |= {name: columns[place] for place, name in names.items()}
        return found

    def _exchange(self, table: Table, comment: str | None, columns: Collection[str]) -> None:
        """Put a table of staging in the place of the published one; the view on it shows the new rows at once."""
        schema, data = self._staging.schema, data_name(table)
        staged, published = qualified(self._staging.name, table.name), qualified(schema, data)
        # The comment tells which run a table's rows are from, so a publish that was cut short can be finished.
        if comment is None:
            self._store.execute(f"RENAME TABLE {staged} TO {published}")
        elif comment != mark(self._staging, table):
            self._store.execute(f"EXCHANGE TABLES {staged} AND {published}")
        self._store.execute(clickhouse_view(schema, data, table.only(columns)))

    def _prove_exchanged(self, tables: Sequence[Table]) -> None:
        """Count what people see against what was staged.

        Raises:
            DataError: They are not the same.
        """
        parts = self._catalog.parts(self._staging, tables, self._area)
        loaded = [(one.name, part_name(one, number)) for one in tables for number in parts[one.name]]
        # ClickHouse knows how many rows there are, whatever their versions; of merged parts they may be fewer.
        places = [*(qualified(self._staging.name, part) for _, part in loaded), *map(self._data, tables)]
        counts = self._store.numbers(f"SELECT count() FROM {place}" for place in places)
        balance = dict(zip((one.name for one in tables), counts[len(loaded) :], strict=True))
        for (name, _), rows in zip(loaded, counts, strict=False):
            balance[name] -= rows
        for table in (one for one in tables if balance[one.name]):
            published = self._store.count(self._staging.schema, table)
            staged = sum(staged_rows(self._store, self._staging, [table])[table.name].values())
            if published != staged:
                raise DataError(_not_become(self._staging, table, published, staged))

    def _bring_up(self, table: Table) -> None:
        """Bring a published table to what staging has of it, of which it holds a part."""
        named = self._partial.get(table.name)
        if named != 0:
            held = self._store.number(f"SELECT count() FROM {qualified(self._staging.name, table.name)} FINAL")
            self._apply(table, are_some_gone=named is None or held < named)
            self._prove_applied(table, held)
        if table.parent is None and named is None:
            self._mark(table)

    def _mark(self, table: Table) -> None:
        """Let a published table tell the run."""
        self._store.execute(clickhouse_comment(self._staging.schema, data_name(table), mark(self._staging, table)))

    def _apply(self, table: Table, *, are_some_gone: bool) -> None:
        """Bring the rows that are spoken for to what staging has of them; twice does no harm."""
        staged, published = qualified(self._staging.name, table.name), self._data(table)
        key, columns = quoted_names(table.key), quoted_names(self._catalog.columns(self._staging.name, table.name))
        # Of rows with one key and version the one that was inserted last is kept.
        self._store.execute(f"INSERT INTO {published} ({columns}) SELECT {columns} FROM {staged}")
        if are_some_gone:
            # A deletion is a row, too: a tombstone of a version that is no older than the row which it hides.
            self._store.execute(
                f"INSERT INTO {published} ({key}, {VERSION}, {DELETED}) "
                f"SELECT {key}, greatest({VERSION}, {self._staging.version}), 1 FROM {published} FINAL "
                f"WHERE {_is_spoken_for(self._staging, table)} AND ({key}) NOT IN (SELECT {key} FROM {staged})"
            )

    def _prove_applied(self, table: Table, staged: int) -> None:
        """Count the rows that are spoken for against what was staged.

        Raises:
            DataError: They are not the same, or some are of another version.
        """
        published, of_ours = spoken_for(self._store, self._staging, table)
        if not published == of_ours == staged:
            raise DataError(_not_become(self._staging, table, of_ours, staged))

    def _stamp(self, tables: Sequence[Table]) -> None:
        """Let the rows of tables that stay tell the moment."""
        moment = f"fromUnixTimestamp64Milli({int(self._staging.moment.timestamp() * 1000)}, 'UTC')"
        as_of, is_older = quoted(AS_OF), f"{quoted(AS_OF)} <> {moment}"
        # Of all versions that one column alone is quickly read; the newest versions, of a large table, are not.
        counts = self._store.numbers(f"SELECT count() FROM {self._data(one)} WHERE {is_older}" for one in tables)

        def stamp(table: Table) -> None:
            columns = quoted_names(name for name in table.names if name != AS_OF)
            self._store.execute(
                f"INSERT INTO {self._data(table)} ({columns}, {as_of}, {VERSION}, {DELETED}) "
                f"SELECT {columns}, {moment}, greatest({VERSION}, {self._staging.version}), 0 "
                f"FROM {self._data(table)} FINAL WHERE {is_older}"
            )

        _each(stamp, (one for one, rows in zip(tables, counts, strict=True) if rows))

    def _data(self, table: Table) -> str:
        return qualified(self._staging.schema, data_name(table))


def _each(work: Callable[[Table], None], tables: Iterable[Table]) -> None:
    """Do the same with some tables, a few at a time: what is done with one is small, and of no concern to another."""
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        deque(pool.map(work, tables), maxlen=0)


def staged_rows(store: ClickHouseReader, staging: Staging, tables: Sequence[Table]) -> dict[str, dict[int, int]]:
    """Count the rows of some tables in staging, by partition."""
    found: dict[str, dict[int, int]] = {table.name: {} for table in tables}
    parts = store.catalog.parts(staging, tables)
    places = [(table, number) for table in tables for number in parts[table.name]]
    names = (qualified(staging.name, part_name(table, number)) for table, number in places)
    counts = store.numbers(f"SELECT count() FROM {name} FINAL" for name in names)
    for (table, number), rows in zip(places, counts, strict=True):
        found[table.name][number] = rows
    return found


def spoken_for(store: ClickHouseReader, staging: Staging, table: Table) -> tuple[int, int]:
    """Count the published rows that an area speaks for, and those of its run among them."""
    published = qualified(staging.schema, data_name(table))
    query = f"SELECT count(), countIf({VERSION} = {staging.version}) FROM {published} FINAL"
    ((rows, ours),) = store.rows(f"{query} WHERE {_is_spoken_for(staging, table)}")
    return int(rows), int(ours)


def drop_table(store: ClickHouseReader, database: str, data: str) -> None:
    """Drop a table and, before it, the view that people read."""
    view = qualified(database, data.removesuffix(DATA))
    store.execute(f"DROP VIEW IF EXISTS {view}", f"DROP TABLE {qualified(database, data)} SYNC")


def _is_spoken_for(staging: Staging, table: Table) -> str:
    """Return in SQL that a published row is one that an area speaks for, which holds a part of the table."""
    named = staging.spoken_for(table)
    assert named is not None
    columns, keys = named
    return f"({quoted_names(columns)}) IN {quoted(staging.name)}.{keys}"


def _not_become(staging: Staging, table: Table, published: int, staged: int) -> str:
    return (
        f"{staging.schema}.{table.name} in ClickHouse has {published:,} rows of the run {staging.run_id}, of which "
        f"{staged:,} were to be published; a TTL, a row policy, a mutation or a deletion of somebody's own may have "
        "done that"
    )
