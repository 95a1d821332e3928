"""Former versions in PostgreSQL: kept in the transaction of the publish that changes them, before it does.

A version is a whole document: if its row or one of its child rows changes, all of them are kept. The current version
stands in the published tables alone; since when it is shown is told by a table of its own, for documents that are new
or were changed since the first publish.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import md5

from contracts.schema.ddl import (
    postgres_comments,
    postgres_literal,
    postgres_type,
    qualified,
    quoted,
    quoted_names,
)
from contracts.schema.entity import ID, Table
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
from pipeline.errors import EtlError
from pipeline.stores.following import following
from pipeline.stores.postgres.catalog import TABLES, Catalog
from pipeline.stores.postgres.evolution import type_name
from pipeline.stores.postgres.forgetting import in_history
from pipeline.stores.postgres.merge import Merge
from pipeline.stores.postgres.session import Session
from pipeline.stores.staging import Staging

_VALIDITY = (VALID_FROM, VALID_TO, REMOVED)
_VIEW = ("v",)


class History:
    """The former versions of one collection, as one publish sees them.

    Args:
        session: Within the publish's transaction.
        staging: What is published.
        root: The collection's root table.
        merges: What becomes of its published tables, by name; tables that are moved in have none.
        forgotten: Its child tables that the contract no longer has, and that this publish drops.
    """

    def __init__(
        self, session: Session, staging: Staging, root: Table, merges: Mapping[str, Merge], forgotten: Sequence[str]
    ) -> None:
        self._session, self._staging, self._root, self._catalog = session, staging, root, Catalog(session.rows)
        # Where nothing was kept of an array when the contract lost it, there is nothing to go on with.
        self._forgotten = tuple(name for name in forgotten if self._kind(name, TABLES))
        self._merges = {table.name: merges[table.name] for table in staging.family(root) if table.name in merges}
        self._moment = _moment(staging.version)
        self._area = quoted(staging.name)
        self._since = qualified(HISTORY, root.name + SINCE)
        self._changed = f"{self._area}.{staging.changed(root)}"

    def keep(self, merges: Mapping[str, Merge]) -> dict[str, Merge]:
        """Keep the versions that end by this publish, and enter since when the new ones are shown.

        Args:
            merges: What is to become of published tables.

        Returns:
            What is left to do: of this collection only documents that are changed, added or removed.
        """
        if self._root.name not in self._merges:  # it is moved in: what it shows then are the first versions
            return dict(merges)
        self._session.execute(*self._made())
        published = {table.name: self._published(table.name) for table in self._tables()}
        for table in self._tables():
            self._session.execute(*self._followed(table, published[table.name]))
        others = {name: one for name, one in merges.items() if name not in self._merges}
        if not self._find(published):
            return others
        for name, columns in published.items():
            self._session.execute(*self._kept(name, list(columns)))
        self._session.execute(
            f"INSERT INTO {self._since} SELECT {quoted(ID)}, {self._moment} FROM {self._changed} "
            f"ON CONFLICT ({quoted(ID)}) DO UPDATE SET {VALID_FROM} = greatest(excluded.{VALID_FROM}, "
            f"{self._since}.{VALID_FROM})"
        )
        among = f"SELECT {quoted(ID)} FROM {self._changed}"
        return others | {name: replace(one, among=among) for name, one in self._merges.items()}

    def last(self) -> tuple[list[str], list[str]]:
        """Return the statements that give the history the contract's columns, and what they lock readers out of."""
        statements, locked = list[str](), list[str]()
        self._session.execute(*self._made())
        for table in self._tables():
            is_gone = table.name in self._forgotten
            wanted = {} if is_gone else {one.name: type_name(one) for one in table.columns}
            following = [*self._followed(table, wanted), *self._shown(table, wanted)]
            if following:
                places = (table.name, versions_table(table).name)
                locked += [in_history(name) for name in places if self._kind(name)]
            statements += following
        return statements, locked

    def _tables(self) -> Iterator[Table]:
        """Yield the collection's tables, those that the contract no longer has among them."""
        yield from self._staging.family(self._root)
        for name in self._forgotten:
            yield Table(name, "", (self._root.columns[0],), (ID,))

    def _made(self) -> Iterator[str]:
        """Yield the statements that create what there is not yet: bare tables, of the key and the times."""
        if not self._catalog.has_schema(HISTORY):
            yield f"CREATE SCHEMA {HISTORY}"
        key = self._root.columns[0]
        if self._kind(self._root.name + SINCE, TABLES) is None:
            yield (
                f"CREATE TABLE {self._since} ({quoted(ID)} {postgres_type(key)} PRIMARY KEY, "
                f"{VALID_FROM} timestamptz NOT NULL)"
            )
            about = f"Since when the current versions of {self._root.name} are shown, of documents that were changed."
            yield f"COMMENT ON TABLE {self._since} IS {postgres_literal(about)}"
        for table in self._tables():
            if self._kind(table.name, TABLES) is None:
                former = former_table(table)
                bare = former.only((*former.key, *_VALIDITY))
                columns = ", ".join(f"{quoted(one.name)} {postgres_type(one)}" for one in bare.columns)
                yield f"CREATE TABLE {in_history(table.name)} ({columns}, PRIMARY KEY ({quoted_names(former.key)}))"

    def _kind(self, name: str, kinds: tuple[str, ...] = (*TABLES, *_VIEW)) -> str | None:
        """Return what bears a name in the history; None if nothing does.

        Raises:
            EtlError: It is something else than it has to be, and so somebody else's.
        """
        found = self._catalog.kinds(HISTORY, [name]).get(name)
        if found is not None and found not in kinds:
            raise EtlError(
                f"{HISTORY}.{name} in PostgreSQL is somebody else's, in the place of what the history of "
                f"{self._root.name} is kept in; rename or drop it, and run the command again"
            )
        return found

    def _columns(self, schema: str, name: str) -> dict[str, str]:
        """Return the columns of a table and their types, in order."""
        return {column: kind for column, (kind, _) in self._catalog.columns(schema, [name])[name].items()}

    def _published(self, name: str) -> dict[str, str]:
        """Return the columns that contracts have made of a published table; none of one that is moved in."""
        if name not in self._merges and name not in self._forgotten:
            return {}
        columns = self._columns(self._staging.schema, name)
        ours = self._staging.ours.get(name) or (
            self._merges[name].table.names if name in self._merges else list(columns)
        )
        return {column: kind for column, kind in columns.items() if column in ours}

    def _followed(self, table: Table, wanted: Mapping[str, str]) -> Iterator[str]:
        """Yield what gives a table of former versions some columns, in the types that they have by now."""
        name, view = in_history(table.name), versions_table(table).name
        steps = following(self._columns(HISTORY, table.name), wanted)
        for column, old in steps.renamed.items():
            rename = f"RENAME COLUMN {quoted(column)} TO {quoted(old)}"
            yield f"ALTER TABLE {name} {rename}"
            if self._kind(view, _VIEW):  # a view keeps the names that its columns had when it was made
                yield f"ALTER VIEW {in_history(view)} {rename}"
        if steps.added:
            added = ", ".join(f"ADD COLUMN {quoted(column)} {kind}" for column, kind in steps.added.items())
            yield f"ALTER TABLE {name} {added}"

    def _find(self, published: Mapping[str, Mapping[str, str]]) -> int:
        """Find the documents of which a row is going to change, and since when each is shown; return how many."""
        differing = (
            merge.differing(one for one in published[name] if one not in merge.names.values())
            for name, merge in self._merges.items()
        )
        ids = [*differing, *(f"SELECT {quoted(ID)} FROM {self._replica(name)}" for name in self._forgotten)]
        changing, key = f"{self._area}.{self._staging.changing(self._root)}", quoted(ID)
        self._session.execute(f"CREATE TABLE {changing} AS {' UNION '.join(ids)}", f"ANALYZE {changing}")
        number = self._session.number(f"SELECT count(*) FROM {changing}")
        if number:
            baseline = _moment(self._staging.observed[self._root.name])
            self._session.execute(
                f"CREATE TABLE {self._changed} AS SELECT c.{key}, "
                f"greatest(s.{VALID_FROM}, {baseline}) AS {VALID_FROM}, r.{key} IS NULL AS {REMOVED} "
                f"FROM {changing} c LEFT JOIN {self._since} s ON s.{key} = c.{key} "
                f"LEFT JOIN {qualified(self._staging.name, self._root.name)} r ON r.{key} = c.{key}",
                f"ANALYZE {self._changed}",
            )
        return number

    def _kept(self, name: str, columns: Sequence[str]) -> Iterator[str]:
        """Yield what keeps the rows of a published table whose documents are going to change.

        A version that would have no length never was: of the documents that are gone at the very moment at which their
        version began, the one before was the last.
        """
        key, former = quoted(ID), in_history(name)
        given = ", ".join(f"t.{quoted(column)}" for column in columns)
        if columns:
            yield (
                f"INSERT INTO {former} ({quoted_names(columns)}, {', '.join(_VALIDITY)}) "
                f"SELECT {given}, c.{VALID_FROM}, {self._moment}, c.{REMOVED} FROM {self._replica(name)} t "
                f"JOIN {self._changed} c ON c.{key} = t.{key} WHERE c.{VALID_FROM} < {self._moment}"
            )
        yield (
            f"UPDATE {former} f SET {REMOVED} = true FROM {self._changed} c WHERE c.{REMOVED} "
            f"AND c.{VALID_FROM} >= {self._moment} AND f.{key} = c.{key} AND f.{VALID_TO} = c.{VALID_FROM}"
        )

    def _shown(self, table: Table, wanted: Mapping[str, str]) -> Iterator[str]:
        """Yield what makes the view of all versions, if it is not there or not as it is to be."""
        merge, view = self._merges.get(table.name), versions_table(table)
        called = {name: merge.names[name] if merge else name for name in wanted}
        former = following(self._columns(HISTORY, table.name), wanted).columns
        told = [*self._comments(table, former), *self._comments(view, former)] if wanted else []
        mark = md5("\n".join([self._view(table, former, {name: name for name in wanted}), *told]).encode()).hexdigest()
        comment = f"{view.description} ({mark})"
        if not self._is_shown(table, view.name, comment, is_current=bool(wanted)):
            yield f"CREATE OR REPLACE VIEW {in_history(view.name)} AS {self._view(table, former, called)}"
            yield from told
            yield f"COMMENT ON VIEW {in_history(view.name)} IS {postgres_literal(comment)}"

    def _is_shown(self, table: Table, view: str, comment: str, *, is_current: bool) -> bool:
        """Return whether a view is as its comment says: it follows a table that somebody has renamed."""
        query = (
            "SELECT obj_description(to_regclass($1::text), 'pg_class'), EXISTS (SELECT FROM pg_depend d "
            "JOIN pg_rewrite r ON r.oid = d.objid WHERE r.ev_class = to_regclass($1::text) "
            "AND d.refobjid = to_regclass($2::text))"
        )
        found = self._session.rows(query, in_history(view), self._replica(table.name))
        return self._kind(view, _VIEW) is not None and found == [(comment, is_current)]

    def _view(self, table: Table, former: Mapping[str, str], called: Mapping[str, str]) -> str:
        """Return the query of the view: the former versions and, of a table that there is still, the current one."""
        query = f"SELECT {quoted_names(former)} FROM {in_history(table.name)}"
        if not called:
            return query
        validity = {
            VALID_FROM: f"greatest(s.{VALID_FROM}, {_moment(self._staging.observed[self._root.name])})",
            VALID_TO: "NULL::timestamptz",
            REMOVED: "false",
        }
        values = validity | {name: f"t.{quoted(column)}" for name, column in called.items()}
        given = (f"{values.get(name, f'NULL::{kind}')} AS {quoted(name)}" for name, kind in former.items())
        return (
            f"{query} UNION ALL SELECT {', '.join(given)} FROM {self._replica(table.name)} t "
            f"LEFT JOIN {self._since} s ON s.{quoted(ID)} = t.{quoted(ID)}"
        )

    def _comments(self, table: Table, former: Mapping[str, str]) -> list[str]:
        shown = former_table(table) if VALID_FROM not in table.names else table
        comments = postgres_comments(HISTORY, shown.only(former)).items()
        return [statement for column, (_, statement) in comments if column or VALID_FROM not in table.names]

    def _replica(self, name: str) -> str:
        return qualified(self._staging.schema, name)


def _moment(version: int) -> str:
    return f"'{valid_at(version).isoformat()}'::timestamptz"
