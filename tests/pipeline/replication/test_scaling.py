"""The script that docs/scaling.md shows: one copy by several processes that share nothing but a folder."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.replication import replicate
from tests.pipeline.lab import Lab

PAGE = (Path(__file__).parents[3] / "docs/scaling.md").read_text()
(SCRIPT,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NAMES = ["SearchQueries", "UserSessions"]


@pytest.fixture
def script(lab: Lab, tmp_path: Path) -> Any:
    """Return a function that starts the script, with the servers of this module."""
    (tmp_path / "pieces.py").write_text(SCRIPT)
    uris = {f"ETL_{name.upper()}": value.get_secret_value() for name, value in lab.settings if name.endswith("_uri")}
    env = {**os.environ, **uris, "ETL_MONGO_DATABASE": lab.settings.mongo_database}

    def start(command: str, *numbers: int) -> subprocess.Popen[str]:
        arguments = [sys.executable, "pieces.py", command, str(tmp_path), *map(str, numbers)]
        return subprocess.Popen(arguments, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)

    return start


def test_the_script_of_the_page_copies_by_several_processes(lab: Lab, script: Any) -> None:
    lab.fill(defects=0.1, **dict.fromkeys(NAMES, 100))
    told, _ = script("plan").communicate(timeout=60)
    number = int(told)
    assert number == len(NAMES)
    lab.collection("UserSessions").delete_many({})  # this is later
    # The first partition is loaded by both of them.
    workers = [script("load", *range(0, number, 2)), script("load", 0, *range(1, number, 2))]
    for worker in workers:
        worker.communicate(timeout=60)
    assert [worker.returncode for worker in workers] == [0, 0]
    published, _ = script("publish").communicate(timeout=60)
    assert published.count("Account(") == 2 * number
    for ask in (lab.postgres, lab.clickhouse):
        ((rows,),) = ask("SELECT count(*) FROM replica.user_sessions")
        assert rows + len(lab.quarantine("UserSessions")) == 100
    assert lab.leftovers() == []
    replicate.replicate(lab.connections, NAMES)
    lab.assert_replicated(NAMES)
