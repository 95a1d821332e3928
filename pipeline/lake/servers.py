"""The servers behind a lake, each opened when it is first asked for: who only reads one store needs no other."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property

from pydantic import SecretStr

from pipeline.engines.embedded import NAMES, engines
from pipeline.settings import Settings
from pipeline.stores.base import Reader
from pipeline.stores.clickhouse.reader import ClickHouseReader
from pipeline.stores.mongo.store import Mongo
from pipeline.stores.postgres.reader import PostgresReader
from pipeline.stores.postgres.session import Session


class Servers:
    """Connections, and the embedded engines of the servers that the settings don't name.

    Args:
        settings: Where the servers are.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._stack = settings, ExitStack()
        self._uris: dict[str, str] = {}
        self._idle: list[PostgresReader] = []

    def close(self) -> None:
        """Close the connections, and stop the engines that were started for them."""
        while postgres := self._take_idle():
            postgres.close()
        self._stack.close()

    @cached_property
    def mongo(self) -> Mongo:
        """The source."""
        opened = Mongo(self._uri("mongo"), self._settings.mongo_database, self._settings.silence)
        return self._stack.enter_context(closing(opened))

    def books(self) -> Session:
        """Return a connection to the books: one for all questions, opened anew if it was lost between two of them.

        What was not committed over it is undone.
        """
        self._books.revive()
        return self._books

    @cached_property
    def _books(self) -> Session:
        opened = Session(self._uri("postgres"), self._settings.wait, self._settings.silence)
        return self._stack.enter_context(closing(opened))

    @contextmanager
    def store(self, name: str) -> Iterator[Reader]:
        """Give a store for one read: Polars reads the tables of a query at the same time."""
        if name == "postgres":
            with self._postgres() as postgres:
                yield postgres
        else:
            with closing(ClickHouseReader(self._uri(name), silence=self._settings.silence)) as clickhouse:
                yield clickhouse

    @contextmanager
    def _postgres(self) -> Iterator[PostgresReader]:
        """Give a connection that nobody uses; to open one for each read would take longer than most reads do."""
        while (postgres := self._take_idle()) and not postgres.answers():
            postgres.close()
        postgres = postgres or PostgresReader(self._uri("postgres"), self._settings.wait, self._settings.silence)
        try:
            yield postgres
            postgres.undo()  # or what was read would stay locked
        except BaseException:
            postgres.close()
            raise
        self._idle.append(postgres)

    def _take_idle(self) -> PostgresReader | None:
        """Return a connection that nobody uses, if there is one; several threads may ask at once."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _uri(self, name: str) -> str:
        if name not in self._uris:
            # A server that nobody talks to needs no engine: that one counts as given.
            others = {f"{one}_uri": SecretStr("") for one in NAMES if one != name}
            complete = self._stack.enter_context(engines(self._settings.model_copy(update=others)))
            self._uris[name] = getattr(complete, f"{name}_uri").get_secret_value()
        return self._uris[name]
