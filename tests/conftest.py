"""Engines for all tests: started once, with fresh databases for each module.

No test ever reaches a developer's own servers: whatever ``ETL_*`` says in the environment is forgotten first.
Only the contracts of a user's own are remembered, since they are tested as well.
"""

import gc
import os
import re
import shutil
import signal
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import clickhouse_connect
import hypothesis
import pytest
from adbc_driver_postgresql import dbapi
from pydantic import SecretStr

from pipeline.connections import Connections, connect
from pipeline.engines.embedded import Uris, engines
from pipeline.engines.engine import Engine
from pipeline.settings import Settings

ENGINE_FIXTURES = {"engine_uris", "starts_engines"}  # whatever uses one of them, by whatever way, is marked
CONTRACTS = os.environ.get("ETL_CONTRACTS", "")
# A change is judged by the same examples each time; `make test-random` looks for new ones, and tells how to repeat one.
hypothesis.settings.register_profile("ci", derandomize=True, database=None, deadline=None, print_blob=True)
hypothesis.settings.register_profile("local", deadline=None)  # a machine at work may take its time
hypothesis.settings.register_profile("random", max_examples=1_000, deadline=None, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")
for _name in [name for name in os.environ if name.startswith("ETL_")]:
    del os.environ[_name]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--contracts",
        type=Path,
        nargs="+",
        default=[Path(folder) for folder in CONTRACTS.split(os.pathsep) if folder],
        help="folders of contracts that are to be guarded as well (default: those of ETL_CONTRACTS)",
    )


# Files that take longest: begun last, they would keep one worker busy long after the others have ended.
LONGEST = (
    "dags/test_end_to_end.py",
    "marts/test_marts.py",
    "dags/test_runs.py",
    "replication/test_sync.py",
    "report/test_page.py",
    "cli/test_demo.py",
    "cli/test_cli.py",
    "fire/test_fire.py",
    "marts/test_incremental.py",
    "dags/test_stack.py",
    "runs/test_publish.py",
    "replication/test_ids.py",
    "replication/test_contract_changes.py",
    "replication/test_history.py",
    "replication/test_presence.py",
    "runtime/test_memory.py",
    "replication/test_verify.py",
    "cli/test_next_commands.py",
    "stores/test_connections.py",
    "engines/test_embedded.py",
    "control/test_quarantine.py",
    "replication/test_replicate.py",
    "replication/test_retries.py",
    "transforms/test_marts.py",
    "pipeline/test_contracts_folder.py",
)
PROCESSES_OF_AIRFLOW = ("test_end_to_end.py", "test_stack.py")  # these start Airflow in processes of its own


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that uses engines, itself or by other fixtures, as ``engine``; put the longest files first."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get("/".join(item.path.parts[-2:]), len(LONGEST)))
    for item in items:
        if ENGINE_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.engine)


@pytest.hookimpl(optionalhook=True)  # there may be no xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let one worker have all files that run Airflow in their own process: to get ready for it takes ten seconds."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "tests/dags" if file.startswith("tests/dags/") and not file.endswith(PROCESSES_OF_AIRFLOW) else file

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_configure() -> None:
    """Let Ctrl-C be heard, also where a shell runs the tests in its background, which has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Let what was imported be looked at no more by the collector: it stays, and there is much of it."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _leaks_are_told() -> Iterator[None]:
    """Collect garbage at the end of each module, when its fixtures are gone: what it left open is its own failure.

    Else a connection, file or generator would be finalised some time later, in a test that has nothing to do with it.
    """
    yield
    gc.collect()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let no test start an engine unmarked."""
    with pytest.MonkeyPatch.context() as patched:
        if item.get_closest_marker("engine") is None:
            patched.setattr(Engine, "start", _refuse_to_start)
        return (yield)


def _refuse_to_start(engine: Engine) -> int:
    raise AssertionError(f"this test starts {engine.title}: let it, or the fixture that does, use `starts_engines`")


@pytest.fixture(scope="session")
def starts_engines() -> None:
    """Say that a test or a fixture starts servers of its own: the marker ``engine`` follows from it."""


@pytest.fixture(scope="session")
def engine_uris(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uris]:
    """Start the embedded engines once, in a home with a blank in its path, and stop them at the end."""
    home = tmp_path_factory.mktemp("the engines")
    with engines(Settings.load(home=home)) as settings:
        yield Uris(*(_value(uri) for uri in (settings.mongo_uri, settings.postgres_uri, settings.clickhouse_uri)))
    shutil.rmtree(home)  # pytest would keep the last three


@pytest.fixture(scope="module")
def settings(engine_uris: Uris, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return settings whose databases nobody used before: each test module has its own."""
    name = re.sub(r"\W+", "_", Path(request.node.nodeid).with_suffix("").as_posix()).lower()[-50:]
    _drop_clickhouse_databases(engine_uris.clickhouse)
    return Settings.load(
        home=tmp_path_factory.mktemp("home"),
        mongo_uri=engine_uris.mongo,
        mongo_database=name,
        postgres_uri=_new_database(engine_uris.postgres, name),
        clickhouse_uri=engine_uris.clickhouse,
        retry=2.0,  # where a test breaks a server for good, a minute of retries would be lost
        workers=1,  # whatever the machine has; tests of several say so
        max_shrink=1.0,  # most tests lose and refuse what they please; test_limits.py does not
    )


@pytest.fixture(scope="module")
def connections(settings: Settings) -> Iterator[Connections]:
    """Open the connections to the databases of this module."""
    with connect(settings) as opened:
        yield opened


def _new_database(uri: str, name: str) -> str:
    """Create a PostgreSQL database and return its URI."""
    with closing(dbapi.connect(uri, autocommit=True)) as connection, connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
    return urlunsplit(urlsplit(uri)._replace(path=f"/{name}"))


def _drop_clickhouse_databases(uri: str) -> None:
    """Drop what an earlier module left: the names of ClickHouse's databases are fixed."""
    with closing(clickhouse_connect.get_client(dsn=uri)) as client:
        for (name,) in client.query("SELECT name FROM system.databases").result_rows:
            if name in ("replica", "history", "marts") or name.startswith("staging_"):
                client.command(f"DROP DATABASE `{name}` SYNC")


def _value(secret: SecretStr | None) -> str:
    assert secret is not None
    return secret.get_secret_value()
