"""Each notebook runs from its beginning to its end, on marts in real stores, and is kept without what it showed."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from bson import Decimal128

from pipeline.connections import connect
from pipeline.generate import generate
from pipeline.marts.build import build
from pipeline.replication.replicate import replicate
from pipeline.settings import Settings

# A database that no contract knows, as applications leave them: types that change, names with blanks, nothing at all.
STRANGE: dict[str, list[dict[str, Any]]] = {
    "orders 2026": [
        {
            "_id": number,
            "total": Decimal128("19.90") if number % 7 else "on request",
            "customer": {"name": f"Müller {number}", "since": datetime(2020, 1, 1, tzinfo=UTC)},
            "lines": [{"sku": f"A-{line}", "count": line} for line in range(number % 4)],
            "Käufer-Nr.": number if number % 2 else None,
        }
        for number in range(200)
    ],
    "notes": [{"text": "\0 within"}, {"text": ["a", "b"]}, {"words": {f"w{n}": n for n in range(300)}}],
    "empty": [],
}
NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def environment(settings: Settings) -> dict[str, str]:
    """Fill the stores, and return where they are."""
    if find_spec("nbconvert") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs JupyterLab: pip install '.[notebook]'")
    with connect(settings) as connections:
        generate(connections.mongo.database, connections.entities, scale=0.01)
        read = ("ModerationQueue", "SearchQueries", "SupportTickets", "UserSessions")
        replicate(connections, read)  # by the marts that the notebooks look at
        build(connections, ["ticket_resolution", "user_activity_daily"])
        client, strange = connections.mongo.database.client, f"{settings.mongo_database}_2"
        client.drop_database(strange)
        for name, documents in STRANGE.items():
            client[strange].create_collection(name)
            if documents:
                client[strange][name].insert_many(documents)
    uris = {f"ETL_{name}_URI": getattr(settings, f"{name.lower()}_uri") for name in ("MONGO", "POSTGRES", "CLICKHOUSE")}
    return os.environ | {name: uri.get_secret_value() for name, uri in uris.items()} | {"ETL_MONGO_DATABASE": strange}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """In a folder of its own, as some write files beside them."""
    copy = shutil.copy(path, tmp_path)
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--stdout", copy]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    streams = [one for cell in json.loads(done.stdout)["cells"] for one in cell.get("outputs", [])]
    assert not [one["text"] for one in streams if one.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_kept_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    assert all(cell.get("outputs", []) == [] and cell.get("execution_count") is None for cell in cells)
