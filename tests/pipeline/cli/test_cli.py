"""The command line as people and scripts meet it: outcomes, exit codes, one sentence for each error."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from pymongo import MongoClient

import pipeline.control.status
from pipeline.cli import app as cli
from pipeline.cli.engines import without_password
from pipeline.connections import Connections
from pipeline.engines import embedded
from pipeline.settings import Settings
from pipeline.stores.postgres.store import Postgres
from tests.pipeline.cli.processes import ROOT, Result, start
from tests.pipeline.outcomes import check_outcome

COMMANDS = ("demo", "generate", "replicate", "sync", "verify", "marts", "status", "up", "down")
CLOSED_PORT = 1
SECRET = "s3cr3t"

Etl = Callable[..., Result]


@pytest.fixture
def etl(
    settings: Settings, engine_uris: embedded.Uris, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Etl:
    """Return a function that runs ``etl`` in this process, on the engines of the session."""
    assert settings.postgres_uri is not None
    monkeypatch.setenv("ETL_HOME", str(settings.home))
    monkeypatch.setenv("ETL_MONGO_URI", engine_uris.mongo)
    monkeypatch.setenv("ETL_MONGO_DATABASE", settings.mongo_database)
    monkeypatch.setenv("ETL_POSTGRES_URI", settings.postgres_uri.get_secret_value())
    monkeypatch.setenv("ETL_CLICKHOUSE_URI", engine_uris.clickhouse)

    def run(*arguments: str) -> Result:
        capsys.readouterr()
        result = Result(cli.run(list(arguments)), *capsys.readouterr())
        check_outcome(arguments, result.out)
        return result

    return run


def _assert_one_sentence(result: Result, says: str, code: int = 2) -> None:
    assert result.code == code, result
    (line,) = result.err.splitlines()
    assert re.match(r"error: \S", line)
    assert re.search(says, line), line
    assert "Traceback" not in result.err
    assert SECRET not in result.err + result.out


# Help ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_examples(etl: Etl, command: str) -> None:
    result = etl(command, "--help")
    assert result.code == 0
    assert re.search(rf"Examples:\s+(\S+ .*)?etl {command}", result.out)
    assert "--json" in result.out


def test_without_a_command_the_help_is_shown(etl: Etl) -> None:
    result = etl()
    assert result.code == 0
    assert all(re.search(rf"^. {command} ", result.out, re.MULTILINE) for command in COMMANDS)
    assert result.out == etl("--help").out


def test_help_imports_no_library_of_the_job() -> None:
    code = "import sys, pipeline.cli.app as c; c.run(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"polars", "pyarrow", "pandera", "pymongo", "bson", "faker", "pydantic", "clickhouse_connect", "orjson"}
    assert heavy & set(done.stderr.split()) == set()


def _imported_by(*commands: tuple[str, ...]) -> list[set[str]]:
    """Run commands one after the other in a process of their own; return the modules that it has after each."""
    code = "import sys, pipeline.cli.app as c\nfor one in {}: print(c.run([*one]), *sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code.format(commands)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in done.stderr.splitlines()]
    assert [line[0] for line in lines] == ["0"] * len(commands)
    return [set(line) for line in lines]


@pytest.mark.parametrize("option", ["--version", "-v"])
def test_the_version_is_printed(etl: Etl, option: str) -> None:
    result = etl(option)
    assert result.code == 0
    assert result.out.startswith("etl")


# The job ------------------------------------------------------------------------------------------------------------


def test_nothing_replicated_yet(etl: Etl) -> None:
    result = etl("status")
    assert result.code == 0
    assert "nothing replicated yet" in result.out
    _assert_one_sentence(etl("verify"), "run etl replicate")
    _assert_one_sentence(etl("marts"), "run etl replicate")
    _assert_one_sentence(etl("replicate"), "run etl generate")


def test_the_job_step_by_step_for_scripts(etl: Etl) -> None:
    made = etl("generate", "--scale", "0.005", "--rows", "SearchQueries=40", "--defects", "0.05", "--json")
    refused = {name: one["quarantined"] for name, one in made.json["collections"].items()}
    assert made.json["collections"]["SearchQueries"]["documents"] == 40
    assert sum(refused.values()) > 0

    copied = etl("replicate", "--json").json
    assert copied["closed"] is True
    assert len(copied["books"]) == 14
    assert {one["collection"]: one["quarantined"] for one in copied["books"]} == refused
    assert copied["targets"] == ["postgres", "clickhouse"]

    verified = etl("verify", "--json").json
    assert verified["proven"] is True
    assert len(verified["comparisons"]) == 14
    assert verified["comparisons"][0]["cluster_time"] == copied["cluster_time"]

    built = etl("marts", "--json").json
    assert {"user_activity", "ticket_resolution"} <= {one["name"] for one in built["marts"]}

    state = etl("status", "--json").json
    assert {one["kind"]: one["status"] for one in state["runs"]} == {"replicate": "published", "marts": "published"}
    assert state["books"] == copied["books"]
    assert state["quarantined"] == {name: count for name, count in refused.items() if count}
    assert {one["target"] for one in state["published"]} == {"postgres", "clickhouse"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", state["published"][0]["cluster_time_at"])


def test_the_job_step_by_step_for_people(etl: Etl) -> None:
    outcomes = [
        etl("generate", "--scale", "0", "--rows", "UserSessions=1500", "--rows", "SupportTickets=20"),
        etl("replicate", "UserSessions", "support_tickets", "--target", "clickhouse"),
        etl("verify", "UserSessions", "--target", "clickhouse"),
        etl("replicate"),
        etl("marts", "user_activity"),
        etl("status"),
    ]
    for one in outcomes:
        assert one.code == 0
        assert one.err == "", "no progress bars where there is no terminal"
        assert max(map(len, one.out.splitlines())) <= 100
    made, copied, verified, _, built, state = outcomes
    assert "Generated: 1,520 documents" in made.out
    assert re.search(r"UserSessions +clickhouse +1,500 +1,500 +0 +closed", copied.out)
    assert "postgres" not in copied.out
    assert re.search(r"UserSessions +clickhouse +1,500 +1,500 +0 +0 +0 +0 +yes", verified.out)
    assert re.search(r"user_activity +[\d,]+ ", built.out)
    assert re.search(r"SupportTickets +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +\w+ +postgres, clickhouse", state.out)
    assert "embedded engines that run under" in state.out


def test_a_command_imports_only_what_it_uses(etl: Etl) -> None:
    assert etl("sync").code == 0
    # What one of them imports the next ones have as well, so they come by how little they use.
    commands = ("--help",), ("status",), ("verify", "UserSessions"), ("sync",), ("replicate", "UserSessions")
    by_help, by_status, by_verify, by_sync, by_replicate = _imported_by(*commands)
    unread = {"pandas", "hypothesis", "pandera", "pymongoarrow", "faker"}
    # Pandera and PyMongoArrow import the first two wherever they are installed, as long as all that is read here takes.
    assert unread & by_replicate == {"pandera", "pymongoarrow"}
    assert unread & by_sync == set()
    # A proof shares no code with the copy.
    assert {*unread, "transforms.ingest.batch"} & by_verify == set()
    # The books alone are read.
    unread |= {"polars", "pymongo", "clickhouse_connect", "contracts.schema", "tenacity", "transforms.digest"}
    assert unread & by_status == set()
    unread |= {"pyarrow", "numpy", "bson", "adbc_driver_manager", "pydantic_settings", "pipeline.stores"}
    assert unread & by_help == set()


def test_the_changes_are_followed(etl: Etl, connections: Connections) -> None:
    assert etl("generate", "--scale", "0", "--rows", "SearchQueries=20").code == 0
    assert etl("replicate").code == 0
    queries = connections.mongo.database["SearchQueries"]
    queries.delete_one({})
    queries.update_one({}, {"$set": {"new": 1}})
    queries.insert_one({"_id": 1})
    found = etl("sync", "--json")
    assert found.code == 0, found
    changed = {one["collection"]: one for one in found.json["collections"]}["SearchQueries"]
    assert {name: changed[name] for name in ("changed", "loaded", "deleted", "quarantined")} == {
        "changed": 3,
        "loaded": 1,
        "deleted": 1,
        "quarantined": 1,
    }
    assert [one["path"] for one in found.json["drift"]] == ["/new"]
    assert etl("verify", "--json").json["proven"]
    queries.delete_one({"_id": 1})
    shown = etl("sync", "SearchQueries").out
    assert re.search(r"SearchQueries +postgres clickhouse +1 +0 +1 +0", shown), shown
    assert "sync" in {one["kind"] for one in etl("status", "--json").json["runs"]}
    _assert_one_sentence(etl("sync", "Nothing"), "there is no contract of 'Nothing'")
    _assert_one_sentence(etl("sync", "--max-quarantined", "x"), "a number or a percentage")


def test_ctrl_c_ends_following_and_tells_all_that_came(etl: Etl, settings: Settings, connections: Connections) -> None:
    assert etl("generate", "--scale", "0", "--rows", "SearchQueries=20").code == 0
    assert etl("replicate", "SearchQueries", "--allow-shrink").code == 0
    uris = {f"ETL_{name.upper()}": value.get_secret_value() for name, value in settings if name.endswith("_uri")}
    process = start(
        settings.home,
        "sync",
        "--follow",
        "--every",
        "0.2",
        "--json",
        ETL_MONGO_DATABASE=settings.mongo_database,
        **uris,
    )
    assert process.stderr is not None
    assert "Ctrl-C ends it" in process.stderr.readline()
    for _ in range(3):
        time.sleep(0.5)
        assert connections.mongo.database["SearchQueries"].delete_one({}).deleted_count == 1
    told = [process.stderr.readline()]
    while sum(int(re.search(r"([0-9]+) deleted", line)[1]) for line in told) < 3:  # type: ignore[index]
        told.append(process.stderr.readline())
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    (queries,) = (one for one in json.loads(out)["collections"] if one["collection"] == "SearchQueries")
    assert (queries["changed"], queries["deleted"]) == (3, 3)


def test_a_store_that_differs_is_told_with_exit_code_1(etl: Etl, connections: Connections) -> None:
    etl("generate", "--scale", "0", "--rows", "UserSessions=50")
    etl("replicate", "UserSessions", "--allow-shrink")
    with connections.postgres.transaction():
        ((changed,),) = connections.postgres.rows("SELECT min(_id) FROM replica.user_sessions")
        connections.postgres.execute(
            "UPDATE replica.user_sessions SET user_id = 'X' WHERE _id = $1::text", parameters=(changed,)
        )
    for_people = etl("verify", "UserSessions")
    _assert_one_sentence(for_people, "not proven: UserSessions in postgres", code=1)
    assert re.search(rf"postgres +{changed} +user_sessions\.user_id +\S+ +X", for_people.out)
    for_scripts = etl("verify", "UserSessions", "--json")
    assert for_scripts.code == 1
    assert for_scripts.json["proven"] is False
    (difference,) = for_scripts.json["comparisons"][0]["differences"]
    assert (difference["id"], difference["column"], difference["found"]) == (changed, "user_id", "X")
    sampled = etl("verify", "UserSessions", "--target", "clickhouse", "--sample", "10%", "--seed", "7")
    assert "a sample (10%, --seed 7)" in sampled.out and sampled.code == 0
    assert re.search(r"UserSessions +clickhouse +5 +50 +5 ", sampled.out)


# Errors -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["replicate", "NoSuch"], "no contract of 'NoSuch'; there are .*UserSessions"),
        (["verify", "NoSuch"], "no contract of 'NoSuch'"),
        (["verify", "--sample", "some"], "a sample is a number of documents or a percentage"),
        (["verify", "--seed", "1"], "--seed chooses a sample, so it goes with --sample"),
        (["marts", "no_such"], "no mart 'no_such'; there are .*user_activity"),
        (["replicate", "--target", "oracle"], "oracle.*clickhouse"),
        (["replicate", "--no-such-option"], "--no-such-option"),
        (["no-such-command"], "no-such-command"),
        (["generate", "--rows", "UserSessions"], "--rows takes COLLECTION=N.*'UserSessions'"),
        (["generate", "--rows", "UserSessions=many"], "--rows takes COLLECTION=N"),
        (["generate", "--rows", "NoSuch=1"], "NoSuch"),
        (["generate", "--scale", "-1"], "scale"),
        (["generate", "--scale", "much"], "--scale.*number"),
        (["generate", "--defects", "2"], "between 0 and 1"),
        (["generate", "--seed", "-3"], "seed"),
    ],
)
def test_wrong_usage_is_one_sentence(etl: Etl, arguments: list[str], says: str) -> None:
    result = etl(*arguments)
    _assert_one_sentence(result, says)
    assert result.out == ""
    for_scripts = etl(*arguments, "--json")
    assert for_scripts.json == {"error": for_scripts.err.removeprefix("error: ").strip()}
    assert for_scripts.code == 2


def test_a_mistake_in_a_contract_is_one_sentence(etl: Etl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "from contracts.schema.entity import Entity\nfrom contracts.schema.fields import text\n"
    monkeypatch.setenv("ETL_CONTRACTS", str(tmp_path))
    for line in (
        "text('x', 'X.', lenght=1)",
        "text('x' 'X.')",
        "ENTITY = [text('x', 'X.') 1]",
        "Entity(keys=1)",
        "txt()",
    ):
        (tmp_path / "things.py").write_text(words + line)
        result = etl("replicate")
        _assert_one_sentence(result, r"^error: .*/things\.py, line 3: \S")
        assert "Error" not in result.err
        assert "line 3" in etl("replicate", "--json").json["error"]


def test_a_collection_that_was_not_generated_is_left_alone(etl: Etl, connections: Connections) -> None:
    connections.mongo.database.drop_collection("SearchQueries")
    connections.mongo.database["SearchQueries"].insert_one({"precious": True})
    arguments = ("generate", "--scale", "0", "--rows", "SearchQueries=3")
    _assert_one_sentence(etl(*arguments), "SearchQueries .*--replace")
    assert connections.mongo.database["SearchQueries"].count_documents({"precious": True}) == 1
    assert etl(*arguments, "--replace").code == 0
    assert connections.mongo.database["SearchQueries"].count_documents({}) == 3


@pytest.mark.parametrize(
    ("variable", "uri", "says"),
    [
        (
            "ETL_MONGO_URI",
            f"mongodb://u:{SECRET}@127.0.0.1:{CLOSED_PORT}/?serverSelectionTimeoutMS=500",
            "MongoDB at .*127.0.0.1:1.* can't be reached",
        ),
        ("ETL_POSTGRES_URI", f"postgresql://u:{SECRET}@127.0.0.1:{CLOSED_PORT}/d", "PostgreSQL at .* can't be reached"),
        ("ETL_CLICKHOUSE_URI", f"http://u:{SECRET}@127.0.0.1:{CLOSED_PORT}/d", "ClickHouse at .* can't be reached"),
        ("ETL_MONGO_URI", f"mongo://u:{SECRET}@h", "ETL_MONGO_URI must begin with mongodb://"),
        ("ETL_POSTGRES_URI", f"jdbc:postgresql://u:{SECRET}@h", "ETL_POSTGRES_URI must begin with postgresql://"),
        ("ETL_CLICKHOUSE_URI", f"tcp://u:{SECRET}@h", "ETL_CLICKHOUSE_URI must begin with http://"),
        ("ETL_POSTGRES_URI", f"postgresql://u:{SECRET}@127.0.0.1:port/d", "ETL_POSTGRES_URI can't be read as"),
        ("ETL_MONGO_URI", f"mongodb://u:{SECRET}@127.0.0.1:port/", "ETL_MONGO_URI can't be read as"),
        ("ETL_CLICKHOUSE_URI", f"http://u:{SECRET}@127.0.0.1:port/", "ETL_CLICKHOUSE_URI can't be read as"),
        ("ETL_MONGO_URI", f"mongodb://u:a@{SECRET}@127.0.0.1:1/", "@ as %40"),
        ("ETL_POSTGRES_URI", f"postgresql://u:a@{SECRET}@127.0.0.1:1/d", "@ as %40"),
        ("ETL_POSTGRES_URI", f"postgresql://u:1/{SECRET}@127.0.0.1:1/d", "/ as %2F"),
        ("ETL_CLICKHOUSE_URI", f"http://u:a?{SECRET}@127.0.0.1:1/", "percent"),
        ("ETL_MONGO_URI", f"mongodb://u:{SECRET}%zz@127.0.0.1:1/", "percent"),
        ("ETL_POSTGRES_URI", f"postgresql://u:{SECRET}%zz@127.0.0.1:1/", "percent"),
        ("ETL_MONGO_URI", f"mongodb://u:{SECRET}@127.0.0.1:99999/", "ETL_MONGO_URI can't be read"),
        ("ETL_POSTGRES_URI", f"postgresql://u:{SECRET}@127.0.0.1:99999/", "ETL_POSTGRES_URI can't be read"),
        ("ETL_CLICKHOUSE_URI", f"http://u:{SECRET}@127.0.0.1:99999/", "ETL_CLICKHOUSE_URI can't be read"),
        ("ETL_CLICKHOUSE_URI", f"http://u:{SECRET}@/", "ClickHouse"),
        ("ETL_MONGO_URI", f"mongodb://u:{SECRET}@/", "MongoDB"),
        ("ETL_CLICKHOUSE_URI", f"http://u:{SECRET}@no-such-host.invalid/", "ClickHouse at .* can't be reached"),
        ("ETL_MEMORY", "much", "ETL_MEMORY must be a size"),
        ("ETL_CONTRACTS", "/no/such/folder", "/no/such/folder"),
    ],
)
def test_a_wrong_setting_is_one_sentence_without_its_password(
    etl: Etl, monkeypatch: pytest.MonkeyPatch, variable: str, uri: str, says: str
) -> None:
    monkeypatch.setenv(variable, uri)
    result = etl("replicate")
    _assert_one_sentence(result, says)
    assert "unexpected" not in result.err


@pytest.mark.parametrize("user", ["etl", "nobody"])
def test_a_refused_password_of_postgresql(
    etl: Etl, engine_uris: embedded.Uris, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    monkeypatch.setenv("ETL_POSTGRES_URI", re.sub(r"//.*@", f"//{user}:{SECRET}@", engine_uris.postgres))
    for command in ("replicate", "status"):
        _assert_one_sentence(etl(command), "PostgreSQL at .* refused the user or password")


def test_a_database_that_is_missing(etl: Etl, engine_uris: embedded.Uris, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETL_POSTGRES_URI", engine_uris.postgres.removesuffix("etl") + "nowhere")
    _assert_one_sentence(etl("replicate"), "PostgreSQL at .*nowhere")
    monkeypatch.undo()


@pytest.fixture(scope="module")
def single_mongod(starts_engines: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A mongod that is no replica set."""
    folder = tmp_path_factory.mktemp("mongod")
    program = distribution(embedded.Mongo.wheel).locate_file("fiftyone/db/bin/mongod")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(program), "--dbpath", str(folder), *options], stdout=log, stderr=log)
    try:
        with MongoClient(port=port, serverSelectionTimeoutMS=30_000) as client:
            client.admin.command("ping")
        yield f"mongodb://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(30)


