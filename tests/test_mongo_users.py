"""MongoDB's users, as docker/mongo/users.js has them, on a mongod that asks for passwords."""

import importlib.metadata
import logging
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pydantic import SecretStr
from pymongo.errors import OperationFailure, PyMongoError

from contracts.schema.registry import entities
from pipeline import control
from pipeline.connections import Connections, connect
from pipeline.doctor.finding import State
from pipeline.doctor.mongo import examine_mongo
from pipeline.engines import embedded
from pipeline.engines.engine import accepts
from pipeline.errors import ServerError, SnapshotError
from pipeline.generate import generate
from pipeline.replication import replicate
from pipeline.replication import snapshot_window as history
from pipeline.replication.verify import verify
from pipeline.runs.run import Run
from pipeline.settings import Settings
from pipeline.stores.mongo.session import SnapshotWindow
from pipeline.stores.mongo.store import Mongo
from pipeline.stores.selection import Range
from tests.ports import free_port

ROOT = Path(__file__).parents[1]
SCRIPT = (ROOT / "docker/mongo/users.js").read_text()
USERS = re.findall(r'{ name: "(\w+)", password: "(\w+)", role: "(\w+)" }', SCRIPT)
PASSWORD = secrets.token_hex(8)
SOME = ("EventLogs", "SupportTickets")  # a right is one to the whole database


