"""All of Airflow on this machine: its four components under one roof, with the embedded engines beside them.

What Airflow remembers is in a database of the embedded PostgreSQL. Any ``AIRFLOW__*`` of the environment goes before
what is chosen here, such as ``AIRFLOW__API__PORT``.
"""

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

import psutil
import typer
from adbc_driver_postgresql import dbapi
from pydantic import SecretStr

from pipeline.airflow.connections import AIRFLOW_DATABASE
from pipeline.engines.embedded import engines
from pipeline.errors import ServerError, UsageError
from pipeline.settings import Settings

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
_DATABASE = "airflow"
_SECONDS_TO_START = 180.0
_SECONDS_TO_STOP = 15.0  # a component ends within ten; what a task has not committed is undone
# What goes before Airflow's own defaults, and after what the environment says.
_DEFAULTS = {
    "AIRFLOW__API__HOST": "127.0.0.1",
    "AIRFLOW__API__PORT": "8080",
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PARALLELISM": "4",  # the default, 32, forks as many workers at once
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "15",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",  # the default, 5, keeps a slot for seconds after its task
}


def serve(dags: Path) -> None:
    """Start the engines and Airflow, say where it is and who may log in, and stop everything on Ctrl-C.

    Args:
        dags: Folder of the DAGs.

    Raises:
        UsageError: There is no such folder, Airflow is not installed, or its port is taken.
        ServerError: A component does not start, or ends by itself.
    """
    if not dags.is_dir():
        raise UsageError(f"there is no folder {dags}: start it where the project is")
    settings = Settings.load()
    _refuse_taken_port(_chosen())
    # Its own PostgreSQL in any case: what Airflow remembers is no business of a server that the settings name.
    with engines(settings.model_copy(update={"postgres_uri": None})) as complete:
        assert complete.postgres_uri is not None
        metadata = _database(complete.postgres_uri.get_secret_value())
        targets = complete.model_copy(update={"postgres_uri": settings.postgres_uri or complete.postgres_uri})
        home = complete.home.resolve() / "airflow"
        home.mkdir(mode=0o700, exist_ok=True)
        _write_local_settings(home)
        environment = _environment(home, dags.resolve(), metadata, targets)
        _say("preparing Airflow's database")
        _migrate(environment, home)
        with _components(environment, home) as processes:
            _await_healthy(environment, processes, home)
            _say(f"Airflow: {_url(environment)}\nlogin: admin password: {_kept(home)['password']}\nCtrl-C stops it")
            _await_end(processes, home)


def _database(uri: str) -> str:
    """Create Airflow's database if there is none yet, and return its URI."""
    with closing(dbapi.connect(uri, autocommit=True)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM pg_database WHERE datname = '{_DATABASE}'")
        if cursor.fetchall() == [(0,)]:
            cursor.execute(f"CREATE DATABASE {_DATABASE}")
    return urlunsplit(urlsplit(uri)._replace(path=f"/{_DATABASE}"))


def _environment(home: Path, dags: Path, metadata: str, settings: Settings) -> dict[str, str]:
    kept = _kept(home)
    passwords = home / "passwords.json"
    _write(passwords, {"admin": kept["password"]})
    given = _chosen()
    database = metadata.replace("postgresql://", "postgresql+psycopg2://")
    url = f"http://{given['AIRFLOW__API__HOST']}:{given['AIRFLOW__API__PORT']}"
    chosen = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__BASE_URL": url.replace("127.0.0.1", "localhost"),
        "AIRFLOW__API__SECRET_KEY": kept["secret_key"],
        "AIRFLOW__API_AUTH__JWT_SECRET": kept["jwt_secret"],
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": kept["fernet_key"],
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        AIRFLOW_DATABASE: os.environ.get(AIRFLOW_DATABASE)
        or given.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", database),
        # Two of these on one machine must not fight for the ports of log files, which are read from disk anyway.
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(_free_port()),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(_free_port()),
    }
    uris = {f"ETL_{name.upper()}": value.get_secret_value() for name, value in settings if isinstance(value, SecretStr)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, **chosen, **given, **uris, "ETL_HOME": str(settings.home.resolve()), "PATH": path}


def _chosen() -> dict[str, str]:
    """Return the options of Airflow that are chosen here or by the environment."""
    return {**_DEFAULTS, **{name: value for name, value in os.environ.items() if name.startswith("AIRFLOW__")}}


