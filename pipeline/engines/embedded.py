"""Embedded engines: MongoDB, PostgreSQL and ClickHouse from wheels, under one home folder, without Docker or root.

``etl up`` keeps them running until ``etl down``. Any other command uses `engines`: it starts what its settings lack and
stops it at its end. Several commands may share a home: each holds a shared lock while it works, and the last one to
leave stops the engines, except those that ``etl up`` asked to keep. If a command is killed the kernel drops its lock,
and the next command finds its engines, uses them, and stops them.
"""

import fcntl
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import IO

import psutil
from pydantic import SecretStr

from pipeline.engines.clickhouse import ClickHouse
from pipeline.engines.engine import Engine
from pipeline.engines.mongo import Mongo
from pipeline.engines.postgres import Postgres
from pipeline.engines.private import close_to_others, open_private
from pipeline.errors import EngineError, ServerError
from pipeline.runtime import signals
from pipeline.settings import Settings

__all__ = ["NAMES", "Uris", "down", "engines", "full_disk", "running", "up"]

_ENGINES: dict[str, type[Engine]] = {kind.name: kind for kind in (Mongo, Postgres, ClickHouse)}
NAMES = tuple(_ENGINES)
_SECONDS_TO_TELL = 3.0
_SECONDS_FOR_OURS = 180.0  # starting and stopping take a minute each at most
log = logging.getLogger(__name__)
_CLOCK_SLACK_S = 2.0  # a process's start is computed from the boot time, which moves when the clock is set


@dataclass(frozen=True)
class Uris:
    """Where the engines are; empty for one that wasn't asked for."""

    mongo: str = ""
    postgres: str = ""
    clickhouse: str = ""


def up(home: Path, engines: Collection[str] = NAMES) -> Uris:
    """Start those engines that don't run, and keep them running until `down`.

    Args:
        home: Folder of their data; made if it is missing.
        engines: Names out of `NAMES`.

    Raises:
        EngineError: One can't start; those started by this call are stopped again.
    """
    home = _prepared(home)
    with _locked(home):
        uris = _start(home, engines)
        _keep(home)
    return uris


def down(home: Path) -> tuple[str, ...]:
    """Stop what runs under the home, kept or not, and return the names of what was stopped."""
    if not home.is_dir():
        return ()
    home = _prepared(home)
    with _locked(home), _uninterrupted():
        _kept_file(home).unlink(missing_ok=True)
        return _stop(home, NAMES)


def running(home: Path) -> dict[str, str]:
    """Return the URIs of the engines that run under the home, by name."""
    found = {}
    for name, kind in _ENGINES.items():
        engine = kind(home.resolve())
        if process := engine.find():
            with suppress(psutil.Error, OSError):  # it ended at this very moment
                found[name] = engine.uri(engine.port_of(process))
    return found


def full_disk(home: Path) -> str | None:
    """Return a sentence that names the engines which have told their logs a moment ago that the disk is full."""
    full = [kind.title for kind in _ENGINES.values() if kind(home.resolve()).is_full()]
    return f"the disk of {home} is full: so say the logs of the embedded {' and '.join(full)}" if full else None


@contextmanager
def engines(settings: Settings, *, everything: bool = False) -> Iterator[Settings]:
    """Fill in the URIs that the settings lack with embedded engines, for as long as the block runs.

    Args:
        settings: A URI given here is kept.
        everything: Use embedded engines only, whatever URIs are given.

    Yields:
        A copy of the settings with all three URIs.

    Raises:
        EngineError: An engine can't start.
    """
    lacking = [name for name in NAMES if everything or getattr(settings, f"{name}_uri") is None]
    if not lacking:
        yield settings
        return
    with _ended_by_signals(), _in_use(_prepared(settings.home), lacking) as uris:
        given = {f"{name}_uri": SecretStr(uri) for name, uri in asdict(uris).items() if uri}
        try:
            yield settings.model_copy(update=given)
        except ServerError as error:  # an engine whose disk is full may end without a word to its clients
            if full := full_disk(settings.home):
                raise EngineError(f"{error}; {full}") from error
            raise


@contextmanager
def _in_use(home: Path, names: Collection[str]) -> Iterator[Uris]:
    """Hold the shared lock of a user of the home; the last one to leave stops what isn't kept."""
    with _lock_file(home, "users") as users:

        def leave() -> None:
            """Tell the engines to stop, and don't wait for it."""
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails if somebody else uses them still
            for name in set(NAMES) - _kept(home):
                engine = _ENGINES[name](home)
                if process := engine.find():
                    process.send_signal(engine.stop_signal)

        try:
            with _locked(home):
                fcntl.flock(users, fcntl.LOCK_SH)
                uris = _start(home, names)
            signals.at_the_end.append(leave)
            yield uris
        finally:
            with _uninterrupted(), _locked(home):
                signals.at_the_end = [one for one in signals.at_the_end if one is not leave]
                fcntl.flock(users, fcntl.LOCK_UN)
                with suppress(BlockingIOError):  # somebody else uses them still
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _stop(home, set(NAMES) - _kept(home))


