"""What marts are computed from, in files, and what is computed, where those find it that read it."""

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import polars as pl

from contracts.schema.entity import Table
from contracts.schema.mart import Mart
from pipeline.connections import Connections
from pipeline.marts.computing import Piece, PublishedRows, computed
from pipeline.marts.difference import Part, all_of, difference
from pipeline.marts.reading import columns_read, documents, known_tables, published
from pipeline.marts.run import MartRun
from pipeline.marts.sources import check_same_run
from pipeline.marts.spill import spilling
from pipeline.marts.trace import Trace
from pipeline.runtime.timings import ACTIVITY


class Inputs:
    """What marts are computed from: all rows for those that are computed whole, and parts for the others.

    All marts that are computed by one column are a family, with files of their own. Nothing is read before a mart needs
    it that is computed: some are not, where nothing of what they read came out otherwise than it was.

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
        self._marts = {mart.name: mart for mart in wanted}
        self._known = known_tables(connections, wanted)
        moving = [mart for mart in wanted if not run.plan(mart.name).stays]
        self._columns = {mart.name: columns_read(mart, self._known) for mart in moving}
        self._differing = defaultdict[str, set[str]](set)
        self._there = defaultdict[str, set[str]](set)  # the tables that a family's files hold
        self._spills = {
            family: stack.enter_context(spilling(connections.memory.bucket))
            for family in sorted({run.column(mart.name) for mart in moving})
        }

    def stays(self, mart: Mart) -> bool:
        """Return whether no row of a mart can have changed, by what has come of those that it reads."""
        plan = self._run.plan(mart.name)
        return plan.stays or (plan.follows and not any(self._differs(mart, name) for name in self._columns[mart.name]))

    def _differs(self, reader: Mart, name: str) -> bool:
        """Return whether anything of a mart came out otherwise than it was that another one reads."""
        if name not in self._run.marts or self.stays(self._marts[name]):
            return False
        return not self._columns[reader.name][name].isdisjoint(self._differing[name])

    def computed(self, mart: Mart) -> Generator[Part, None, None]:
        """Yield what is to be written of a mart that does not stay; whoever reads it finds its rows afterwards.

        Wrap it in ``contextlib.closing`` if you may stop early: files are written meanwhile.
        """
        with ACTIVITY.at("read the replica", self._run.source):
            self._bring(mart)
        family, kept = self._run.column(mart.name), self._read([*self._columns], mart.name)
        if kept:
            self._there[family].add(mart.name)
        return self._parts(mart, computed(mart, self._run.context, self._spills[family], kept, self._published(mart)))

    def _parts(self, mart: Mart, pieces: Generator[Piece, None, None]) -> Generator[Part, None, None]:
        compare = difference if self._run.plan(mart.name).base else all_of
        with closing(pieces):
            for piece in self._trace.watch.timed(f"compute {mart.name}", pieces):
                part = compare(mart, piece)
                self._differing[mart.name] |= part.differing
                yield part
                del piece, part  # or they would be in memory while the next one is computed

    def _read(self, readers: list[str], name: str) -> Table | None:
        """Return a table with the columns that some marts read of it; None if none does."""
        columns = set[str]().union(*(self._columns[reader].get(name, ()) for reader in readers))
        return self._known[name].only(columns) if columns else None

    def _bring(self, mart: Mart) -> None:
        """Keep in the files of a mart's family what it reads, as far as it is not there."""
        family, run = self._run.column(mart.name), self._run
        readers = [name for name in self._columns if run.column(name) == family]
        whole = {name for reader in readers for name in self._marts[reader].whole}
        lacking = self._columns[mart.name].keys() - self._there[family]
        for name in sorted(lacking):
            table, column = self._read(readers, name), "" if name in whole else family
            assert table is not None
            self._keep(family, table, self._rows(table, column))
        self._there[family] |= lacking
        if any(name not in run.marts for name in lacking):
            check_same_run(self._connections, run)

    def _rows(self, table: Table, column: str) -> Iterator[pl.DataFrame]:
        """Yield the rows of a table, or those that depend on the values of a column that are computed anew."""
        run, name = self._run, table.name
        if name not in run.marts:
            yield from documents(self._connections, run, table, column, self._trace)
        elif self.stays(self._marts[name]):
            yield from published(self._connections, run, table, column, self._trace)
        else:  # it was computed by another column, or whole
            family = run.column(name)
            if family and not self._has_others(self._marts[name]):
                yield from published(self._connections, run, table, family, self._trace, outside=True)
            yield from self._spills[family].frames(name)

    def _has_others(self, mart: Mart) -> bool:
        """Return whether a mart of which a part is computed has its other rows refreshed as well."""
        return bool(self._run.column(mart.name)) and any(self._differs(mart, name) for name in mart.whole)

    def _published(self, mart: Mart) -> PublishedRows:
        """Keep the published rows of a mart that those are compared with which are computed, if they are."""
        plan, name = self._run.plan(mart.name), mart.name
        if not plan.base:
            return PublishedRows()
        found = PublishedRows(f"{name}, published", f"{name}, others" if self._has_others(mart) else "")
        for called, outside in ((found.same, False), (found.others, True)):
            if called:
                rows = published(self._connections, self._run, mart.table, plan.column, self._trace, outside=outside)
                self._keep(plan.column, replace(mart.table, name=called), rows)
        return found

    def _keep(self, family: str, table: Table, rows: Iterable[pl.DataFrame]) -> None:
        """Keep rows in the files of a family."""
        with self._spills[family].adding(table) as write:
            for frame in rows:
                write(frame, 0)
