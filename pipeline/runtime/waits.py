"""No wait without an end: a server that is silent for long is asked, by a new connection, whether it is still at work.

A long statement lives, for the server says so. A server that gives no answer, or knows nothing of what is waited for,
is given up: the wait is cut short by shutting its socket down, which every library notices.
"""

import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

SILENCE_S = 60.0  # before a server is asked
ANSWER_S = 10.0  # in which a new connection must answer
_OFTEN_S = 0.5  # between two looks at what waits
LOOKS = 2  # what ends between the question and the answer must not pass for lost
_OPEN_FILES = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"


class Server(Protocol):
    """Whom a call waits for."""

    silence: float

    def is_at_work(self) -> bool:
        """Tell, by a new connection, whether the server is still at what this one waits for."""

    def cancel(self) -> None:
        """Ask the server to give up what this one waits for."""

    def cut(self) -> None:
        """Let what waits for the server fail."""


@dataclass(eq=False)
class Call:
    """One wait for a server.

    Attributes:
        server: For whom.
        since: When it began.
        given_up: Whether the server was found silent.
    """

    server: Server
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    given_up: bool = False
    _heard: float = field(default_factory=time.monotonic)
    _question: "_Question | None" = None
    _missed: int = 0

    def look(self) -> None:
        """Ask the server if it is time to, and give it up if it has missed its answers."""
        now, silence = time.monotonic(), self.server.silence
        if self._question is None:
            if now - self._heard >= silence:
                self._question = _Question(self.server)
        elif self._question.answer:
            self._heard, self._question, self._missed = now, None, 0
        elif self._question.answer is False or now - self._question.asked > min(ANSWER_S, silence):
            self._missed, self._question = self._missed + 1, None
            if self._missed == LOOKS:
                self.given_up = True
                self.server.cut()


class _Question:
    """A question that may never be answered, so it has a thread of its own."""

    def __init__(self, server: Server) -> None:
        self.answer: bool | None = None
        self.asked = time.monotonic()
        threading.Thread(target=self._ask, args=(server,), daemon=True, name="question").start()

    def _ask(self, server: Server) -> None:
        self.answer = server.is_at_work()


_calls: set[Call] = set()
_lock = threading.Lock()
_watch: threading.Thread | None = None


@contextmanager
def waiting(server: Server) -> Iterator[Call]:
    """Have a wait for a server watched: it may be in the midst of a library that nothing else can interrupt."""
    call = Call(server)
    with _lock:
        _calls.add(call)
        _start_watch()
    try:
        yield call
    finally:
        with _lock:
            _calls.discard(call)


def cancel_all() -> None:
    """Have the servers give up what is waited for: the command was interrupted."""
    for call in _now():  # a server that is silent doesn't answer to this either
        threading.Thread(target=call.server.cancel, daemon=True, name="cancel").start()


def cut_all() -> None:
    """Let all waits fail: nobody has given up in time."""
    for call in _now():
        call.server.cut()


def sentence(name: str, since: datetime, *, asked: bool = True) -> str:
    """Return what is told of a server that fell silent.

    Args:
        name: What messages call it.
        since: Since when it is waited for.
        asked: Whether it was asked on a new connection as well.
    """
    seconds = (datetime.now(UTC) - since).total_seconds()
    other = ", and a new connection does not find it at work" if asked else ""
    return (
        f"{name} fell silent at {since:%Y-%m-%d %H:%M:%S} UTC: no answer for {seconds:.0f} s{other}; "
        "nothing half done is published; once it answers, run the command again"
    )


def sockets() -> dict[int | str, int]:
    """Return the sockets of this process: their file descriptors, by what tells them from later ones."""
    found = {}
    for name in os.listdir(_OPEN_FILES):
        with suppress(OSError):
            if identity := _identity(int(name)):
                found[identity] = int(name)
    return found


def _identity(number: int) -> int | str:
    """Return what tells a socket from others with its number, or nothing if the number is no socket's."""
    about = os.fstat(number)
    if not stat.S_ISSOCK(about.st_mode):
        return 0
    return about.st_ino or _address(number)


def _address(number: int) -> str:
    """Return a socket's own address and its peer's, as macOS gives its TCP sockets no inodes.

    The own one does not suffice: connections to different servers may share a port.
    """
    with _copied(number) as one:
        try:
            return f"{one.getsockname()} {one.getpeername()}"
        except OSError:  # it only listens
            return f"{one.getsockname()}"


def _copied(number: int) -> "closing[socket.socket]":
    """Return a socket of its own for a file descriptor, to be closed.

    Raises:
        OSError: It is closed, or no socket's.
    """
    copy = os.dup(number)
    try:
        return closing(socket.socket(fileno=copy))
    except OSError:
        os.close(copy)
        raise


def shut_down(given: Mapping[int | str, int]) -> None:
    """End the traffic over sockets of :func:`sockets` that are still open."""
    for identity, number in given.items():
        # It is copied before the look: right after it the number may be another's.
        with suppress(OSError), _copied(number) as one:
            if _identity(one.fileno()) == identity:
                one.shutdown(socket.SHUT_RDWR)


def _start_watch() -> None:
    global _watch
    if _watch is None or not _watch.is_alive():  # a forked process has none
        _watch = threading.Thread(target=_look_around, daemon=True, name="silence")
        _watch.start()


def _look_around() -> None:
    while True:
        calls = _now()
        time.sleep(min([_OFTEN_S, *(call.server.silence / 5 for call in calls)]))
        for call in calls:
            if call in _calls:
                call.look()


def _now() -> list[Call]:
    with _lock:
        return list(_calls)
