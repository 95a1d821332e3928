"""A session with ClickHouse: statements, rows, and rows that are appended in Arrow blocks."""

import io
import logging
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import polars as pl
import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from contracts.schema.ddl import clickhouse_qualified as qualified
from contracts.schema.ddl import clickhouse_quoted as quoted
from pipeline.errors import ServerError
from pipeline.runtime.waits import SILENCE_S
from pipeline.stores.clickhouse.client import client, is_local
from pipeline.stores.clickhouse.errors import translated
from pipeline.text.redaction import remember

_GATHERED = 4 * 2**20  # bytes of rows that are handed on together
_TOGETHER = 500  # numbers asked for in one request, whose text may not be of any length
BLOCK_BYTES = 4 * 2**20  # of Arrow within one insert: all rows in one block took a tenth longer, and more memory
# Errors are raised and told; where nobody has set up logging, the driver's own line would stand before the sentence.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())


class Session:
    """One ClickHouse server; several threads may use it.

    Args:
        uri: ``https://user:password@host:port/database``, or ``http`` without TLS.
        silence: Seconds that the server may be silent before it is asked whether it is still at work.
    """

    def __init__(self, uri: str, silence: float = SILENCE_S) -> None:
        self._shown = remember(uri)
        # Over a network it is worth its time; on one machine it is only work.
        self._arrow = pa.ipc.IpcWriteOptions(compression=None if is_local(uri) else "lz4")
        with self._translated():
            # An insert is done when it is said to be; staging is counted right after.
            self.client = client(uri, silence, async_insert=0)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def execute(self, *statements: str) -> None:
        """Run statements."""
        with self._translated():
            for statement in statements:
                self.client.command(statement)

    def rows(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query; ``{name:Type}`` stands for a parameter."""
        with self._translated():
            return [tuple(row) for row in self.client.query(query, parameters=parameters).result_rows]

    def number(self, query: str, **parameters: Any) -> int:
        """Return the one number that a query tells."""
        return int(self.rows(query, **parameters)[0][0])

    def numbers(self, queries: Iterable[str]) -> list[int]:
        """Return the numbers that some queries tell, asked together."""
        asked = [query.replace("SELECT ", f"SELECT {place}, ", 1) for place, query in enumerate(queries)]
        found: list[int] = []
        for start in range(0, len(asked), _TOGETHER):
            rows = self.rows(" UNION ALL ".join(asked[start : start + _TOGETHER]))
            found += (int(number) for _, number in sorted(rows))
        return found

    def batches(self, query: str, **parameters: Any) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of a query as they come, texts as such."""
        with (
            self._translated(),
            self.client.query_arrow_stream(query, parameters=parameters, use_strings=True) as batches,
        ):
            yield from _gathered(batches)

    def append(self, database: str, table: str, rows: pl.DataFrame) -> None:
        """Append rows in one insert."""
        if rows.is_empty():  # of which no Arrow stream can be made
            return
        name, columns = qualified(database, table), list(map(quoted, rows.columns))
        with self._translated():
            self.client.raw_insert(name, columns, self._arrow_stream(rows), fmt="ArrowStream")

    def _arrow_stream(self, rows: pl.DataFrame) -> Generator[bytes, None, None]:
        """Yield rows as an Arrow stream, piece by piece: all at once would be in memory twice more."""
        sink, in_block = io.BytesIO(), max(1, len(rows) * BLOCK_BYTES // (1 + int(rows.estimated_size())))
        with ExitStack() as stack:
            writer = None
            for block in rows.iter_slices(in_block):
                arrow = block.to_arrow(compat_level=pl.CompatLevel.oldest())
                writer = writer or stack.enter_context(pa.ipc.new_stream(sink, arrow.schema, options=self._arrow))
                writer.write_table(arrow)
                yield sink.getvalue()
                sink.seek(0)
                sink.truncate()
        yield sink.getvalue()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (ClickHouseError, HTTPError) as error:
            if isinstance(error.__cause__, ServerError):  # in the midst of rows the driver wraps what we raise
                raise error.__cause__ from error
            raise translated(error, self._shown) from error


def _gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield rows in larger batches: where rows are chosen, ClickHouse sends a few at a time."""
    some, size = list[pa.RecordBatch](), 0
    for batch in batches:
        some.append(batch)
        size += batch.nbytes
        if size >= _GATHERED:
            yield _as_one(some)
            some, size = [], 0
    if some:
        yield _as_one(some)


def _as_one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
