"""The environment that docker-compose.yml gives Airflow, with other hosts in it; users and DAGs are real."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from pipeline.connections import connect
from pipeline.embedded import Uris
from pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
RUN = """
import sys
from airflow.dag_processing.dagbag import DagBag
from airflow.utils.db import initdb
initdb()
dags = DagBag().dags
for name, params in (("generate_data", {"scale": 0.005}), ("replicate", {}), ("marts", {}), ("verify", {})):
    dags[name].deadline = None  # dag.test() of Airflow 3.3 fails on any
    if dags[name].test(run_conf=params).state != "success":
        sys.exit(f"{name} failed")
"""


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
    script = re.sub(r"\b(ROLE|DATABASE|OWNER) etl\b", r"\1 etl_of_stack", script)
    environment = {
        "PATH": f"{os.environ['PATH']}{os.pathsep}{_wheel_of_postgres() / 'pginstall' / 'bin'}",
        "POSTGRES_USER": address.username or "",
        "PGHOST": address.hostname or "",
        "PGPORT": str(address.port),
        "PGPASSWORD": address.password or "",
    }
    subprocess.run(["bash", "-e", "-c", script], env=environment, check=True)


@pytest.fixture
def environment(settings: Settings, engine_uris: Uris, secrets: Path, postgres_users: None) -> dict[str, str]:
    """Return the scheduler's environment with the hosts of this machine, and SQLite for what Airflow remembers."""
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["airflow-scheduler"]
    given = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)) for name, value in service["environment"].items()}
    postgres = given["AIRFLOW_CONN_ETL_POSTGRES"].replace("//etl:", "//etl_of_stack:")
    postgres = postgres.replace("postgres:5432/etl", f"127.0.0.1:{urlsplit(engine_uris.postgres).port}/etl_of_stack")
    home = secrets / "airflow"
    home.mkdir()
    return given | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_ETL_CLICKHOUSE": engine_uris.clickhouse,
        "AIRFLOW_CONN_ETL_MONGO": engine_uris.mongo.replace("/?", f"/{settings.mongo_database}?"),
        "AIRFLOW_CONN_ETL_POSTGRES": postgres,
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "ETL_SECRETS": str(secrets),
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
    }


def test_the_dags_run_in_the_environment_of_the_stack(
    environment: dict[str, str], settings: Settings, engine_uris: Uris, secrets: Path
) -> None:
    program = [sys.executable, str(ROOT / "docker/airflow/with_secrets.py"), sys.executable, "-c", RUN]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    password = (secrets / "postgres_password").read_text()
    assert password not in done.stdout + done.stderr
    address = urlsplit(engine_uris.postgres)
    uri = f"postgresql://etl_of_stack:{password}@127.0.0.1:{address.port}/etl_of_stack"
    with connect(Settings.load(**(settings.model_dump() | {"postgres_uri": uri}))) as connections:
        owners = "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname IN ('replica', 'marts', 'etl')"
        assert connections.postgres.rows(owners) == [("etl_of_stack",)]
        (rights,) = connections.postgres.rows(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, has_database_privilege('airflow', 'CONNECT') "
            "FROM pg_roles WHERE rolname = current_user"
        )
        assert rights == (False, False, False, False)
        in_postgres = connections.postgres.rows("SELECT count(*) FROM marts.user_activity")
        assert in_postgres == connections.clickhouse.rows("SELECT count(*) FROM marts.user_activity")
        assert in_postgres[0][0] > 0


@pytest.fixture(autouse=True)
def _bash_and_psql() -> None:
    assert shutil.which("bash"), "needs bash"
    assert shutil.which("psql") or (_wheel_of_postgres() / "pginstall/bin/psql").exists(), "needs psql"


def _wheel_of_postgres() -> Path:
    spec = find_spec("pgserver")
    assert spec is not None and spec.origin is not None, "needs PostgreSQL: pip install '.[embedded]'"
    return Path(spec.origin).parent
