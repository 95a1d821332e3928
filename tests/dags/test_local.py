"""What ``python -m pipeline.airflow`` says when it can't begin: one sentence, before anything is started."""

import os
import socket
import subprocess
import sys
from pathlib import Path


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


def test_without_dags_there_is_nothing_to_serve(tmp_path: Path) -> None:
    done = _run(tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: there is no folder dags: start it where the project is\n"