@pytest.fixture(scope="module")
def address(starts_engines: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a replica set of one that asks for passwords, with the users of the script, and return its address."""
    here = f"127.0.0.1:{free_port()}"
    with _mongod(tmp_path_factory.mktemp("mongo"), here):
        _make_users(here)
        yield here


@contextmanager
def _mongod(folder: Path, here: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Start a mongod that is to be the member of a replica set, and asks for passwords."""
    if not (folder / "key").exists():
        (folder / "key").write_text(secrets.token_hex(16))
        (folder / "key").chmod(0o400)
    mongod = importlib.metadata.distribution(embedded.Mongo.wheel).locate_file("fiftyone/db/bin/mongod")
    command = [str(mongod), "--replSet", "rs0", "--keyFile", str(folder / "key"), "--dbpath", str(folder)]
    command += ["--bind_ip", "127.0.0.1", "--port", here.rpartition(":")[2], "--wiredTigerCacheSizeGB", "0.25"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            while not accepts(int(here.rpartition(":")[2])):
                assert process.poll() is None
                time.sleep(0.1)
            yield process
        finally:
            process.terminate()


def _make_users(here: str) -> None:
    """Do what the image and the script do: the first user may be made from this machine without a password."""
    options: dict[str, Any] = {"directConnection": True, "serverSelectionTimeoutMS": 30_000}
    with pymongo.MongoClient(f"mongodb://{here}", **options) as client:
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": here}]})
        give_up = time.monotonic() + 30
        while True:
            try:
                client.admin.command("createUser", "root", pwd=PASSWORD, roles=["root"])
                break
            except PyMongoError:  # not the primary yet
                assert time.monotonic() < give_up
                time.sleep(0.2)
    with pymongo.MongoClient(f"mongodb://root:{PASSWORD}@{here}", **options) as client:
        for name, _, role in USERS:
            client.admin.command("createUser", name, pwd=PASSWORD, roles=[{"role": role, "db": "etl"}])


def _uri(user: str, address: str) -> str:
    return f"mongodb://{user}:{PASSWORD}@{address}/?authSource=admin&replicaSet=rs0&directConnection=true"


def test_each_user_can_do_its_work_and_drop_no_database(address: str, settings: Settings) -> None:
    assert {name: role for name, _, role in USERS} == {"etl": "read", "etl_writer": "readWrite", "analyst": "read"}
    here = settings.model_copy(update={"mongo_database": "etl"})
    with connect(here.model_copy(update={"mongo_uri": SecretStr(_uri("etl_writer", address))})) as connections:
        chosen = {name: connections.entities[name] for name in SOME}
        generate(connections.mongo.database, chosen, scale=0.005, defects=0.02)
    with connect(here.model_copy(update={"mongo_uri": SecretStr(_uri("etl", address))})) as connections:
        replicate.replicate(connections, SOME)
        assert all(one.proven for one in verify(connections, SOME))
    for user, _, role in USERS:
        with pymongo.MongoClient(_uri(user, address)) as client:
            assert client.etl.EventLogs.count_documents({}) > 0
            forbidden = [lambda db: db.command("dropDatabase"), lambda db: db.client.other.things.find_one()]
            if role == "read":
                forbidden += [lambda db: db.EventLogs.delete_one({}), lambda db: db.EventLogs.drop()]
            for act in forbidden:
                with pytest.raises(OperationFailure, match="not authorized"):
                    act(client.etl)


@pytest.fixture
def reading(address: str, settings: Settings) -> Iterator[Connections]:
    """Open connections whose MongoDB user may only read the one database, which another has filled."""
    here = settings.model_copy(update={"mongo_database": "etl"})
    with connect(here.model_copy(update={"mongo_uri": SecretStr(_uri("etl_writer", address))})) as connections:
        rows = {"SearchQueries": 200}
        generate(connections.mongo.database, connections.entities, scale=0, rows=rows, defects=0.1, replace=True)
    with connect(here.model_copy(update={"mongo_uri": SecretStr(_uri("etl", address))})) as connections:
        yield connections


@pytest.mark.usefixtures("reading")
def test_the_doctor_finds_what_a_user_lacks(address: str) -> None:
    def failing(user: str, database: str) -> dict[str, str]:
        uri = _uri(user, address)
        with closing(Mongo(uri, database)) as mongo:
            found = examine_mongo(mongo, uri, {"SearchQueries": entities()["SearchQueries"]}, (), 10e6)
            return {one.check: one.advice for one in found if one.state is State.FAIL}

    assert failing("etl", "etl") == {}
    with pymongo.MongoClient(_uri("root", address)) as client:
        client.admin.command("createUser", "narrow", pwd=PASSWORD, roles=[])
        client.admin.command(
            "createRole",
            "names",
            privileges=[{"resource": {"db": "etl", "collection": ""}, "actions": ["listCollections"]}],
            roles=[],
        )
        client.admin.command("grantRolesToUser", "narrow", roles=["names"])
        lacking = failing("narrow", "etl")
        assert set(lacking) == {"right to read", "right to follow"}
        assert all("{role: 'read', db: 'etl'}" in advice for advice in lacking.values())
        client.admin.command("grantRolesToUser", "narrow", roles=[{"role": "read", "db": "etl"}])
        assert failing("narrow", "etl") == {}


def _remembers(reading: Connections, run: Run) -> bool:
    try:
        reading.mongo.count("SearchQueries", run.cluster_time, Range())
    except SnapshotError:
        return False
    return True


def test_partitions_are_planned_by_whoever_may_read(reading: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tools ask MongoDB for its bounds takes more rights."""
    with pytest.raises(OperationFailure, match="not authorized"):
        reading.mongo.client.admin.command("splitVector", "etl.SearchQueries", keyPattern={"_id": 1})
    monkeypatch.setattr(replicate, "PARTITION_BYTES", 8_000)
    labels: set[str] = set()
    replicate.replicate(reading, ["SearchQueries"], progress=lambda one, *_: labels.add(one.label))
    assert len(labels) > 3
    assert all(one.proven and one.source == 200 for one in verify(reading, ["SearchQueries"]))


def test_a_moment_beyond_the_history_is_proven_by_whoever_may_read(reading: Connections, address: str) -> None:
    """A change stream tells which documents were touched since."""
    run, _ = replicate.replicate(reading, ["SearchQueries"])
    with pymongo.MongoClient(_uri("root", address)) as root:
        root.etl.SearchQueries.delete_one({})
        root.admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=0)
        give_up = time.monotonic() + 30
        while _remembers(reading, run):
            assert time.monotonic() < give_up
            root.etl.Others.insert_one({})  # MongoDB forgets as it goes on
            time.sleep(0.1)
        root.admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=3600)
    assert all(one.proven and one.changed_since == 1 for one in verify(reading, ["SearchQueries"]))


@pytest.mark.parametrize(
    ("user", "known", "words"),
    [
        (
            "etl",
            SnapshotWindow(300, "the user lacks the right getParameter"),
            "5 minutes only (its default, assumed because",
        ),
        ("root", SnapshotWindow(3600), "60 minutes only; raise it"),
    ],
)
def test_a_copy_that_outlives_the_history_is_told_to_whoever_may_read(
    reading: Connections,
    address: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    user: str,
    known: SnapshotWindow,
    words: str,
) -> None:
    """MongoDB's default is assumed for a user who may not know what is set; it is the lesser evil to warn in vain."""
    with pymongo.MongoClient(_uri("root", address)) as root:
        root.admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=3600)
    monkeypatch.setattr(history, "_BYTES_PER_SECOND", 1.0)
    changes = {"mongo_database": "etl", "mongo_uri": SecretStr(_uri(user, address))}
    with connect(settings.model_copy(update=changes)) as connections, caplog.at_level(logging.WARNING):
        assert connections.mongo.snapshot_window() == known
        replicate.replicate(connections, ["SearchQueries"], ["postgres"])
    (warning,) = (record.message for record in caplog.records if "minSnapshotHistoryWindow" in record.message)
    assert words in warning
    assert "\n" not in warning


def test_a_user_of_another_database_is_told_so(reading: Connections, address: str, settings: Settings) -> None:
    with pymongo.MongoClient(_uri("root", address)) as root:
        root.admin.command("createUser", "nobody", pwd=PASSWORD, roles=[{"role": "read", "db": "other"}])
    changes = {"mongo_database": "etl", "mongo_uri": SecretStr(_uri("nobody", address))}
    shown = control.publications(reading.postgres)
    with (
        connect(settings.model_copy(update=changes)) as connections,
        pytest.raises(ServerError, match="the user may not read") as error,
    ):
        replicate.replicate(connections, ["SearchQueries"])
    assert PASSWORD not in str(error.value)
    assert "\n" not in str(error.value)
    assert control.publications(reading.postgres) == shown


@pytest.fixture
def check(tmp_path: Path) -> "Callable[[str], subprocess.CompletedProcess[str]]":
    """Return a function that runs the health check of the stack by mongosh, on the mongod at an address."""
    mongosh = shutil.which("mongosh")
    if not mongosh:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs mongosh: npm install --global mongosh")
    (tmp_path / "secrets").mkdir()
    for name in ("mongo_root_password", *(password for _, password, _ in USERS)):
        (tmp_path / "secrets" / name).write_text(PASSWORD)
    (tmp_path / "users.js").write_text(SCRIPT)
    here = {"/opt/etl": str(tmp_path), "/run/etl": str(tmp_path / "secrets")}

    def check(address: str) -> "subprocess.CompletedProcess[str]":
        text = (ROOT / "docker/mongo/healthy.js").read_text()
        for name, value in {**here, "mongo:27017": address}.items():
            text = text.replace(name, value)
        (tmp_path / "healthy.js").write_text(text)
        port = address.rpartition(":")[2]
        command = [str(mongosh), "--quiet", "--norc", "--port", port, "admin", str(tmp_path / "healthy.js")]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return check


def test_health_check_makes_the_users_and_finishes_what_was_cut_short(
    check: "Callable[[str], subprocess.CompletedProcess[str]]", tmp_path: Path
) -> None:
    here, folder = f"127.0.0.1:{free_port()}", tmp_path / "data"
    folder.mkdir()
    with _mongod(folder, here):
        done = check(here)
        assert done.returncode == 0, done.stdout + done.stderr
        with pymongo.MongoClient(_uri("root", here)) as root:  # as if it had been killed before the last user
            root.admin.command("dropUser", "analyst")
            root.admin.command("updateUser", "etl", pwd="another")
            root.admin.command("grantRolesToUser", "etl", roles=[{"role": "read", "db": "other"}])
        done = check(here)
        assert done.returncode == 0, done.stdout + done.stderr
        for user, _, role in USERS:
            with pymongo.MongoClient(_uri(user, here)) as client:
                roles = client.admin.command("connectionStatus")["authInfo"]["authenticatedUserRoles"]
                assert {"role": role, "db": "etl"} in roles
                assert len(roles) == (2 if user == "etl" else 1)  # what somebody has granted stays
        (tmp_path / "secrets" / "mongo_root_password").write_text("another")
        done = check(here)
        assert (done.returncode, done.stdout.strip()) == (
            1,
            "the password of MongoDB's user root is not MONGO_ROOT_PASSWORD",
        )
