"""Airflow for the tests of the DAGs: a home of its own with SQLite, told to it before it is first imported.

Nothing here imports Airflow at the top: without it the tests are collected all the same, and say what they need.
"""

import atexit
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest

from pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
HOME = Path(tempfile.mkdtemp(prefix="etl-airflow-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME / 'airflow.db'}",
}
# What Airflow itself imports is on its way out; a warning from anywhere else is an error here, too.
_WARNINGS_OF_AIRFLOW = ("ignore:Using `httpx` with `starlette.testclient`",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let warnings of Airflow's own imports pass, in the tests of this folder only."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for warning in _WARNINGS_OF_AIRFLOW:
                item.add_marker(pytest.mark.filterwarnings(warning))


class Client:
    """Airflow's REST API, as a user with a password has it."""

    def __init__(self, url: str, password: str, user: str = "admin") -> None:
        import httpx

        self.password = password
        self._http = httpx.Client(base_url=url, timeout=60)
        login = self._http.post("/auth/token", json={"username": user, "password": password}).raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {login.json()['access_token']}"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """Return what is at a path."""
        return self._http.get(f"/api/v2/{path}", params=params).raise_for_status().json()

    def refused(self, path: str) -> int:
        """Return with which status a POST is refused."""
        return int(self._http.post(f"/api/v2/{path}", json={"logical_date": None}).status_code)

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Start a run, once its DAG is known, and return its id."""
        give_up = time.monotonic() + 90
        while self._http.get(f"/api/v2/dags/{dag_id}").status_code == 404 and time.monotonic() < give_up:
            time.sleep(0.5)
        answer = self._http.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})
        return str(answer.raise_for_status().json()["dag_run_id"])

    def wait(self, dag_id: str, run_id: str, seconds: float = 240) -> str:
        """Return how a run ended."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            state = str(self.get(f"dags/{dag_id}/dagRuns/{run_id}")["state"])
            if state in ("success", "failed"):
                return state
            time.sleep(0.5)
        raise AssertionError(f"{dag_id} {run_id} is not over: {self.tasks(dag_id, run_id)}")

    def run(self, dag_id: str, **conf: Any) -> str:
        """Start a run, wait until it has succeeded, and return its id."""
        run_id = self.trigger(dag_id, **conf)
        assert self.wait(dag_id, run_id) == "success", self.tasks(dag_id, run_id)
        return run_id

    def clear(self, dag_id: str, run_id: str, *task_ids: str, only_failed: bool = False) -> None:
        """Clear tasks and what follows them, or a whole run, and wait until all of it has succeeded again."""
        self.clear_only(dag_id, run_id, *task_ids, only_failed=only_failed)
        assert self.wait(dag_id, run_id) == "success", self.tasks(dag_id, run_id)

    def clear_only(self, dag_id: str, run_id: str, *task_ids: str, only_failed: bool = False) -> None:
        """Clear as the UI does: a run if no task is named."""
        what: dict[str, Any] = {"only_failed": only_failed, "dry_run": False}
        path = f"dags/{dag_id}/dagRuns/{run_id}/clear"
        if task_ids:
            path = f"dags/{dag_id}/clearTaskInstances"
            what |= {"dag_run_id": run_id, "task_ids": [*task_ids], "include_downstream": True}
        self._http.post(f"/api/v2/{path}", json=what).raise_for_status()

    def pause(self, dag_id: str, *, paused: bool = True) -> None:
        """Let a DAG start no more runs by itself, or let it again."""
        self._http.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": paused}).raise_for_status()

    def next_run(self, dag_id: str, *known: str) -> str:
        """Wait until a run that started by itself, and is none of the known ones, has succeeded, and return its id."""
        give_up = time.monotonic() + 240
        while not (runs := {one["dag_run_id"] for one in self.get(f"dags/{dag_id}/dagRuns")["dag_runs"]} - {*known}):
            assert time.monotonic() < give_up, f"{dag_id} does not start by itself"
            time.sleep(0.5)
        (run_id,) = runs
        assert self.wait(dag_id, run_id) == "success"
        return str(run_id)

    def tasks(self, dag_id: str, run_id: str, task_id: str = "") -> list[dict[str, Any]]:
        """Return the task instances of a run, all or those of one task."""
        found = self.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100)["task_instances"]
        return [one for one in found if task_id in ("", one["task_id"])]


@pytest.fixture(scope="session")
def read_once() -> dict[str, str]:
    """Return what keeps Airflow from reading unchanged DAG files each 30 s, which takes a fifth of a processor."""
    return {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600"}


@pytest.fixture(scope="session")
def client() -> Callable[..., Client]:
    """Return a function that logs in."""
    return Client


class Webhook(ThreadingHTTPServer):
    """A server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._bodies: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:  # noqa: N805
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                self.requests.append((handler.path, dict(handler.headers)))
                self._bodies.append(json.loads(body))
                handler.send_response(404 if "missing" in handler.path else 204)
                handler.end_headers()

            def log_message(handler, *_: Any) -> None:  # noqa: N805
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/hooks/etl"

    def bodies(self, count: int, seconds: float = 60) -> list[dict[str, Any]]:
        """Return what was posted, as soon as it is so many."""
        give_up = time.monotonic() + seconds
        while len(self._bodies) < count:
            assert time.monotonic() < give_up, f"only {self._bodies} came"
            time.sleep(0.1)
        return list(self._bodies)


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    """Return a server that keeps what is posted to it."""
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session", autouse=True)
def _airflow_is_installed() -> None:
    if find_spec("airflow") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs Airflow: pip install '.[airflow]'")


