"""What the marts of a run are computed from, and what is computed, where those find it that read it."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import polars as pl

from contracts.schema.entity import Table
from contracts.schema.mart import Mart
from pipeline.connections import Connections
from pipeline.marts.computing import computed
from pipeline.marts.reading import rest, spill_sources, tables_read
from pipeline.marts.run import MartRun
from pipeline.marts.spill import Spill, spilling
from pipeline.marts.trace import Trace
from pipeline.runtime.timings import ACTIVITY


class Inputs:
    """What marts are computed from, in files: all rows for those that are computed whole, and parts for the others.

    Args:
        connections: The open connections.
        run: The run.
        wanted: The marts that are computed, each after those that it reads.
        stack: Removes the files.
        trace: Is told what is read, and how long everything takes.
    """

    def __init__(
        self, connections: Connections, run: MartRun, wanted: list[Mart], stack: ExitStack, trace: Trace
    ) -> None:
        self._connections, self._run, self._trace = connections, run, trace
        self._read: dict[str, dict[str, Table]] = {}
        self._spills: dict[str, Spill] = {}
        for column in sorted({run.column(mart.name) for mart in wanted}):
            readers = [mart for mart in wanted if run.column(mart.name) == column]
            self._read[column] = tables_read(connections, wanted, readers)
            self._spills[column] = stack.enter_context(spilling(connections.memory.bucket))
            with ACTIVITY.at("read the replica", run.source):
                spill_sources(connections, run, self._read[column], self._spills[column], column, trace)

    def computed(self, mart: Mart) -> Iterator[pl.DataFrame]:
        """Yield the rows of a mart, or those of its part; whoever reads it finds them afterwards."""
        column = self._run.column(mart.name)
        pieces = computed(mart, self._run.context, self._spills[column], self._read[column].get(mart.name))
        pieces = self._trace.watch.timed(f"compute {mart.name}", pieces)
        wanted_whole = self._read.get("", {}).get(mart.name) if column else None
        return pieces if wanted_whole is None else self._completed(wanted_whole, pieces)

    def _completed(self, table: Table, pieces: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Yield the rows of a part, and keep them with the rest for the marts that read all."""
        with self._spills[""].adding(table) as write:
            for frame in rest(self._connections, self._run, table, self._trace):
                write(frame, 0)
            for frame in pieces:
                write(frame, 0)
                yield frame
                del frame  # or it would be in memory while the next one is computed
