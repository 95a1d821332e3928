"""Tables in files of a temporary folder: what is larger than memory is computed from piece by piece.

A table is cut into buckets by the hash of a value, so that all rows with one value are in one bucket (the partitioning
of a Grace hash join). Its buckets share one Arrow file, each record batch of which belongs to one of them.
"""

import errno
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, count, pairwise
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from contracts.schema.entity import ID, Table
from pipeline.errors import EtlError

_BUCKET = "#bucket"  # the number of a parent's bucket, beside its _id
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Numbers = np.ndarray[Any, np.dtype[np.uint16]]
Write = Callable[[pl.DataFrame, int], None]


class Batch(NamedTuple):
    """A record batch of a file.

    Attributes:
        number: Its place.
        size: Its bytes.
    """

    number: int
    size: int


@dataclass(frozen=True)
class Spilled:
    """A table in a file.

    Attributes:
        path: The file.
        schema: Its columns.
        parent: Name of the table that its ``_id`` refers to, if any.
        buckets: The record batches of each bucket.
    """

    path: Path
    schema: pl.Schema
    parent: str | None
    buckets: tuple[list[Batch], ...]

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        return sum(batch.size for batch in chain(*self.buckets))

    def whole(self) -> "Spilled":
        """Return the table with all rows in one bucket."""
        return replace(self, buckets=(sorted(chain(*self.buckets)),))

    def lazy(self, bucket: int) -> pl.LazyFrame:
        """Return the rows of a bucket; if it is the only one, they need not fit into memory."""
        return pl.scan_ipc(self.path) if len(self.buckets) == 1 else _frame(self.rows(self.buckets[bucket])).lazy()

    def batches(self, bucket: int) -> Iterator[pa.Table]:
        """Yield the rows of a bucket, batch by batch."""
        return (self.rows([batch]) for batch in self.buckets[bucket])

    def rows(self, batches: Iterable[Batch]) -> pa.Table:
        """Return the rows of some batches."""
        # What was read of a mapped file counts as the process's memory as long as anything refers to the mapping: so
        # each call makes a mapping of its own.
        with pa.memory_map(str(self.path)) as file, pa.ipc.open_file(file) as reader:
            return pa.Table.from_batches([reader.get_batch(batch.number) for batch in batches], reader.schema)


class Spill:
    """The tables that are computed from.

    Args:
        folder: Where their files are.
        size: Bytes of all tables' buckets of one number together.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size, self._files = folder, size, count()
        self._tables: dict[str, Spilled] = {}
        self._cut: dict[tuple[str, bytes], Spilled] = {}

    @contextmanager
    def adding(self, table: Table, by: pl.Expr | None = None, buckets: int = 1) -> Iterator[Write]:
        """Take the rows of a table.

        Args:
            table: Its name and columns.
            by: By what the rows come in buckets, if they do.
            buckets: In how many.

        Yields:
            A function that takes some rows, and the number of their bucket.
        """
        with self._writing(table.frame_schema, table.root if table.parent else None, buckets) as (spilled, write):
            yield lambda frame, bucket: write(_arrow(frame.select(table.names)), bucket)
        self._tables[table.name] = spilled
        if by is not None:
            self._cut[table.name, by.meta.serialize()] = spilled

    def frames(self, name: str) -> Iterator[pl.DataFrame]:
        """Yield the rows of a table, batch by batch."""
        return map(_frame, self._tables[name].whole().batches(0))

    def cut(self, names: Iterable[str], by: pl.Expr | None) -> tuple[int, dict[str, Spilled]]:
        """Cut tables into buckets, so that one of each fits into memory; tables that all do stay as they are.

        Args:
            names: Names of the tables.
            by: All rows with one value of this are in one bucket. Rows of a table that lacks its columns are where the
                rows of the parent are that their ``_id`` refers to. Without it, there is one bucket.

        Returns:
            The number of buckets, and the tables by name.
        """
        tables = {name: self._tables[name] for name in names}
        needed = self._needed(sum(one.size for one in tables.values()))
        if by is None or needed == 1:
            return 1, {name: table.whole() for name, table in tables.items()}
        there = [self._cut[key] for name in tables if (key := (name, by.meta.serialize())) in self._cut]
        buckets = max(needed, *(len(one.buckets) for one in there), 1)
        return buckets, {name: self._cut_once(name, by, buckets) for name in tables}

    def cut_into(self, name: str, by: pl.Expr | None, buckets: int) -> Spilled:
        """Cut a table that has the columns of ``by`` into so many buckets, as those tables are that it belongs to."""
        return self._tables[name].whole() if by is None or buckets == 1 else self._cut_once(name, by, buckets)

    def _needed(self, size: int) -> int:
        return max(1, ceil(size / self._size))

    def _cut_once(self, name: str, by: pl.Expr, buckets: int) -> Spilled:
        """Return a table cut into buckets; it may have been cut so before, for another reader."""
        key, table = (name, by.meta.serialize()), self._tables[name]
        if key not in self._cut or len(self._cut[key].buckets) != buckets:
            own = has_columns(table.schema, by)
            numbered = _numbered(table, by, buckets) if own else self._numbered_as_parents(table, by, buckets)
            self._cut[key] = self._written(table.schema, numbered, buckets)
        return self._cut[key]

    def _numbered_as_parents(self, table: Spilled, by: pl.Expr, buckets: int) -> Iterator[tuple[pa.Table, Numbers]]:
        """Yield the rows of a table, with the numbers of their parents' buckets."""
        assert table.parent is not None
        children, parents = table.whole(), self._numbers_of(self._tables[table.parent], by, buckets)
        # If not even the numbers of all parents fit into memory, both sides are cut by what joins them.
        if (parts := self._needed(parents.size)) > 1:
            children, parents = (
                self._written(one.schema, _numbered(one, pl.col(ID), parts), parts) for one in (children, parents)
            )
        for part in range(parts):
            number_of = _lookup(_frame(parents.rows(parents.buckets[part])))
            for rows in children.batches(part):
                yield rows, number_of(_frame(rows.select([ID])))

    def _numbers_of(self, table: Spilled, by: pl.Expr, buckets: int) -> Spilled:
        """Return the ``_id`` of each row with the number of its bucket."""
        schema = pl.Schema({ID: table.schema[ID], _BUCKET: pl.UInt16()})
        with self._writing(schema, None, 1) as (spilled, write):
            for rows, numbers in _numbered(table, by, buckets):
                write(rows.select([ID]).append_column(_BUCKET, pa.array(numbers)), 0)
        return spilled

    def _written(self, schema: pl.Schema, numbered: Iterable[tuple[pa.Table, Numbers]], buckets: int) -> Spilled:
        with self._writing(schema, None, buckets) as (spilled, write):
            for rows, numbers in numbered:
                in_order = rows.take(np.argsort(numbers, kind="stable"))
                ends = np.cumsum(np.bincount(numbers, minlength=buckets))
                for bucket, (start, end) in enumerate(pairwise([0, *map(int, ends)])):
                    write(in_order.slice(start, end - start), bucket)
        return spilled

    @contextmanager
    def _writing(
        self, schema: pl.Schema, parent: str | None, buckets: int
    ) -> Iterator[tuple[Spilled, Callable[[pa.Table, int], None]]]:
        path, numbers = self._folder / f"{next(self._files)}.arrow", count()
        spilled = Spilled(path, schema, parent, tuple([] for _ in range(buckets)))
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _arrow(schema.to_frame()).schema) as writer:

            def write(rows: pa.Table, bucket: int) -> None:
                for batch in rows.to_batches():
                    if batch.num_rows:
                        writer.write_batch(batch)
                        spilled.buckets[bucket].append(Batch(next(numbers), batch.nbytes))

            yield spilled, write


