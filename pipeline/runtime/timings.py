"""How long each stage of a piece of work takes: where its time went, and what it is waiting for right now."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Activity:
    """What all pieces of work of this process have been at so far, for whoever shows it while they go on.

    Stages that take turns share a lane. Lanes go on at the same time, so the one that is never idle is what holds a
    piece of work up; who asks twice can tell which one that was in between.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, dict[tuple[str, str], float]] = defaultdict(lambda: defaultdict(float))
        self._now: dict[object, tuple[str, tuple[str, str], float]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def at(self, what: str, stage: str, lane: str | None = None) -> Iterator[None]:
        """Count what is done inside as a stage of a piece of work.

        Args:
            what: The piece of work, such as a collection.
            stage: What it is at, such as the name of a server.
            lane: What the stage takes turns in; by default it has a lane of its own.
        """
        key, began = (lane or stage, stage), time.perf_counter()
        token = object()
        with self._lock:
            self._now[token] = what, key, began
        try:
            yield
        finally:
            with self._lock:
                del self._now[token]
                self._seconds[what][key] += time.perf_counter() - began

    def timed(
        self, what: str, stage: str, items: Iterable[Item], lane: str | None = None
    ) -> Generator[Item, None, None]:
        """Yield items; the wait for each of them is a stage of a piece of work."""
        return _timed(lambda: self.at(what, stage, lane), items)

    def taken(self) -> dict[str, dict[tuple[str, str], float]]:
        """Return what everything was at since this was asked last, and forget it: for the process that shows it."""
        with self._lock:
            found = {what: dict(seconds) for what, seconds in self._seconds.items()}
            self._seconds.clear()
        return found

    def add(self, taken: Mapping[str, Mapping[tuple[str, str], float]]) -> None:
        """Add what another process that shares the work was at."""
        with self._lock:
            for what, seconds in taken.items():
                for key, took in seconds.items():
                    self._seconds[what][key] += took

    def under_way(self) -> list[str]:
        """Return the pieces of work that are at something right now."""
        with self._lock:
            return sorted({what for what, _, _ in self._now.values()})

    def seconds(self, what: str) -> Mapping[tuple[str, str], float]:
        """Return how long a piece of work was at each lane and stage, up to now."""
        now = time.perf_counter()
        with self._lock:
            found = dict(self._seconds[what]) if what in self._seconds else {}
            for other, key, began in self._now.values():
                if other == what:
                    found[key] = found.get(key, 0.0) + now - began
        return found


ACTIVITY = Activity()
PUBLISH = "publish"  # what comes after the last document of a run: keys, counts, and putting tables in their places


class Stopwatch:
    """Adds up the seconds of stages that may be at work at the same time, in several threads.

    Args:
        what: The piece of work whose stages they are; it is told to :data:`ACTIVITY`.

    Attributes:
        seconds: So far, by stage; since stages overlap, the sum may be more than what a clock on the wall says.
    """

    def __init__(self, what: str) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._what = what
        self._lock = threading.Lock()
        self._began = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds on the clock since it was made."""
        return time.perf_counter() - self._began

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """Count what is done inside as work of a stage."""
        began = time.perf_counter()
        try:
            with ACTIVITY.at(self._what, stage):
                yield
        finally:
            with self._lock:
                self.seconds[stage] += time.perf_counter() - began

    def timed(self, stage: str, items: Iterable[Item]) -> Generator[Item, None, None]:
        """Yield items; the wait for each of them is work of a stage."""
        return _timed(lambda: self.at(stage), items)


def _timed(measured: Callable[[], AbstractContextManager[None]], items: Iterable[Item]) -> Generator[Item, None, None]:
    iterator = iter(items)
    while True:
        with measured():
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item
        del item  # or it would live until the next one is there
