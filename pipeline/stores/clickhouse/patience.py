"""Connections to ClickHouse on which no wait is without an end, and a statement may take as long as it needs."""

import http.client
import io
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import unquote_plus

from clickhouse_connect.driver.client import Client
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util.wait import wait_for_read

from pipeline.errors import ServerError
from pipeline.runtime.waits import ANSWER_S, LOOKS, sentence

_BUFFER_BYTES = 1 << 16
_QUERY_ID = re.compile(r"[?&]query_id=([^&]*)")  # all of a URL, with the statement in it, would take long to decode
# The embedded server gives a statement's id as its comment: chDB has no other way.
_AT_WORK = "SELECT count() FROM system.processes WHERE query_id = '{0}' OR Settings['log_comment'] = '{0}'"


class Patience:
    """How long a server is waited for: as long as it says, when asked, that it is at work.

    Args:
        opening: Seconds that it may be silent while the client is opened: nothing takes long then.
        name: What messages call the server.
        asking: The connections by which it is asked: others than those that wait.
    """

    def __init__(self, opening: float, name: str, asking: PoolManager) -> None:
        self.silence, self._name, self._asking = opening, name, asking
        self._client: Any = None

    def of(self, pool: PoolManager) -> PoolManager:
        """Return connections that have this patience."""
        pool.pool_classes_by_scheme = {"http": self._class(_PlainPool), "https": self._class(_TlsPool)}
        return pool

    def opened(self, client: Client, silence: float) -> None:
        """Have the server asked from now on, after some seconds of silence, as this client would ask."""
        self._client, self.silence = client, silence

    def wait(self, is_ready: Callable[[], bool], query_id: str) -> None:
        """Wait for some traffic on a connection.

        Args:
            is_ready: Waits for as long as the server may be silent, and tells whether there was any.
            query_id: The statement that is waited for.

        Raises:
            ServerError: The server fell silent.
        """
        since, missed = datetime.now(UTC), 0
        while not is_ready():
            missed = 0 if self._is_at_work(query_id) else missed + 1
            if missed == LOOKS:
                raise ServerError(sentence(self._name, since))

    def _is_at_work(self, query_id: str) -> bool:
        if self._client is None:
            return False
        seconds = min(ANSWER_S, self.silence)
        try:
            answer = self._asking.request(
                "POST",
                f"{self._client.url}/",
                body=_AT_WORK.format(query_id),
                headers=self._client.headers,
                timeout=Timeout(connect=seconds, read=seconds),
                retries=False,
            )
        except HTTPError:
            return False
        return answer.status != 200 or int(answer.data) > 0  # a server that refuses to tell does answer

    def _class(self, kind: Any) -> Any:
        connection = staticmethod(partial(kind.ConnectionCls, patience=self))  # since Python 3.14 it would be a method
        return type(kind.__name__, (kind,), {"ConnectionCls": connection})


class _Patient(HTTPConnection):
    """What is changed of a connection: how it sends, and how its responses read."""

    def __init__(self, *arguments: Any, patience: Patience, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._patience, self._query_id = patience, ""
        self.response_class = partial(_Response, patient=self)  # type: ignore[assignment]

    def putrequest(self, method: str, url: str, *arguments: Any, **options: Any) -> None:
        named = _QUERY_ID.search(url)
        self._query_id = unquote_plus(named[1]) if named else ""
        super().putrequest(method, url, *arguments, **options)

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        rest = memoryview(data.encode() if isinstance(data, str) else data)
        self.sock.settimeout(self._patience.silence)
        while rest:
            sent: list[int] = []
            self._patience.wait(partial(self._sends, rest, sent), self._query_id)
            rest = rest[sent[0] :]

    def _sends(self, data: memoryview, sent: list[int]) -> bool:
        try:
            sent.append(self.sock.send(data))
        except TimeoutError:
            return False
        return True

    def wait_to_read(self, sock: Any) -> None:
        self._patience.wait(partial(self._reads, sock), self._query_id)

    def _reads(self, sock: Any) -> bool:
        return bool(getattr(sock, "pending", int)()) or wait_for_read(sock, self._patience.silence)


class _Tls(_Patient, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Patient


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, patient: _Patient, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        raw = _Reader(self.fp.detach(), partial(patient.wait_to_read, sock))
        self.fp = io.BufferedReader(raw, _BUFFER_BYTES)


class _Reader(io.RawIOBase):
    """Reads from a socket after somebody has waited for what comes."""

    def __init__(self, raw: io.RawIOBase, wait: Callable[[], None]) -> None:
        self._raw, self._wait = raw, wait

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._wait()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
