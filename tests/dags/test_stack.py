"""The services of docker-compose.yml by hand: commands, environments and health checks, with other hosts in them.

The tasks run on two Celery workers; the databases are the embedded engines, with the users of the stack in PostgreSQL.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import yaml
from adbc_driver_manager import Error
from adbc_driver_postgresql import dbapi

from pipeline.connections import connect
from pipeline.embedded import Uris
from pipeline.settings import Settings
from pipeline.verify import verify

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
COMPONENTS = ("airflow-apiserver", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer", "airflow-worker")


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    if not shutil.which("redis-server"):
        told = "needs redis-server, on Debian: apt-get install redis-server"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(told)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run(["sh", str(ROOT / "docker/secrets.sh"), "volume", str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def postgres_users(engine_uris: Uris, secrets: Path) -> None:
    """Run the script that makes the users; here the pipeline has another name: the server knows an etl already."""
    address = urlsplit(engine_uris.postgres)
    script = (ROOT / "docker/postgres/users.sh").read_text().replace("/run/etl", str(secrets))
    environment = {
        "PATH": _path(),
        "POSTGRES_USER": address.username or "",
        "PGHOST": address.hostname or "",
        "PGPORT": str(address.port),
        "PGPASSWORD": address.password or "",
    }
    script = re.sub(r"\betl\b", "etl_of_stack", script)
    subprocess.run(["bash", "-e", "-c", script], env=environment, check=True)


@pytest.fixture(scope="module")
def uris(engine_uris: Uris, secrets: Path, postgres_users: None) -> dict[str, str]:
    """Return the URIs of the stack's users in PostgreSQL."""
    port = urlsplit(engine_uris.postgres).port
    users = {"etl_of_stack": "postgres_password", "analyst": "analyst_password"}
    return {
        user: f"postgresql://{user}:{(secrets / password).read_text()}@127.0.0.1:{port}/etl_of_stack"
        for user, password in users.items()
    }


@pytest.fixture(scope="module")
def ports(engine_uris: Uris, free_port: Callable[[], int]) -> dict[str, str]:
    """Return where on this machine is what the stack calls by name."""
    found = {name: f"127.0.0.1:{free_port()}" for name in ("airflow-apiserver:8080", "redis:6379", "localhost:8974")}
    return found | {"postgres:5432": f"127.0.0.1:{urlsplit(engine_uris.postgres).port}"}


@pytest.fixture(scope="module")
def environment(
    settings: Settings, engine_uris: Uris, secrets: Path, ports: dict[str, str], free_port: Callable[[], int]
) -> Callable[[str], dict[str, str]]:
    """Return a function that gives a service's environment with the hosts of this machine."""
    home = secrets / "airflow"
    (home / "config").mkdir(parents=True)
    shutil.copy(ROOT / "docker/airflow/airflow_local_settings.py", home / "config")
    engines = {
        "AIRFLOW_CONN_ETL_CLICKHOUSE": engine_uris.clickhouse,
        "AIRFLOW_CONN_ETL_MONGO": engine_uris.mongo.replace("/?", f"/{settings.mongo_database}?"),
    }
    engines["AIRFLOW_CONN_ETL_MONGO_WRITER"] = engines["AIRFLOW_CONN_ETL_MONGO"]

    def environment(service: str) -> dict[str, str]:
        given = {name: str(value) for name, value in SERVICES[service]["environment"].items()} | engines
        given["AIRFLOW__CORE__EXECUTOR"] = "CeleryExecutor"  # what AIRFLOW_EXECUTOR is set to with the profile scale
        given = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in given.items()}
        for name, value in given.items():
            for host, here in ports.items():
                value = value.replace(host, here)
            given[name] = re.sub(r"/etl\b", "/etl_of_stack", value) if "POSTGRES" in name else value
        given |= engines
        return given | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": ports["airflow-apiserver:8080"].rpartition(":")[2],
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": ports["localhost:8974"].rpartition(":")[2],
            "ETL_AIRFLOW_HEALTH": f"http://{ports['airflow-apiserver:8080']}/api/v2/monitor/health",
            "ETL_SECRETS": str(secrets),
            "HOME": str(home),
            "PATH": _path(),
            "PYTHONPATH": str(ROOT),
        }

    return environment


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def stack(
    environment: Callable[[str], dict[str, str]],
    postgres_users: None,
    secrets: Path,
    ports: dict[str, str],
    logs: Path,
    client: Callable[..., Any],
) -> Iterator[Any]:
    """Start the services in the order of the compose file, a second worker with them, and log in."""
    subprocess.run(_command("airflow-init"), env=environment("airflow-init"), check=True, stdout=subprocess.DEVNULL)
    redis = SERVICES["redis"]["entrypoint"][2].replace("$$", "$").replace("/run/etl", str(secrets))
    where = f" --port {ports['redis:6379'].rpartition(':')[2]} --bind 127.0.0.1"
    running: list[subprocess.Popen[bytes]] = []
    try:
        running.append(_start(["sh", "-c", redis + where], {"PATH": _path()}, logs / "redis"))
        running += [_start(_command(service), environment(service), logs / service) for service in COMPONENTS]
        second = [*_command("airflow-worker"), "-H", "second@%h"]
        running.append(_start(second, environment("airflow-worker"), logs / "second-worker"))
        _await(lambda: all(_check(name, environment, ports, secrets) == 0 for name in COMPONENTS), logs)
        password = (secrets / "airflow_admin_password").read_text()
        with closing(client(f"http://{ports['airflow-apiserver:8080']}", password)) as airflow:
            yield airflow
    finally:
        _stop(running)


@pytest.fixture(scope="module")
def done(stack: Any) -> dict[str, str]:
    runs = {"generate_data": stack.run("generate_data", scale=0.02), "replicate": stack.run("replicate")}
    return runs | {"marts": stack.next_run("marts")}


