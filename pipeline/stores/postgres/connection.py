"""A connection to PostgreSQL on which no wait is without an end, though libpq itself can't be interrupted."""

import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import adbc_driver_manager

from pipeline.errors import ServerError
from pipeline.runtime import waits as silence
from pipeline.runtime.waits import ANSWER_S, SILENCE_S, sentence, waiting
from pipeline.stores.postgres.driver import dbapi

# What libpq itself can bound: a host that is gone is found by the kernel. The last one is in milliseconds, and long:
# it counts as well while a server that is alive takes nothing, as at a checkpoint on a slow disk.
_BOUNDS = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 6,
    "tcp_user_timeout": 300_000,
}
_ENVIRONMENT = {"connect_timeout": "PGCONNECT_TIMEOUT"}
_GOING = "57P"  # shutting down, crashed, not up yet
_connecting = threading.Lock()  # so that a new socket is known for whose it is


def bounded(uri: str) -> str:
    """Return a URI with the bounds that it does not name itself."""
    given = {name for name, _ in parse_qsl(urlsplit(uri).query, keep_blank_values=True)}
    given |= {name for name, variable in _ENVIRONMENT.items() if os.environ.get(variable)}
    added = "&".join(f"{name}={value}" for name, value in _BOUNDS.items() if name not in given)
    joint = "" if not added or uri.endswith(("?", "&")) else "&" if "?" in uri else "?"
    return f"{uri}{joint}{added}"


def _connect_timeout(uri: str) -> float:
    """Return in how many seconds a connection must be open."""
    found = dict(parse_qsl(urlsplit(uri).query)).get("connect_timeout", "")
    return float(found) if found.isdecimal() and int(found) > 0 else ANSWER_S


class Link:
    """An open connection, and what is known of it from outside.

    Args:
        uri: Connection string.
        name: What messages call the server.
        patience: Seconds that the server may be silent before it is asked whether it is still at work.
    """

    def __init__(self, uri: str, name: str, patience: float = SILENCE_S) -> None:
        self.silence, self._name, self._uri = patience, name, bounded(uri)
        self._pid = 0
        with _connecting:
            self._sockets, before = dict[int | str, int](), silence.sockets()
            opening = _Opening(before, _connect_timeout(self._uri))
            with self._told(opening):
                self.connection = dbapi.connect(self._uri)
            self._sockets = opening.new()
        try:
            self._introduce()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; what was not committed is undone."""
        with suppress(adbc_driver_manager.Error):  # the server may be gone
            self.connection.close()

    def _introduce(self) -> None:
        """Tell the server what it must know of us, and learn which of its processes serves us."""
        with self.waiting(), self.connection.cursor() as cursor:
            # Of a connection that was cut the server would only know when the statement ends, and hold its locks.
            cursor.execute("SELECT set_config('client_connection_check_interval', '1s', false), pg_backend_pid()")
            self._pid = int(cursor.fetchall()[0][1])
        self.commit()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for the server for as long as it is at work.

        Raises:
            ServerError: It fell silent.
        """
        with self._told(self):
            yield

    def commit(self) -> None:
        """Commit."""
        with self.waiting():
            self.connection.commit()

    def rollback(self) -> None:
        """Undo what is not committed."""
        with self.waiting():
            self.connection.rollback()

    def is_at_work(self) -> bool:
        """Return whether the server is at work on what was asked for, rather than waiting for us."""
        found: list[Any] = []
        try:
            found = self._elsewhere(
                "SELECT state::text, wait_event_type::text FROM pg_stat_activity "
                f"WHERE pid = {self._pid} AND state IN ('active', 'disabled') "
                "AND wait_event_type IS DISTINCT FROM 'Client'"
            )
        except adbc_driver_manager.Error as error:  # it answers, if only that there are too many connections
            return bool(error.sqlstate) and not str(error.sqlstate).startswith(_GOING)
        return bool(found)

    def cancel(self) -> None:
        """Ask the server to give up the statement."""
        with suppress(adbc_driver_manager.Error):
            self._elsewhere(f"SELECT pg_cancel_backend({self._pid})")

    def cut(self) -> None:
        """End the traffic: libpq, which waits for it, then fails."""
        silence.shut_down(self._sockets)

    def _elsewhere(self, query: str) -> list[Any]:
        """Return the rows of a query on a new connection."""
        with closing(dbapi.connect(self._uri)) as other, other.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    @contextmanager
    def _told(self, server: silence.Server) -> Iterator[None]:
        with waiting(server) as call:
            try:
                yield
            except (adbc_driver_manager.Error, OSError) as error:  # in the midst of rows it is one of Arrow
                if call.given_up:
                    raise ServerError(sentence(self._name, call.since)) from error
                raise


class _Opening:
    """A connection that is being opened: there is nothing yet that another one could ask about."""

    def __init__(self, before: dict[int | str, int], patience: float) -> None:
        self.silence, self._before = patience, before

    def new(self) -> dict[int | str, int]:
        """Return the sockets that were opened since."""
        return {identity: number for identity, number in silence.sockets().items() if identity not in self._before}

    def is_at_work(self) -> bool:
        """Return False: longer than this no server takes."""
        return False

    def cancel(self) -> None:
        """Do nothing: it has not been asked for anything."""

    def cut(self) -> None:
        """End the traffic over what was opened."""
        silence.shut_down(self.new())
