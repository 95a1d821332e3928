"""The embedded engines on real processes: they start, share, survive crashes, and leave nothing behind."""

import os
import re
import resource
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import clickhouse_connect
import psutil
import pytest
from adbc_driver_postgresql import dbapi
from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from pipeline.engines import embedded, engine, postgres
from pipeline.engines.embedded import ClickHouse, Mongo, Postgres, Uris
from pipeline.errors import EngineError, SnapshotError
from pipeline.settings import Settings
from pipeline.stores.mongo.store import Mongo as Source
from pipeline.stores.selection import Range

pytestmark = pytest.mark.usefixtures("starts_engines")
ALL = ("mongo", "postgres", "clickhouse")
ROOT = Path(embedded.__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home with a blank in its path; whatever a test leaves running is stopped."""
    folder = tmp_path / "a home"
    yield folder
    if folder.is_dir():
        embedded.down(folder)


def _settings(home: Path, **uris: SecretStr) -> Settings:
    empty = dict.fromkeys(("mongo_uri", "postgres_uri", "clickhouse_uri"))
    return Settings.load(home=home, **(empty | uris))


def _pids(home: Path) -> dict[str, int]:
    found = {kind.name: kind(home).find() for kind in (Mongo, Postgres, ClickHouse)}
    return {name: process.pid for name, process in found.items() if process}


def _postgres(uri: str, statement: str) -> object:
    with closing(dbapi.connect(uri, autocommit=True)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone() if cursor.description else None


def _clickhouse(uri: str, statement: str) -> object:
    with closing(clickhouse_connect.get_client(dsn=uri)) as client:
        return client.command(statement)


def _write(uris: Uris) -> None:
    """Leave a trace in each engine, by what a pipeline needs of them."""
    with MongoClient(uris.mongo) as client, client.start_session() as session, client.etl.trace.watch() as changes:
        with session.start_transaction():
            client.etl.trace.insert_one({"_id": 1}, session=session)
        assert next(changes)["documentKey"] == {"_id": 1}
    _postgres(uris.postgres, "CREATE TABLE trace AS SELECT 1 AS a")
    _clickhouse(uris.clickhouse, "CREATE TABLE trace ENGINE = MergeTree ORDER BY a AS SELECT 1 AS a")


def _assert_written(uris: Uris) -> None:
    with MongoClient(uris.mongo) as client:
        assert client.etl.trace.count_documents({}) == 1
    assert _postgres(uris.postgres, "SELECT a FROM trace") == (1,)
    assert _clickhouse(uris.clickhouse, "SELECT a FROM trace") == 1


def _command(home: Path, body: str) -> "subprocess.Popen[str]":
    """Run a command that uses the engines in a process of its own."""
    code = f"""
import sys, time
from pathlib import Path
from pipeline.engines import embedded
from pipeline.settings import Settings
home = Path({str(home)!r})
settings = Settings.load(home=home, mongo_uri=None, postgres_uri=None, clickhouse_uri=None)
{body}
"""
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)


WORK = """
with embedded.engines(settings):
    print("working", flush=True)
    {}
"""


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _end(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    process.stdout.close()
    return process.wait(30)


@contextmanager
def _stranger(port: int) -> Iterator[None]:
    """Take the port for a server that hangs up on everybody."""

    class Server(socketserver.TCPServer):
        allow_reuse_address = True

    with Server(("127.0.0.1", port), socketserver.BaseRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_up_is_idempotent_and_data_outlive_down(home: Path) -> None:
    uris = embedded.up(home)
    _write(uris)
    pids = _pids(home)
    assert set(pids) == set(ALL)
    assert (embedded.up(home), _pids(home)) == (uris, pids)
    assert embedded.running(home) == vars(uris)
    assert embedded.down(home) == ALL
    assert embedded.running(home) == {}
    assert not any(map(psutil.pid_exists, pids.values()))
    assert embedded.down(home) == ()
    _assert_written(embedded.up(home))


def test_engines_are_durable_and_listen_on_the_loopback_only(home: Path) -> None:
    uris = embedded.up(home)
    for pid in _pids(home).values():
        listening = {c.laddr.ip for c in psutil.Process(pid).net_connections() if c.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
    settings = "current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes')"
    assert _postgres(uris.postgres, f"SELECT {settings}") == ("on", "on", "on")
    with MongoClient(uris.mongo) as client:
        window = client.admin.command("getParameter", minSnapshotHistoryWindowInSeconds=1)
    assert window["minSnapshotHistoryWindowInSeconds"] == 3600
    with pytest.raises(dbapi.OperationalError, match="password"):
        dbapi.connect(uris.postgres.replace("etl:", "etl:wrong")).close()
    assert (home / "postgres" / "password").stat().st_mode & 0o077 == 0
    assert home.stat().st_mode & 0o077 == 0


def test_a_moment_from_before_a_restart_is_told_as_that_if_it_is_lost(home: Path) -> None:
    mongo = Source(embedded.up(home, ["mongo"]).mongo, "etl")
    mongo.database.C.insert_many([{"_id": number} for number in range(9)])
    moment = mongo.cluster_time()
    assert mongo.count("C", moment, Range()) == 9
    mongo.database.C.delete_one({"_id": 1})
    mongo.close()
    embedded.down(home)
    mongo = Source(embedded.up(home, ["mongo"]).mongo, "etl")
    with pytest.raises(
        SnapshotError, match=r"^MongoDB was started anew at \d{4}-.* UTC, after the run's cluster time, and"
    ):
        mongo.count("C", moment, Range())
    mongo.close()


def test_mongodb_wants_its_password(home: Path) -> None:
    uri = embedded.up(home, ["mongo"]).mongo
    for other in (uri.replace("etl:", "etl:wrong"), re.sub("//.*@", "//", uri).replace("&authSource=admin", "")):
        with MongoClient(other) as client, pytest.raises(OperationFailure, match=r"[Aa]uthentication"):
            client.etl.trace.insert_one({"_id": 1})


def test_homes_that_are_older_than_their_passwords_get_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As earlier versions left them: no user in MongoDB, no files of passwords, rights for everybody."""
    command = Mongo.command
    open_door = [one for one in command(Mongo(home.resolve()), 1) if one not in ("--auth", "--keyFile")]
    open_door.remove(str(home.resolve() / "mongo" / "key"))
    Mongo(home.resolve()).data.mkdir(parents=True)
    at = open_door.index("--port") + 1
    with socket.create_server(("127.0.0.1", 0)) as free:
        open_door[at] = str(free.getsockname()[1])
    with subprocess.Popen(open_door, stdout=subprocess.DEVNULL) as old:
        with MongoClient(f"127.0.0.1:{open_door[at]}", directConnection=True) as client:
            members = [{"_id": 0, "host": f"127.0.0.1:{open_door[at]}"}]
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
            while not client.admin.command("hello")["isWritablePrimary"]:
                time.sleep(0.05)
            client.etl.trace.insert_one({"_id": 1})
        with pytest.raises(EngineError, match="runs without a password, since an earlier version: stop it by etl down"):
            embedded.up(home, ["mongo"])
        assert embedded.down(home) == ("mongo",)
        old.wait()
    home.chmod(0o755)
    with MongoClient(embedded.up(home, ["mongo"]).mongo) as client:
        assert client.etl.trace.count_documents({}) == 1


def test_a_home_is_closed_to_others_whoever_made_it(home: Path) -> None:
    before = os.umask(0)
    try:
        (home / "mongo").mkdir(parents=True, mode=0o777)
        (home / "users").touch(mode=0o666)
        embedded.up(home)
        embedded.down(home)
    finally:
        os.umask(before)
    paths = [one for one in (home, *home.rglob("*")) if not one.is_symlink()]
    assert [one for one in paths if one.stat().st_mode & 0o077] == []


def test_a_folder_that_holds_other_things_is_left_as_it_is(home: Path) -> None:
    (home / "project").mkdir(parents=True)
    (home / "project" / "run.sh").touch(mode=0o755)
    home.chmod(0o755)
    with pytest.raises(EngineError, match="holds other things than embedded engines"):
        embedded.up(home, ["mongo"])
    assert [one.name for one in home.iterdir()] == ["project"]
    assert home.stat().st_mode & 0o777 == 0o755
    assert (home / "project" / "run.sh").stat().st_mode & 0o777 == 0o755
    shutil.rmtree(home)


@contextmanager
def _locked(home: Path, seconds: int) -> "Iterator[subprocess.Popen[str]]":
    """Let a stranger hold the lock for some seconds."""
    home.mkdir()
    command = ["flock", str(home / "lock"), "sh", "-c", f"echo locked; exec sleep {seconds}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stranger:
        assert stranger.stdout is not None and stranger.stdout.readline()
        yield stranger


def test_a_lock_that_a_stranger_holds_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_SECONDS_TO_TELL", 0.1)
    with _locked(home, 60) as stranger:
        began = time.monotonic()
        with pytest.raises(EngineError, match=r"The lock of .* is held by process \d+ \(\w+ of .*\): end it"):
            embedded.up(home)
        assert time.monotonic() - began < 30
        for child in psutil.Process(stranger.pid).children():
            child.kill()
        stranger.kill()


def test_a_lock_whose_holder_is_not_known_is_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was let go of a moment ago, or nothing tells: only Linux does."""
    monkeypatch.setattr(embedded, "_SECONDS_TO_TELL", 0.1)
    monkeypatch.setattr(embedded, "_holder", lambda _: None)
    with _locked(home, 1):
        embedded.up(home, [])


@pytest.mark.parametrize(
    ("allowed", "hard", "files"), [(65_536, -1, 65_536), (65_536, 4_096, 4_096), (10_240, -1, 10_240), (0, -1, 256)]
)
def test_as_many_files_as_the_system_allows(
    allowed: int, hard: int, files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hard limit is no promise: macOS may refuse more than 10,240 although it says "unlimited"."""

    def limit(_: int, wanted: tuple[int, int]) -> None:
        if wanted[0] > allowed:
            raise ValueError("current limit exceeds maximum limit")

    assert resource.RLIM_INFINITY == -1
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, hard))
    monkeypatch.setattr(resource, "setrlimit", limit)
    assert engine._files() == files


