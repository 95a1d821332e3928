"""The open connections of one command."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from pydantic import SecretStr

from contracts.schema.entity import Entity
from contracts.schema.kinds import ANY_ID, INTEGER, KEY_TEXT, OBJECT_ID, TIMESTAMP
from contracts.schema.mart import Mart
from contracts.schema.registry import by_name, entities, marts
from pipeline import control
from pipeline.control import Undeclared
from pipeline.errors import BusyError, UsageError
from pipeline.runtime.hiding import spare_others
from pipeline.runtime.memory import MemoryBudget, tune_allocators
from pipeline.runtime.retries import retry
from pipeline.runtime.workers import Workers
from pipeline.settings import Retention, Settings
from pipeline.stores.base import Target
from pipeline.stores.clickhouse.store import ClickHouse
from pipeline.stores.mongo.store import Mongo
from pipeline.stores.postgres.store import Postgres
from pipeline.text.redaction import remember
from transforms.marts import marts_of

_OURS = re.compile(r"system\.|_etl_generated$")  # collections of MongoDB itself, and the marks of etl generate
TARGETS = ("postgres", "clickhouse")
WHOLE = "document"  # the column of what is copied without a contract
ID_KINDS = {kind.name: kind for kind in (OBJECT_ID, KEY_TEXT, INTEGER, TIMESTAMP, ANY_ID)}


@dataclass(frozen=True, kw_only=True)
class Connections:
    """What a use case works with.

    Attributes:
        mongo: The source.
        postgres: A target, and the keeper of the books.
        open_clickhouse: Opens the other target when it is first needed: not every command touches it.
        entities: Every contract, by the collection's name.
        known_marts: Every contract of a mart, by its name; :attr:`marts` are those whose sources are declared.
        memory: What this process may take, and how it is shared out.
        workers: The processes that share what is large.
        verify_workers: Those that share a verification.
        retention: How long the books are kept.
        retry: Seconds for which it is waited in all, to try again what failed by something that passes.
        home: Folder of what commands keep on this machine.
        timezone: The one time zone whose days and weeks the marts report.
        support_sla: Seconds within which a ticket is to be answered, by type of issue; ``""`` is any other.
    """

    mongo: Mongo
    postgres: Postgres
    open_clickhouse: Callable[[], ClickHouse]
    entities: dict[str, Entity]
    known_marts: dict[str, Mart]
    memory: MemoryBudget
    max_shrink: float
    retention: Retention
    retry: float
    home: Path
    timezone: str
    support_sla: dict[str, float]
    workers: Workers
    verify_workers: Workers

    @property
    def clickhouse(self) -> ClickHouse:
        """The other target.

        Raises:
            ServerError: It can't be reached or refuses.
        """
        return self.open_clickhouse()

    @cached_property
    def marts(self) -> dict[str, Mart]:
        """The marts that can be computed from what the contracts declare, by name, each after those it reads."""
        return marts_of(self.entities.values(), self.known_marts)

    def named(self, names: Iterable[str] = TARGETS) -> tuple[str, ...]:
        """Return names of targets in order, PostgreSQL first: its commit decides what ClickHouse then follows."""
        wanted = set(names)
        if unknown := wanted - set(TARGETS):
            raise UsageError(f"there is no target {min(unknown)!r}; there are {' and '.join(TARGETS)}")
        return tuple(name for name in TARGETS if name in wanted)

    def targets(self, names: Iterable[str] = TARGETS) -> tuple[Target, ...]:
        """Return targets by name, as :meth:`named` orders them."""
        return tuple(self.postgres if name == "postgres" else self.clickhouse for name in self.named(names))

    def chosen(self, collections: Iterable[str] = ()) -> tuple[Entity, ...]:
        """Return the contracts of the named collections (or tables), all if none is named."""
        known = by_name(self.entities.values())
        names = list(collections) or sorted(self.entities)
        if unknown := [name for name in names if name not in known]:
            raise UsageError(f"there is no contract of {unknown[0]!r}; there are {', '.join(sorted(self.entities))}")
        return tuple(dict.fromkeys(known[name] for name in names))

    def undeclared(self) -> tuple[str, ...]:
        """Return what MongoDB has that no contract declares: it is never read, only named."""
        names = self.mongo.listed()
        return tuple(sorted(name for name in names if name not in self.entities and not is_ours(name)))


@contextmanager
def connect(settings: Settings) -> Iterator[Connections]:
    """Open the connections to the servers, and close them; ClickHouse's and MongoDB's when they are first used.

    Args:
        settings: With all three URIs.

    Raises:
        ServerError: A server can't be reached or refuses.
        ContractError: A contract can't be derived.
    """
    memory = MemoryBudget(int(settings.memory))
    with ExitStack() as stack:
        mongo = Mongo(_secret(settings.mongo_uri, "ETL_MONGO_URI"), settings.mongo_database, settings.silence)
        stack.callback(mongo.close)
        postgres_uri = _secret(settings.postgres_uri, "ETL_POSTGRES_URI")
        # One that is away is told at once; one that is starting, or has no connection left, may soon let us in.
        postgres = retry(
            lambda _: Postgres(postgres_uri, settings.wait, settings.silence),
            "to connect",
            settings.retry,
            (BusyError,),
        )
        stack.callback(postgres.close)
        clickhouse_uri = _secret(settings.clickhouse_uri, "ETL_CLICKHOUSE_URI")

        @cache
        def open_clickhouse() -> ClickHouse:
            opened = ClickHouse(clickhouse_uri, memory.insert, settings.silence)
            stack.callback(opened.close)
            return opened

        known = entities(settings.contracts)
        known |= {name: one for name, one in _taken_whole(postgres).items() if name not in known}
        mongo.know(known)
        yield Connections(
            mongo=mongo,
            postgres=postgres,
            open_clickhouse=open_clickhouse,
            entities=known,
            known_marts=marts(settings.marts),
            memory=memory,
            max_shrink=settings.max_shrink,
            retention=settings.retention,
            retry=settings.retry,
            home=settings.home,
            timezone=settings.timezone,
            support_sla=settings.support_sla,
            workers=_shared(settings, settings.processes),
            verify_workers=_shared(settings, settings.verify_processes, effort=2),
        )


def _shared(settings: Settings, processes: int, effort: int = 1) -> Workers:
    return Workers(processes, open_worker, (settings.of_one_process(processes),), effort)


@contextmanager
def open_worker(settings: Settings) -> Iterator[Connections]:
    """Open what one of several processes works with, its share of the memory included."""
    for uri in (settings.mongo_uri, settings.postgres_uri, settings.clickhouse_uri):
        remember(_secret(uri, "a URI"))
    tune_allocators(settings.memory)
    spare_others()
    with connect(settings) as connections:
        yield connections


def contract_of(one: Undeclared) -> Entity:
    """Return what stands for the contract of a collection that is copied without one: each document whole."""
    return Entity(
        one.collection,
        "A collection that no contract declares: each document whole.",
        id_kind=ID_KINDS[one.id_kind],
        table=one.stem,
        whole=WHOLE,
    )


def _taken_whole(postgres: Postgres) -> dict[str, Entity]:
    """Return the collections that are copied without a contract, as the books tell."""
    with postgres.transaction():
        return {one.collection: contract_of(one) for one in control.undeclared(postgres)}


def is_ours(collection: str) -> bool:
    """Return whether a collection is MongoDB's own, or holds our marks."""
    return bool(_OURS.match(collection))


def _secret(value: SecretStr | None, name: str) -> str:
    if value is None:
        raise UsageError(f"{name} is not set")
    return value.get_secret_value()
