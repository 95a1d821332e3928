"""What is published, and what MongoDB has, for notebooks and programs: lazy frames, books and descriptions."""

import weakref
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property, partial
from types import TracebackType
from typing import Self

import polars as pl
from bson import Timestamp

from contracts.schema.entity import Entity, Table
from contracts.schema.history import HISTORY, former_table, versions_table
from contracts.schema.mart import Mart
from contracts.schema.registry import all_tables, by_name, entities, marts
from pipeline.connections import TARGETS
from pipeline.errors import UsageError
from pipeline.lake import books
from pipeline.lake.scan import scan
from pipeline.lake.servers import Servers
from pipeline.lake.source import read_source
from pipeline.lake.tables import Tables, html_table
from pipeline.runs.published import MARTS, REPLICA
from pipeline.settings import Settings
from pipeline.stores.postgres.session import Session
from transforms.marts import marts_of

_OFFERS = {
    ".replica": "the copied collections, a lazy frame each: type a dot and press Tab",
    ".history": "all versions of what was copied, where contracts keep them",
    ".marts": "the marts",
    ".collection(name, at=)": "what a copy would load, straight from MongoDB",
    ".books()": "what each collection and mart shows in each store: run, moment, rows",
    ".quarantine()": "the refused documents, with every reason",
    ".drift()": "in what documents go beyond their contracts",
    ".describe(name)": "the columns of a table, and what they mean",
}
_LAST = 2**32 - 1  # the last moment of a second


