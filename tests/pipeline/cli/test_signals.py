"""Signals: whatever the command waits for, Ctrl-C and SIGTERM end it in seconds, and a second Ctrl-C at once."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from pipeline.settings import Settings
from tests.systems import ONLY_LINUX

ENDED = {signal.SIGINT: 130, signal.SIGTERM: 143}
# What is waited for after the first signal would never be given up: only the second one ends the command.
PATIENT = """
import runpy
from pipeline.runtime import signals
signals._CANCEL_S = 600.0
runpy.run_module("pipeline.cli", run_name="__main__", alter_sys=True)
"""


def _start(
    settings: Settings, *arguments: str, program: Sequence[str] = ("-m", "pipeline.cli"), **changed: str
) -> subprocess.Popen[str]:
    uris = {f"ETL_{name.upper()}": value.get_secret_value() for name, value in settings if name.endswith("_uri")}
    given = os.environ | uris | {"ETL_HOME": str(settings.home), "ETL_MONGO_DATABASE": settings.mongo_database}
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        env=given | changed,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _end(process: subprocess.Popen[str], *signals: signal.Signals) -> tuple[int, str, str]:
    for one in signals:
        process.send_signal(one)
        time.sleep(0.3)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


@pytest.fixture
def silent(settings: Settings, proxy_of: Callable[..., Any]) -> Callable[..., dict[str, str]]:
    """Return a function that puts a proxy before a server, silent from some moment on, and returns how to reach it."""

    def silent(name: str, at: bytes) -> tuple[Any, dict[str, str]]:
        parts = urlsplit(getattr(settings, f"{name}_uri").get_secret_value())
        proxy = proxy_of(parts.port)
        proxy.silent_at, proxy.silent = at, not at
        user, sign, _ = parts.netloc.rpartition("@")
        uri = urlunsplit(parts._replace(netloc=f"{user}{sign}127.0.0.1:{proxy.port}"))
        return proxy, {f"ETL_{name.upper()}_URI": uri}

    return silent


def _until_silent(proxy: Any, process: subprocess.Popen[str]) -> None:
    give_up = time.monotonic() + 60
    while not proxy.silent:
        assert process.poll() is None and time.monotonic() < give_up
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("name", "at", "signals"),
    [
        ("mongo", b"hello", [signal.SIGINT]),
        ("postgres", b"extra_float_digits", [signal.SIGTERM]),
        ("postgres", b"extra_float_digits", [signal.SIGINT, signal.SIGINT]),
        ("clickhouse", b"query_id", [signal.SIGINT]),
    ],
)
def test_a_silent_server_holds_no_signal_up(
    settings: Settings, silent: Callable[..., Any], name: str, at: bytes, signals: list[signal.Signals]
) -> None:
    proxy, changed = silent(name, at)
    program = ("-m", "pipeline.cli") if len(signals) == 1 else ("-c", PATIENT)
    process = _start(settings, "replicate", "--json", program=program, **changed)
    _until_silent(proxy, process)
    time.sleep(0.5)
    code, out, err = _end(process, *signals)  # within 30 s: a server may be silent for longer
    # The second one may come when the interpreter, about to end, has taken its handlers away.
    assert code == ENDED[signals[0]] or (len(signals) == 2 and code == -signal.SIGINT), err
    assert re.fullmatch("interrupted.*\n", err) and json.loads(out) == {"error": "interrupted"}


@ONLY_LINUX
@pytest.mark.parametrize("library", ["pydantic_core", "polars"])
def test_imports_hold_no_signal_up(settings: Settings, silent: Callable[..., Any], library: str) -> None:
    # What it does once all is imported has no end.
    process = _start(settings, "replicate", **silent("mongo", b"hello")[1])
    maps, give_up = Path(f"/proc/{process.pid}/maps"), time.monotonic() + 60
    while library not in maps.read_text():
        assert process.poll() is None and time.monotonic() < give_up
        time.sleep(0.005)
    code, out, err = _end(process, signal.SIGINT)
    assert (code, out) == (130, "") and re.search("^interrupted.*\n", err, re.MULTILINE)
