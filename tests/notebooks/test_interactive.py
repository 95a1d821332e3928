"""What a person in a notebook gets by Tab, sees of an object, and is told when something is wrong."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.lake.tables import html_table

# No server is asked for any of it.
SESSION = """
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
shell.run_cell("from pipeline import Lake; lake = Lake()")

def tab(typed):
    with provisionalcompleter():  # as a kernel asks
        return {one.text.lstrip(".") for one in shell.Completer.completions(typed, len(typed))}

assert {"replica", "history", "marts", "collection", "books", "describe"} <= tab("lake.")
assert {"support_tickets", "support_tickets_messages"} == tab("lake.replica.supp")
assert {"support_tickets", "support_tickets_messages"} == tab('lake.replica["supp')
assert {"user_activity_daily"} == tab("lake.marts.user_activity_")
for name in ("lake", "lake.replica"):
    formats, _ = shell.display_formatter.format(eval(name, shell.user_ns))
    assert "replica" in formats["text/plain"] and formats["text/html"].startswith("<table>"), formats
shell.run_cell("lake.replica.suport_tickets")
shell.run_cell("Lake(store='nothing')")
"""


def test_a_lake_helps_whoever_types(tmp_path: Path) -> None:
    if find_spec("IPython") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs JupyterLab: pip install '.[notebook]'")
    # What completes may look at a table, which would start an engine in the folder of the checkout.
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "NO_COLOR": "1", "ETL_HOME": str(tmp_path / "etl")}
    environment |= {"ETL_POSTGRES_URI": "postgresql://127.0.0.1:9/none"}
    command = [sys.executable, "-c", SESSION]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()  # as the command line says it, without a traceback
    assert first.startswith("error: there is no table 'suport_tickets' in replica; there are event_logs, ")
    assert second == "error: there is no target 'nothing'; there are postgres and clickhouse"


def test_what_a_notebook_shows_is_text() -> None:
    assert "<b>" not in html_table("a", {"<b>": "<b>x</b> & y"})
