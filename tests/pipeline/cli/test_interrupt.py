"""Ctrl-C and SIGTERM while PostgreSQL is at something that does not end, nor what cleans up after it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.settings import Settings

WAITS_FOR_POSTGRES = """
import sys, threading
from pipeline.cli.interrupt import install_sigint
from pipeline.runtime.signals import install_signal_handlers
from pipeline.stores.postgres.store import Postgres

install_sigint()
install_signal_handlers(as_json=True)
postgres = Postgres(sys.stdin.readline().strip())
threading.Thread(target=postgres.rows, args=("SELECT pg_sleep(300)::text",)).start()
try:
    print("at it", flush=True)
    threading.Event().wait()
except BaseException:
    threading.Event().wait()  # nor does what cleans up
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
    assert json.loads(out) == {"error": "interrupted"} and err.splitlines()[-1].startswith("interrupted")
