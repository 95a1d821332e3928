"""DAG files are wiring: of this project they import ``pipeline`` alone, and no library of the job."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DAGS = sorted((Path(__file__).parents[2] / "dags").glob("*.py"))
ALLOWED = {"airflow", "pipeline", *sys.stdlib_module_names}


def imported(file: Path) -> Iterator[str]:
    """Yield the top-level packages that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and node.level == 0
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("file", DAGS, ids=[file.stem for file in DAGS])
def test_a_dag_file_imports_the_pipeline_and_airflow_alone(file: Path) -> None:
    found = set(imported(file))
    assert "pipeline" in found
    assert found <= ALLOWED
