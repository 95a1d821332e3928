"""What a run of marts has read, and where its time went: what ``etl marts --explain`` shows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from contracts.schema.entity import Table
from pipeline.runtime.timings import Stopwatch


@dataclass
class Read:
    """A table that was read.

    Attributes:
        table: Its name, with the schema.
        columns: The columns that were read.
        by: By whose values rows were read; nothing if it was all of them.
        others: Whether these were the rows without one of the values.
        rows: How many rows.
        bytes: How large they were, in Arrow.
    """

    table: str
    columns: list[str]
    by: str = ""
    others: bool = False
    rows: int = 0
    bytes: int = 0


@dataclass
class Trace:
    """What is told of a run.

    Attributes:
        watch: The seconds of its steps.
        reads: The tables that were read, in order; one may be read several times.
    """

    watch: Stopwatch = field(default_factory=lambda: Stopwatch("marts"))
    reads: list[Read] = field(default_factory=list)

    def reading(
        self, schema: str, table: Table, by: str, batches: Iterable[pa.RecordBatch], *, others: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows as they are read, and count them."""
        one = Read(f"{schema}.{table.name}", table.names, by, others)
        self.reads.append(one)
        for batch in self.watch.timed("read", batches):
            one.rows += batch.num_rows
            one.bytes += batch.nbytes
            yield batch
