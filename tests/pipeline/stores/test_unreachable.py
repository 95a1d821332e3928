"""Servers that go away, at rest and in the midst of an answer: one sentence in words that libraries don't know."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr

from contracts.schema.entity import Column, Table
from contracts.schema.kinds import TEXT
from pipeline.engines import embedded
from pipeline.engines.embedded import engines
from pipeline.engines.engine import Engine
from pipeline.errors import EtlError, ServerError
from pipeline.settings import Settings
from pipeline.stores.clickhouse.store import ClickHouse
from pipeline.stores.mongo.store import Mongo
from pipeline.stores.postgres.store import Postgres
from pipeline.stores.unreachable import why_unreachable
from tests.pipeline.lab import Lab
from tests.ports import free_port

MANY = Table("many", "More than any buffer on the way holds.", (Column("_id", TEXT, "A kilobyte."),), ("_id",))
ROWS = 200_000
CLOSED, REFUSED, ENDED = "the server closed the connection", "connection refused", "somebody has ended the session"
LIBRARIES = re.compile(
    r"libpq|Errno|urllib3|HTTPConnection|Failed to|IncompleteRead|set named|Topology|FATAL|SELECT|\n"
)


@pytest.fixture
def home(starts_engines: None, tmp_path: Path) -> Path:
    return tmp_path.resolve()


def _engine(home: Path, kind: type[Engine]) -> psutil.Process:
    process = kind(home).find()
    assert process is not None
    return process


def _only(home: Path, name: str) -> Settings:
    """Return settings that lack one server, so that it alone is started."""
    uris: dict[str, Any] = {f"{other}_uri": SecretStr("") for other in embedded.NAMES if other != name}
    return Settings.load(home=home).model_copy(update=uris)


def _said(do: Callable[[], Any]) -> str:
    """Return the sentence of the error that something ends with."""
    with pytest.raises(ServerError) as error:
        do()
    sentence = str(error.value)
    assert "can't be reached" in sentence
    assert not LIBRARIES.search(sentence.partition("can't be reached")[2]), sentence
    return sentence


def _read(store: Postgres | ClickHouse, process: psutil.Process, number: signal.Signals = signal.SIGKILL) -> None:
    """Read many rows, of which the first ones end the server."""
    for place, _ in enumerate(store.read("public", MANY)):
        if not place:
            process.send_signal(number)


# --- PostgreSQL


@pytest.fixture
def postgres(home: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Start a PostgreSQL with many rows; return its URI and its process."""
    with engines(_only(home, "postgres")) as settings:
        assert settings.postgres_uri is not None
        uri = settings.postgres_uri.get_secret_value()
        with closing(Postgres(uri)) as store, store.transaction():
            rows = f"SELECT repeat('x', 1000) || i AS _id FROM generate_series(1, {ROWS}) AS i"
            store.execute(f"CREATE VIEW public.many AS {rows}")
        yield uri, _engine(home, embedded.Postgres)


def _session(store: Postgres) -> psutil.Process:
    ((number,),) = store.rows("SELECT pg_backend_pid()")
    store.connection.commit()
    return psutil.Process(number)


def test_a_postgresql_that_goes_away(postgres: tuple[str, psutil.Process]) -> None:
    uri, server = postgres
    with closing(Postgres(uri)) as read, closing(Postgres(uri)) as ended, closing(Postgres(uri)) as idle:
        # In the middle of a COPY; whether libpq comes to see the server's own reason is a matter of luck.
        told = _said(lambda: _read(read, _session(read), signal.SIGTERM))
        assert CLOSED in told or ENDED in told
        assert CLOSED in _said(lambda: read.rows("SELECT 1"))  # of which libpq knows no reason
        session = _session(ended)
        session.terminate()
        session.wait(10)
        assert ENDED in _said(lambda: ended.rows("SELECT 1"))
        session = _session(idle)
        server.kill()
        session.wait(10)
        assert "the server is gone" in _said(lambda: idle.rows("SELECT 1"))
    assert REFUSED in _said(lambda: Postgres(uri))


# --- ClickHouse


def test_a_clickhouse_that_goes_away(home: Path) -> None:
    with engines(_only(home, "clickhouse")) as settings:
        assert settings.clickhouse_uri is not None
        uri = settings.clickhouse_uri.get_secret_value()
        with closing(ClickHouse(uri)) as store:
            # At random: an answer of equal rows is compressed to what fits into the buffers.
            rows = f"SELECT randomPrintableASCII(1000) || toString(number) AS _id FROM numbers({ROWS})"
            store.execute("CREATE DATABASE public", f"CREATE VIEW public.many AS {rows}")
            assert CLOSED in _said(lambda: _read(store, _engine(home, embedded.ClickHouse)))
            assert REFUSED in _said(lambda: store.rows("SELECT 1"))
        assert REFUSED in _said(lambda: ClickHouse(uri))


