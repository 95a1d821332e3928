"""What stands between the tool and a server: a proxy that can speak TLS, and that keeps what passes."""

import contextlib
import selectors
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest


class Proxy:
    """Passes bytes on between whoever comes to its port and a server on this machine.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        heard: What came from clients, as it passed over the wire: after TLS, if it speaks TLS.
    """

    def __init__(self, server_port: int, tls: ssl.SSLContext | None) -> None:
        self._server_port, self._tls = server_port, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.heard = int(self._listener.getsockname()[1]), bytearray()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self._tls is None:
                self._pass(client)
                return
            with self._tls.wrap_socket(client, server_side=True) as spoken:
                self._pass(spoken)

    def _pass(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._server_port)) as server, selectors.DefaultSelector() as both:
            both.register(client, selectors.EVENT_READ, server)
            both.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in both.select():
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    if not (piece := source.recv(1 << 18)):  # larger than a TLS record: nothing is left over
                        return
                    if source is client:
                        self.heard += piece
                    key.data.sendall(piece)


@pytest.fixture
def proxy_of() -> Iterator[Callable[..., Proxy]]:
    """Return a function that puts a proxy before a port, with TLS if it is given a context."""
    with ExitStack() as stack:

        def proxy_of(server_port: int, tls: ssl.SSLContext | None = None) -> Proxy:
            return stack.enter_context(contextlib.closing(Proxy(server_port, tls)))

        yield proxy_of
