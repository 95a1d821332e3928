"""The demo, and engines of the command line's own: what it starts it also stops, and what it shows is there."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import app as cli
from pipeline.engines import embedded
from tests.pipeline.cli.processes import ROOT, run, start
from tests.pipeline.outcomes import check_outcome

CLOSED_PORT = 1


@pytest.fixture(scope="module")
def home(starts_engines: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home for commands that start their own engines."""
    folder = tmp_path_factory.mktemp("demo") / "a home"
    yield folder
    embedded.down(folder)


def test_status_starts_and_makes_nothing_in_an_empty_home(tmp_path: Path) -> None:
    home = tmp_path / "none"
    result = run(home, "status")
    assert (result.code, result.err) == (0, "")
    assert "nothing replicated yet; run etl demo" in result.out
    assert not home.exists()


def _told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Run a command in this process, which has all imported that it needs, and return its JSON."""
    capsys.readouterr()
    assert cli.run([*arguments]) == 0
    out = capsys.readouterr().out
    check_outcome(arguments, out)
    return json.loads(out)


def test_the_demo_twice_and_what_it_promises_to_be_there(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = f"mongodb://127.0.0.1:{CLOSED_PORT}"
    first = run(home, "demo", "--scale", "0.02", "--defects", "0.05", "--embedded", ETL_MONGO_URI=elsewhere)
    assert first.code == 0, first.err
    assert [line[:4] for line in first.err.splitlines()] == [f"{step}/7 " for step in range(1, 8)]
    titles = (
        "Copied as of ",
        "documents are in quarantine",
        "A week later: ",
        "all is equal again",
        " marts, ",
    )
    for title in (*titles, "tickets re", "marts.user_activity: 3 of "):
        assert title in first.out
    assert "psql" in first.out and "etl up" in first.out and str(home) in first.out
    assert "OPEN" not in first.out and " NO " not in first.out
    assert embedded.running(home) == {}

    monkeypatch.setenv("ETL_HOME", str(home))
    parts = _told(capsys, "demo", "--scale", "0.02", "--json")
    assert parts["generate"]["documents"] == 2000
    assert parts["replicate"]["closed"] and parts["verify"]["proven"]
    assert len(parts["top"]["user_activity"]) == 5
    assert parts["home"] == str(home)
    assert (
        parts["sync"]["collections"] and parts["verify_again"]["proven"] and parts["kept"]["SupportTickets"]["versions"]
    )
    assert Path(parts["report"]).read_text().startswith("<!")
    # The documents of the first demo are no past of those of the second.
    kept = {(one["collection"], one["versions"]) for one in _told(capsys, "history", "list", "--json")["history"]}
    assert kept == {(name, one["versions"]) for name, one in parts["kept"].items()}
    assert embedded.running(home) == {}


def test_up_status_down(home: Path) -> None:
    uris = run(home, "up", "--json")
    assert uris.code == 0
    assert list(uris.json) == ["mongo", "postgres", "clickhouse"]
    assert embedded.running(home) == uris.json
    for_people = run(home, "up", ETL_MONGO_URI="mongodb://elsewhere")
    assert all(uri in for_people.out for uri in uris.json.values())
    assert "etl psql" in for_people.out
    assert run(home, "psql", "-Atc", "SELECT count(*) FROM marts.user_activity").code == 0
    assert run(home, "psql", "-c", "nonsense").code == 1
    assert "ETL_MONGO_URI is set" in for_people.err
    state = run(home, "status", "--json").json
    assert state["engines"] == ["clickhouse", "mongo", "postgres"]
    assert len(state["books"]) == 14, "what the demo left"
    assert run(home, "quarantine").code == 0
    assert run(home, "down", "--json").json == {"stopped": ["mongo", "postgres", "clickhouse"]}
    assert embedded.running(home) == {}
    assert "nothing ran" in run(home, "down").out


def test_bars_are_shown_on_a_terminal_only(home: Path) -> None:
    terminal, stderr = pty.openpty()
    fcntl.ioctl(stderr, 0x5414, b"\x28\x00\x78\x00" + bytes(4))  # TIOCSWINSZ: 40 lines of 120 columns
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "generate", "--scale", "0.05"],
        cwd=ROOT,
        env={**os.environ, "ETL_HOME": str(home), "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    os.close(stderr)
    shown = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
    out, _ = process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 0
    assert "━".encode() in shown and b"UserSessions" in shown
    assert b"Generated: 5,000 documents" in out and "━".encode() not in out


@pytest.mark.parametrize("step", ["1/7", "2/7", "3/7"])
def test_ctrl_c_ends_it_and_leaves_no_engine(home: Path, step: str) -> None:
    process = start(home, "demo", "--scale", "0.03")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(step):
            break
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    (line,) = (one for one in err.splitlines() if not re.match("[0-9]/7", one))  # the next step may have begun
    assert line.startswith("interrupted")
    give_up = time.monotonic() + 30  # they stop by themselves where the command had no time to wait for it
    while embedded.running(home) and time.monotonic() < give_up:
        time.sleep(0.1)
    assert embedded.running(home) == {}


def test_after_ctrl_c_the_next_command_works(home: Path) -> None:
    assert run(home, "replicate", "SupportTickets").code == 0