@pytest.mark.parametrize("marked", [False, True])
def test_who_only_names_our_folder_is_not_stopped(home: Path, marked: bool) -> None:
    embedded.up(home, ["postgres"])
    embedded.down(home)
    names = ["x", "--path", str(home.resolve() / "clickhouse" / "data"), "--port", "1"]
    program = "import time; print('up', flush=True); time.sleep(60)" + "  # pipeline.engines.chdb_server" * marked
    environment = os.environ | ({"ETL_ENGINE_OF": "another home"} if marked else {})
    command = [sys.executable, "-c", program, *names]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout is not None and stranger.stdout.readline()
        assert embedded.running(home) == {}
        assert embedded.down(home) == ()
        assert stranger.poll() is None
        stranger.kill()


def test_engines_that_were_killed_come_back_with_their_data(home: Path) -> None:
    _write(embedded.up(home))
    pids = _pids(home)
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    uris = embedded.up(home)
    assert set(_pids(home)) == set(ALL)
    assert not set(pids.values()) & set(_pids(home).values())
    _assert_written(uris)


def test_a_block_stops_what_it_started_also_on_an_error(home: Path) -> None:
    def work() -> None:
        with embedded.engines(_settings(home)) as settings:
            assert set(_pids(home)) == set(ALL)
            assert settings.postgres_uri is not None
            assert _postgres(settings.postgres_uri.get_secret_value(), "SELECT 1 / 0") == (1,)

    with pytest.raises(dbapi.DataError, match="division by zero"):
        work()
    assert _pids(home) == {}