def _kept(home: Path) -> dict[str, str]:
    """Return the secrets of this home; made once, so that a login stays good."""
    file = home / "secrets.json"
    if not file.exists():
        made = {name: secrets.token_urlsafe(32) for name in ("secret_key", "jwt_secret")}
        fernet = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        _write(file, made | {"fernet_key": fernet, "password": secrets.token_urlsafe(12)})
    found: dict[str, str] = json.loads(file.read_text())
    return found


def _write_local_settings(home: Path) -> None:
    """Let Airflow import what the tasks need ahead of them; a user's own settings are left alone."""
    file = home / "config" / "airflow_local_settings.py"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text("import pipeline.airflow.preload\n")


def _write(file: Path, values: Mapping[str, str]) -> None:
    file.touch(mode=0o600)
    file.write_text(json.dumps(values))


def _refuse_taken_port(environment: Mapping[str, str]) -> None:
    port = environment["AIRFLOW__API__PORT"]
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((environment["AIRFLOW__API__HOST"], int(port)))
        except OSError:
            raise UsageError(f"port {port} is taken: stop what uses it, or set AIRFLOW__API__PORT") from None


def _migrate(environment: Mapping[str, str], home: Path) -> None:
    log = _log_file(home, "db-migrate")
    with log.open("wb") as output:
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        done = subprocess.run(command, env=environment, stdout=output, stderr=output, check=False)
    if done.returncode:
        raise _failure("its database can't be prepared", log)


@contextmanager
def _components(environment: Mapping[str, str], home: Path) -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """Start the components, each in a session of its own; whatever happens, none of their processes is left."""
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in COMPONENTS:
            with _log_file(home, name).open("wb") as output:
                processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "airflow", name],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        yield processes
    finally:
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        _stop(processes)
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(processes: Mapping[str, "subprocess.Popen[bytes]"]) -> None:
    _say("stopping")
    family = [member for process in processes.values() for member in _family(process.pid)]
    for process in processes.values():
        process.terminate()
    give_up = time.monotonic() + _SECONDS_TO_STOP
    for process in processes.values():
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, give_up - time.monotonic()))
    sessions = {process.pid for process in processes.values()}
    for member in {*family, *(one for one in psutil.process_iter() if _session(one.pid) in sessions)}:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=_SECONDS_TO_STOP)
    for process in processes.values():
        process.wait()


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _await_healthy(
    environment: Mapping[str, str], processes: Mapping[str, "subprocess.Popen[bytes]"], home: Path
) -> None:
    _say("starting Airflow")
    give_up = time.monotonic() + _SECONDS_TO_START
    while not _healthy(environment):
        _refuse_dead(processes, home)
        if time.monotonic() > give_up:
            raise _failure(f"it is not healthy after {_SECONDS_TO_START:.0f} s", _log_file(home, "scheduler"))
        time.sleep(0.5)


def _healthy(environment: Mapping[str, str]) -> bool:
    address = f"{environment['AIRFLOW__API__HOST']}:{environment['AIRFLOW__API__PORT']}"
    try:
        with urlopen(f"http://{address}/api/v2/monitor/health", timeout=5) as answer:
            found = json.load(answer)
    except (URLError, OSError, ValueError):
        return False
    return all(part["status"] == "healthy" for part in found.values())


def _await_end(processes: Mapping[str, "subprocess.Popen[bytes]"], home: Path) -> None:
    while True:
        _refuse_dead(processes, home)
        time.sleep(0.5)


def _refuse_dead(processes: Mapping[str, "subprocess.Popen[bytes]"], home: Path) -> None:
    for name, process in processes.items():
        if process.poll() is not None:
            raise _failure(f"its {name} ended with {process.returncode}", _log_file(home, name))


def _failure(reason: str, log: Path) -> ServerError:
    said = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return ServerError(f"Airflow: {reason} ({said[-1].strip()[:300] if said else 'it said nothing'}; see {log})")


def _log_file(home: Path, name: str) -> Path:
    return home.parent / "log" / f"airflow-{name}.log"


def _url(environment: Mapping[str, str]) -> str:
    return environment["AIRFLOW__API__BASE_URL"]


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _say(text: str) -> None:
    typer.echo(text)
