"""The notebooks run from the first cell to the last on real engines, and bring no output along in git."""

import json
from pathlib import Path

import pytest

from pipeline import build_marts, replicate
from tests.pipeline.lab import Lab

FOLDER = Path(__file__).parents[3] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def filled(lab: Lab) -> Lab:
    lab.fill(
        defects=0.02,
        UserSessions=300,
        ProductPriceHistory=30,
        EventLogs=300,
        SupportTickets=200,
        UserRecommendations=50,
        ModerationQueue=50,
        SearchQueries=200,
    )
    replicate(lab.connections)
    build_marts(lab.connections)
    return lab


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_cell_runs(path: Path, filled: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in filled.settings:
        if name.endswith(("_uri", "_database", "home")):
            text = value.get_secret_value() if name.endswith("_uri") else str(value)
            monkeypatch.setenv(f"ETL_{name.upper()}", text)
    import nbformat  # these two are not there where only tests without engines run
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(FOLDER)}}).execute()
    assert any(one.outputs for one in notebook.cells if one.cell_type == "code")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_is_in_git(path: Path) -> None:
    cells = [one for one in json.loads(path.read_text())["cells"] if one["cell_type"] == "code"]
    assert cells
    assert not any(one["outputs"] or one["execution_count"] for one in cells)
