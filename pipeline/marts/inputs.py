"""What the marts of a run are computed from, and what is computed, where those find it that read it."""

from collections.abc import Generator, Iterable
from contextlib import ExitStack
from dataclasses import replace

from contracts.schema.entity import Table
from contracts.schema.mart import Mart
from pipeline.connections import Connections
from pipeline.marts.computing import Piece, Published, computed
from pipeline.marts.reading import published, spill_sources, tables_read
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
        computed = [mart for mart in wanted if not run.plan(mart.name).stays]
        for column in sorted({run.column(mart.name) for mart in computed}):
            readers = [mart for mart in computed if run.column(mart.name) == column]
            self._read[column] = tables_read(connections, wanted, readers)
            self._spills[column] = stack.enter_context(spilling(connections.memory.bucket))
            whole = {name for mart in readers for name in mart.whole}
            with ACTIVITY.at("read the replica", run.source):
                spill_sources(connections, run, self._read[column], self._spills[column], column, trace)
                for table in self._read[column].values():
                    if run.plan(table.name).stays:
                        self._add(column, table, "" if table.name in whole else column)

    def computed(self, mart: Mart) -> Generator[Piece, None, None]:
        """Yield the rows of a mart, or those of its part; whoever reads it finds them afterwards.

        Who may leave before the end closes it: files are written meanwhile.
        """
        column = self._run.column(mart.name)
        spill, kept = self._spills[column], self._read[column].get(mart.name)
        pieces = computed(mart, self._run.context, spill, kept, self._published(mart))
        pieces = self._trace.watch.timed(f"compute {mart.name}", pieces)
        for other, read in self._read.items():
            if other != column and mart.name in read:
                pieces = self._completed(other, mart, read[mart.name], pieces)
        return pieces

    def _published(self, mart: Mart) -> Published:
        """Keep the published rows of a mart that those are compared with which are computed, if they are."""
        plan, name = self._run.plan(mart.name), mart.name
        if not plan.base:
            return Published()
        found = Published(f"{name}, published", f"{name}, others" if plan.column and mart.whole else "")
        for called, outside in ((found.same, False), (found.others, True)):
            if called:
                self._add(plan.column, mart.table, plan.column, called=called, outside=outside)
        return found

    def _add(self, family: str, table: Table, column: str, *, called: str = "", outside: bool = False) -> None:
        """Keep published rows of a mart in the files of those that are computed by one column."""
        with self._spills[family].adding(replace(table, name=called or table.name)) as write:
            for frame in published(self._connections, self._run, table, column, self._trace, outside=outside):
                write(frame, 0)

    def _completed(
        self, family: str, mart: Mart, table: Table, pieces: Iterable[Piece]
    ) -> Generator[Piece, None, None]:
        """Yield the rows of a mart, and keep them, all of them, for marts that are computed by another column."""
        column = self._run.column(mart.name)
        with self._spills[family].adding(table) as write:
            if column and not mart.whole:
                for frame in published(self._connections, self._run, table, column, self._trace, outside=True):
                    write(frame, 0)
            for piece in pieces:
                write(piece.rows, 0)
                yield piece
                del piece  # or it would be in memory while the next one is computed
