"""Work ahead in a thread, but not far: back-pressure keeps memory flat."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
_SECONDS_TO_END = 1.0


@dataclass(frozen=True)
class _Failure:
    error: BaseException


class _End:
    """Marks the end of the items."""


class _Ahead(Generic[Item]):
    """An iterator that is driven by a thread of its own."""

    def __init__(self, items: Iterable[Item], is_heavy: Callable[[Item], bool]) -> None:
        self._items = items
        self._is_heavy = is_heavy
        # One item waits while the next is made; more would only take memory.
        self._queue: queue.Queue[Item | _Failure | _End] = queue.Queue(maxsize=1)
        self._stopped = threading.Event()
        self._asked = 0  # how often the consumer has come for an item
        self._news = threading.Condition()  # of being asked, or stopped
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __iter__(self) -> Iterator[Item]:
        self._thread.start()
        try:
            while not isinstance(item := self._next(), _End):
                if isinstance(item, _Failure):
                    raise item.error
                yield item
                del item  # or it would live until the next one is made
        finally:
            with self._news:
                self._stopped.set()
                self._news.notify()
            # Who leaves may have been interrupted, or be out of time: what is being made is not waited for long. Its
            # thread ends by itself when it is made, or with the process. One that nobody closed may be closed by
            # garbage collection in any thread, in its own too, which can't wait for itself.
            if threading.current_thread() is not self._thread:
                self._thread.join(_SECONDS_TO_END)

    def _next(self) -> "Item | _Failure | _End":
        with self._news:
            self._asked += 1
            self._news.notify()
        return self._queue.get()

    def _work(self) -> None:
        try:
            with ExitStack() as stack:
                if close := getattr(self._items, "close", None):
                    stack.callback(close)
                for number, item in enumerate(self._items, start=1):
                    heavy = self._is_heavy(item)
                    if not self._put(item):
                        break
                    del item
                    if heavy and not self._is_asked(number + 1):  # when it is, the consumer has done with this one
                        break
            self._put(_End())
        except BaseException as error:  # told to the consumer; if it has gone, to nobody
            self._put(_Failure(error))

    def _is_asked(self, times: int) -> bool:
        """Wait until the consumer has come so often; tell whether it has, or has gone."""
        with self._news:
            self._news.wait_for(lambda: self._asked >= times or self._stopped.is_set())
            return not self._stopped.is_set()

    def _put(self, item: "Item | _Failure | _End") -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


def prefetch(
    items: Iterable[Item], is_heavy: Callable[[Item], bool] = lambda item: False
) -> Generator[Item, None, None]:
    """Yield the items, each made in another thread while the one before it is used.

    Wrap it in ``contextlib.closing`` if you may stop early: an error's traceback would keep it, its thread and what
    that reads from.

    Args:
        items: What to iterate; it is closed in that thread, also when the consumer stops early.
        is_heavy: Whether memory has no room for another one beside it: the next one is made when it is done with.
    """
    yield from _Ahead(items, is_heavy)
