"""What ``python -m pipeline.airflow`` says when it can't begin, before anything is started; what is imported ahead."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.systems import ONLY_LINUX

OWN = "2026-11-28T21:18:20.334921Z [info     ] DagRun Finished: dag_id=sync [airflow.jobs.scheduler_job_runner] loc=x"
ERROR = "2026-11-28T21:18:20.334921Z [error    ] no database [airflow.jobs.scheduler_job_runner] loc=x"
TASKS = """2026-11-28 21:19:24.368785+00:00 [error    ] Worker startup parse failed [task] dag_id=sync
2026-11-28T21:21:46.603201Z [warning  ] Starting call, this is the 4th time [airflow.sdk.api.client] loc=before.py:36
2026-11-28T21:21:46.603201Z [error    ] Task finished [supervisor] loc=supervisor.py:36
"""


def _run(folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pipeline.airflow"]
    given = os.environ | {"ETL_HOME": str(folder / "home")} | environment
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, check=False)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = str(server.getsockname()[1])
        done = _run(tmp_path, AIRFLOW__API__PORT=port)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: port {port} is taken: stop what uses it, or set AIRFLOW__API__PORT\n"
    assert not (tmp_path / "home").exists()


def test_the_size_of_a_pool_is_checked_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    done = _run(tmp_path, ETL_MONGO_SLOTS="many")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: ETL_MONGO_SLOTS is 'many'; it must be a whole number above zero, such as 4\n"


@pytest.mark.parametrize(
    ("said", "killed", "quoted"),
    [
        (f"{OWN}\n{TASKS}", True, OWN),
        (f"{OWN}\nTraceback (most recent call last):\n  File x\nOSError: taken\n{TASKS}", False, "OSError: taken"),
        (f"{ERROR}\n{OWN}\n{TASKS}", False, ERROR),
        (f"{ERROR}\n{OWN}\n{TASKS}", True, OWN),
        (f"{OWN}\n\x1b[31mplain words\x1b[0m\n", True, "plain words"),
        (TASKS, True, ""),
    ],
)
def test_the_end_of_a_component_is_told_in_its_own_words(said: str, killed: bool, quoted: str) -> None:
    from pipeline.airflow.components import last_words

    assert last_words(said, killed=killed) == quoted


def test_without_dags_there_is_nothing_to_serve(tmp_path: Path) -> None:
    done = _run(tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: there is no folder dags: start it where the project is\n"


@ONLY_LINUX
@pytest.mark.parametrize(
    ("command", "imported"),
    [("airflow scheduler", True), ("airflow celery worker -c 2", True), ("airflow api-server", False)],
)
def test_only_what_runs_tasks_imports_ahead_and_no_thread_that_computes_is_started(
    command: str, imported: bool
) -> None:
    look = (
        f"import os, sys; sys.argv = {command.split()!r}; import pipeline.airflow.preload; "
        "names = [open(f'/proc/self/task/{task}/comm').read().strip() for task in os.listdir('/proc/self/task')]; "
        "print({'pipeline.replication.replicate', 'pandera.polars', 'pymongoarrow.api'} <= sys.modules.keys(), "
        "*(n for n in names if n.startswith(('polars-', 'rayon', 'tokio'))))"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    was_imported, *threads = done.stdout.split()
    assert was_imported == str(imported)
    assert [name for name in threads if not name.startswith("polars-ooc")] == []
