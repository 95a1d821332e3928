"""Airflow's components as processes of this one: started in order, watched, and ended with all that they started."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import typer

from pipeline.errors import ServerError

# The scheduler comes last: it begins with what an earlier one left undone, which fails while nobody answers the tasks.
COMPONENTS = ("api-server", "dag-processor", "triggerer", "scheduler")
_API = "api-server"
_SECONDS_TO_START = 400.0  # mostly it is half a minute; beside other work, and read from disk for the first time, more
_SECONDS_TO_STOP = 3.0  # more than a component takes that ends; what a task has not committed is undone
_SECONDS_TO_DIE = 15.0
_WORDS = 300  # characters of what a component said
_LAST = 40  # lines of its log in which an error is taken for the reason of its end
# Tasks, and what runs them, write into the scheduler's log: the former with a blank in the date where others have a T.
_OF_A_TASK = re.compile(r"\d{4}-\d\d-\d\d( \d\d:|T.*\[(airflow\.sdk[\w.]*|supervisor|task[\w.]*)\])")
_OWN = re.compile(r"\d{4}-\d\d-\d\dT\S+ \[(\w+)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Components:
    """Airflow's components, as long as they run.

    Attributes:
        environment: That of their processes.
        logs: Folder of their logs.
        processes: Those that were started, by name.
    """

    environment: Mapping[str, str]
    logs: Path
    processes: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)

    def prepare(self) -> None:
        """Bring Airflow's database to its version, and make the pools.

        Raises:
            ServerError: That can't be done.
        """
        log = self._log("prepare")
        with log.open("wb") as output:
            command = [sys.executable, "-m", "pipeline.airflow.prepare"]
            done = subprocess.run(command, env=self.environment, stdout=output, stderr=output, check=False)
        if done.returncode:
            raise _failure("its database can't be prepared", log)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the components, and wait until they are healthy; whatever happens, none of their processes is left.

        Raises:
            ServerError: One does not start.
        """
        try:
            give_up = time.monotonic() + _SECONDS_TO_START
            for name in COMPONENTS[:-1]:
                self._start(name)
            self._await(give_up, lambda: self._health() is not None)
            self._start(COMPONENTS[-1])
            self._await(give_up, self._is_healthy)
            yield
        finally:
            before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
            self._stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    def watch(self) -> None:
        """Wait until a component ends by itself, and raise what it said.

        Raises:
            ServerError: In any case.
        """
        while True:
            self._check_alive()
            time.sleep(0.5)

    def _start(self, name: str) -> None:
        """Start a component in a session of its own, by which its processes are found when it is gone."""
        log = self._log(name)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))  # what it said before
        with log.open("wb") as output:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "airflow", name],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _await(self, give_up: float, ready: Callable[[], bool]) -> None:
        while not ready():
            self._check_alive()
            if time.monotonic() > give_up:
                raise _failure(f"it is not healthy after {_SECONDS_TO_START:.0f} s", self._log(_API))
            time.sleep(0.3)

    def _health(self) -> dict[str, str] | None:
        """Return how the components are, as the API server knows it; None if it does not answer."""
        address = f"{self.environment['AIRFLOW__API__HOST']}:{self.environment['AIRFLOW__API__PORT']}"
        try:
            with urlopen(f"http://{address}/api/v2/monitor/health", timeout=5) as answer:
                return {name: str(part["status"]) for name, part in json.load(answer).items()}
        except (URLError, OSError, ValueError):
            return None

    def _is_healthy(self) -> bool:
        return set((self._health() or {"": ""}).values()) == {"healthy"}

    def _check_alive(self) -> None:
        for name, process in self.processes.items():
            if (code := process.poll()) is not None:
                raise _failure(f"its {name} {_ended(code)}", self._log(name), killed=code < 0)

    def _stop(self) -> None:
        """Ask all to end, and kill what is left a little later: some of Airflow's processes wait for one another."""
        with suppress(OSError):  # whoever read it may be gone, as by Ctrl-C in a pipe
            typer.echo("stopping")
        sessions = {process.pid for process in self.processes.values()}
        family = [member for pid in sessions for member in _family(pid)]
        for process in self.processes.values():
            process.terminate()
        give_up = time.monotonic() + _SECONDS_TO_STOP
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, give_up - time.monotonic()))
        left = {*family, *(one for one in psutil.process_iter() if _session(one.pid) in sessions)}
        for member in left:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(left, timeout=_SECONDS_TO_DIE)
        for process in self.processes.values():
            process.wait()

    def _log(self, name: str) -> Path:
        return self.logs / f"airflow-{name}.log"


def _ended(code: int) -> str:
    """Return how a process ended."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _failure(reason: str, log: Path, *, killed: bool = False) -> ServerError:
    said = last_words(log.read_text(errors="replace") if log.exists() else "", killed=killed)
    return ServerError(f"Airflow: {reason}; it said last: {said[:_WORDS] or 'nothing'} (see {log})")


def last_words(said: str, *, killed: bool) -> str:
    """Return what a component itself said last: the last error if it ended by one, else its last line.

    Args:
        said: Its log, with the lines of the tasks that it ran.
        killed: Whether it was killed: then no error is the reason.
    """
    lines = (_COLOURS.sub("", line).strip() for line in said.splitlines())
    own = [line for line in lines if line and not _OF_A_TASK.match(line)][-_LAST:]
    errors = [line for line in own if not (level := _OWN.match(line)) or level[1] in ("error", "critical")]
    return next(reversed(own if killed else errors or own), "")


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