# --- MongoDB


@pytest.mark.parametrize("direct", ["true", "false"])
def test_a_mongodb_that_was_never_there(direct: str) -> None:
    options = f"replicaSet=rs0&directConnection={direct}&serverSelectionTimeoutMS=500"
    with closing(Mongo(f"mongodb://127.0.0.1:{free_port()}/?{options}", "x")) as store:
        assert REFUSED in _said(store.cluster_time)


def test_a_mongodb_that_goes_away(home: Path) -> None:
    with engines(_only(home, "mongo")) as settings:
        assert settings.mongo_uri is not None
        uri = settings.mongo_uri.get_secret_value() + "&serverSelectionTimeoutMS=5000"
        with closing(Mongo(uri.replace("=rs0", "=rs1"), "x")) as other:
            assert "but this node belongs to a set named 'rs0'" in str(_fails(other.cluster_time))
        with closing(Mongo(uri, "x")) as store:
            store.database["many"].insert_many([{"x": "x" * 1_000} for _ in range(30_000)])
            process = _engine(home, embedded.Mongo)

            def read() -> None:
                for place, _ in enumerate(store.in_any_order("many", store.cluster_time())):
                    if not place:
                        process.kill()
                        process.wait(10)

            told = _said(read)
            assert CLOSED in told or REFUSED in told  # if the driver has tried once more
            assert REFUSED in _said(store.cluster_time)


def _fails(do: Callable[[], Any]) -> EtlError:
    with pytest.raises(EtlError) as error:
        do()
    return error.value


# --- What can't be provoked cheaply


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FATAL:  terminating connection due to unexpected postmaster exit", "its main process has ended"),
        ("terminating connection because of crash of another server process", "one of its processes has crashed"),
        ("the database system is starting up", "try again in a moment"),
        ("the database system is in recovery mode", "try again in a moment"),
        ("SSL SYSCALL error: EOF detected", CLOSED),
        ("('Connection aborted.', RemoteDisconnected('Remote end closed connection without response'))", CLOSED),
        ("HTTPConnectionPool(host='h', port=8123): Read timed out. (read timeout=300)", "it does not answer"),
        ("h:27017: timed out (configured timeouts: connectTimeoutMS: 20000.0ms)", "it does not answer"),
        ('could not translate host name "h" to address: Name or service not known', "its host is unknown"),
        ("of which we know nothing\nSELECT", "of which we know nothing"),
        ("x" * 600, "x" * 500 + "..."),
    ],
)
def test_what_libraries_say_is_put_in_plain_words(text: str, said: str) -> None:
    assert said in why_unreachable(text)


# --- No statement reaches a person


LONG = " AND ".join(f"column_{number} = 1" for number in range(200))


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        (f"SELECT nope FROM system.one WHERE {LONG}", "Unknown expression identifier `nope` (UNKNOWN_IDENTIFIER)"),
        (f"SELECT 1 FROM\nsystem.one WHER\nE {LONG}", "Syntax error: failed at position 31 (E) (line 3, col 1) (SYN"),
        (f"SELECT 1 FROM nowhere.none WHERE {LONG}", "Database nowhere does not exist (UNKNOWN_DATABASE)"),
        (f"SELECT toUInt8('abc') AS column_0 WHERE {LONG}", "(CANNOT_PARSE_TEXT)"),
    ],
)
def test_clickhouse_quotes_no_statement(lab: Lab, statement: str, complaint: str) -> None:
    sentence = str(_fails(lambda: lab.connections.clickhouse.rows(statement)))
    assert complaint in sentence
    assert "column_1" not in sentence.replace("`column_1`", "") and "http" not in sentence.partition("default: ")[2]


@pytest.mark.parametrize(
    "statement", [f"SELECT nope FROM pg_class\nWHERE {LONG}", f"SELECT 1 FROM pg_class WHER\n{LONG}"]
)
def test_postgresql_quotes_no_statement(lab: Lab, statement: str) -> None:
    sentence = str(_fails(lambda: lab.postgres(statement)))
    assert "column_1" not in sentence and "Failed to" not in sentence