@contextmanager
def spilling(size: int) -> Iterator[Spill]:
    """Provide a temporary folder for tables, and remove it.

    Args:
        size: Bytes of all tables' buckets of one number together.

    Raises:
        EtlError: There is no room left for them.
    """
    with _temporary_folder() as folder:
        try:
            yield Spill(Path(folder), size)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise EtlError(
                f"the folder of temporary files, {gettempdir()}, has no room for what is computed from, and nothing "
                "was published; make room or let TMPDIR name another folder"
            ) from error


def _temporary_folder() -> TemporaryDirectory[str]:
    try:
        return TemporaryDirectory(prefix="etl-")
    except OSError as error:  # none of the folders that the system has for it can be written, or this one is full
        raise EtlError(
            f"no temporary folder can be made ({error.strerror or error}), and what is computed from needs one; make "
            "room or let TMPDIR name a folder that can be written"
        ) from error


def bucket_of(by: pl.Expr, buckets: int) -> pl.Expr:
    """Return the number of a row's bucket."""
    return (_hash(by) % buckets).cast(pl.UInt16)


def has_columns(columns: Container[str], by: pl.Expr) -> bool:
    """Return whether a table has the columns of an expression."""
    return all(name in columns for name in by.meta.root_names())


def _numbered(table: Spilled, by: pl.Expr, buckets: int) -> Iterator[tuple[pa.Table, Numbers]]:
    """Yield the rows of a table, with the numbers of their buckets."""
    for rows in table.whole().batches(0):
        columns = _frame(rows.select(by.meta.root_names()))
        yield rows, columns.select(bucket_of(by, buckets)).to_series().to_numpy()


def _lookup(parents: pl.DataFrame) -> Callable[[pl.DataFrame], Numbers]:
    """Return a function from the ``_id`` of rows to the bucket of the parent; those without one go anywhere together.

    It compares hashes in place of ids, which takes a fraction of a join's memory and time.
    """
    for seed in count():
        found = parents.select(_hash(pl.col(ID), seed), _BUCKET).sort(ID)
        hashes = found[ID].to_numpy()
        if not (hashes[1:] == hashes[:-1]).any():  # with almost any seed each id has a hash of its own
            break
    buckets = np.append(found[_BUCKET].to_numpy(), np.uint16(0))
    return lambda ids: buckets[np.searchsorted(hashes, ids.select(_hash(pl.col(ID), seed))[ID].to_numpy())]


def _hash(value: pl.Expr, seed: int = 0) -> pl.Expr:
    return value.hash(seed)


def _frame(rows: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(rows, rechunk=False))


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
