"""Several processes of this machine: each opens connections of its own and does one call after the other.

They are programs of their own, not forks: threads of Polars, Arrow and PyMongo do not survive a fork. What one is to do
comes over its pipe, and what it says goes back over it; when the pipe is closed, it ends at once, whatever it does. So
none is left behind when the command is killed.
"""

import logging
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from pipeline.errors import EtlError
from pipeline.runtime.timings import ACTIVITY

SHARE_BYTES = 128 * 2**20  # of BSON: what a process costs more is a fifth of what it takes to copy that much
SHARES = 4  # calls for each process, about, so that all end at about the same time
LEAST_BYTES = 32 * 2**20  # of a call, which costs something itself, such as a count
ATTEMPTS = 2  # of what the process ends at: the second time it was hardly by chance
_THREADS = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS")  # of Polars, and of Arrow
_END_S = 5.0
_PROGRAM = "-P", "-m", "pipeline.runtime.worker"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """A piece of the work that any process can do.

    Attributes:
        function: It is called with what the process has opened, a function that tells its progress, and the arguments.
            It is found by its name, so it is one of a module.
        arguments: Plain values.
        label: What people call it, such as ``load UserSessions 3/8``.
        size: How much it is, in bytes: the largest come first.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    label: str
    size: int = 0


@dataclass(frozen=True)
class Workers:
    """How many processes share the work of a command, and what each opens first.

    Attributes:
        number: How many, at most; with one, the command's own process does everything.
        opening: Gives a context with what the calls work with; it is found by its name.
        given: What it is given.
        effort: How many times as long as to copy it takes to do the work: so many fewer bytes are worth a process.
    """

    number: int = 1
    opening: Callable[..., AbstractContextManager[Any]] | None = None
    given: tuple[Any, ...] = ()
    effort: int = 1

    def wanted(self, calls: Sequence[Call]) -> int:
        """Return how many processes are worth their start for some calls; one means none but this."""
        enough = sum(call.size for call in calls) * self.effort // SHARE_BYTES
        return max(1, min(self.number, len(calls), enough))

    def share(self, calls: Sequence[Call], progress: Callable[..., None]) -> Iterator[tuple[int, Any]]:
        """Have calls done by several processes, and yield what each returns, as it comes: its place, and that.

        Args:
            calls: What is to be done, in any order.
            progress: Is told the place of a call, and what the call tells.

        Raises:
            EtlError: A process was ended from outside, and the one that took its call again as well.
            Exception: What a call has raised; the others were ended.
        """
        left = deque(sorted(range(len(calls)), key=lambda place: -calls[place].size))
        lost = dict.fromkeys(left, 0)
        with ExitStack() as stack:
            idle = [stack.enter_context(self._started(calls)) for _ in range(self.wanted(calls))]
            busy: dict[Connection, tuple[_Worker, int]] = {}
            while left or busy:
                while left and idle:
                    worker, place = idle.pop(), left.popleft()
                    busy[worker.pipe] = worker, place
                    worker.give(calls[place])
                for pipe in wait(list(busy)):
                    assert isinstance(pipe, Connection)
                    worker, place = busy[pipe]
                    kind, *said = worker.hear()
                    if kind == "progress":
                        ACTIVITY.add(said[0])
                        progress(place, *said[1:])
                    elif kind == "done":
                        del busy[pipe]
                        idle.append(worker)
                        yield place, said[0]
                    elif kind == "failed":
                        raise said[0]
                    elif kind == "log":
                        logging.getLogger(said[0]).log(said[1], "%s", said[2])
                    else:
                        del busy[pipe]
                        lost[place] += 1
                        _tell_lost(calls[place].label, said[0], lost[place])
                        left.append(place)
                        idle.append(stack.enter_context(self._started(calls)))

    @contextmanager
    def _started(self, calls: Sequence[Call]) -> Iterator["_Worker"]:
        """Start a process; at the end it is no more, whatever it is at."""
        ours, its = socket.socketpair()
        with its:
            threads = str(max(1, (os.cpu_count() or 1) // self.wanted(calls)))
            env = {**dict.fromkeys(_THREADS, threads), **os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            # Ctrl-C is for this process, which ends the others: so they are in a group of their own.
            process = subprocess.Popen(
                [sys.executable, *_PROGRAM, str(its.fileno())],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if _has_stderr() else subprocess.DEVNULL,
                pass_fds=[its.fileno()],
                process_group=0,
            )
        with Connection(ours.detach()) as pipe:
            try:
                worker = _Worker(process, pipe)
                worker.send((self.opening, self.given))
                yield worker
                worker.send(None)  # it closes what it has opened
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_END_S)
            finally:
                process.kill()
                process.wait()


@dataclass(eq=False)
class _Worker:
    """A process, as the one that started it sees it."""

    process: "subprocess.Popen[bytes]"
    pipe: Connection

    def give(self, call: Call) -> None:
        self.send((call.function, call.arguments))

    def send(self, message: object) -> None:
        """Say something; if it is gone, that is heard next."""
        with suppress(OSError):
            self.pipe.send(message)

    def hear(self) -> tuple[Any, ...]:
        """Return what it says; ``lost`` and by what it ended, if it says nothing any more."""
        try:
            said: tuple[Any, ...] = self.pipe.recv()
            return said
        except (EOFError, OSError):
            self.process.kill()
            return "lost", self.process.wait()


def _has_stderr() -> bool:
    try:
        return sys.stderr.fileno() >= 0
    except (AttributeError, OSError, ValueError):  # a notebook's has none
        return False


def _tell_lost(label: str, code: int, times: int) -> None:
    by = f"signal {-code}" if code < 0 else f"exit code {code}"
    if times >= ATTEMPTS:
        raise EtlError(
            f"the process that was at {label} ended by {by}, and the one that took it again as well; nothing was "
            "published; if memory was short, set ETL_MEMORY or --workers to less, and run the command again"
        )
    log.warning("the process that was at %s ended by %s; another one does that again", label, by)