def test_the_partitions_spread_over_both_workers_and_the_stores_are_exact(
    stack: Any, done: dict[str, str], settings: Settings, uris: dict[str, str], logs: Path
) -> None:
    for dag_id, run_id in done.items():
        assert {one["state"] for one in stack.tasks(dag_id, run_id)} == {"success"}, dag_id
    finished = {name: (logs / name).read_text().count("succeeded in") for name in ("airflow-worker", "second-worker")}
    assert all(finished.values()), finished
    with connect(Settings.load(**(settings.model_dump() | {"postgres_uri": uris["etl_of_stack"]}))) as connections:
        found = verify(connections)
    assert len(found) == 14 and all(one.proven for one in found)


def test_each_user_may_do_its_work_and_no_more(done: dict[str, str], uris: dict[str, str]) -> None:
    rights = (
        "SELECT rolsuper, rolcreatedb, rolcreaterole, has_database_privilege('airflow', 'CONNECT') "
        "FROM pg_roles WHERE rolname = current_user"
    )
    for user, uri in uris.items():
        assert _ask(uri, rights) == [(False, False, False, False)], user
    owners = "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname IN ('replica', 'marts', 'etl')"
    assert _ask(uris["etl_of_stack"], owners) == [("etl_of_stack",)]
    with pytest.raises(Error, match="must be owner of database"):
        _ask(uris["etl_of_stack"], "DROP DATABASE etl_of_stack")
    counts = "SELECT (SELECT count(*) FROM marts.user_activity) > 0, (SELECT count(*) FROM replica.event_logs) > 0"
    assert _ask(uris["analyst"], counts) == [(True, True)]
    for statement in (
        "DELETE FROM marts.user_activity",
        "SELECT * FROM etl.quarantine",
        "CREATE TABLE marts.mine ()",
        "CREATE SCHEMA mine",
    ):
        with pytest.raises(Error, match=r"permission denied|read-only transaction"):
            _ask(uris["analyst"], f"SET default_transaction_read_only = off; {statement}")


def test_no_password_is_in_a_log(done: dict[str, str], secrets: Path, logs: Path) -> None:
    said = "".join(path.read_text(errors="replace") for path in logs.iterdir())
    for secret in ("postgres_password", "redis_password", "airflow_admin_password", "airflow_jwt_secret"):
        assert (secrets / secret).read_text() not in said, secret


@pytest.mark.parametrize("service", ["redis", "postgres", "clickhouse"])
def test_health_checks_of_databases_succeed(
    stack: Any,
    service: str,
    environment: Callable[[str], dict[str, str]],
    ports: dict[str, str],
    secrets: Path,
    engine_uris: Uris,
) -> None:
    where = ports | {"127.0.0.1:8123": f"127.0.0.1:{urlsplit(engine_uris.clickhouse).port}"}
    assert _check(service, environment, where, secrets) == 0


def _check(
    service: str, environment: Callable[[str], dict[str, str]], ports: dict[str, str], secrets: Path
) -> int | None:
    """Run a service's health check as the engine would, with the hosts and ports of this machine."""
    how, *words = SERVICES[service]["healthcheck"]["test"]
    here = {"localhost:8080": ports["airflow-apiserver:8080"], "/run/etl": str(secrets), "$$": "$"}
    here |= {"/opt/etl": str(ROOT / "docker/airflow"), **ports}
    for name, value in here.items():
        words = [word.replace(name, value) for word in words]
    given = environment(service) if service.startswith("airflow") else {"PATH": _path()}
    given |= {"PGPORT": ports["postgres:5432"].rpartition(":")[2]}
    if service == "redis":
        words = [words[0].replace("redis-cli", f"redis-cli -p {ports['redis:6379'].rpartition(':')[2]}")]
    command = ["sh", "-c", *words] if how == "CMD-SHELL" else words
    if command[0] == "python":
        command = [sys.executable, str(ROOT / "docker/airflow/with_secrets.py"), sys.executable, *command[1:]]
    return subprocess.run(command, env=given, capture_output=True, timeout=60, check=False).returncode


def _command(service: str) -> list[str]:
    """Return what the image's entrypoint would run: the command, with the secrets in its environment."""
    secret = [sys.executable, str(ROOT / "docker/airflow/with_secrets.py")]
    return [*secret, sys.executable, "-m", "airflow", *SERVICES[service]["command"]]


def _start(command: list[str], environment: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)


def _stop(running: "list[subprocess.Popen[bytes]]") -> None:
    """Ask all to end, redis last, and end what is left of them after a while."""
    family = [child for one in running for child in psutil.Process(one.pid).children(recursive=True)]
    for process in reversed(running):
        process.terminate()
    give_up = time.monotonic() + 15
    for process in running:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, give_up - time.monotonic()))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for child in family:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def _await(ready: Callable[[], bool], logs: Path) -> None:
    give_up = time.monotonic() + 240
    while not ready():
        assert time.monotonic() < give_up, {
            path.name: path.read_text(errors="replace")[-500:] for path in logs.iterdir()
        }
        time.sleep(1)


def _ask(uri: str, query: str) -> list[Any]:
    with closing(dbapi.connect(uri, autocommit=True)) as connection, connection.cursor() as cursor:
        for statement in query.split("; "):
            cursor.execute(statement)
        return cursor.fetchall()


def _path() -> str:
    """Return the search path, with the programs of PostgreSQL's wheel at its end."""
    spec = find_spec("pgserver")
    assert spec is not None and spec.origin is not None, "needs PostgreSQL: pip install '.[embedded]'"
    return f"{os.environ['PATH']}{os.pathsep}{Path(spec.origin).parent / 'pginstall/bin'}"
