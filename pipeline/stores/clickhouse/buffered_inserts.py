"""Rows on their way into a store that wants few large inserts: one is under way while the next is gathered."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import polars as pl

from contracts.schema.entity import Table
from pipeline.stores.base import LoadFrame

Insert = Callable[[Table, list[pl.DataFrame]], None]


class _Gathering:
    def __init__(self, insert: Insert, size: int, pool: ThreadPoolExecutor) -> None:
        self._insert, self._size, self._pool = insert, size, pool
        self._waiting: dict[Table, list[pl.DataFrame]] = defaultdict(list)
        self._under_way: Future[None] | None = None

    def add(self, table: Table, frame: pl.DataFrame) -> None:
        """Take the rows of a frame."""
        if frame.is_empty():
            return
        frames = self._waiting[table]
        frames.append(frame)
        if sum(one.estimated_size() for one in frames) >= self._size:
            self._start(table)
            if frame.estimated_size() >= self._size:  # it may be one huge document: there is no room for another
                self._wait()

    def finish(self) -> None:
        """Insert what is still waiting."""
        for table in list(self._waiting):
            self._start(table)
        self._wait()

    def _start(self, table: Table) -> None:
        self._wait()
        self._under_way = self._pool.submit(self._insert, table, self._waiting.pop(table))

    def _wait(self) -> None:
        if self._under_way is not None:
            self._under_way.result()


@contextmanager
def buffered_inserts(insert: Insert, size: int) -> Iterator[LoadFrame]:
    """Gather rows by table and insert them; when the context ends without an error, all are inserted.

    Args:
        insert: Inserts frames of a table; never called twice at the same time.
        size: Bytes of rows that make up an insert.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="insert") as pool:
        gathering = _Gathering(insert, size, pool)
        yield gathering.add
        gathering.finish()
