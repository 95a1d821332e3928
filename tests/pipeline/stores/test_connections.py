"""Servers that are away, refuse, or die in the middle of a run: one sentence, and the next run puts things right."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr

from contracts.schema.registry import entities
from pipeline.connections import Connections, connect
from pipeline.engines import embedded
from pipeline.engines.embedded import ClickHouse, Mongo, Postgres
from pipeline.errors import EtlError, ServerError, UsageError
from pipeline.marts import build as marts
from pipeline.replication import replicate, verify
from pipeline.settings import Settings
from pipeline.stores.mongo import store as mongo
from pipeline.stores.postgres import store as postgres
from pipeline.text.redaction import redacted
from tests.pipeline.lab import Lab

ENGINES = {"mongo": Mongo, "postgres": Postgres, "clickhouse": ClickHouse}
NAMES = ["SupportTickets", "UserSessions"]


# --- What is wrong from the beginning


@pytest.mark.parametrize(
    ("name", "uri", "told"),
    [
        ("postgres_uri", "postgresql://me:s3cret@127.0.0.1:9/etl", "PostgreSQL at .* can't be reached"),
        ("clickhouse_uri", "http://me:s3cret@127.0.0.1:9/default", "ClickHouse at .* can't be reached"),
    ],
)
def test_a_server_that_is_away_is_told(settings: Settings, name: str, uri: str, told: str) -> None:
    wrong = settings.model_copy(update={name: SecretStr(uri)})
    with pytest.raises(ServerError, match=told) as error, connect(wrong) as connections:
        connections.targets()
    _is_one_sentence(error.value, "s3cret")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("tls=true&tlsCAFile=/nowhere/ca.pem", r"can't be used: /nowhere/ca\.pem: No such file"),
        ("tls=true&tlsCertificateKeyFile=/nowhere/key.pem", r"can't be used: /nowhere/key\.pem: No such file"),
        (f"tls=true&tlsCAFile={__file__}", "can't be used: a file of TLS can't be read as one"),
        ("tls=maybe", "can't be used: The value of tls must be 'true' or 'false'"),
        ("tsl=true", "can't be used: Unknown option: tsl"),
        ("server_api=1", "can't be used: .*server_api must be"),  # a TypeError of the driver's
        ("datetime_conversion=x", "can't be used: .*KeyError"),
        ("authMechanism=NONE", "can't be used: authmechanism must be in"),
        ("heartbeatFrequencyMS=1", "can't be used: heartbeatFrequencyMS cannot be less"),
    ],
)
def test_an_option_that_mongodb_s_driver_can_t_use_is_one_sentence(options: str, told: str) -> None:
    with pytest.raises(ServerError, match=told) as error:
        mongo.Mongo(f"mongodb://user:s3cret@127.0.0.1:1/?{options}", "etl")
    _is_one_sentence(error.value, "s3cret")
    assert error.value.exit_code == 2


@pytest.mark.parametrize("options", ["sslmode=maybe", "nonsense=1", "connect_timeout=x", "service=nowhere"])
def test_an_option_that_postgresql_s_driver_can_t_use_is_one_sentence(options: str, settings: Settings) -> None:
    assert settings.postgres_uri is not None
    with pytest.raises(EtlError, match=r"(maybe|nonsense|connect_timeout|nowhere)") as error:
        postgres.Postgres(f"{settings.postgres_uri.get_secret_value()}?{options}")
    _is_one_sentence(error.value, "libpq")
    assert error.value.exit_code == 2


def test_a_refused_password_is_told(settings: Settings) -> None:
    assert settings.postgres_uri is not None
    uri = settings.postgres_uri.get_secret_value()
    password = uri.partition("://")[2].partition("@")[0].partition(":")[2]
    wrong = settings.model_copy(update={"postgres_uri": SecretStr(uri.replace(password, "s3cret"))})
    with pytest.raises(ServerError, match="refused the user or password") as error, connect(wrong):
        pass
    _is_one_sentence(error.value, "s3cret")


def test_a_database_that_is_not_there_is_told(settings: Settings) -> None:
    assert settings.postgres_uri is not None
    uri = settings.postgres_uri.get_secret_value().rpartition("/")[0] + "/nowhere"
    with (
        pytest.raises(EtlError, match="nowhere"),
        connect(settings.model_copy(update={"postgres_uri": SecretStr(uri)})),
    ):
        pass


@pytest.mark.parametrize("name", ["mongo_uri", "postgres_uri", "clickhouse_uri"])
def test_a_uri_that_is_not_set_is_named(settings: Settings, name: str) -> None:
    lacking = settings.model_copy(update={name: None})
    with pytest.raises(UsageError, match=f"ETL_{name.upper()} is not set"), connect(lacking):
        pass


def test_collections_and_targets_are_chosen_by_name(connections: Any) -> None:
    assert [one.collection for one in connections.chosen()] == sorted(entities())
    assert [one.table for one in connections.chosen(["user_sessions", "EventLogs"])] == ["user_sessions", "event_logs"]
    assert [one.name for one in connections.targets(["clickhouse", "postgres"])] == ["postgres", "clickhouse"]
    with pytest.raises(UsageError, match=r"no contract of 'nobody'; there are EventLogs, "):
        connections.chosen(["nobody"])
    with pytest.raises(UsageError, match=r"no target 'oracle'; there are postgres and clickhouse"):
        connections.targets(["postgres", "oracle"])


def _is_one_sentence(error: BaseException, password: str) -> None:
    assert "\n" not in str(error)
    assert password not in str(error)
    assert "Traceback" not in str(error)


# --- What dies in the middle


@pytest.fixture(scope="module")
def home(starts_engines: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("mortal engines")
    yield folder
    embedded.down(folder)


def _opened(home: Path) -> tuple[AbstractContextManager[Connections], dict[str, SecretStr]]:
    uris = embedded.up(home)
    given = {f"{name}_uri": SecretStr(getattr(uris, name)) for name in ENGINES}
    # Ten seconds, what a person is given, would make this the longest of all tests.
    given["mongo_uri"] = SecretStr(f"{uris.mongo}&serverSelectionTimeoutMS=3000")
    return connect(Settings.load(home=home, mongo_database="mortal", retry=0.0, **given)), given


def _kill(home: Path, name: str) -> None:
    process = ENGINES[name](home).find()
    if process is None:
        return  # it is dead already
    family = [process, *process.children(recursive=True)] if name == "postgres" else [process]
    for one in family:
        try:
            os.kill(one.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    psutil.wait_procs(family, timeout=10)
    deadline = time.monotonic() + 10
    while ENGINES[name](home).find() and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.parametrize("when", ["in the middle", "at the publish"])
@pytest.mark.parametrize("victim", list(ENGINES))
def test_a_server_that_dies_is_told_and_the_next_run_recovers(
    home: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch, victim: str, when: str
) -> None:
    opened, given = _opened(home)
    with opened as connections:
        ours = type(lab)(connections, lab.settings)
        ours.fill(defects=0.1, **dict.fromkeys(NAMES, 50))
        replicate.replicate(connections, NAMES)
        before = ours.everything(NAMES)
        for name in NAMES:
            ours.collection(name).update_many({}, {"$set": {"user_id": f"{victim} {when}"}})

        def die(*arguments: Any) -> Any:
            _kill(home, victim)

        def progress(_partition: Any, source: int, loaded: int) -> None:
            if when == "in the middle" and loaded == source:
                die()

        with monkeypatch.context() as patched:
            if when == "at the publish":
                prepare = connections.postgres.prepare
                patched.setattr(connections.postgres, "prepare", lambda *some: (die(), prepare(*some))[1])
            with pytest.raises(ServerError) as error:
                replicate.replicate(connections, NAMES, progress=progress)
        for uri in given.values():
            _is_one_sentence(error.value, _password(uri.get_secret_value()))
        assert {"mongo": "MongoDB", "postgres": "PostgreSQL", "clickhouse": "ClickHouse"}[victim] in str(error.value)

    opened, _ = _opened(home)
    with opened as connections:
        ours = type(lab)(connections, lab.settings)
        after = ours.everything(NAMES)
        assert all(frame.equals(before[name], null_equal=True) for name, frame in after.items())
        replicate.replicate(connections, NAMES)
        ours.assert_replicated(NAMES)
        assert ours.leftovers() == []
        assert all(one.proven for one in verify.verify(connections, NAMES))


@pytest.mark.parametrize("victim", list(ENGINES))
def test_a_server_that_dies_during_a_proof_is_told(home: Path, lab: Lab, victim: str) -> None:
    opened, given = _opened(home)
    with opened as connections:
        ours = type(lab)(connections, lab.settings)
        ours.fill(**dict.fromkeys(NAMES, 50))
        replicate.replicate(connections, NAMES)

        def die(*_: Any) -> None:
            _kill(home, victim)

        with pytest.raises(ServerError) as error:
            verify.verify(connections, NAMES, progress=die)
        for uri in given.values():
            _is_one_sentence(error.value, _password(uri.get_secret_value()))


def test_a_store_that_dies_while_marts_are_built_is_told(home: Path, lab: Lab) -> None:
    opened, _ = _opened(home)
    with opened as connections:
        ours = type(lab)(connections, lab.settings)
        ours.fill(**dict.fromkeys(NAMES, 50))
        replicate.replicate(connections, NAMES)
        with pytest.raises(ServerError):
            marts.build(connections, ["ticket_resolution"], progress=lambda *_: _kill(home, "clickhouse"))
    opened, _ = _opened(home)
    with opened as connections:
        *_, one = marts.build(connections, ["ticket_resolution"])
        assert one.rows == 50
        assert connections.clickhouse.leftovers() == []


def _password(uri: str) -> str:
    """Return the password of a URI; one that stands in no message if it has none."""
    return "no such word" if redacted(uri) == uri else uri.partition("://")[2].partition("@")[0].partition(":")[2]


def test_clickhouse_that_is_down_is_told_in_one_line_and_no_other(settings: Settings) -> None:
    uris = {f"ETL_{name.upper()}": value.get_secret_value() for name, value in settings if name.endswith("_uri")}
    away = {"ETL_CLICKHOUSE_URI": "http://user:s3cret@127.0.0.1:1/default"}
    command = [sys.executable, "-m", "pipeline.cli", "replicate"]
    done = subprocess.run(command, env=os.environ | uris | away, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ClickHouse at http://user:***@127.0.0.1:1/default can't be reached")
