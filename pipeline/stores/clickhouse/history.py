"""Former versions in ClickHouse: kept exactly once, though there are no transactions and a kill may come anywhere.

Before a publish changes anything, the documents that it is going to change are gathered in a table of its staging area,
and their rows are copied into the history. Then that table gets its final name, in one step: what stands there is
complete and never done again. Until then all can be done again, since nothing was changed: it gives the same rows, and
of rows with one key, to which ``_valid_from`` belongs, one is shown.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import md5

from contracts.schema.ddl import DELETED, VERSION, clickhouse_column, clickhouse_literal
from contracts.schema.ddl import clickhouse_names as quoted_names
from contracts.schema.ddl import clickhouse_qualified as qualified
from contracts.schema.ddl import clickhouse_quoted as quoted
from contracts.schema.entity import ID, Column, Table
from contracts.schema.history import (
    HISTORY,
    REMOVED,
    SINCE,
    VALID_FROM,
    VALID_TO,
    former_table,
    valid_at,
    versions_table,
)
from contracts.schema.kinds import TEXT
from contracts.schema.names import DATA
from pipeline.errors import EtlError
from pipeline.stores.clickhouse.forgetting import in_history
from pipeline.stores.clickhouse.session import Session
from pipeline.stores.following import following
from pipeline.stores.staging import Staging

_VALIDITY = (VALID_FROM, VALID_TO, REMOVED)
# What can't be nullable: an array's count tells whether it is null.
_NEVER_NULL = ("Nullable(", "LowCardinality(Nullable(", "Array(", "Map(", "Tuple(")
# Both sides are in the order of their _id, so neither has to be in memory.
_JOIN = "SETTINGS join_algorithm = 'full_sorting_merge'"
_GROUPED_BYTES = 2**29  # of the server's memory, for finding out what is changed; what is more goes to its disk


class History:
    """The former versions of one collection, as one publish sees them.

    Args:
        session: Its connection.
        staging: What is published.
        root: The collection's root table.
        forgotten: Its child tables that the contract no longer has, and that this publish drops.
    """

    def __init__(self, session: Session, staging: Staging, root: Table, forgotten: Sequence[str]) -> None:
        self._session, self._staging, self._root = session, staging, root
        # Where nothing was kept of an array when the contract lost it, there is nothing to go on with.
        gone = [_bare(name, keys) for name in forgotten if (keys := self._keys(name))]
        self._tables, self._forgotten = (*staging.family(root), *gone), {table.name for table in gone}
        self._moment, self._baseline = _moment(staging.version), _moment(staging.observed[root.name])
        self._since = in_history(root.name + SINCE)
        self._changing, self._changed = (
            f"{quoted(staging.name)}.{name}" for name in (staging.changing(root), staging.changed(root))
        )

    def keep(self) -> None:
        """Keep the versions that end by this publish, unless that is done; enter since when the new ones are shown.

        To be called before anything is changed; after that it does nothing that it has not done before.
        """
        staged = self._columns(self._staging.name)
        if self._staging.changed(self._root) not in staged:
            self._session.execute(*self._made())
            published, former = self._published(), self._former()
            for table in self._tables:
                self._session.execute(*self._followed(table, former[table.name], published[table.name]))
            self._session.execute(self._found(published, staged))
            if self._session.number(f"SELECT count() FROM {self._changing}"):
                former = self._former()
                for table in self._tables:
                    self._session.execute(*self._kept(table, former[table.name], published[table.name]))
            self._session.execute(f"RENAME TABLE {self._changing} TO {self._changed}")
        self._session.execute(
            f"INSERT INTO {self._since} ({quoted(ID)}, {VALID_FROM}) "
            f"SELECT {quoted(ID)}, {self._moment} FROM {self._changed}"
        )

    def follow(self) -> None:
        """Give the history the columns that the published tables have by now, and views that show them."""
        self._session.execute(*self._made())
        published, former, comments = self._published(), self._former(), self._comments()
        for table in self._tables:
            columns = {} if table.name in self._forgotten else published[table.name]
            self._session.execute(
                *self._followed(table, former[table.name], columns),
                *self._shown(table, former[table.name], columns, comments),
            )

    def _made(self) -> Iterator[str]:
        """Yield the statements that create what there is not yet: bare tables, of the key and the times."""
        there = self._check_for_strangers()
        if not there:
            yield f"CREATE DATABASE IF NOT EXISTS {HISTORY}"
        if self._root.name + SINCE not in there:
            about = clickhouse_literal(f"Since when the current versions of {self._root.name} are shown.")
            since = former_table(self._root).only((ID, VALID_FROM))
            yield (
                f"CREATE TABLE IF NOT EXISTS {self._since} ({', '.join(map(clickhouse_column, since.columns))}) "
                f"ENGINE = ReplacingMergeTree({VALID_FROM}) ORDER BY {quoted(ID)} COMMENT {about}"
            )
        for table in (one for one in self._staging.family(self._root) if one.name + DATA not in there):
            former = former_table(table)
            bare = map(clickhouse_column, former.only((*former.key, *_VALIDITY)).columns)
            yield (
                f"CREATE TABLE IF NOT EXISTS {_data(table)} ({', '.join(bare)}, {VERSION} UInt64) "
                f"ENGINE = ReplacingMergeTree({VERSION}) ORDER BY ({quoted_names(former.key)}) "
                f"COMMENT {clickhouse_literal(self._root.name)}"
            )

    def _check_for_strangers(self) -> Collection[str]:
        """Refuse what is somebody else's in the place of what the history is kept in; return what is there.

        Raises:
            EtlError: With the first of them.
        """
        query = "SELECT name, engine FROM system.tables WHERE database = {database:String}"
        there = dict(self._session.rows(query, database=HISTORY))
        wanted = {self._root.name + SINCE: "MergeTree"}
        for table in self._tables:
            wanted |= {table.name + DATA: "MergeTree", table.name: "View", versions_table(table).name: "View"}
        for name, engine in wanted.items():
            if engine not in there.get(name, engine):
                raise EtlError(
                    f"{HISTORY}.{name} in ClickHouse is a {there[name]} of somebody else's, in the place of what the "
                    f"history of {self._root.name} is kept in; rename or drop it, and run the command again"
                )
        return there

    def _keys(self, name: str) -> list[str]:
        """Return the columns that order a table of former versions, but for the time; none where there is no such."""
        query = (
            "SELECT name FROM system.columns WHERE database = {database:String} AND table = {name:String} "
            "AND is_in_sorting_key ORDER BY position"
        )
        found = self._session.rows(query, database=HISTORY, name=name + DATA)
        return [column for (column,) in found if column != VALID_FROM]

    def _columns(self, database: str) -> dict[str, dict[str, str]]:
        """Return the columns that the collection's tables in a database store, in order, and their types, by table."""
        query = (
            "SELECT table, name, type FROM system.columns WHERE database = {database:String} "
            "AND table IN {names:Array(String)} AND default_kind IN ('', 'DEFAULT') ORDER BY table, position"
        )
        names = [name for table in self._tables for name in (table.name, table.name + DATA)]
        names.append(self._staging.changed(self._root))
        found: dict[str, dict[str, str]] = {}
        for table, name, kind in self._session.rows(query, database=database, names=names):
            found.setdefault(table, {})[name] = kind
        return found

    def _published(self) -> dict[str, dict[str, str]]:
        """Return the columns of the published tables that are no part of their keys, as the history has them."""
        found = self._columns(self._staging.schema)
        return {table.name: _values(found.get(table.name + DATA, {}), table) for table in self._tables}

    def _former(self) -> dict[str, dict[str, str]]:
        """Return the columns of the tables of former versions."""
        found = self._columns(HISTORY)
        return {
            table.name: {name: kind for name, kind in found.get(table.name + DATA, {}).items() if name != VERSION}
            for table in self._tables
        }

    def _comments(self) -> dict[str, str]:
        """Return the comments of what the history shows, by name."""
        query = (
            "SELECT name, comment FROM system.tables "
            "WHERE database = {database:String} AND name IN {names:Array(String)}"
        )
        names = [view for table in self._tables for view in (table.name, versions_table(table).name)]
        return dict(self._session.rows(query, database=HISTORY, names=names))

    def _followed(self, table: Table, former: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
        """Yield what gives a table of former versions some columns, in the types that they have by now."""
        steps = following(former, wanted)
        declared = {one.name: clickhouse_column(one) for one in former_table(table).columns}
        for column, old in steps.renamed.items():
            yield f"ALTER TABLE {_data(table)} RENAME COLUMN {quoted(column)} TO {quoted(old)}"
        for column, kind in steps.added.items():
            plain = f"{quoted(column)} {kind}"
            as_declared = declared.get(column, plain)
            column_is = as_declared if as_declared.startswith(f"{plain} ") else plain
            yield f"ALTER TABLE {_data(table)} ADD COLUMN IF NOT EXISTS {column_is}"

    def _found(self, published: Mapping[str, Mapping[str, str]], staged: Mapping[str, Mapping[str, str]]) -> str:
        """Return the statement that gathers the documents of which a row is going to change, and since when each shows.

        Of a document whose rows are the same on both sides, each hash comes twice, and so all of them together are 0.
        """
        sides, key = " UNION ALL ".join(self._hashes(published, staged)), quoted(ID)
        making = f"CREATE OR REPLACE TABLE {self._changing}"
        if self._staging.is_full and not self._session.number(f"SELECT groupBitXor(hash) FROM ({sides})"):
            # Nothing is changed at all: that is told faster than by document.
            columns = former_table(self._root).only((ID, VALID_FROM, REMOVED)).columns
            return f"{making} ({', '.join(map(clickhouse_column, columns))}) ENGINE = MergeTree ORDER BY {key}"
        return (
            f"{making} ENGINE = MergeTree ORDER BY {key} AS SELECT {key}, max(since) AS {VALID_FROM}, "
            f"toBool({key} NOT IN (SELECT {key} FROM {self._staged(self._root)})) AS {REMOVED} "
            f"FROM (SELECT {key}, hash, {self._baseline} AS since FROM ({sides}) UNION ALL "
            f"SELECT {key}, toUInt128(0) AS hash, {VALID_FROM} AS since FROM {self._since} FINAL{self._named()}) "
            f"GROUP BY {key} HAVING groupBitXor(hash) <> 0 "
            f"SETTINGS max_bytes_before_external_group_by = {_GROUPED_BYTES}"
        )

    def _hashes(
        self, published: Mapping[str, Mapping[str, str]], staged: Mapping[str, Mapping[str, str]]
    ) -> Iterator[str]:
        """Yield queries of the ``_id`` and the hash of each row, as it is published and as it is going to be."""
        for table in self._tables:
            if not (before := published[table.name]):
                continue  # it is moved in: that changes no document
            after = _values(staged.get(table.name, {}), table)
            both = sorted(name for name, kind in before.items() if after.get(name) == kind)
            place = qualified(self._staging.schema, table.name + DATA)
            yield self._hashed(table, f"{place} FINAL{self._named()}", both, before, 1)
            if table.name not in self._forgotten:
                yield self._hashed(table, self._staged(table), both, after, 2)

    def _hashed(self, table: Table, place: str, both: Sequence[str], own: Mapping[str, str], side: int) -> str:
        """Return a query of the hashes of the rows of one side.

        A column that the other side has not, or in another type, makes a difference wherever it has a value.
        """
        alone = (name for name, kind in own.items() if name not in both and not kind.startswith(_NEVER_NULL[2:]))
        has_more = " OR ".join(f"{quoted(name)} IS NOT NULL" for name in alone)
        values = [clickhouse_literal(table.name), *map(quoted, table.key), *map(quoted, both)]
        values.append(f"if({has_more or 'false'}, {side}, 0)")
        row = f"({', '.join(values)})"
        # Two fast hashes of 64 bits each: together a quarter of what sipHash128 takes, and as unlikely to be alike.
        hashed = f"bitOr(bitShiftLeft(toUInt128(cityHash64({row})), 64), toUInt128(xxh3({row})))"
        return f"SELECT {quoted(ID)}, {hashed} AS hash FROM {place}"

    def _named(self) -> str:
        """Return the condition that keeps to the documents that the publish speaks for."""
        if self._staging.is_full:
            return ""
        named = f"{quoted(self._staging.name)}.{self._staging.documents(self._root)}"
        return f" WHERE {quoted(ID)} IN (SELECT {quoted(ID)} FROM {named})"

    def _staged(self, table: Table) -> str:
        return f"{qualified(self._staging.name, table.name)} FINAL"

    def _kept(self, table: Table, former: Iterable[str], columns: Iterable[str]) -> Iterator[str]:
        """Yield what keeps the rows of a published table whose documents are going to change.

        A version that would have no length never was: of the documents that are gone at the very moment at which their
        version began, the one before was the last.
        """
        names = (*table.key, *columns)
        given = ", ".join(f"t.{quoted(name)}" for name in names)
        if columns:
            yield (
                f"INSERT INTO {_data(table)} ({quoted_names(names)}, {', '.join(_VALIDITY)}, {VERSION}) "
                f"SELECT {given}, c.{VALID_FROM}, {self._moment}, c.{REMOVED}, {self._staging.version} "
                f"FROM {qualified(self._staging.schema, table.name + DATA)} AS t FINAL "
                f"INNER JOIN {self._changing} AS c ON c.{quoted(ID)} = t.{quoted(ID)} "
                f"WHERE c.{VALID_FROM} < {self._moment} "
                f"AND t.{quoted(ID)} IN (SELECT {quoted(ID)} FROM {self._changing}) {_JOIN}"
            )
        over = f"FROM {self._changing} WHERE {REMOVED} AND {VALID_FROM} >= {self._moment}"
        if self._session.number(f"SELECT count() {over}"):
            all_names = quoted_names(name for name in former if name != REMOVED)
            yield (
                f"INSERT INTO {_data(table)} ({all_names}, {REMOVED}, {VERSION}) "
                f"SELECT {all_names}, true, {self._staging.version} FROM {_data(table)} FINAL "
                f"WHERE ({quoted(ID)}, {VALID_TO}) IN (SELECT {quoted(ID)}, {VALID_FROM} {over})"
            )

    def _shown(
        self, table: Table, before: Mapping[str, str], published: Mapping[str, str], comments: Mapping[str, str]
    ) -> Iterator[str]:
        """Yield what makes the views that people read, if they are not there or not as they are to be."""
        former = following(before, published).columns
        current = f" UNION ALL {self._current(table, former, published)}" if published else ""
        for shown, more in ((former_table(table), ""), (versions_table(table), current)):
            query = f"SELECT {quoted_names(former)} FROM {_data(table)} FINAL{more}"
            statement, comment = _view(shown, former, query)
            if comments.get(shown.name) != comment:
                yield statement

    def _current(self, table: Table, former: Mapping[str, str], published: Mapping[str, str]) -> str:
        """Return a query of the current versions, in the columns of the former ones."""
        values = {
            VALID_FROM: f"greatest(s.{VALID_FROM}, {self._baseline})",  # where there is none it is 1970
            VALID_TO: "NULL",
            REMOVED: "false",
        }
        values |= {name: f"t.{quoted(name)}" for name in (*table.key, *published)}
        given = (f"{values.get(name, _nothing(kind))} AS {quoted(name)}" for name, kind in former.items())
        key = quoted(ID)
        return (
            f"SELECT {', '.join(given)} FROM {qualified(self._staging.schema, table.name + DATA)} AS t FINAL "
            f"LEFT JOIN (SELECT {key}, {VALID_FROM} FROM {self._since} FINAL) AS s ON s.{key} = t.{key}"
        )


def _bare(name: str, keys: Sequence[str]) -> Table:
    """Return a table of which only the key is known."""
    return Table(name, "", tuple(Column(key, TEXT, "") for key in keys), tuple(keys))


def _values(columns: Mapping[str, str], table: Table) -> dict[str, str]:
    """Return the columns of a table that are no part of its key, as its history has them."""
    others = (*table.key, VERSION, DELETED)
    return {column: _nullable(kind) for column, kind in columns.items() if column not in others}


def _view(table: Table, columns: Mapping[str, str], query: str) -> tuple[str, str]:
    """Return the statement that makes a view, and its comment, which tells which statement made it."""
    about = {one.name: one.description for one in table.columns}
    nullable = {VALID_TO} if table.column(VALID_TO).nullable else set[str]()
    types = {name: _nullable(kind) if name in nullable else kind for name, kind in columns.items()}
    declared = ", ".join(
        f"{quoted(name)} {kind} COMMENT {clickhouse_literal(about.get(name, ''))}" for name, kind in types.items()
    )
    mark = md5(f"{declared} {query}".encode(), usedforsecurity=False).hexdigest()
    comment, view = f"{table.description} ({mark})", in_history(table.name)
    return f"CREATE OR REPLACE VIEW {view} ({declared}) AS {query} COMMENT {clickhouse_literal(comment)}", comment


def _nullable(kind: str) -> str:
    """Return a type of ClickHouse as one that may be null, if there is one."""
    if kind.startswith(_NEVER_NULL):
        return kind
    if kind.startswith("LowCardinality("):
        return f"LowCardinality(Nullable({kind[15:-1]}))"
    return f"Nullable({kind})"


def _nothing(kind: str) -> str:
    return "[]" if kind.startswith("Array(") else "NULL"


def _data(table: Table) -> str:
    return in_history(table.name + DATA)


def _moment(version: int) -> str:
    return f"toDateTime64('{valid_at(version):%Y-%m-%d %H:%M:%S.%f}', 6, 'UTC')"