class Lake:
    """The published tables as lazy frames, the collections they come from, and what the books say of them.

    A server is opened when it is first asked for something; one that the settings don't name is an embedded engine.
    ``close()``, the end of a ``with`` block or the end of the process close them.

    Args:
        settings: Those of the environment if none are given.
        store: The store that tables are read from, ``postgres`` or ``clickhouse``.

    Raises:
        UsageError: There is no such store, or a setting is wrong.
    """

    def __init__(self, settings: Settings | None = None, *, store: str = "postgres") -> None:
        if store not in TARGETS:
            raise UsageError(f"there is no target {store!r}; there are {' and '.join(TARGETS)}")
        self._store, self._settings = store, settings or Settings.load()
        self._opened: Servers | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        lines = [f"  {name:<22}  {what}" for name, what in _OFFERS.items()]
        return "\n".join([f"Lake, tables are read from {self._store}", *lines])

    def _repr_html_(self) -> str:
        return html_table(f"Lake, tables are read from {self._store}", _OFFERS)

    def close(self) -> None:
        """Close the connections, and stop the engines that were started for them; the next question opens it again."""
        if self._opened is not None:
            self._opened.close()
        self._opened = None

    @cached_property
    def replica(self) -> Tables:
        """The copied collections: a table each, and one for each array of documents in them."""
        return Tables(REPLICA, all_tables(self._entities.values()), partial(self._scan, REPLICA, "replicate"))

    @cached_property
    def history(self) -> Tables:
        """All versions of what was copied, where contracts say ``history=True``; the current one ends never."""
        kept = [table for entity in self._entities.values() if entity.history for table in entity.tables]
        former = {versions_table(table).name: former_table(table) for table in kept}

        def scanned(versions: Table) -> pl.LazyFrame:
            return self._scan(HISTORY, "replicate", versions, former[versions.name])

        return Tables(HISTORY, {one.name: one for one in map(versions_table, kept)}, scanned)

    @cached_property
    def marts(self) -> Tables:
        """The marts."""
        known = {mart.name: mart.table for mart in self._marts.values()}
        return Tables(MARTS, known, partial(self._scan, MARTS, "marts"))

    def collection(
        self, name: str, at: datetime | Timestamp | None = None, *, table: str | None = None
    ) -> pl.LazyFrame:
        """Return what a copy would load of a collection, straight from MongoDB; nothing is stored.

        Args:
            name: Name of the collection or of its table.
            at: The moment that is read, by default the newest; MongoDB remembers some minutes. A time means all of its
                second, and is UTC where it has no zone.
            table: Which of its tables, such as that of an array of documents; by default the root table.

        Raises:
            UsageError: There is no contract of the collection, it makes no such table, or the moment is still to come.
            ServerError: MongoDB can't be reached or refuses.
        """
        entity = self._entity(name)
        known = {one.name: one for one in entity.tables}
        if table is not None and table not in known:
            raise UsageError(f"{entity.collection} makes no table {table!r}; it makes {', '.join(known)}")
        mongo = self._servers.mongo
        mongo.know(self._entities)
        newest = mongo.cluster_time()
        moment = newest if at is None else _cluster_time(at, newest)
        return read_source(mongo, entity, known[table or entity.table], moment)

    def books(self) -> pl.DataFrame:
        """Return what each collection and mart shows in each store: run, moment, rows."""
        roots = {entity.collection: entity.table for entity in self._entities.values()}
        return books.published(self._servers.books(), roots | {name: name for name in self._marts})

    def books_session(self) -> Session:
        """Return a connection to the books, for what :mod:`pipeline.control` can be asked."""
        return self._servers.books()

    @property
    def mart_contracts(self) -> Mapping[str, Mart]:
        """The contracts of the marts, by name."""
        return self._marts

    @property
    def entities(self) -> Mapping[str, Entity]:
        """The contracts of the collections, by name."""
        return self._entities

    def quarantine(self, *collections: str) -> pl.DataFrame:
        """Return the refused documents, whole, with every reason; those of all collections if none is named.

        Raises:
            UsageError: There is no such collection.
        """
        return books.refused(self._servers.books(), self._entities.values(), collections)

    def drift(self) -> pl.DataFrame:
        """Return in what the documents that were loaded last go beyond their contracts."""
        return books.drifted(self._servers.books())

    def describe(self, name: str) -> pl.DataFrame:
        """Return the columns of a table, with the words of its contract.

        Args:
            name: Name of a table, a collection or a mart.

        Raises:
            UsageError: There is none of that name.
        """
        known = {mart.name: mart.table for mart in self._marts.values()}
        for entity in self._entities.values():
            kept = map(versions_table, entity.tables) if entity.history else ()
            known |= {entity.collection: entity.root} | {table.name: table for table in (*entity.tables, *kept)}
        if name not in known:
            raise UsageError(f"there is no table {name!r}; there are {', '.join(sorted(known))}")
        return books.described(known[name])

    def _entity(self, name: str) -> Entity:
        known = by_name(self._entities.values())
        if name not in known:
            raise UsageError(f"there is no contract of {name!r}; there are {', '.join(sorted(self._entities))}")
        return known[name]

    @cached_property
    def _entities(self) -> dict[str, Entity]:
        return entities(self._settings.contracts)

    @cached_property
    def _marts(self) -> dict[str, Mart]:
        return marts_of(self._entities.values(), marts(self._settings.marts))

    @property
    def _servers(self) -> Servers:
        if self._opened is None:
            self._opened = Servers(self._settings)
            weakref.finalize(self, self._opened.close)
        return self._opened

    def _scan(self, schema: str, command: str, table: Table, behind: Table | None = None) -> pl.LazyFrame:
        """Return a published table; ``behind`` is the one that a view reads, and is there with it."""
        with self._servers.store(self._store) as store:
            if not store.stats(schema, [behind or table]):
                raise UsageError(f"{schema}.{table.name} is not published in {self._store}; run etl {command}")
        return scan(partial(self._servers.store, self._store), schema, table)


def _cluster_time(at: datetime | Timestamp, newest: Timestamp) -> Timestamp:
    """Return the moment that a time means.

    MongoDB's newest moment is that of its last write. What is asked for between it and now is the same.
    """
    if isinstance(at, Timestamp):
        return at
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    if aware > datetime.now(UTC):
        told = f"{aware.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        raise UsageError(f"{told} is still to come; without at= the newest moment is read")
    return min(Timestamp(aware, _LAST), newest)