def test_given_uris_are_kept_unless_everything_is_wanted(home: Path) -> None:
    given = {f"{name}_uri": SecretStr(uri) for name, uri in (("mongo", "mongodb://a"), ("clickhouse", "http://b"))}
    with embedded.engines(_settings(home, **given)) as settings:
        assert set(_pids(home)) == {"postgres"}
        assert (settings.mongo_uri, settings.clickhouse_uri) == tuple(given.values())
    with embedded.engines(_settings(home, **given), everything=True) as settings:
        assert set(_pids(home)) == set(ALL)
        assert settings.mongo_uri != given["mongo_uri"]


def test_nothing_is_started_when_all_uris_are_given(home: Path) -> None:
    uris = ("mongodb://a", "postgresql://b", "http://c")
    given = _settings(home, **{f"{name}_uri": SecretStr(uri) for name, uri in zip(ALL, uris, strict=True)})
    with embedded.engines(given) as settings:
        assert settings == given
    assert not home.exists()


def test_a_block_leaves_kept_engines_alone(home: Path) -> None:
    embedded.up(home, ["postgres"])
    with embedded.engines(_settings(home)):
        assert set(_pids(home)) == set(ALL)
    assert set(_pids(home)) == {"postgres"}


def test_engines_of_an_earlier_boot_do_not_count_as_kept(home: Path) -> None:
    embedded.up(home, ["postgres"])
    os.kill(_pids(home)["postgres"], signal.SIGKILL)
    time.sleep(2.1)  # later than the slack that a start time is granted
    with embedded.engines(_settings(home, mongo_uri=SecretStr("mongodb://a"), clickhouse_uri=SecretStr("http://b"))):
        assert set(_pids(home)) == {"postgres"}
    assert _pids(home) == {}


