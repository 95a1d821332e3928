"""Marts: computed in Polars from the published replica, all at its moment, and published to both stores together.

:func:`build` does it in one go. Its steps, :func:`open_run`, :func:`load` and :func:`publish`, are calls of their own,
so that another process or another machine can do one of them, and do it again.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow as pa
from bson import Timestamp
from pandera.errors import SchemaErrors
from polars.io.plugins import register_io_source

from contracts.schema.entity import Table
from contracts.schema.frame import pandera_schema
from contracts.schema.mart import Mart
from contracts.schema.registry import marts
from pipeline import books, publishing
from pipeline.books import as_number
from pipeline.connections import TARGETS, Connections
from pipeline.errors import BooksOpenError, DataError, SnapshotError, UsageError
from pipeline.publishing import MARTS, REPLICA, abandon, finish_what_was_cut_short
from pipeline.stores import Staging, Target
from transforms.marts import compute, in_order, sources

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class MartRun:
    """Some marts, from the moment that they show to their publish.

    Attributes:
        id: Its name in the books.
        cluster_time: The moment of the replica that they show.
        source: Name of the store that the replica is read from.
        marts: Their names, each after those that it reads.
        targets: Names of the stores that they are written to.
    """

    id: str
    cluster_time: Timestamp
    source: str
    marts: tuple[str, ...]
    targets: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, to hand to another process."""
        moment = [self.cluster_time.time, self.cluster_time.inc]
        return asdict(self) | {"cluster_time": moment, "marts": list(self.marts), "targets": list(self.targets)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "MartRun":
        """Return the run that :meth:`as_json` described."""
        given = {"marts": tuple(values["marts"]), "targets": tuple(values["targets"])}
        return cls(values["id"], Timestamp(*values["cluster_time"]), values["source"], **given)


@dataclass(frozen=True)
class BuiltMart:
    """A mart that was published.

    Attributes:
        name: Its name.
        rows: How many rows it has.
        seconds: How long it took to read its sources, to compute and to load it.
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
    run = open_run(connections, names, targets)
    try:
        load(connections, run, run.marts, progress)
        return publish(connections, run)
    except BaseException as error:
        abandon(connections, run.id, run.targets, str(error) or type(error).__name__)
        raise


def open_run(
    connections: Connections,
    names: Iterable[str] = (),
    targets: Iterable[str] = TARGETS,
    *,
    single_process: bool = True,
) -> MartRun:
    """Choose the moment that all sources of the marts show, and create the staging areas.

    Args:
        connections: The open connections.
        names: The marts, to which those that they read are added; all if none is named.
        targets: Names of the stores that they are written to.
        single_process: Whether this process does all of the run; if it dies, so does the run.

    Raises:
        UsageError: There is no such mart, or its sources are not replicated or show different moments.
    """
    wanted = _with_their_marts(names)
    source, moment = _moment_of_sources(connections, wanted)
    postgres, chosen = connections.postgres, tuple(target.name for target in connections.targets(targets))
    with postgres.transaction():
        run_id = books.open_run(postgres, MARTS, moment, chosen, single_process=single_process)
        plan = [{"collection": mart.name, "number": number} for number, mart in enumerate(wanted)]
        books.plan(postgres, run_id, plan, chosen)
    run = MartRun(run_id, moment, source.name, tuple(mart.name for mart in wanted), chosen)
    try:
        with postgres.transaction():
            books.lock_publishing(postgres)  # of two runs at once only one may create the schema
            for target in connections.targets(chosen):
                target.stage(_staging_of(run))
    except BaseException as error:
        abandon(connections, run.id, run.targets, str(error) or type(error).__name__)
        raise
    return run


def load(
    connections: Connections, run: MartRun, names: Iterable[str], progress: Progress = lambda name, rows: None
) -> None:
    """Compute some marts of a run and load them into staging; those that are loaded already are left alone.

    A mart that they read and that is not among them is computed as well, and not loaded: so each mart may be the work
    of another process, in any order. It comes out the same, for what the marts sum up are integers.

    Args:
        connections: The open connections.
        run: An open run.
        names: Names of marts of the run.
        progress: Is told each mart that is loaded, and its rows.

    Raises:
        DataError: A mart breaks its contract.
        SnapshotError: The replica shows another moment meanwhile.
    """
    numbers = {name: number for number, name in enumerate(run.marts) if name in set(names)}
    left = [name for name, number in numbers.items() if not books.is_loaded(connections.postgres, run.id, number)]
    if not left:
        return
    books.attend(connections.postgres, run.id)
    wanted = _with_their_marts(left)
    started = time.monotonic()
    with TemporaryDirectory(prefix="etl-marts-") as folder:
        frames = _spilled(connections, run, wanted, Path(folder))
        for mart in wanted:
            frame = _computed(mart, frames)
            frames[mart.name] = frame.lazy()
            if mart.name in left:
                _load(connections, run, mart, numbers[mart.name], frame, started)
                progress(mart.name, len(frame))
                started = time.monotonic()


def publish(connections: Connections, run: MartRun) -> list[BuiltMart]:
    """Publish all marts of a run together; doing it again does nothing.

    Raises:
        BooksOpenError: A mart is not loaded, or not with all of its rows; nothing was published.
    """
    postgres, staging = connections.postgres, _staging_of(run)
    books.attend(postgres, run.id)
    if not books.is_published(postgres, run.id):
        publishing.prepare(connections, staging, run.targets)
    with postgres.transaction():
        books.lock_publishing(postgres)
        if not books.is_published(postgres, run.id):
            _prove(connections, run)
            publishing.publish(connections, staging, run.marts, run.targets)
    finish_what_was_cut_short(connections)
    rows = {account.collection: account.source for account in books.accounts(postgres, run.id)}
    seconds = books.seconds(postgres, run.id)
    return [BuiltMart(name, rows[name], seconds[name], run.cluster_time) for name in run.marts]


def _staging_of(run: MartRun) -> Staging:
    known = marts()
    return Staging(run.id, MARTS, tuple(known[name].table for name in run.marts), as_number(run.cluster_time))


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


def _spilled(connections: Connections, run: MartRun, wanted: list[Mart], folder: Path) -> dict[str, pl.LazyFrame]:
    """Copy the columns that the marts read to files, so that memory need not hold them."""
    (source,) = connections.targets([run.source])
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
    _refuse_another_moment(connections, run)
    return frames


def _refuse_another_moment(connections: Connections, run: MartRun) -> None:
    source, moment = _moment_of_sources(connections, _with_their_marts(run.marts))
    if (source.name, moment) != (run.source, run.cluster_time):
        raise SnapshotError("the replica was published anew while the marts were reading it; run etl marts again")


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


def _load(connections: Connections, run: MartRun, mart: Mart, number: int, frame: pl.DataFrame, started: float) -> None:
    """Load a mart into all targets, and enter it into the books: with the commit, it is loaded."""
    with connections.postgres.transaction():
        for target in connections.targets(run.targets):
            with target.loading(_staging_of(run), number, (mart.table,)) as load_frame:
                load_frame(mart.table, frame)
        took = time.monotonic() - started
        books.record(connections.postgres, run.id, number, source=len(frame), quarantined=0, size=0, seconds=took)


def _prove(connections: Connections, run: MartRun) -> None:
    """Count what each target holds in staging, and hold it against what was computed."""
    postgres, staging = connections.postgres, _staging_of(run)
    if missing := books.unloaded(postgres, run.id):
        raise BooksOpenError(f"the mart {run.marts[missing[0]]} of run {run.id} was not loaded; nothing was published")
    for table in staging.tables:
        for target in connections.targets(run.targets):
            books.enter_loaded(postgres, run.id, table.name, target.name, target.staged(staging, table))
    for account in books.accounts(postgres, run.id):
        if not account.closed:
            raise BooksOpenError(
                f"the mart {account.collection} has {account.source:,} rows, of which {account.target} holds "
                f"{account.loaded:,}; nothing was published"
            )


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
