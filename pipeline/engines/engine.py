"""What all embedded engines share: how to find, start, await and stop the process that owns a folder."""

import importlib.metadata
import os
import re
import resource
import secrets
import select
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import psutil

from pipeline.engines.private import open_private
from pipeline.errors import EngineError
from pipeline.runtime.files import write_whole

_SECONDS_TO_START = 60.0
_SECONDS_TO_STOP = 60.0  # PostgreSQL writes its last checkpoint, MongoDB its cache
_PORTS_TO_TRY = 3
_NO_SPACE = "No space left on device"
_FEWEST_FILES, _FILES = 256, 65_536  # with too few an engine may neither start nor end
_FILES_OF_MACOS = 10_240  # its OPEN_MAX: there a limit of more may be refused, whatever the hard one says
_LATELY_S = 60.0
_LAST_LINES = 20
_MARK = "ETL_ENGINE_OF"
_MISSING_LIBRARY = re.compile(r"loading shared libraries: ([^:]+):")


class Engine(ABC):
    """One kind of server, run from a wheel.

    The process table says which engine runs: the one whose arguments name our folder. So there is no file of process
    ids that could be stale after a crash, or lead to a stranger who got the same id.

    Attributes:
        name: Its name in settings and folders.
        title: Its name in messages.
        wheel: The distribution that brings it.
        folder_flag: The argument before the folder of the data.
        port_flag: The argument before the port.
        program: A part of its arguments that tells it from other programs.
        stop_signal: Asks for an orderly end at once.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    wheel: ClassVar[str]
    folder_flag: ClassVar[str]
    port_flag: ClassVar[str]
    program: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, home: Path) -> None:
        """Take the home folder (absolute) under which the engine keeps its data and its log."""
        self.home, self.folder = home, home / self.name
        self.data = self.folder / "data"
        self.log = home / "log" / f"{self.name}.log"

    @abstractmethod
    def prepare(self) -> None:
        """Create the data, or mend what a crash left."""

    @abstractmethod
    def command(self, port: int) -> list[str]:
        """Return the arguments that start it, executable first."""

    @abstractmethod
    def ready(self, port: int) -> bool:
        """Return whether it takes statements; does what is still to be done for that."""

    @abstractmethod
    def uri(self, port: int) -> str:
        """Return the URI that its clients take."""

    def find(self) -> psutil.Process | None:
        """Return the process that owns our data, if there is one."""
        for process in psutil.process_iter():
            try:
                if self._owns(process.cmdline()) and process.uids().real in self.users() and self._bears_mark(process):
                    return process
            except psutil.Error:  # gone meanwhile, or not ours to look at
                continue
        return None

    def users(self) -> set[int]:
        """Return the users that our process may run as: nobody else's process is taken for ours."""
        return {os.getuid()}

    def port_of(self, process: psutil.Process) -> int:
        """Return the port that the process was started with."""
        return int(_after(process.cmdline(), self.port_flag) or 0)

    def start(self) -> int:
        """Start it unless it runs, wait until it takes statements, and return its port.

        Raises:
            EngineError: Not installed, or it doesn't start; with the reason from its log.
        """
        if process := self.find():
            port = self.port_of(process)
            if not self.password_file.exists():
                raise self.failed("it runs without a password, since an earlier version: stop it by etl down")
            self._await_ready(process, port)
            return port
        self.prepare()
        for attempt in range(_PORTS_TO_TRY):
            port = self._choose_port()
            try:
                self._await_ready(self._spawn(port), port)
                return port
            except EngineError:
                if attempt + 1 == _PORTS_TO_TRY or not self._may_retry(port):
                    raise
        raise AssertionError("unreachable")

    def stop(self) -> bool:
        """Stop it in order, and by force if that takes too long; says whether it ran."""
        process = self.find()
        if process is None:
            return False
        with suppress(psutil.NoSuchProcess):
            process.send_signal(self.stop_signal)
            if not _ends_within(_SECONDS_TO_STOP, process):
                process.kill()
                _ends_within(_SECONDS_TO_STOP, process)
        return True

    def failed(self, reason: str) -> EngineError:
        """Return the error that names the engine, the reason and the way out."""
        way_out = f"set ETL_{self.name.upper()}_URI to use a server of yours"
        return EngineError(f"Embedded {self.title} does not start: {reason}. To do without it, {way_out}.")

    def wheel_file(self, path: str) -> Path:
        """Return a file of the engine's wheel, without importing anything of it.

        Raises:
            EngineError: The wheel isn't installed, or the file isn't in it.
        """
        try:
            file = Path(str(importlib.metadata.distribution(self.wheel).locate_file(path)))
        except importlib.metadata.PackageNotFoundError:
            systems = "Linux and macOS, x86-64 and arm64"
            raise self.failed(f"the wheel {self.wheel} is not installed (it exists for {systems})") from None
        if not file.exists():
            raise self.failed(f"{file} is missing: install {self.wheel} again")
        return file

    @property
    def password_file(self) -> Path:
        """Where the password is kept that the URI bears."""
        return self.folder / "password"

    def new_password(self) -> str:
        """Make a password and keep it where only we can read it."""
        password = secrets.token_urlsafe(24)
        write_whole(self.password_file, password, 0o600)
        return password

    def _owns(self, arguments: list[str]) -> bool:
        return _after(arguments, self.folder_flag) == str(self.data) and _after(arguments, self.port_flag) is not None

    def _bears_mark(self, process: psutil.Process) -> bool:
        """Return whether we started it: whoever only names the same folder in his arguments is not to be stopped."""
        with suppress(psutil.AccessDenied):
            if mark := process.environ().get(_MARK):
                return mark == self._mark()
        return any(self.program in argument for argument in process.cmdline())  # of an earlier version, without a mark

    def _mark(self) -> str:
        """Return what the engines of this home bear in their environment, which only we and root can read."""
        file = self.home / "mark"
        if not file.exists():
            mark = secrets.token_urlsafe(24)
            mine = file.with_name(mark)
            with open_private(mine, "w") as new:
                new.write(mark)
            with suppress(FileExistsError):  # engines start at once: the first one's mark counts
                os.link(mine, file)
            mine.unlink()
        return file.read_text()

    def _choose_port(self) -> int:
        """Take the port of the last time if it is free (people note URIs), else any free one."""
        note = self.folder / "port"
        try:
            port = free_port(int(note.read_text()))
        except (OSError, ValueError, OverflowError):
            port = free_port(0)
        with open_private(note, "w") as file:
            file.write(str(port))
        return port

    def _may_retry(self, port: int) -> bool:
        """Return whether another try may go better: somebody else took the port meanwhile."""
        try:
            return not free_port(port)
        except OSError:
            return True

    def _spawn(self, port: int) -> psutil.Process:
        if (files := _files()) < _FEWEST_FILES:
            raise self.failed(
                f"it may open {files} files only, and needs {_FEWEST_FILES}; raise that by ulimit -n 4096"
            )
        self.log.parent.mkdir(mode=0o700, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))  # what the engine said before a crash
        arguments = self.command(port)
        with open_private(self.log, "wb") as log:
            # A session of its own: Ctrl-C in the terminal must reach us alone, we stop the engines in order.
            # /usr/bin/env, for a broken locale in the caller's environment keeps MongoDB and PostgreSQL from starting.
            process = subprocess.Popen(
                ["/usr/bin/env", "LC_ALL=C", "TZ=UTC", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {_MARK: self._mark()},
                umask=0o077,
            )
        process.returncode = 0  # from here on psutil looks after it: no warning that it outlives this object
        return psutil.Process(process.pid)

    def _await_ready(self, process: psutil.Process, port: int) -> None:
        give_up = time.monotonic() + _SECONDS_TO_START
        while not self.ready(port):
            if _ended(process):
                raise self.failed(self._reason())
            if time.monotonic() > give_up:
                self.stop()
                raise self.failed(f"no answer within {_SECONDS_TO_START:.0f} s ({self._reason()})")
            time.sleep(0.03)

    def _reason(self) -> str:
        """Return what the engine said last."""
        said = self.log.read_text(errors="replace") if self.log.exists() else ""
        if _NO_SPACE in said:
            return f"the disk of {self.folder} is full (see {self.log})"
        if library := _MISSING_LIBRARY.search(said):
            return f"the system library {library[1]} is missing"
        return f"{self.last_words(said) or 'it said nothing'} (see {self.log})"

    def is_full(self) -> bool:
        """Return whether it has told its log a moment ago that its disk is full."""
        try:
            if time.time() - self.log.stat().st_mtime > _LATELY_S:
                return False
            last = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]  # once it may have been full before
            return any(_NO_SPACE in line for line in last)
        except OSError:
            return False

    def last_words(self, said: str) -> str:
        """Return the part of the log that tells why it ended."""
        return " / ".join(line.strip() for line in said.splitlines()[-3:] if line.strip())[-500:]


