"""All of Airflow on this machine: its four components under one roof, with the embedded engines beside them.

What Airflow remembers is in a database of the embedded PostgreSQL. Any ``AIRFLOW__*`` of the environment goes before
what is chosen here, such as ``AIRFLOW__API__PORT``.
"""

import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies_environment

import typer
from adbc_driver_postgresql import dbapi
from pydantic import SecretStr

from pipeline.airflow.components import Components
from pipeline.airflow.connections import AIRFLOW_DATABASE
from pipeline.airflow.limits import POOLS, slots
from pipeline.engines.embedded import engines
from pipeline.engines.engine import free_port
from pipeline.errors import UsageError
from pipeline.settings import Settings

USERS = {"admin": "password", "viewer": "viewer_password"}  # by name, which is also their role: their secrets
_DATABASE = "airflow"
# What goes before Airflow's own defaults, and after what the environment says.
_DEFAULTS = {
    "AIRFLOW__API__HOST": "127.0.0.1",
    "AIRFLOW__API__PORT": "8080",
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PARALLELISM": "4",  # the default, 32, forks as many workers at once
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{user}" for user in USERS),
    "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",  # the admin alone may
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "15",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",  # the default, 300, leaves them lying after a restart
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",  # the default, 5, keeps a slot for seconds after its task
}
# Python 3.14 would start workers anew, each of which then imports what tasks need; macOS can't fork what has threads.
_OF_SYSTEM = {
    "linux": {"AIRFLOW__CORE__MP_START_METHOD": "fork"},
    # What the DAG processor forks to tell of a failed run asks the network, for which macOS may kill a fork; to look up
    # its proxies as well, so none are looked up but those that the environment names.
    "darwin": {"OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES"} | ({} if getproxies_environment() else {"NO_PROXY": "*"}),
}.get(sys.platform, {})
# As many as there are workers: no limit of its own until somebody sets one.
_SLOTS = {variable: _DEFAULTS["AIRFLOW__CORE__PARALLELISM"] for variable, _ in POOLS.values()}


def serve(dags: Path) -> None:
    """Start the engines and Airflow, say where it is and who may log in, and stop everything on Ctrl-C.

    Args:
        dags: Folder of the DAGs.

    Raises:
        UsageError: There is no such folder, its port is taken, or the size of a pool is none.
        ServerError: A component does not start, or ends by itself.
    """
    if not dags.is_dir():
        raise UsageError(f"there is no folder {dags}: start it where the project is")
    settings = Settings.load()
    _check_port(_chosen())
    slots()
    # Its own PostgreSQL in any case: what Airflow remembers is no business of a server that the settings name.
    with engines(settings.model_copy(update={"postgres_uri": None})) as complete:
        assert complete.postgres_uri is not None
        metadata = _database(complete.postgres_uri.get_secret_value())
        targets = complete.model_copy(update={"postgres_uri": settings.postgres_uri or complete.postgres_uri})
        home = complete.home.resolve() / "airflow"
        home.mkdir(mode=0o700, exist_ok=True)
        _write_local_settings(home)
        environment = _environment(home, dags.resolve(), metadata, targets)
        components = Components(environment, complete.home.resolve() / "log")
        typer.echo("preparing Airflow's database")
        components.prepare()
        typer.echo("starting Airflow")
        with components.running():
            typer.echo(f"Airflow: {environment['AIRFLOW__API__BASE_URL']}\n{_logins(home)}\nCtrl-C stops it")
            components.watch()


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
    _write(passwords, {user: kept[secret] for user, secret in USERS.items()})
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
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
    }
    uris = {f"ETL_{name.upper()}": value.get_secret_value() for name, value in settings if isinstance(value, SecretStr)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    given |= {name: os.environ.get(name) or size for name, size in _SLOTS.items()}
    return {
        **_OF_SYSTEM,
        **os.environ,
        **chosen,
        **given,
        **uris,
        "ETL_HOME": str(settings.home.resolve()),
        "PATH": path,
    }


def _chosen() -> dict[str, str]:
    """Return the options of Airflow that are chosen here or by the environment."""
    return {**_DEFAULTS, **{name: value for name, value in os.environ.items() if name.startswith("AIRFLOW__")}}


def _kept(home: Path) -> dict[str, str]:
    """Return the secrets of this home; made once, so that a login stays good."""
    file = home / "secrets.json"
    found: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    made = {name: secrets.token_urlsafe(32) for name in ("secret_key", "jwt_secret")}
    made |= {name: secrets.token_urlsafe(12) for name in USERS.values()}
    made["fernet_key"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    if made.keys() - found.keys():
        _write(file, found := made | found)
    return found


def _logins(home: Path) -> str:
    """Return who may log in; the viewer sees all and changes nothing."""
    return "\n".join(f"login: {user} password: {_kept(home)[secret]}" for user, secret in USERS.items())


def _write_local_settings(home: Path) -> None:
    """Let Airflow import what the tasks need ahead of them; a user's own settings are left alone."""
    file = home / "config" / "airflow_local_settings.py"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text("import pipeline.airflow.preload\n")


def _write(file: Path, values: Mapping[str, str]) -> None:
    file.touch(mode=0o600)
    file.write_text(json.dumps(values))


def _check_port(environment: Mapping[str, str]) -> None:
    port = int(environment["AIRFLOW__API__PORT"])
    try:
        free_port(port, environment["AIRFLOW__API__HOST"])
    except OSError:
        raise UsageError(f"port {port} is taken: stop what uses it, or set AIRFLOW__API__PORT") from None