def test_a_mongodb_that_is_no_replica_set(etl: Etl, single_mongod: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETL_MONGO_URI", single_mongod)
    assert etl("generate", "--scale", "0", "--rows", "UserSessions=1").code == 0, "to write needs no replica set"
    _assert_one_sentence(etl("replicate"), "no replica set.*--replSet")


@pytest.mark.parametrize("command", ["up", "status", "replicate"])
def test_a_home_that_is_no_folder(etl: Etl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ETL_HOME", str(tmp_path / "file" / "home" if command == "replicate" else tmp_path / "file"))
    for name in ("MONGO", "POSTGRES", "CLICKHOUSE"):
        monkeypatch.delenv(f"ETL_{name}_URI")
    _assert_one_sentence(etl(command), r"/file\S* can't be used .*set ETL_HOME")


def test_an_unexpected_error_is_one_sentence_unless_one_debugs(etl: Etl, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError(f"surprise at\npostgresql://etl:{SECRET}@db/etl")

    monkeypatch.setattr(pipeline.control.status, "status", breaks)
    _assert_one_sentence(etl("status"), "RuntimeError: surprise at .*etl --debug")
    assert "error" in etl("status", "--json").json
    debugged = etl("--debug", "status")
    assert debugged.code == 2
    assert "Traceback" in debugged.err


@pytest.mark.parametrize(
    ("uri", "shown", "password"),
    [
        (
            "postgresql://me:a%40b@host:1,other/db?sslmode=require",
            "postgresql://me@host:1,other/db?sslmode=require",
            "a@b",
        ),
        ("postgresql://me@host/db?password=x%26&connect_timeout=1", "postgresql://me@host/db?connect_timeout=1", "x&"),
        ("postgres://[::1]/db", "postgres://[::1]/db", None),
    ],
)
def test_psql_is_called_without_the_password(uri: str, shown: str, password: str | None) -> None:
    assert without_password(uri) == (shown, password)


# Ctrl-C -------------------------------------------------------------------------------------------------------------


def _press_ctrl_c(after_s: float) -> None:
    threading.Timer(after_s, os.kill, [os.getpid(), signal.SIGINT]).start()


def test_ctrl_c_waits_for_the_statement_and_no_longer(etl: Etl, monkeypatch: pytest.MonkeyPatch) -> None:
    came_to: list[str] = []

    def takes_long(postgres: Postgres) -> None:
        _press_ctrl_c(0.1)
        postgres.rows("SELECT pg_sleep(1.5)::text")
        came_to.append("the next statement")

    monkeypatch.setattr(pipeline.control.status, "status", takes_long)
    result = etl("status", "--json")
    assert (result.code, result.json, result.err) == (130, {"error": "interrupted"}, "interrupted\n")
    assert came_to == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a cursor that was half made
def test_ctrl_c_is_never_lost_among_short_statements(etl: Etl, monkeypatch: pytest.MonkeyPatch) -> None:
    def goes_on(postgres: Postgres) -> None:
        _press_ctrl_c(0.05)
        give_up = time.monotonic() + 5
        while time.monotonic() < give_up:
            postgres.rows("SELECT 1")

    monkeypatch.setattr(pipeline.control.status, "status", goes_on)
    assert [etl("status").code for _ in range(20)] == [130] * 20