def _start(home: Path, names: Collection[str]) -> Uris:
    """Start at the same time what doesn't run; on any failure stop again what was started here."""
    before = {name for name, kind in _ENGINES.items() if kind(home).find()}
    try:
        with ThreadPoolExecutor(len(_ENGINES)) as pool:
            chosen = [_ENGINES[name](home) for name in names]
            ports = pool.map(Engine.start, chosen)
            return Uris(**{engine.name: engine.uri(port) for engine, port in zip(chosen, ports, strict=True)})
    except BaseException as error:
        with _uninterrupted():
            _stop(home, set(names) - before)
        if isinstance(error, OSError):
            raise EngineError(f"Embedded engines can't use {home}: {error.strerror or error}.") from error
        raise


def _stop(home: Path, names: Collection[str]) -> tuple[str, ...]:
    with ThreadPoolExecutor(len(_ENGINES)) as pool:
        chosen = [kind(home) for name, kind in _ENGINES.items() if name in names]
        return tuple(engine.name for engine, ran in zip(chosen, pool.map(Engine.stop, chosen), strict=True) if ran)


def _kept_file(home: Path) -> Path:
    return home / "kept.json"


def _keep(home: Path) -> None:
    """Note that ``etl up`` wants the running engines to stay; their start times tell them from later ones."""
    started = {name: p.create_time() for name, kind in _ENGINES.items() if (p := kind(home).find())}
    with open_private(_kept_file(home), "w") as file:
        json.dump(started, file)


def _kept(home: Path) -> set[str]:
    try:
        noted = json.loads(_kept_file(home).read_text())
    except (OSError, ValueError):
        return set()
    found = {name: _ENGINES[name](home).find() for name in noted if name in _ENGINES}
    return {name for name, p in found.items() if p and abs(p.create_time() - noted[name]) < _CLOCK_SLACK_S}


def _prepared(home: Path) -> Path:
    """Return the home as an absolute path, made and found writable."""
    home = home.resolve()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        close_to_others(home)
        (home / "log").mkdir(mode=0o700, exist_ok=True)
        with _lock_file(home, "lock"):
            return home
    except OSError as error:
        raise EngineError(f"The home {home} can't be used ({error.strerror}): set ETL_HOME to a folder.") from None


def _lock_file(home: Path, name: str) -> IO[bytes]:
    return open_private(home / name, "ab")


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Let one process (or thread) at a time start and stop engines."""
    with _lock_file(home, "lock") as lock:
        _await_lock(home, lock)
        yield


def _await_lock(home: Path, lock: IO[bytes]) -> None:
    """Wait for our turn; another command needs a minute at most, a stranger may keep the lock for ever.

    Who holds it is not always known: it may have been let go of a moment ago, and only Linux tells. Then it may as well
    be a command.

    Raises:
        EngineError: Somebody else holds the lock.
    """
    began, told = time.monotonic(), False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            waited, holder = time.monotonic() - began, _holder(lock)
        if waited > _SECONDS_FOR_OURS or (waited > _SECONDS_TO_TELL and holder and not _is_command(holder)):
            raise EngineError(f"The lock of {home} is held by {_named(holder)}: end it, or set ETL_HOME to a folder.")
        if waited > _SECONDS_TO_TELL and not told:
            log.warning("waiting for %s, which starts or stops engines of %s", _named(holder), home)
            told = True
        time.sleep(0.05)


def _holder(lock: IO[bytes]) -> psutil.Process | None:
    """Return the process that holds the lock, as far as the kernel tells: Linux does."""
    inode = f":{os.fstat(lock.fileno()).st_ino}"
    with suppress(OSError, ValueError, psutil.Error):
        for line in Path("/proc/locks").read_text().splitlines():
            parts = line.split()
            if "->" not in parts and "WRITE" in parts and parts[5].endswith(inode):
                return psutil.Process(int(parts[4]))
    return None


def _is_command(process: psutil.Process) -> bool:
    """Return whether it is a Python of ours, which is what commands, tests and notebooks are."""
    try:
        return process.uids().real == os.getuid() and "python" in process.exe()
    except psutil.Error:
        return False


def _named(process: psutil.Process | None) -> str:
    try:
        return f"process {process.pid} ({process.name()} of {process.username()})" if process else "another process"
    except psutil.Error:
        return "another process"


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP, which would end us without a word, into SystemExit: so the engines are stopped."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with _handling(end, [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]):
        yield


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let signals do nothing while engines are stopped: it takes about a second, and half a stop helps nobody.

    They are not ignored: `pipeline.runtime.signals` learns of them, and ends a process that takes too long.
    """
    with _handling(lambda *_: None, [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]):
        signals.stopping = True
        try:
            yield
        finally:
            signals.stopping = False


@contextmanager
def _handling(handler: "signal._HANDLER", numbers: Collection[signal.Signals]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set, or gets, signals
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
