"""Work ahead in a thread, but not far: back-pressure keeps memory flat."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class _Failure:
    error: BaseException


class _End:
    """Marks the end of the items."""


class _Ahead(Generic[Item]):
    """An iterator that is driven by a thread of its own."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = items
        # One item waits while the next is made; more would only take memory.
        self._queue: queue.Queue[Item | _Failure | _End] = queue.Queue(maxsize=1)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __iter__(self) -> Iterator[Item]:
        self._thread.start()
        try:
            while not isinstance(item := self._queue.get(), _End):
                if isinstance(item, _Failure):
                    raise item.error
                yield item
        finally:
            self._stopped.set()
            self._thread.join()

    def _work(self) -> None:
        try:
            with ExitStack() as stack:
                if close := getattr(self._items, "close", None):
                    stack.callback(close)
                for item in self._items:
                    if not self._put(item):
                        break
            self._put(_End())
        except BaseException as error:  # told to the consumer; if it has gone, to nobody
            self._put(_Failure(error))

    def _put(self, item: "Item | _Failure | _End") -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


def prefetched(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, each made in another thread while the one before it is used.

    Args:
        items: What to iterate; it is closed in that thread, also when the consumer stops early.
    """
    yield from _Ahead(items)