def test_the_last_of_two_commands_stops_the_engines(home: Path) -> None:
    other = _command(home, WORK.format("time.sleep(60)"))
    first = _command(home, WORK.format("time.sleep(0.3)"))
    assert (_line(other), _line(first)) == ("working", "working")
    assert _end(first) == 0
    with embedded.engines(_settings(home)) as settings:
        assert set(_pids(home)) == set(ALL)
    assert set(_pids(home)) == set(ALL), "another command still works with them"
    assert settings.clickhouse_uri is not None
    other.send_signal(signal.SIGTERM)
    assert _end(other) == 128 + signal.SIGTERM
    assert _pids(home) == {}


def test_engines_of_a_killed_command_are_adopted_and_stopped(home: Path) -> None:
    killed = _command(home, WORK.format("time.sleep(60)"))
    assert _line(killed) == "working"
    killed.kill()
    _end(killed)
    left = _pids(home)
    assert set(left) == set(ALL)
    with embedded.engines(_settings(home)):
        assert _pids(home) == left
    assert _pids(home) == {}


def test_ctrl_c_stops_the_engines_in_order(home: Path) -> None:
    process = _command(home, WORK.format("time.sleep(60)"))
    assert _line(process) == "working"
    process.send_signal(signal.SIGINT)
    assert _end(process) == -signal.SIGINT
    assert _pids(home) == {}


def test_two_commands_may_start_at_once(home: Path) -> None:
    both = [_command(home, "print(embedded.up(home), flush=True)") for _ in range(2)]
    assert _line(both[0]) == _line(both[1])
    assert [_end(process) for process in both] == [0, 0]
    assert set(_pids(home)) == set(ALL)


@pytest.mark.parametrize("system", ["Linux", "macOS"])
def test_down_does_not_wait_for_another_process_to_reap(
    home: Path, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if system == "macOS":
        monkeypatch.delattr(os, "pidfd_open")
    parent = _command(home, "print(embedded.up(home, ['postgres']), flush=True); time.sleep(60)")
    _line(parent)
    began = time.monotonic()
    assert embedded.down(home) == ("postgres",)
    assert time.monotonic() - began < 40  # as long as the parent sleeps it does not reap
    parent.kill()
    _end(parent)


def test_a_taken_port_is_replaced_and_the_replica_set_follows(home: Path) -> None:
    _write(embedded.up(home))
    embedded.down(home)
    ports = [int((home / name / "port").read_text()) for name in ALL]
    with ExitStack() as strangers:
        for port in ports:
            strangers.enter_context(_stranger(port))
        _assert_written(embedded.up(home))


def test_a_stranger_with_the_servers_process_id_is_left_alone(home: Path) -> None:
    embedded.up(home, ["postgres"])
    note = home / "postgres" / "data" / "postmaster.pid"
    old = note.read_text()
    embedded.down(home)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        note.write_text("\n".join([str(stranger.pid), *old.splitlines()[1:]]))
        uris = embedded.up(home, ["postgres"])
        assert _postgres(uris.postgres, "SELECT 1") == (1,)
        embedded.down(home)
        assert stranger.poll() is None
        stranger.kill()


def test_a_lost_password_is_replaced(home: Path) -> None:
    embedded.up(home, ["postgres"])
    embedded.down(home)
    (home / "postgres" / "password").unlink()
    assert _postgres(embedded.up(home, ["postgres"]).postgres, "SELECT 1") == (1,)


def test_a_crash_while_the_cluster_is_made_leaves_no_trace(home: Path) -> None:
    half_made = home / "postgres" / "new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("16\n")
    assert _postgres(embedded.up(home, ["postgres"]).postgres, "SELECT 1") == (1,)


def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30) / ("path" * 30)
    try:
        assert _postgres(embedded.up(home, ["postgres", "mongo"]).postgres, "SELECT 1") == (1,)
    finally:
        embedded.down(home)


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    home = tmp_path / "file"
    home.touch()
    with pytest.raises(EngineError, match=r"The home .*/file can't be used \(File exists\): set ETL_HOME"):
        embedded.up(home)


