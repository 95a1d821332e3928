"""What the tests of the use cases share: a look into both stores that does not go by way of what is tested."""

import multiprocessing
import os
import resource
import runpy
import selectors
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from adbc_driver_postgresql import dbapi
from pydantic import SecretStr

from contracts.schema.registry import marts
from pipeline.cli import app as cli
from pipeline.connections import Connections
from pipeline.engines import embedded
from pipeline.settings import Settings
from tests.pipeline.lab import Lab
from tests.pipeline.outcomes import check_outcome

DEBIAN = "/usr/lib/postgresql/15/bin"
Etl = Callable[..., tuple[int, str, str]]  # gives the exit code, stdout and stderr
CUT_SHORT = Path(__file__).with_name("cut_short.py")


@pytest.fixture(scope="module")
def lab(connections: Connections, settings: Settings) -> Lab:
    return Lab(connections, settings)


@pytest.fixture
def etl(lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Etl:
    """Return a function that runs ``etl`` in this process, on the lab's servers."""
    for name, value in lab.settings:
        if name.endswith(("_uri", "_database", "home")):
            text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            monkeypatch.setenv(f"ETL_{name.upper()}", text)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.run(list(arguments))
        out, err = capsys.readouterr()
        check_outcome(arguments, out)
        return code, out, err

    return run


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that temporary files are put into."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def room_for() -> Callable[[int], AbstractContextManager[None]]:
    """Return a context in which no file of this process grows beyond some bytes, as on a full disk."""

    @contextmanager
    def room_for(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # the engines have others
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return room_for


# What a command imports, when it runs at the latest: each process that dies would import it anew.
PRELOADED = (
    *("pipeline.replication.replicate", "pipeline.replication.sync", "pipeline.replication.drop"),
    *("pipeline.marts.build", "pymongoarrow.api", "pandera.polars", "pandera.backends.polars.builtin_checks"),
    *(f"{home}.marts.{name}" for name in sorted(marts()) for home in ("contracts", "transforms")),
)


@pytest.fixture(scope="module")
def cut_short(settings: Settings) -> Iterator[Callable[..., int]]:
    """Yield a function that runs a command in a process of its own, which dies at a given moment.

    It returns the exit code: minus nine if the process died there.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED])
    uris = {name: value.get_secret_value() for name, value in settings if name.endswith("_uri")}
    plain = settings.model_dump(include={"mongo_database", "contracts", "max_shrink"})
    given = {"settings": {**uris, **plain}}

    def run(command: str, moment: str = "never", contracts: Sequence[str] = (), **arguments: Any) -> int:
        wanted = {**given, "settings": given["settings"] | ({"contracts": contracts} if contracts else {})}
        wanted |= {"command": command, "moment": moment, "arguments": arguments}
        before = _sessions(looking)
        process = context.Process(target=partial(runpy.run_path, init_globals={"GIVEN": wanted}), args=(CUT_SHORT,))
        process.start()
        process.join(timeout=60)
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            raise AssertionError(f"{command} hangs at {moment!r}")
        give_up = time.monotonic() + 10
        while _sessions(looking) > before and time.monotonic() < give_up:
            time.sleep(0.02)  # PostgreSQL learns a moment later that its client is dead
        return process.exitcode or 0

    with closing(dbapi.connect(uris["postgres_uri"], autocommit=True)) as looking:
        yield run


def _sessions(connection: dbapi.Connection) -> int:
    """Count the sessions in the database of a connection."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
    )
    with connection.cursor() as cursor:
        cursor.execute(query)
        ((found,),) = cursor.fetchall()
    return int(found)


class _Debian(embedded.Postgres):
    """PostgreSQL 15 of Debian, which can order texts in more ways than by their bytes."""

    def _program(self, name: str) -> str:
        return f"{DEBIAN}/{name}"

    def command(self, port: int) -> list[str]:
        return ["/usr/bin/env", f"LOCPATH={self.folder}/locales", *super().command(port)]


@pytest.fixture(scope="session")
def debian_postgres(
    starts_engines: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], SecretStr]]:
    """Return a function that makes a database ordered by ``bytes``, ``libc`` or ``icu``, and returns its URI."""
    if not (Path(DEBIAN).is_dir() and shutil.which("localedef")):
        assert not os.environ.get("CI"), "the Debian packages postgresql-15 and locales are missing"
        pytest.skip("needs the Debian packages postgresql-15 and locales")
    server = _Debian(tmp_path_factory.mktemp("debian"))
    locale = server.folder / "locales" / "en_US.UTF-8"
    locale.parent.mkdir(parents=True)
    subprocess.run(["localedef", "-i", "en_US", "-f", "UTF-8", locale], check=True)
    base = server.uri(server.start())
    orders = {"bytes": "LOCALE 'C'", "libc": "LOCALE 'en_US.UTF-8'", "icu": "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"}

    def database(order: str) -> SecretStr:
        with closing(dbapi.connect(base, autocommit=True)) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {order} TEMPLATE template0 {orders[order]}")
        return SecretStr(urlunsplit(urlsplit(base)._replace(path=f"/{order}")))

    yield database
    server.stop()


class Proxy:
    """Passes bytes on between whoever comes to its port and a server on this machine.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        heard: What came from clients, as it passed over the wire: after TLS, if it speaks TLS.
        silent_at: What a client says when the proxy falls silent: nothing is passed on any more, nor closed.
        alone: Whether only that client's connection falls silent, or all that are and all that come.
        silent: Whether all have.
    """

    def __init__(self, server_port: int, tls: ssl.SSLContext | None) -> None:
        self._server_port, self._tls = server_port, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.heard = int(self._listener.getsockname()[1]), bytearray()
        self.silent_at, self.alone, self.silent, self._closed = b"", False, False, threading.Event()
        self._listener.settimeout(0.05)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        self._closed.set()
        self._accepting.join()  # or it would accept for whoever is given the listener's number next
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            with suppress(TimeoutError):
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
            while not self._closed.is_set():
                if self.silent:
                    self._closed.wait(0.05)
                    continue
                for key, _ in both.select(timeout=0.05):
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    if not (piece := source.recv(1 << 18)):  # larger than a TLS record: nothing is left over
                        return
                    if source is client:
                        self.heard += piece
                        if self.silent_at and self.silent_at in piece:
                            self.silent = not self.alone
                            self._closed.wait()
                    key.data.sendall(piece)


@pytest.fixture
def proxy_of() -> Iterator[Callable[..., Proxy]]:
    """Return a function that puts a proxy before a port, with TLS if it is given a context."""
    with ExitStack() as stack:

        def proxy_of(server_port: int, tls: ssl.SSLContext | None = None) -> Proxy:
            return stack.enter_context(closing(Proxy(server_port, tls)))

        yield proxy_of