@pytest.fixture(scope="session")
def load_dags(_airflow_is_installed: None) -> Callable[..., dict[str, Any]]:
    """Return a function that reads the file of a DAG, or all, with a database for their runs; retries come at once."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()

    def load_dags(dag_id: str = "") -> dict[str, Any]:
        bag = DagBag(dag_folder=str(ROOT / "dags" / f"{dag_id}.py" if dag_id else ROOT / "dags"))
        assert bag.import_errors == {}
        for dag in bag.dags.values():
            for task in dag.tasks:
                options = task.partial_kwargs if task.is_mapped else vars(task)
                options["retry_delay"] = timedelta(0)
        return dict(bag.dags)

    return load_dags


@pytest.fixture
def callbacks_reach_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a DAG's callbacks ask Airflow, as they can where the DAG processor calls them; ``dag.test()`` forgets it."""
    import psutil
    import structlog
    from airflow.models.dagrun import DagRun
    from airflow.sdk.execution_time import supervisor

    def execute(run: Any, *args: Any, **options: Any) -> None:
        log, process = structlog.get_logger(), psutil.Process()
        kind = supervisor.InProcessTestSupervisor
        answers = kind(id=uuid4(), pid=process.pid, process=process, process_log=log, client=kind._api_client())
        answers.comms = supervisor.InProcessSupervisorComms(supervisor=answers)
        with supervisor.set_supervisor_comms(answers.comms):
            original(run, *args, **options)

    original = DagRun.execute_dag_callbacks
    monkeypatch.setattr(DagRun, "execute_dag_callbacks", execute)


@pytest.fixture(scope="session")
def dags(load_dags: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Return the DAGs by name, to be looked at."""
    return load_dags()


@pytest.fixture(scope="module")
def airflow_connections(settings: Settings) -> Iterator[None]:
    """Name the servers in each of the three ways: a Connection in JSON, one as a URI, and the environment."""
    mongo, postgres, clickhouse = (
        getattr(settings, name).get_secret_value() for name in ("mongo_uri", "postgres_uri", "clickhouse_uri")
    )
    address = urlsplit(mongo)
    with pytest.MonkeyPatch.context() as environment:
        as_json = {"conn_type": "mongo", "host": address.hostname, "port": address.port}
        as_json |= {"login": unquote(address.username or ""), "password": unquote(address.password or "")}
        extra = dict(option.split("=") for option in address.query.split("&") if option)
        as_json |= {"login": address.username, "password": address.password}
        as_json |= {"schema": settings.mongo_database, "extra": extra}
        environment.setenv("AIRFLOW_CONN_ETL_MONGO", json.dumps(as_json))
        environment.setenv("AIRFLOW_CONN_ETL_POSTGRES", postgres)
        environment.setenv("ETL_CLICKHOUSE_URI", clickhouse)
        environment.setenv("ETL_MAX_SHRINK", "100%")  # the tests lose and refuse what they please
        yield


@pytest.fixture(scope="session")
def run_here(load_dags: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """Return a function that runs a DAG in this process, wherever its databases are."""
    from airflow.dag_processing import dagbag

    ran: list[str] = []

    def run_here(dag_id: str, **params: Any) -> Any:
        with pytest.MonkeyPatch.context() as patched:
            if ran:  # Airflow's database has all DAGs by then; each test of one would read all files into it anew
                patched.setattr(dagbag, "BundleDagBag", lambda **_: None)
                patched.setattr(dagbag, "sync_bag_to_db", lambda *_: None)
            ran.append(dag_id)
            return load_dags(dag_id)[dag_id].test(run_conf=params)  # a DAG remembers the params of its last test

    return run_here


@pytest.fixture(scope="module")
def run(run_here: Callable[..., Any], airflow_connections: None) -> Callable[..., Any]:
    """Return a function that runs a DAG in this process, on the databases of this module."""
    return run_here
