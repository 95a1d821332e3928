"""One publish to PostgreSQL: published tables become what staging holds, in one transaction, and it is counted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import md5

from contracts.schema.ddl import (
    postgres_comments,
    postgres_foreign_key,
    postgres_key,
    postgres_keys,
    qualified,
    quoted,
)
from contracts.schema.entity import ID, Table
from contracts.schema.mart import AS_OF
from pipeline.errors import DataError
from pipeline.stores.postgres.catalog import Catalog
from pipeline.stores.postgres.evolution import MADE, Change, change
from pipeline.stores.postgres.history import History
from pipeline.stores.postgres.locks import change_at_moments, lock_out_readers
from pipeline.stores.postgres.merge import Merge
from pipeline.stores.postgres.renamed import released
from pipeline.stores.postgres.session import Session
from pipeline.stores.postgres.triggers import Trigger, blamed, check_provable, triggers
from pipeline.stores.staging import Staging


def published_names(staging: Staging) -> list[str]:
    """Return the names of the tables that are published, quoted."""
    return [qualified(staging.schema, table.name) for table in staging.published]


class Publication:
    """What a publish finds, and what it is going to do; made within its transaction.

    Args:
        session: Its connection.
        staging: What is published.

    Raises:
        DataError: Nobody could tell whether a table became what it is to be.
        EtlError: A table can't become what its contract says.
    """

    def __init__(self, session: Session, staging: Staging) -> None:
        self._session, self._staging, self._catalog = session, staging, Catalog(session.rows)
        self._published = self._catalog.existing(staging.schema, staging.tables)
        check_provable(session.rows, published_names(staging))
        whole = [one for one in self._published if one.name not in staging.parts]  # a part fits what is published
        self._changes = {one.name: self._change(one) for one in whole}
        self._merges = {one.name: Merge(staging, one, self._called(one)) for one in self._published}

    def publish(self) -> None:
        """Make the published tables equal to staging.

        Raises:
            DataError: A table has other rows than staging.
            EtlError: A table that has to be changed was being read for too long.
        """
        staging = self._staging
        self._change_ahead()
        forgotten = self._catalog.forgotten(staging) if staging.is_full else {}
        histories = [
            History(self._session, staging, root, self._merges, forgotten.get(root.name, ()))
            for root in staging.roots
            if root.name in staging.observed
        ]
        idle = self._idle()
        work = {name: merge for name, merge in self._merges.items() if name not in idle}
        for history in histories:
            work = history.keep(work)
        dropped = [qualified(staging.schema, child) for children in forgotten.values() for child in children]
        # Emptied now, or their rows would hold on to parents' rows; dropped last, for that locks readers out.
        self._session.execute(*(f"DELETE FROM {child}" for child in dropped))
        self._write(work)
        self._prove_all()
        self._finish(histories, dropped)
        self._session.execute(*self._comments())

    def _idle(self) -> set[str]:
        """Return the tables of which a part is staged that has no rows, and of which none is to go."""
        parts = [table for table in self._staging.tables if table.name in self._staging.parts]
        keys = (f"SELECT count(*) FROM {quoted(self._staging.name)}.{self._staging.rows_of(one)}" for one in parts)
        rows = self._session.numbers(keys)
        return {table.name for table, number in zip(parts, rows, strict=True) if not number}

    def _comments(self) -> list[str]:
        """Return the statements that bring what the catalog says of tables to what their contracts say."""
        schema = self._staging.schema
        whole = [table for table in self._staging.tables if table.name not in self._staging.parts]
        said = self._catalog.said(schema, [table.name for table in whole])
        return [
            statement
            for table in whole
            for column, (words, statement) in postgres_comments(schema, table).items()
            if said.get((table.name, column)) != words
        ]

    def _change(self, table: Table) -> Change:
        """Return what has to be done to a published table because its contract has changed."""
        found = self._catalog.found(self._staging, table)
        return change(self._staging.schema, table, self._staging.run_id, found)

    def _called(self, table: Table) -> Mapping[str, str]:
        """Return what a published table calls the contract's columns until the end of the publish."""
        changed = self._changes.get(table.name)
        return changed.names if changed else dict(zip(table.names, table.names, strict=True))

    def _change_ahead(self) -> None:
        """Change what can be changed in transactions of a moment: readers see nothing of it."""
        missing = [table for table in self._staging.tables if table not in self._published]
        ahead = [statement for one in self._changes.values() for statement in one.ahead]
        change_at_moments(self._session, [*ahead, *released(self._session.rows, self._staging, missing)])

    def _write(self, work: Mapping[str, Merge]) -> None:
        """Bring the rows of all tables to what staging has of them.

        Args:
            work: What has to be merged, by table; the other published tables are what they are to be.
        """
        for table in self._staging.tables:
            if table not in self._published:
                self._move_in(table)
            elif table.name in work:
                self._merge(work[table.name])
        self._session.execute(*(Merge(self._staging, one, {}).stamped(AS_OF) for one in self._staging.stamped))

    def _move_in(self, table: Table) -> None:
        """Make a table of staging a published one."""
        area, name = self._staging.name, qualified(self._staging.name, table.name)
        if not self._catalog.keyed(area, [table.name]):  # its place was taken when it was prepared
            self._session.execute(*postgres_keys(area, table))
        for number, index in enumerate(self._catalog.indexes_in_the_way(self._staging, table)):
            free = md5(f"{self._staging.run_id} {table.name} {number}".encode(), usedforsecurity=False).hexdigest()
            self._session.execute(f"ALTER INDEX {index} RENAME TO {quoted(MADE + free)}")
        self._session.execute(f"ALTER TABLE {name} SET SCHEMA {quoted(self._staging.schema)}")

    def _merge(self, merge: Merge) -> None:
        """Make a published table equal to staging; of a whole one most rows are, so those that are not are found first.

        That takes one join of the two; to delete and to merge would take one each.
        """
        if not merge.is_whole or merge.among:
            self._session.execute(*merge.statements)
            return
        found = f"{quoted(merge.staging.name)}.{merge.staging.differing(merge.table)}"
        self._session.execute(f"CREATE TABLE {found} AS {merge.differing()}", f"ANALYZE {found}")
        if self._session.number(f"SELECT count(*) FROM {found}"):
            self._session.execute(*replace(merge, among=f"SELECT {quoted(ID)} FROM {found}").statements)
        self._session.execute(f"DROP TABLE {found}")

    def _prove_all(self) -> None:
        """Count what has become of the published tables, and again when triggers that wait have fired."""
        meddling = triggers(self._session.rows, published_names(self._staging))
        self._prove(meddling)
        if any(one.waits for one in meddling):
            self._session.execute("SET CONSTRAINTS ALL IMMEDIATE")  # they fire now, and no more after this
            self._prove(meddling)

    def _prove(self, meddling: Sequence[Trigger]) -> None:
        """Count what has become of published tables; where a user's trigger was at it, compare every row.

        Raises:
            DataError: A table does not hold what was staged.
        """
        merges = [*self._merges.values()]
        counts = iter(self._session.numbers(query for one in merges for query in (one.published, one.staged)))
        for merge, published, staged in zip(merges, counts, counts, strict=True):
            if published == staged and not meddling:
                continue
            lacking, bent, key, extra, other_key = self._session.rows(merge.unequal)[0]
            if lacking or bent or extra:
                raise DataError(
                    f"{merge.staging.schema}.{merge.table.name} in PostgreSQL did not become what was to be published: "
                    f"of {staged:,} rows it lacks {lacking:,} and has {bent:,} otherwise, and {extra:,} others did not "
                    f"go (such as {merge.table.key[0]} {key or other_key}); nothing was published; {blamed(meddling)}"
                )

    def _finish(self, histories: Sequence[History], dropped: Sequence[str]) -> None:
        """Give the tables the contract's columns and keys, now that all rows are there, and drop what is forgotten.

        Args:
            histories: Of the collections whose former versions are kept.
            dropped: The names of the forgotten tables, quoted.
        """
        left = [statement for one in self._changes.values() for statement in one.meanwhile]
        left += self._lacking_keys()
        following = [history.last() for history in histories]  # first of all: their views read what is dropped here
        last = [statement for statements, _ in following for statement in statements]
        last += [f"DROP TABLE {child}" for child in dropped]
        last += [statement for one in self._changes.values() for statement in one.last]
        if left or last:
            # A table whose references wait for the end of the transaction can't be altered, so they are checked first.
            self._session.execute("SET CONSTRAINTS ALL IMMEDIATE", *left)
        if last:
            names = [qualified(self._staging.schema, name) for name, one in self._changes.items() if one.last]
            lock_out_readers(self._session, [*names, *dropped, *(name for _, locked in following for name in locked)])
            self._session.execute(*last)

    def _lacking_keys(self) -> list[str]:
        """Return the statements that add the keys which published tables lack: some go with a dropped parent."""
        schema, tables, catalog = self._staging.schema, self._staging.tables, self._catalog
        keyed = catalog.keyed(schema, [table.name for table in tables])
        return [
            *(postgres_key(schema, one) for one in tables if one.name not in keyed),
            *(
                postgres_foreign_key(schema, one)
                for one in tables
                if one.parent is not None and not catalog.has_reference(schema, one.name, one.parent)
            ),
        ]
