"""A short fire in every run of the tests, and that the oracle finds what is wrong."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest
from adbc_driver_postgresql import dbapi

from pipeline.connections import Connections
from pipeline.generate import generate
from pipeline.replication.replicate import replicate
from pipeline.settings import Settings
from tests.fire import oracle
from tests.fire.proxy import Proxy
from tests.fire.rounds import Size, fire

ROOT = Path(__file__).parents[2]
# One round, a short one with a fault of each server; `make fire` burns longer and larger, and tries all faults.
SECONDS = 0.0
SIZE = Size(
    plan=("PostgreSQL silent", "failover", "ClickHouse killed"), scale=0.005, rest=0.1, options={"ETL_RETRY": "15s"}
)


def test_nothing_is_lost_or_bent_under_fire(starts_engines: None, tmp_path: Path) -> None:
    told: list[str] = []
    # Of this seed, a sync is killed, another one dies between two of its steps, and a copy meets the last fault.
    report = fire(SECONDS, seed=27, folder=tmp_path, tell=told.append, size=SIZE)
    assert not report.wrong, (report.wrong, told)
    assert report.rounds and report.kills and report.written and report.compared and report.looks
    assert report.done == Counter(SIZE.plan)


def test_the_oracle_finds_what_is_lost_bent_or_invented(settings: Settings, connections: Connections) -> None:
    database = connections.mongo.database
    generate(database, connections.entities, scale=0.005)
    replicate(connections)
    postgres, clickhouse = (getattr(settings, f"{name}_uri").get_secret_value() for name in ("postgres", "clickhouse"))
    with closing(oracle.Stores(postgres, clickhouse)) as stores:
        assert oracle.compare(database, stores)[1] == []
        harm = (
            "DELETE FROM replica.user_sessions_actions "
            "WHERE ctid IN (SELECT ctid FROM replica.user_sessions_actions LIMIT 1)",
            "DELETE FROM replica.event_logs WHERE ctid IN (SELECT ctid FROM replica.event_logs LIMIT 1)",
            "UPDATE replica.search_queries SET results_count = results_count + 1 "
            "WHERE ctid IN (SELECT ctid FROM replica.search_queries LIMIT 1)",
            "INSERT INTO replica.user_recommendations SELECT repeat('f', 24), user_id, recommended_products, "
            "recommended_products_count, last_updated, _extra FROM replica.user_recommendations LIMIT 1",
        )
        with closing(dbapi.connect(postgres, autocommit=True)) as root, root.cursor() as cursor:
            for statement in harm:
                cursor.execute(statement)
        _, wrong = oracle.compare(database, stores)
    assert sorted(re.match(r"(\w+): postgres (\w+)", one).groups() for one in wrong) == [  # type: ignore[union-attr]
        ("bent", "search_queries"),
        ("bent", "user_sessions_actions"),
        ("invented", "user_recommendations"),
        ("lost", "event_logs"),
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts as root only")
def test_a_disk_goes_with_the_process_that_wanted_it(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from tests.fire.servers import _disk\n"
        "with _disk(pathlib.Path(sys.argv[1])) as mounted: print(mounted, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "disk")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as burning:
        assert burning.stdout is not None
        if burning.stdout.readline() == "False\n":
            burning.kill()
            pytest.skip("mounting is not allowed here")
        assert (tmp_path / "disk").is_mount()
        burning.kill()
    give_up = time.monotonic() + 10
    while (tmp_path / "disk").is_mount():
        assert time.monotonic() < give_up
        time.sleep(0.02)


@pytest.mark.parametrize("fault", ["silent", "reset"])
def test_the_proxy_does_what_its_faults_say(fault: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: _echo(server), daemon=True).start()
        proxy = Proxy(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
            client.sendall(b"one")
            assert client.recv(3) == b"one"
            if fault == "reset":
                proxy.reset()
                with pytest.raises(ConnectionResetError):
                    client.recv(3)
            else:
                with proxy.stalled():
                    client.sendall(b"two")
                    client.settimeout(0.3)
                    with pytest.raises(TimeoutError):
                        client.recv(3)
                client.settimeout(5)
                assert client.recv(3) == b"two"
        proxy.close()


def _echo(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection, suppress(OSError):
        while data := connection.recv(100):
            connection.sendall(data)