def test_a_data_folder_that_is_a_file_is_named(home: Path) -> None:
    home.mkdir()
    (home / "mongo").touch()
    with pytest.raises(EngineError, match="Embedded engines can't use"):
        embedded.up(home)
    assert _pids(home) == {}


@pytest.mark.parametrize(
    ("stray", "told"),
    [
        ("nothing of PostgreSQL", "holds no cluster"),
        ("PG_VERSION", r"data are of PostgreSQL 16, and this one is \d\d; set ETL_HOME to a new .* etl replicate"),
    ],
)
def test_a_foreign_cluster_is_named(home: Path, stray: str, told: str) -> None:
    data = home / "postgres" / "data"
    data.mkdir(parents=True)
    (data / stray).write_text("16\n")
    with pytest.raises(EngineError, match=rf"Embedded PostgreSQL does not start: .*{told}.*ETL_POSTGRES_URI"):
        embedded.up(home, ["postgres"])
    assert [file.name for file in data.iterdir()] == [stray], "it is as it was"


def test_damaged_mongodb_data_are_named(home: Path) -> None:
    embedded.up(home, ["mongo"])
    embedded.down(home)
    (home / "mongo" / "data" / "WiredTiger.turtle").write_text("nonsense")
    (home / "mongo" / "data" / "WiredTiger.wt").write_bytes(b"nonsense")
    with pytest.raises(EngineError, match=r"Embedded MongoDB does not start: .*ETL_MONGO_URI"):
        embedded.up(home, ["mongo"])
    assert _pids(home) == {}


@pytest.mark.parametrize("kind", [Mongo, Postgres, ClickHouse])
def test_a_missing_wheel_is_named_and_the_others_stopped(
    home: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Mongo]
) -> None:
    monkeypatch.setattr(kind, "wheel", "no-such-wheel")
    with pytest.raises(EngineError, match=f"no-such-wheel is not installed .*ETL_{kind.name.upper()}_URI"):
        embedded.up(home)
    assert _pids(home) == {}


def test_a_missing_system_library_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says = "mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file"
    monkeypatch.setattr(Mongo, "command", lambda *_: ["sh", "-c", f"echo {says} >&2; exit 127"])
    with pytest.raises(EngineError, match=r"the system library libcurl\.so\.4 is missing"):
        embedded.up(home, ["mongo"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must step down")
def test_root_without_user_namespaces_becomes_nobody(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.up(home, ["postgres"])
    assert psutil.Process(_pids(home)["postgres"]).uids().real == 0, "in a user namespace nothing changes outside"
    embedded.down(home)
    works = postgres._works
    monkeypatch.setattr(postgres, "_works", lambda way: "unshare" not in way and works(way))
    postgres._as_another_user.cache_clear()
    try:
        uris = embedded.up(home, ["postgres"])
        assert psutil.Process(_pids(home)["postgres"]).uids().real == postgres._nobody()
        assert _postgres(uris.postgres, "SELECT 1") == (1,)
        embedded.down(home)
        monkeypatch.setattr(postgres, "_works", lambda _: False)
        postgres._as_another_user.cache_clear()
        with pytest.raises(EngineError, match="refuses root, whom neither unshare nor setpriv turns"):
            embedded.up(home, ["postgres"])
    finally:
        postgres._as_another_user.cache_clear()
    monkeypatch.undo()
    assert _postgres(embedded.up(home, ["postgres"]).postgres, "SELECT 1") == (1,), "and back again"