def _files() -> int:
    """Return how many files an engine may open, once that is raised as far as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for files in (_FILES, _FILES_OF_MACOS):
        wanted = files if hard == resource.RLIM_INFINITY else min(hard, files)
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return wanted
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return soft


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether something listens on this port."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((host, port)) == 0


def _ended(process: psutil.Process) -> bool:
    """Return whether the process is over, or about to be: a zombie, whose other threads may still be at it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _ends_within(seconds: float, process: psutil.Process) -> bool:
    """Wait for the end of all threads, only then are ports and files free; it need not be our child, nor be reaped."""
    ended = _poll_handle(seconds, process) if hasattr(os, "pidfd_open") else _poll_state(seconds, process)
    if ended:
        with suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)  # reaps it if it is our own child
    return ended


def _poll_handle(seconds: float, process: psutil.Process) -> bool:
    """Wait for the end as Linux tells it: a zombie's other threads may still be at it."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        return bool(waiting.poll(seconds * 1000))
    finally:
        os.close(handle)


def _poll_state(seconds: float, process: psutil.Process) -> bool:
    """Wait for the end where no handle tells it; there a zombie has no threads left."""
    give_up = time.monotonic() + seconds
    while not (ended := _ended(process)) and time.monotonic() < give_up:
        time.sleep(0.03)
    return ended


def _after(arguments: list[str], flag: str) -> str | None:
    try:
        return arguments[arguments.index(flag) + 1]
    except (ValueError, IndexError):
        return None


def free_port(wanted: int = 0, host: str = "127.0.0.1") -> int:
    """Return the wanted port, or any if 0 is wanted, at which nobody listens.

    Raises:
        OSError: It is taken.
    """
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, wanted))
        if wanted and accepts(
            wanted, host
        ):  # macOS lets one bind to a port at which another one listens at all addresses
            raise OSError(f"port {wanted} is taken")
        return int(server.getsockname()[1])
