"""Each notebook runs from its beginning to its end, on marts in real stores, and is kept without what it showed."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.connections import connect
from pipeline.generate import generate
from pipeline.marts.build import build
from pipeline.replication.replicate import replicate
from pipeline.settings import Settings

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def environment(settings: Settings) -> dict[str, str]:
    """Fill the stores, and return where they are."""
    if find_spec("nbconvert") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs JupyterLab: pip install '.[notebook]'")
    with connect(settings) as connections:
        generate(connections.mongo.database, connections.entities, scale=0.01)
        replicate(connections)
        build(connections)
    uris = {f"ETL_{name}_URI": getattr(settings, f"{name.lower()}_uri") for name in ("POSTGRES", "CLICKHOUSE")}
    return dict(os.environ) | {name: uri.get_secret_value() for name, uri in uris.items()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--stdout", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_kept_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    assert all(cell.get("outputs", []) == [] and cell.get("execution_count") is None for cell in cells)
