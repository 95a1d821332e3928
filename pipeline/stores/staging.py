"""A staging area: where the tables of one run are gathered in a store, and what their names are there."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import md5

from contracts.schema.entity import ID, Table


@dataclass(frozen=True)
class Staging:
    """Where the tables of one run are gathered before they are published together.

    Attributes:
        run_id: The run.
        schema: Where they will be published, ``replica`` or ``marts``; ClickHouse calls it a database.
        tables: What is gathered, parents before children.
        version: The run's cluster time as one number: a later one is greater.
        is_full: Whether it holds all rows of its tables. If not, it holds those of the documents that
            :meth:`~pipeline.stores.base.Target.set_scope` named, and all other documents stay as they are published.
        parts: Names of tables of which it holds a part of the rows all the same: of those that
            :meth:`~pipeline.stores.base.Target.speak_for` named. Others stay as they are published, and show the
            moment where all rows do.
        staying: Published tables of which it holds nothing: all rows stay, and show the moment where all rows do.
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
    staying: tuple[Table, ...] = ()

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

    @property
    def published(self) -> tuple[Table, ...]:
        """All tables that are published with it."""
        return (*self.tables, *self.staying)

    @property
    def stamped(self) -> list[Table]:
        """The tables of which rows stay that all show the moment; a row that need not show it is written if it does."""
        staying = {*self.parts, *(table.name for table in self.staying)}
        return [table for table in self.published if table.is_stamped and table.name in staying]

    def is_part(self, table: Table) -> bool:
        """Return whether rows of a published table stay that this area does not hold."""
        return not self.is_full or table.name in self.parts or table in self.staying

    def keys_of(self, table: Table) -> Table:
        """Return the table of the keys of the rows that it speaks for, of a table of which it holds a part."""
        return replace(table.only(table.key), name=self.rows_of(table))

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
