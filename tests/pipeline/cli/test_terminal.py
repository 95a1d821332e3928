"""What a terminal shows while a command works: how far it is, what it waits for, and nothing where there is none."""

import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Timestamp
from rich.console import Console

from pipeline import replicate
from pipeline.cli.follow import _Standing
from pipeline.cli.progress import _Row, _Rows
from pipeline.replication.sync import Synced
from pipeline.runtime.timings import ACTIVITY, Stopwatch
from tests.pipeline.lab import Lab

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def _lines(drawn: Any, width: int, height: int = 24) -> list[str]:
    to = Console(file=io.StringIO(), force_terminal=True, no_color=True, width=width, height=height, _environ={})
    to.print(drawn)
    assert isinstance(to.file, io.StringIO)
    return [line.rstrip() for line in ESCAPES.sub("", to.file.getvalue()).splitlines()]


# How far, how fast, how long, what for -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stages", "waits_for"),
    [
        ({("mongo", "mongo"): 3.9, ("decode", "decode"): 2.0, ("postgres", "postgres"): 3.5}, "MongoDB"),
        ({("mongo", "mongo"): 1.0, ("postgres", "postgres"): 3.8, ("clickhouse", "clickhouse"): 1.0}, "PostgreSQL"),
        ({("mongo", "mongo"): 1.0, ("postgres", "postgres"): 1.0, ("clickhouse", "clickhouse"): 3.9}, "ClickHouse"),
        ({("mongo", "mongo"): 3.0, ("transform", "transform"): 4.0, ("postgres", "postgres"): 3.0}, "etl itself"),
        ({("mongo", "mongo"): 1.0, ("postgres", "postgres"): 0.5}, "etl itself"),  # nothing measured was ever busy
        # One after the other in a lane: the lane is what holds up, and of it what takes most.
        ({("mongo", "mongo"): 2.5, ("compare", "postgres"): 2.0, ("compare", "clickhouse"): 1.5}, "PostgreSQL"),
    ],
)
def test_it_waits_for_the_stage_that_is_never_idle(stages: dict[tuple[str, str], float], waits_for: str) -> None:
    before = {("mongo", "mongo"): 100.0, ("postgres", "postgres"): 1.0}  # of long ago
    after = before | {key: before.get(key, 0.0) + seconds for key, seconds in stages.items()}
    row = _Row("UserSessions", total=10_000, done=5_000, past=deque([(10.0, 1_000, before), (14.0, 5_000, after)]))
    assert (row.waits_for, row.rate, row.time) == (waits_for, 1_000.0, "0:05 left")


def test_what_goes_on_right_now_counts_and_who_is_done_waits_for_nothing() -> None:
    with Stopwatch("Long").at("mongo"):
        assert "Long" in ACTIVITY.under_way()
        first = ACTIVITY.seconds("Long")["mongo", "mongo"]
        time.sleep(0.01)
        assert ACTIVITY.seconds("Long")["mongo", "mongo"] >= first + 0.01
    assert "Long" not in ACTIVITY.under_way()
    row = _Row("Long", began=time.monotonic() - 75)
    row.tell(1_500, 1_500, "Long")
    assert (row.waits_for, row.time, round(row.rate or 0)) == ("", "1:15", 20)


@pytest.mark.parametrize("width", [120, 80, 60, 45])
def test_rows_fit_the_terminal(width: int) -> None:
    rows = _Rows("replicate", "documents")
    for number in range(40):
        rows.tell(f"Collection{number}", 1_000, 1_000, f"Collection{number}")
    rows.tell("x" * 200, 2_000_000, 1_234_567, "x" * 200)
    with ACTIVITY.at("not told yet", "mongo"):
        heading, *lines = _lines(rows, width)
    assert max(map(len, (heading, *lines))) <= width and len(lines) <= 24
    assert ("21 more" in heading or width < 60) and "waits for" in heading
    assert "1,234,567" in next(line for line in lines if line.startswith("xxxx"))  # who is at work is always there
    assert any(line.startswith("not ") for line in lines)
    assert "━" in "".join(lines) and ("a second" in heading) == (width >= 80)


