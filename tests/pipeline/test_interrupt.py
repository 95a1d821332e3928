"""Ctrl-C and SIGTERM while a library is at something that does not end."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.cli import interrupt
from pipeline.settings import Settings

WAITS_FOR_POSTGRES = """
import signal, sys
from pipeline.cli.interrupt import ended_in_time, heed_interrupts
from pipeline.stores.postgres import Postgres

heed_interrupts()
signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # as where engines are embedded
postgres = Postgres(sys.stdin.readline().strip())
with ended_in_time():
    print("at it", flush=True)
    postgres.rows("SELECT pg_sleep(300)::text")
"""


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_a_statement_that_does_not_end_holds_up_no_command(
    settings: Settings, ended_by: signal.Signals, tmp_path: Path
) -> None:
    assert settings.postgres_uri is not None
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS_FOR_POSTGRES, "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(settings.postgres_uri.get_secret_value() + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "at it\n"
    process.send_signal(ended_by)
    out, err = process.communicate(timeout=60)  # far less than the statement takes
    assert process.returncode == 128 + ended_by
    assert json.loads(out) == {"error": "interrupted"} and err.startswith("interrupted")


def test_nothing_is_ended_that_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "SECONDS_TO_END", 0.2)
    ends: list[int] = []
    monkeypatch.setattr(interrupt, "_end", ends.append)
    before = set(threading.enumerate())

    def work() -> None:
        with interrupt.ended_in_time():
            signal.raise_signal(signal.SIGINT)
            threading.Event().wait(1)

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            work()
        assert set(threading.enumerate()) <= before
    with interrupt.ended_in_time():
        pass
    assert ends == []
