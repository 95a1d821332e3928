"""How long each stage of a copy is at work: where its time goes."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """Adds up the seconds of stages that may be at work at the same time, in several threads.

    Attributes:
        seconds: So far, by stage; since stages overlap, the sum may be more than what a clock on the wall says.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
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
            yield
        finally:
            with self._lock:
                self.seconds[stage] += time.perf_counter() - began

    def timed(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items; the wait for each of them is work of a stage."""
        iterator = iter(items)
        while True:
            with self.at(stage):
                item = next(iterator, _NOTHING)
            if item is _NOTHING:
                return
            yield item  # type: ignore[misc]


_NOTHING = object()
