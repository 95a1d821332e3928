"""Marts: computed in Polars from the published replica, all at its moment, and published to both stores together."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pyarrow as pa
from bson import Timestamp
from pandera.errors import SchemaErrors
from polars.io.plugins import register_io_source

from contracts.schema.entity import Table
from contracts.schema.frame import pandera_schema
from contracts.schema.mart import Mart
from contracts.schema.registry import marts
from pipeline import books
from pipeline.books import as_number, as_timestamp
from pipeline.connections import TARGETS, Connections
from pipeline.errors import DataError, SnapshotError, UsageError
from pipeline.publishing import MARTS, REPLICA, abandon, finish_what_was_cut_short, publish
from pipeline.stores import Staging, Target
from transforms.marts import compute, in_order, sources

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class BuiltMart:
    """A mart that was published.

    Attributes:
        name: Its name.
        rows: How many rows it has.
        seconds: How long its computation took.
        cluster_time: The moment that it shows.
    """

    name: str
    rows: int
    seconds: float
    cluster_time: Timestamp


def build(
    connections: Connections,
    names: Iterable[str] = (),
    targets: Iterable[str] = TARGETS,
    progress: Progress = lambda name, rows: None,
) -> list[BuiltMart]:
    """Compute marts, and those that they read, and publish them together.

    Args:
        connections: The open connections.
        names: The marts; all if none is named.
        targets: Names of the stores that they are written to.
        progress: Is told each mart that is computed, and its rows.

    Raises:
        UsageError: There is no such mart, or its sources are not replicated or show different moments.
        DataError: A mart breaks its contract; nothing was published.
    """
    finish_what_was_cut_short(connections)
    wanted = _with_their_marts(names)
    source, moment = _moment_of_sources(connections, wanted)
    postgres, targets = connections.postgres, tuple(target.name for target in connections.targets(targets))
    with postgres.transaction():
        run_id = books.open_run(postgres, MARTS, moment, targets, single_process=True)
    staging = Staging(run_id, MARTS, tuple(mart.table for mart in wanted), as_number(moment))
    try:
        with TemporaryDirectory(prefix="etl-marts-") as folder:
            frames = _spilled(connections, source, wanted, Path(folder))
            if _moment_of_sources(connections, wanted) != (source, moment):
                raise SnapshotError(
                    "the replica was published anew while the marts were reading it; run etl marts again"
                )
            built = _computed_and_loaded(connections, frames, wanted, staging, targets, progress)
        with postgres.transaction():
            books.lock_publishing(postgres)
            publish(connections, staging, [mart.name for mart in wanted], targets)
    except BaseException as error:
        abandon(connections, run_id, targets, str(error) or type(error).__name__)
        raise
    finish_what_was_cut_short(connections)
    return built


def _with_their_marts(names: Iterable[str]) -> list[Mart]:
    """Return the named marts and the marts that they read, each after those."""
    known = marts()
    wanted: dict[str, None] = {}
    queue = list(names) or list(known)
    while queue:
        name = queue.pop()
        if name not in known:
            raise UsageError(f"there is no mart {name!r}; there are {', '.join(sorted(known))}")
        wanted[name] = None
        queue += [source for source in sources(name) if source in known and source not in wanted]
    return [known[name] for name in in_order(wanted)]


def _moment_of_sources(connections: Connections, wanted: list[Mart]) -> tuple[Target, Timestamp]:
    """Return the store to read from, and the one moment that all sources of the marts show there."""
    owners = {table.name: name for name, entity in connections.entities.items() for table in entity.tables}
    needed = {owners[table] for mart in wanted for table in sources(mart.name) if table in owners}
    moments: dict[str, dict[str, Timestamp]] = {}
    for publication in books.publications(connections.postgres):
        if publication.name in needed and publication.finished:
            moments.setdefault(publication.target, {})[publication.name] = publication.cluster_time
    complete = [target for target in connections.targets() if moments.get(target.name, {}).keys() == needed]
    if not complete:
        raise UsageError(f"the marts need {', '.join(sorted(needed))}, which are not all replicated; run etl replicate")
    for target in complete:
        if len(times := set(moments[target.name].values())) == 1:
            return target, times.pop()
    raise UsageError(f"{', '.join(sorted(needed))} show different moments; run etl replicate to copy all at one")


def _spilled(connections: Connections, source: Target, wanted: list[Mart], folder: Path) -> dict[str, pl.LazyFrame]:
    """Copy the columns that the marts read to files, so that memory need not hold them."""
    known = {table.name: table for entity in connections.entities.values() for table in entity.tables}
    frames: dict[str, pl.LazyFrame] = {}
    for name, columns in _columns_read(wanted, known).items():
        table, path = known[name].only(columns), folder / f"{name}.arrow"
        arrow_schema = table.frame_schema.to_frame().to_arrow().schema
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, arrow_schema) as writer:
            for batch in source.read(REPLICA, table):
                frame = pl.DataFrame(pl.from_arrow(batch)).cast(table.frame_schema)
                writer.write_table(frame.to_arrow())
        frames[name] = pl.scan_ipc(path)
    return frames


def _columns_read(wanted: list[Mart], known: dict[str, Table]) -> dict[str, set[str]]:
    """Find out which columns of which tables the marts read, by computing them from nothing and looking on."""
    read: dict[str, set[str]] = defaultdict(set)

    def nothing(table: Table) -> pl.LazyFrame:
        def rows(columns: list[str] | None, *_rest: object) -> Iterator[pl.DataFrame]:
            read[table.name].update(table.names if columns is None else columns)
            yield table.frame_schema.to_frame().select(table.names if columns is None else columns)

        return register_io_source(rows, schema=table.frame_schema)

    made = {mart.name: mart.table.frame_schema.to_frame().lazy() for mart in wanted}
    for mart in wanted:
        inputs = {name: made[name] if name in made else nothing(known[name]) for name in sources(mart.name)}
        compute(mart.name)(**inputs).collect()
    return read


def _computed_and_loaded(
    connections: Connections,
    frames: dict[str, pl.LazyFrame],
    wanted: list[Mart],
    staging: Staging,
    targets: tuple[str, ...],
    progress: Progress,
) -> list[BuiltMart]:
    built = []
    with connections.postgres.transaction():
        books.lock_publishing(connections.postgres)  # of two runs at once only one may create the schema
        for target in connections.targets(targets):
            target.stage(staging)
    with connections.postgres.transaction():
        for number, mart in enumerate(wanted):
            started = time.monotonic()
            frame = _computed(mart, frames)
            frames[mart.name] = frame.lazy()
            for target in connections.targets(targets):
                with target.loading(staging, number, (mart.table,)) as load:
                    load(mart.table, frame)
            built.append(BuiltMart(mart.name, len(frame), time.monotonic() - started, as_timestamp(staging.version)))
            progress(mart.name, len(frame))
    return built


def _computed(mart: Mart, frames: dict[str, pl.LazyFrame]) -> pl.DataFrame:
    """Compute a mart and hold it against its contract."""
    inputs = {name: frames[name] for name in sources(mart.name)}
    frame = compute(mart.name)(**inputs).collect(engine="streaming")
    try:
        pandera_schema(mart.table).validate(frame, lazy=True)
    except SchemaErrors as error:
        first = error.failure_cases.row(0, named=True)
        raise DataError(
            f"the mart {mart.name} breaks its contract in {len(error.failure_cases):,} places, first the rule "
            f"{first['check']!r} of {first['column']!r} by {str(first['failure_case'])[:200]!r}; nothing was published"
        ) from None
    return frame
