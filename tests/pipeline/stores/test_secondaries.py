"""A replica set of two: the copy and its proof read the secondary, if the URI says so."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pydantic import SecretStr
from pymongo.errors import PyMongoError

from pipeline.connections import connect
from pipeline.engines import embedded
from pipeline.generate import generate
from pipeline.replication import replicate, verify
from tests.pipeline.lab import Lab
from tests.ports import free_port

NAME, DATABASE = "SearchQueries", "etl"


def _node(port: int) -> pymongo.MongoClient[Any]:
    return pymongo.MongoClient(f"mongodb://127.0.0.1:{port}/?directConnection=true", serverSelectionTimeoutMS=30_000)


def _start(home: Path, port: int) -> subprocess.Popen[bytes]:
    engine = embedded.Mongo(home)
    engine.prepare()
    command = engine.command(port)
    at = command.index("--auth")
    del command[at : at + 3]  # with --keyFile and its path
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Start two nodes of one set and return their ports, the primary's first."""
    ports = (free_port(), free_port())
    with ExitStack() as stack:
        for port in ports:
            process = stack.enter_context(_start(tmp_path_factory.mktemp("node"), port))
            stack.callback(process.kill)
        members = [{"_id": n, "host": f"127.0.0.1:{port}", "priority": 1 - n} for n, port in enumerate(ports)]
        with _node(ports[0]) as primary, _node(ports[1]) as secondary:
            secondary.admin.command("ping")
            primary.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
            give_up = time.monotonic() + 60
            while not (primary.admin.command("hello")["isWritablePrimary"] and _is_secondary(secondary)):
                assert time.monotonic() < give_up
                time.sleep(0.1)
        yield ports


def _is_secondary(client: pymongo.MongoClient[Any]) -> bool:
    try:
        return bool(client.admin.command("hello")["secondary"])
    except PyMongoError:
        return False


def _reads(port: int) -> int:
    """Return how often a collection was read on one node since its profiler runs."""
    with _node(port) as client:
        reads = {"ns": f"{DATABASE}.{NAME}", "op": {"$in": ["query", "getmore", "command"]}}
        return client[DATABASE]["system.profile"].count_documents(reads)


def test_copy_and_proof_read_the_secondary(lab: Lab, nodes: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicate, "PARTITION_BYTES", 8_000)
    hosts = ",".join(f"127.0.0.1:{port}" for port in nodes)
    uri = f"mongodb://{hosts}/?replicaSet=rs0"
    with pymongo.MongoClient(uri) as client:
        generate(client[DATABASE], lab.connections.entities, scale=0, rows={NAME: 300}, defects=0.1)
        client[DATABASE][NAME].update_many({}, {"$set": {"user_id": "written just now"}})
    for port in nodes:
        with _node(port) as node:
            node[DATABASE].command("profile", 2)
    changes = {"mongo_uri": SecretStr(f"{uri}&readPreference=secondary"), "mongo_database": DATABASE}
    settings = lab.settings.model_copy(update=changes)
    with connect(settings) as connections:
        _, accounts = replicate.replicate(connections, [NAME])
        assert all(one.closed and one.source == 300 for one in accounts)
        assert all(one.proven for one in verify.verify(connections, [NAME]))
    primary, secondary = (_reads(port) for port in nodes)
    assert primary == 0
    assert secondary > 10
