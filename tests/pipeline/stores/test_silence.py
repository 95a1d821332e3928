"""Servers that accept and stay silent: every wait ends, and what takes long but is at work goes on."""

import os
import re
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import polars as pl
import pyarrow as pa
import pytest

from pipeline.engines.embedded import Uris
from pipeline.errors import ServerError
from pipeline.runtime import waits as silence
from pipeline.stores.clickhouse.store import ClickHouse
from pipeline.stores.mongo.errors import translated
from pipeline.stores.mongo.store import Mongo
from pipeline.stores.postgres.connection import bounded
from pipeline.stores.postgres.store import Postgres

BRIEF = 0.4  # seconds of silence
SILENT = r"fell silent at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC: .* run the command again"


def _through(proxy: Any, uri: str) -> str:
    parts = urlsplit(uri)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{proxy.port}"))


@pytest.fixture
def no_inodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give sockets no inodes, as macOS does."""
    real = os.fstat
    monkeypatch.setattr(os, "fstat", lambda number: os.stat_result((real(number)[0], 0, *real(number)[2:])))


@pytest.mark.usefixtures("no_inodes")
def test_sockets_without_inodes_are_told_by_their_addresses() -> None:
    """The one that is shut down is the one that was meant."""
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as clients:
        ends = []
        for _ in range(2):
            before = silence.sockets()
            clients.enter_context(socket.create_connection(server.getsockname()))
            opened = {identity: number for identity, number in silence.sockets().items() if identity not in before}
            ends.append(clients.enter_context(server.accept()[0]))
            assert len(opened) == 1
        silence.shut_down(opened)
        assert ends[1].recv(1) == b"", "the second one is over"
        ends[0].settimeout(0.1)
        with pytest.raises(TimeoutError):
            ends[0].recv(1)


@pytest.mark.usefixtures("no_inodes")
def test_connections_to_two_servers_may_share_a_port() -> None:
    """The system gives one port of ours to connections to different servers: each is still told from the other."""
    with ExitStack() as opened:
        servers = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        clients = [opened.enter_context(socket.socket()) for _ in servers]
        port = 0
        for client, server in zip(clients, servers, strict=True):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            client.bind(("127.0.0.1", port))
            _, port = client.getsockname()
            client.connect(server.getsockname())
        assert {client.fileno() for client in clients} <= set(silence.sockets().values())


def test_a_number_that_has_become_anothers_is_left_alone() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        gone = {identity: number for identity, number in silence.sockets().items() if number == ours.fileno()}
        number = ours.detach()
        other, end = socket.socketpair()
        with other, end:
            os.dup2(other.fileno(), number)
            silence.shut_down(gone)
            end.send(b"on")
            assert other.recv(2) == b"on"
        os.close(number)


# --- PostgreSQL


@pytest.fixture
def postgres(engine_uris: Uris, proxy_of: Callable[..., Any]) -> Callable[[], tuple[Any, str]]:
    """Return a function that puts a proxy before PostgreSQL."""

    def postgres() -> tuple[Any, str]:
        proxy = proxy_of(urlsplit(engine_uris.postgres).port)
        return proxy, _through(proxy, engine_uris.postgres)

    return postgres


def _copy(store: Postgres) -> None:
    store.execute("CREATE TEMPORARY TABLE many (n bigint)")
    store.append("pg_temp", "many", pa.table({"n": pa.array(range(3_000_000), pa.int64())}))


def _commit(store: Postgres) -> None:
    with store.transaction():
        store.execute("SELECT 1")


def _rows(store: Postgres) -> None:
    for _ in store.batches("SELECT repeat('x', 1000) AS x FROM generate_series(1, 100000)"):
        pass


@pytest.mark.parametrize("alone", [False, True], ids=["all", "one connection"])
@pytest.mark.parametrize(
    ("silent_at", "work"),
    [
        (b"COPY", _copy),
        (b"COMMIT", _commit),
        (b"repeat", _rows),
        (b"pg_sleep", lambda store: store.rows("SELECT pg_sleep(9)")),
    ],
    ids=["COPY", "commit", "cursor", "statement"],
)
def test_postgresql_that_falls_silent_is_told(
    postgres: Callable[[], tuple[Any, str]], silent_at: bytes, work: Callable[[Postgres], None], alone: bool
) -> None:
    proxy, uri = postgres()
    with closing(Postgres(uri, silence=BRIEF)) as store:
        proxy.silent_at, proxy.alone = silent_at, alone
        with pytest.raises(ServerError, match=f"PostgreSQL at .*{SILENT}") as error:
            work(store)
        assert "\n" not in str(error.value)
        with pytest.raises(ServerError):
            store.rows("SELECT 1")


def test_postgresql_that_is_silent_from_the_beginning_is_told(postgres: Callable[[], tuple[Any, str]]) -> None:
    proxy, uri = postgres()
    proxy.silent = True
    with pytest.raises(ServerError, match=f"{SILENT}|can't be reached: it does not answer"):
        Postgres(f"{uri}?connect_timeout=1")


def test_a_long_statement_of_postgresql_lives(postgres: Callable[[], tuple[Any, str]]) -> None:
    _, uri = postgres()
    with closing(Postgres(uri, silence=2.0)) as store:
        assert store.rows("SELECT 1 FROM pg_sleep(7)") == [(1,)]


def test_what_takes_long_between_statements_disturbs_nobody(postgres: Callable[[], tuple[Any, str]]) -> None:
    _, uri = postgres()
    with closing(Postgres(uri, silence=2.0)) as store:
        rows = store.batches("SELECT repeat('x', 1000) AS x FROM generate_series(1, 100000)")
        count = len(next(rows))
        time.sleep(5.0)
        assert count + sum(len(one) for one in rows) == 100_000


@pytest.mark.parametrize(
    ("uri", "added"),
    [
        ("postgresql://h", r"\?connect_timeout=10&keepalives=1&.*&tcp_user_timeout=300000"),
        ("postgresql://h/d?sslmode=require", r"&connect_timeout=10&.*"),
        ("postgresql://h/d?connect_timeout=3&keepalives=0", r"&keepalives_idle=30&.*"),
    ],
)
def test_a_uri_gets_the_bounds_that_it_does_not_name(uri: str, added: str) -> None:
    assert re.fullmatch(re.escape(uri) + added, bounded(uri))


# --- ClickHouse


@pytest.fixture
def clickhouse(engine_uris: Uris, proxy_of: Callable[..., Any]) -> Callable[[], tuple[Any, str]]:
    """Return a function that puts a proxy before ClickHouse."""

    def clickhouse() -> tuple[Any, str]:
        proxy = proxy_of(urlsplit(engine_uris.clickhouse).port)
        return proxy, _through(proxy, engine_uris.clickhouse)

    return clickhouse


def _insert(store: ClickHouse) -> None:
    store.execute("DROP TABLE IF EXISTS many", "CREATE TABLE many (n Int64) ENGINE = Memory")
    store.append("default", "many", pl.DataFrame({"n": range(3_000_000)}))


@pytest.mark.parametrize("alone", [False, True], ids=["all", "one connection"])
@pytest.mark.parametrize(
    ("silent_at", "work"),
    [
        (b"INSERT", _insert),
        (
            b"sleepEachRow",
            lambda store: store.rows("SELECT sum(sleepEachRow(1)) FROM numbers(9) SETTINGS max_block_size = 1"),
        ),
        (b"repeat", lambda store: list(store.rows("SELECT repeat('x', 1000) FROM numbers(100000)"))),
        (b"CREATE", lambda store: store.execute("CREATE TABLE never (n Int64) ENGINE = Memory")),
    ],
    ids=["insert", "statement", "cursor", "command"],
)
def test_clickhouse_that_falls_silent_is_told(
    clickhouse: Callable[[], tuple[Any, str]], silent_at: bytes, work: Callable[[ClickHouse], None], alone: bool
) -> None:
    proxy, uri = clickhouse()
    with closing(ClickHouse(uri, silence=BRIEF)) as store:
        proxy.silent_at, proxy.alone = silent_at, alone
        with pytest.raises(ServerError, match=f"ClickHouse at .*{SILENT}") as error:
            work(store)
        assert "\n" not in str(error.value)


def test_clickhouse_that_is_silent_from_the_beginning_is_told(clickhouse: Callable[[], tuple[Any, str]]) -> None:
    proxy, uri = clickhouse()
    proxy.silent = True
    with pytest.raises(ServerError, match=SILENT):
        ClickHouse(f"{uri}?connect_timeout=1")


def test_a_long_statement_of_clickhouse_lives_and_is_begun_once(clickhouse: Callable[[], tuple[Any, str]]) -> None:
    proxy, uri = clickhouse()
    with closing(ClickHouse(uri, silence=2.0)) as store:
        store.execute("DROP TABLE IF EXISTS slow", "CREATE TABLE slow (n UInt64) ENGINE = Memory")
        store.execute("INSERT INTO slow SELECT sleepEachRow(1) + number FROM numbers(7) SETTINGS max_block_size = 1")
        assert store.rows("SELECT count() FROM slow") == [(7,)]
    assert proxy.heard.count(b"INSERT INTO slow") == 1


# --- MongoDB


@pytest.fixture
def mongo(engine_uris: Uris, proxy_of: Callable[..., Any]) -> Callable[..., tuple[Any, str]]:
    """Return a function that puts a proxy before MongoDB."""

    def mongo() -> tuple[Any, str]:
        proxy = proxy_of(urlsplit(engine_uris.mongo).port)
        return proxy, _through(proxy, engine_uris.mongo)

    return mongo


def _documents(store: Mongo) -> None:
    for _ in store.database["many"].find({}, batch_size=2):
        pass


@pytest.mark.parametrize(
    ("silent_at", "work"),
    [(b"getMore", _documents), (b"listDatabases", lambda store: store.cluster_time())],
    ids=["cursor", "command"],
)
def test_mongodb_that_falls_silent_is_told(
    mongo: Callable[..., tuple[Any, str]], silent_at: bytes, work: Callable[[Mongo], None]
) -> None:
    proxy, uri = mongo()
    with closing(Mongo(uri, "silence")) as store:
        store.database["many"].drop()
        store.database["many"].insert_many([{"n": n} for n in range(10)])
    with closing(Mongo(uri, "silence", BRIEF / 2)) as store:
        proxy.silent_at, proxy.alone = silent_at, True
        with pytest.raises(ServerError, match=f"MongoDB at .*{SILENT}") as error, translated(store._shown):
            work(store)
        assert "\n" not in str(error.value)


def test_mongodb_that_is_silent_from_the_beginning_is_told(mongo: Callable[..., tuple[Any, str]]) -> None:
    proxy, uri = mongo()
    proxy.silent = True
    with (
        closing(Mongo(f"{uri}&serverSelectionTimeoutMS=500", "silence")) as store,
        pytest.raises(ServerError, match=r"MongoDB at .* can't be reached"),
    ):
        store.cluster_time()