def test_the_line_that_stays_says_how_the_copies_stand() -> None:
    standing = _Standing(rest=5.0)
    assert _lines(standing, 80) == ["lag -   0.0 changes/s   nothing published yet"]
    moment = Timestamp(datetime(2026, 11, 29, 4, 5, 6, tzinfo=UTC), 1)
    standing.take_in([Synced("A", ("postgres",), moment, moment, 1_200, 1_200), Synced("B", (), moment, moment)])
    (line,) = _lines(standing, 80)
    assert re.fullmatch(r"lag 0 s   1,200\.0 changes/s   last publish \d\d:\d\d:\d\d UTC, 1,200 documents", line)
    assert [len(line) for line in _lines(standing, 30)] == [30]


# On a real terminal ---------------------------------------------------------------------------------------------------


@dataclass
class Terminal:
    """A command that runs on a terminal, and what it has shown so far."""

    process: "subprocess.Popen[bytes]"
    shown: bytes = b""

    def wait_for(self, text: str) -> None:
        give_up = time.monotonic() + 60
        while text.encode() not in self.shown:
            assert time.monotonic() < give_up and self.process.poll() is None, self.shown.decode()
            time.sleep(0.02)

    def press_ctrl_c(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def _on_a_terminal(lab: Lab, *arguments: str) -> Iterator[Terminal]:
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    uris = {f"ETL_{name.upper()}": value.get_secret_value() for name, value in lab.settings if name.endswith("_uri")}
    environment = {**os.environ, **uris, "ETL_MONGO_DATABASE": lab.settings.mongo_database, "TERM": "xterm"}
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    process = subprocess.Popen(command, env=environment, stdin=its, stdout=its, stderr=its)
    os.close(its)
    terminal = Terminal(process)

    def listen() -> None:
        while select.select([ours], [], [], 60)[0]:
            try:
                terminal.shown += os.read(ours, 65536)
            except OSError:  # the other end is closed
                return

    listening = threading.Thread(target=listen)
    listening.start()
    try:
        yield terminal
        listening.join(60)
    finally:
        process.kill()
        process.wait()
        listening.join(60)
        os.close(ours)


@pytest.fixture(scope="module")
def filled(lab: Lab) -> Lab:
    lab.fill(SearchQueries=50)
    replicate(lab.connections, ["SearchQueries"])
    return lab


def test_following_shows_a_line_that_stays(filled: Lab) -> None:
    with _on_a_terminal(filled, "sync", "--follow", "--every", "0.2") as terminal:
        terminal.wait_for("lag 0 s")
        filled.collection("SearchQueries").delete_one({})
        terminal.wait_for("0 loaded + 1 deleted")
        terminal.wait_for("UTC, 1 document")
        assert terminal.press_ctrl_c() == 0
    shown = ESCAPES.sub("", terminal.shown.decode())
    assert "Changed documents, now as of" in shown  # and the sum of it, as without a terminal


def test_the_status_is_drawn_until_ctrl_c(filled: Lab) -> None:
    with _on_a_terminal(filled, "status", "--watch", "0.2") as terminal:
        terminal.wait_for("Ctrl-C ends it")
        terminal.shown = b""
        terminal.wait_for("SearchQueries")  # again
        assert terminal.press_ctrl_c() == 0
    assert b"\x1b[?1049l" in terminal.shown  # the terminal is as before
    assert b"Published" in terminal.shown.rpartition(b"\x1b[?1049l")[2]


def test_without_a_terminal_there_is_nothing_of_it(filled: Lab, etl: Callable[..., tuple[int, str, str]]) -> None:
    assert etl("status", "5")[0] == 2
    once = etl("status")
    assert etl("status", "--watch") == once
    for command in (("replicate", "SearchQueries"), ("verify", "SearchQueries"), ("sync",)):
        code, out, err = etl(*command)
        assert (code, err) == (0, "") and "waits for" not in out and "\x1b" not in out
