"""Airflow for the tests of the DAGs: a home of its own with SQLite, told to it before it is first imported.

Nothing here imports Airflow at the top: without it the tests are collected all the same, and say what they need.
"""

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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


@pytest.fixture(scope="session", autouse=True)
def _airflow_is_installed() -> None:
    if find_spec("airflow") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs Airflow: pip install '.[airflow]'")


@pytest.fixture(scope="session")
def load_dags(_airflow_is_installed: None) -> Callable[[], dict[str, Any]]:
    """Return a function that reads the DAG files, with a database for their runs; retries come at once."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()

    def load_dags() -> dict[str, Any]:
        bag = DagBag(dag_folder=str(ROOT / "dags"))
        assert bag.import_errors == {}
        for dag in bag.dags.values():
            dag.deadline = None  # dag.test() of Airflow 3.3 fails on any; the end-to-end test has it
            for task in dag.tasks:
                options = task.partial_kwargs if task.is_mapped else vars(task)
                options["retry_delay"] = timedelta(0)
        return dict(bag.dags)

    return load_dags


@pytest.fixture(scope="session")
def dags(load_dags: Callable[[], dict[str, Any]]) -> dict[str, Any]:
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
        extra = dict(option.split("=") for option in address.query.split("&") if option)
        as_json |= {"schema": settings.mongo_database, "extra": extra}
        environment.setenv("AIRFLOW_CONN_ETL_MONGO", json.dumps(as_json))
        environment.setenv("AIRFLOW_CONN_ETL_POSTGRES", postgres)
        environment.setenv("ETL_CLICKHOUSE_URI", clickhouse)
        yield


@pytest.fixture(scope="module")
def run(load_dags: Callable[[], dict[str, Any]], airflow_connections: None) -> Callable[..., Any]:
    """Return a function that runs a DAG in this process, on the databases of this module."""

    def run(dag_id: str, **params: Any) -> Any:
        return load_dags()[dag_id].test(run_conf=params)  # a DAG remembers the params of its last test

    return run
