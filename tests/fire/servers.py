"""The servers under fire: a replica set of three mongods, PostgreSQL and ClickHouse, the latter two behind proxies."""

import importlib.metadata
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import pymongo
from pymongo.errors import PyMongoError

from pipeline.engines.clickhouse import ClickHouse
from pipeline.engines.engine import Engine
from pipeline.engines.mongo import Mongo
from pipeline.engines.postgres import Postgres
from tests.fire.proxy import Proxy
from tests.ports import free_port

_DISK = "2g"  # of each store, in memory
_KEEP = 'mount -t tmpfs -o "size=$1,mode=0700" tmpfs "$2" && echo mounted && cat && umount --lazy "$2"'
_ROOM = 2**20  # what is left of it when it is full
DATABASE = "fire"


class ReplicaSet:
    """Three mongods, each of which may become the primary.

    Args:
        folder: Where their data are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._ports = folder, [free_port() for _ in range(3)]
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        for port in self._ports:
            self.start(port)
        members = [{"_id": number, "host": f"127.0.0.1:{port}"} for number, port in enumerate(self._ports)]
        settings = {"electionTimeoutMillis": 3_000, "heartbeatIntervalMillis": 300}
        with self._client(self._ports[0]) as client:
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": members, "settings": settings})
        self.await_primary()

    @property
    def uri(self) -> str:
        """Where clients find the primary."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return f"mongodb://{hosts}/?replicaSet=rs0"

    def start(self, port: int) -> None:
        """Start a member again."""
        data = self._folder / str(port)
        data.mkdir(parents=True, exist_ok=True)
        mongod = importlib.metadata.distribution(Mongo.wheel).locate_file("fiftyone/db/bin/mongod")
        command = [str(mongod), "--replSet", "rs0", "--dbpath", str(data), "--port", str(port)]
        command += ["--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "512"]
        command += ["--setParameter", "minSnapshotHistoryWindowInSeconds=3600"]
        command += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        with (self._folder / f"{port}.log").open("ab") as log:
            self._running[port] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        _await(lambda: _accepts(port))

    def primary(self) -> int:
        """Return the port of the primary."""
        address = self.await_primary()
        return address[1]

    def await_primary(self) -> tuple[str, int]:
        """Wait until there is a primary."""
        with pymongo.MongoClient(self.uri, serverSelectionTimeoutMS=500) as client:
            _await(lambda: client.primary is not None)
            assert client.primary is not None
            return client.primary

    @contextmanager
    def killed_primary(self) -> Iterator[None]:
        """Kill the primary; it comes back afterwards."""
        port = self.primary()
        self._running[port].kill()
        self._running[port].wait()
        try:
            yield
        finally:
            self.start(port)

    @contextmanager
    def frozen_primary(self) -> Iterator[None]:
        """Let the primary fall silent; another one is elected meanwhile."""
        port = self.primary()
        self._running[port].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._running[port].send_signal(signal.SIGCONT)

    def step_down(self) -> None:
        """Make another member the primary."""
        with suppress(PyMongoError), self._client(self.primary()) as client:
            client.admin.command("replSetStepDown", 3, secondaryCatchUpPeriodSecs=2)

    def close(self) -> None:
        """End all members."""
        for process in self._running.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def _client(self, port: int) -> "pymongo.MongoClient[Any]":
        return pymongo.MongoClient(f"mongodb://127.0.0.1:{port}/?directConnection=true", serverSelectionTimeoutMS=5_000)


class Store:
    """A store behind a proxy.

    Args:
        engine: How to start it.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._port = engine.start()
        self.proxy = Proxy(self._port)

    @property
    def direct_uri(self) -> str:
        """Where it is, without the proxy."""
        return self.engine.uri(self._port)

    @property
    def uri(self) -> str:
        """Where commands find it."""
        parts = urlsplit(self.direct_uri)
        return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{self._port}", f":{self.proxy.port}")))

    @contextmanager
    def killed(self) -> Iterator[None]:
        """Kill it; it comes back afterwards, at the same port."""
        if process := self.engine.find():
            process.kill()
            psutil.wait_procs([process], timeout=10)
        try:
            yield
        finally:
            assert self.engine.start() == self._port

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Fill its disk; a server that gave up is started again afterwards."""
        filler, disk = self.engine.folder / "filler", os.statvfs(self.engine.folder)
        with filler.open("wb") as file, suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(1, disk.f_bavail * disk.f_frsize - _ROOM))
        try:
            yield
        finally:
            filler.unlink()
            assert self.engine.start() == self._port

    def close(self) -> None:
        """End it, and the proxy."""
        self.proxy.close()
        self.engine.stop()


class Servers:
    """All of them, and what commands need to find them."""

    def __init__(
        self, mongo: ReplicaSet, postgres: Store, clickhouse: Store, *, disks: bool, options: Mapping[str, str]
    ) -> None:
        self.mongo, self.postgres, self.clickhouse, self.disks = mongo, postgres, clickhouse, disks
        self._options = options

    def environment(self) -> dict[str, str]:
        """Return the variables that commands are started with."""
        given = {name: value for name, value in os.environ.items() if not name.startswith("ETL_")}
        uris = {"MONGO": self.mongo.uri, "POSTGRES": self.postgres.uri, "CLICKHOUSE": self.clickhouse.uri}
        given |= {f"ETL_{name}_URI": uri for name, uri in uris.items()} | {"ETL_MONGO_DATABASE": DATABASE}
        return {**given, **self._options}


@contextmanager
def servers(folder: Path, options: Mapping[str, str]) -> Iterator[Servers]:
    """Start all servers, for commands with these options; as root, the stores get disks that can be full."""
    with ExitStack() as stack:
        mongo = ReplicaSet(folder / "mongo")
        stack.callback(mongo.close)
        mounted = [stack.enter_context(_disk(folder / name)) for name in ("postgres", "clickhouse")]
        stores = []
        for kind in (Postgres, ClickHouse):
            stores.append(Store(kind(folder)))
            stack.callback(stores[-1].close)
        yield Servers(mongo, *stores, disks=all(mounted), options=options)


@contextmanager
def _disk(folder: Path) -> Iterator[bool]:
    """Put a file system of its own at a folder, where that is allowed.

    A process of its own takes it away again as soon as its input ends: at the end of this, or with our death.
    """
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    if os.geteuid() != 0:
        yield False
        return
    keeper = subprocess.Popen(
        ["sh", "-c", _KEEP, "sh", _DISK, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with keeper:
        assert keeper.stdout is not None
        mounted = keeper.stdout.readline() == b"mounted\n"
        yield mounted
    assert keeper.returncode == 0 or not mounted


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _await(is_so: Any) -> None:
    give_up = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.05)
