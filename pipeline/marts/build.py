"""Marts: computed in Polars from the published replica, all at its moment, and published to both stores together.

:func:`build` does it in one go. Its steps, :func:`open_run`, :func:`load` and :func:`publish`, are calls of their own,
so that another process or another machine can do one of them, and do it again.
"""

import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field

import polars as pl
from bson import Timestamp
from polars.io.plugins import register_io_source

from contracts.schema.entity import ID, ContractError, Entity, Table
from contracts.schema.frame import pandera_schema
from contracts.schema.history import HISTORY, versions_of
from contracts.schema.mart import Mart
from contracts.schema.registry import marts
from pipeline import control
from pipeline.connections import TARGETS, Connections
from pipeline.control import Publication, as_number
from pipeline.errors import BooksOpenError, DataError, SnapshotError, UsageError
from pipeline.marts.spill import Spill, bucket_of, has_columns, spilling
from pipeline.runs import lifecycle
from pipeline.runs import publish as publishing
from pipeline.runs.lifecycle import holding_run_lock, running
from pipeline.runs.lost_tables import check_nothing_lost, find_lost_tables
from pipeline.runs.published import MARTS, REPLICA
from pipeline.runs.recovery import check_not_stuck, recover
from pipeline.runs.resume import retrying
from pipeline.runs.run import ClusterTime, Portable
from pipeline.runtime.memory import release_memory
from pipeline.runtime.progress import Progress, tell_nobody
from pipeline.stores.base import Staging
from transforms.marts import Context, compute, in_order, marts_of, settings, sources

_DEMO_ADDS = "the word demo in ETL_CONTRACTS adds the contracts of the demo"


@dataclass(frozen=True)
class MartRun(Portable):
    """Some marts, from the moment that they show to their publish.

    Attributes:
        id: Its name in the books.
        cluster_time: The moment of the replica that they show.
        source: Name of the store that the replica is read from.
        shows: The run that each collection shows there, of those that the marts read.
        marts: Their names, each after those that it reads.
        targets: Names of the stores that they are written to.
        timezone: The zone whose days they report.
        support_sla: Seconds within which a ticket is to be answered, by type of issue.
    """

    id: str
    cluster_time: ClusterTime
    source: str
    shows: dict[str, str]
    marts: tuple[str, ...]
    targets: tuple[str, ...]
    timezone: str = "UTC"
    support_sla: dict[str, float] = field(default_factory=lambda: dict(Context().support_sla))

    @property
    def context(self) -> Context:
        """What the marts are computed by, whichever process does it."""
        return Context(self.cluster_time.as_datetime(), self.timezone, self.support_sla)


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
    progress: Progress[str] = tell_nobody,
) -> list[BuiltMart]:
    """Compute marts, and those that they read, and publish them together.

    Args:
        connections: The open connections.
        names: The marts; all if none is named.
        targets: Names of the stores that they are written to.
        progress: Is told the rows of each mart that is loaded: all of them are through.

    Raises:
        UsageError: There is no such mart, or its sources are not replicated or show different moments.
        DataError: A mart breaks its contract; nothing was published.
    """
    recover(connections, connections.named(targets))
    run = open_run(connections, names, targets)
    with running(connections, run.id, run.targets):
        load(connections, run, run.marts, progress)
        return publish(connections, run)


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
        DataError: A source was emptied, or its table is gone.
    """
    wanted = _with_their_marts(connections, names)
    source, moment, shows = _sources_at_one_moment(connections, wanted)
    check_nothing_lost(find_lost_tables(connections, shows, [source]))
    postgres, chosen = connections.postgres, connections.named(targets)
    with postgres.transaction():
        run_id = control.open_run(postgres, MARTS, moment, chosen, single_process=single_process)
        plan = [{"collection": mart.name, "number": number} for number, mart in enumerate(wanted)]
        control.record_plan(postgres, run_id, plan, chosen)
    about = (connections.timezone, connections.support_sla)
    run = MartRun(run_id, moment, source, shows, tuple(mart.name for mart in wanted), chosen, *about)
    lifecycle.open_staging(connections, _staging_of(connections, run), chosen)
    return run


@retrying
@holding_run_lock
def load(connections: Connections, run: MartRun, names: Iterable[str], progress: Progress[str] = tell_nobody) -> None:
    """Compute some marts of a run and load them into staging; those that are loaded already are left alone.

    A mart that they read and that is not among them is computed as well, and not loaded: so each mart may be the work
    of another process, in any order. It comes out the same, for what the marts sum up are integers.

    Args:
        connections: The open connections.
        run: An open run.
        names: Names of marts of the run.
        progress: Is told the rows of each mart that is loaded: all of them are through.

    Raises:
        DataError: A mart breaks its contract.
        SnapshotError: The replica shows another moment meanwhile.
    """
    numbers = {name: number for number, name in enumerate(run.marts) if name in set(names)}
    left = [name for name, number in numbers.items() if not control.is_loaded(connections.postgres, run.id, number)]
    if not left:
        return
    wanted, started = _with_their_marts(connections, left), time.monotonic()
    with spilling(connections.memory.bucket) as spill:
        read = _tables_read(connections, wanted)
        _spill(connections, run, read, spill)
        for mart in wanted:
            pieces = _computed(mart, run.context, spill, read.get(mart.name))
            if mart.name in left:
                rows = _load(connections, run, mart, numbers[mart.name], pieces, started)
                progress(mart.name, rows, rows)
                started = time.monotonic()
            else:
                deque(pieces, maxlen=0)


@retrying
@holding_run_lock
def publish(connections: Connections, run: MartRun) -> list[BuiltMart]:
    """Publish all marts of a run together; doing it again does nothing.

    Raises:
        BooksOpenError: A mart is not loaded, or not with all of its rows; nothing was published.
    """
    postgres, staging = connections.postgres, _staging_of(connections, run)
    if not control.is_published(postgres, run.id):
        publishing.prepare_publish(connections, staging, run.targets)
    with postgres.transaction():
        control.lock_publishing(postgres)
        if not control.is_published(postgres, run.id):
            _prove(connections, run)
            publishing.publish(connections, staging, run.marts, run.targets)
    check_not_stuck(recover(connections, run.targets), run.marts)
    rows = {account.collection: account.source for account in control.accounts(postgres, run.id)}
    seconds = control.seconds(postgres, run.id)
    return [BuiltMart(name, rows[name], seconds[name], run.cluster_time) for name in run.marts]


def _staging_of(connections: Connections, run: MartRun) -> Staging:
    known = marts_of(connections.entities.values())
    return Staging(run.id, MARTS, tuple(known[name].table for name in run.marts), as_number(run.cluster_time))


def _with_their_marts(connections: Connections, names: Iterable[str]) -> list[Mart]:
    """Return the named marts and the marts that they read, each after those."""
    known = marts_of(connections.entities.values())
    wanted: dict[str, None] = {}
    queue = list(names) or list(known)
    while queue:
        name = queue.pop()
        if name not in known:
            raise UsageError(f"there is no mart {name!r}{_why_not(name)}{_there_are(known)}")
        wanted[name] = None
        queue += [source for source in sources(name) if source in known and source not in wanted]
    if not wanted:
        raise UsageError(f"there are no marts: no contract declares what they read ({_DEMO_ADDS})")
    return [known[name] for name in in_order(wanted)]


def _why_not(name: str) -> str:
    """Say why a mart is not there that is a module of this package: it follows what it reads."""
    return f" of these contracts: they do not declare all that it reads ({_DEMO_ADDS})" if name in marts() else ""


def _there_are(known: Iterable[str]) -> str:
    return f"; there are {', '.join(sorted(known))}" if known else ""


def _sources_at_one_moment(connections: Connections, wanted: list[Mart]) -> tuple[str, Timestamp, dict[str, str]]:
    """Return the store to read from, the one moment that all sources of the marts show there, and by which runs."""
    owners = {table.name: name for name, entity in connections.entities.items() for table in _tables_of(entity)}
    read = {table for mart in wanted for table in sources(mart.name)}
    needed = {owners[table] for table in read if table in owners}
    kept = {owners[table] for table in read & _versions(connections).keys()}
    _check_observed(connections, kept)
    shown: dict[str, dict[str, Publication]] = {name: {} for name in TARGETS}
    for one in control.publications(connections.postgres):
        if one.name in needed and one.finished:
            shown[one.target][one.name] = one
    complete = {
        target: found
        for target, found in shown.items()
        if found.keys() == needed and control.observed(connections.postgres, target).keys() >= kept
    }
    if not complete:
        raise UsageError(
            f"the marts need {', '.join(sorted(needed))}, which are not all replicated; run etl replicate "
            "(--allow-missing also copies as empty what MongoDB does not have), or name marts that need others"
        )
    for target, found in complete.items():
        if len(times := {one.cluster_time for one in found.values()}) == 1:
            return target, times.pop(), {name: one.run_id for name, one in found.items()}
    raise UsageError(f"{', '.join(sorted(needed))} show different moments; run etl sync to bring all to one")


def _tables_of(entity: Entity) -> tuple[Table, ...]:
    """Return what marts may read of a collection: its tables, and all their versions where these are kept."""
    return (*versions_of(entity), *entity.tables)


def _versions(connections: Connections) -> dict[str, Table]:
    """Return the views of all versions, by name; a table of that name goes before."""
    views = {view.name: view for entity in connections.entities.values() for view in versions_of(entity)}
    tables = {table.name for entity in connections.entities.values() for table in entity.tables}
    return {name: view for name, view in views.items() if name not in tables}


def _check_observed(connections: Connections, names: Iterable[str]) -> None:
    for name in sorted(names):
        if not any(name in control.observed(connections.postgres, target) for target in TARGETS):
            raise UsageError(
                f"the marts need the history of {name}, which has not begun: run etl replicate {name}, or etl sync"
            )


def _spill(connections: Connections, run: MartRun, read: Mapping[str, Table], spill: Spill) -> None:
    """Copy the columns of the replica that the marts read to files, so that memory need not hold them."""
    (source,) = connections.targets([run.source])
    versions = _versions(connections)
    for table in read.values():
        if table.name in run.marts:
            continue
        with spill.adding(table) as write:
            for batch in source.read(HISTORY if table.name in versions else REPLICA, table):
                write(pl.DataFrame(pl.from_arrow(batch)).cast(table.frame_schema), 0)
    _check_same_run(connections, run)


def _check_same_run(connections: Connections, run: MartRun) -> None:
    """Refuse what was read while it was published anew, at a later moment or at the same; a moment may move on."""
    publications = control.publications(connections.postgres)
    shows = {one.name: one.run_id for one in publications if one.target == run.source and one.name in run.shows}
    if shows != run.shows:
        raise SnapshotError("the replica was published anew while the marts were reading it; run etl marts again")


def _tables_read(connections: Connections, wanted: list[Mart]) -> dict[str, Table]:
    """Return the tables that the marts read, with just the columns that they read, by name."""
    known = _versions(connections)
    known |= {table.name: table for entity in connections.entities.values() for table in entity.tables}
    known |= {mart.name: mart.table for mart in wanted}
    read: dict[str, set[str]] = defaultdict(set)
    for mart in wanted:
        tables = [known[name] for name in sources(mart.name)]
        for table, columns in (*_columns_computed_from(mart, tables), *_columns_cut_by(mart, tables, known)):
            read[table.name] |= columns
    return {name: known[name].only(columns) for name, columns in read.items()}


def _columns_computed_from(mart: Mart, tables: Iterable[Table]) -> list[tuple[Table, set[str]]]:
    """Find out which columns a mart is computed from, by computing it from nothing and looking on."""
    read: list[tuple[Table, set[str]]] = []

    def nothing(table: Table) -> pl.LazyFrame:
        def rows(columns: list[str] | None, *_rest: object) -> Iterator[pl.DataFrame]:
            names = table.names if columns is None else columns
            read.append((table, set(names)))
            yield table.frame_schema.to_frame().select(names)

        return register_io_source(rows, schema=table.frame_schema)

    frames = {table.name: nothing(table) for table in tables}
    compute(mart.name)(**frames, **settings(mart.name, Context())).collect()
    return read


def _columns_cut_by(
    mart: Mart, tables: Iterable[Table], known: Mapping[str, Table]
) -> Iterator[tuple[Table, set[str]]]:
    """Yield the columns that tell which piece of a mart a row is for: its own or, for a child, its parent's."""
    if mart.by is None:
        return
    columns = set(mart.by.meta.root_names())
    for table in (table for table in tables if table.name not in mart.whole):
        if has_columns(table.names, mart.by):
            yield table, columns
        elif has_columns(known[table.root].names, mart.by):
            yield table, {ID}
            yield known[table.root], {ID, *columns}
        else:
            raise ContractError(
                f"{mart.name}: it is computed apart by {mart.by}, for which {table.name} has not the columns"
            )


def _load(
    connections: Connections, run: MartRun, mart: Mart, number: int, pieces: Iterable[pl.DataFrame], started: float
) -> int:
    """Load a mart into all targets, and enter it into the books: with the commit, it is loaded.

    Returns:
        How many rows it has.
    """
    rows = 0
    with connections.postgres.transaction():
        with ExitStack() as stack:
            places = (
                target.loading(_staging_of(connections, run), number, (mart.table,))
                for target in connections.targets(run.targets)
            )
            loads = [stack.enter_context(place) for place in places]
            for frame in pieces:
                for load_frame in loads:
                    load_frame(mart.table, frame)
                rows += len(frame)
                del frame  # or it would be in memory while the next one is computed
        took = time.monotonic() - started
        control.record_partition(connections.postgres, run.id, number, source=rows, quarantined=0, size=0, seconds=took)
    return rows


def _prove(connections: Connections, run: MartRun) -> None:
    """Count what each target holds in staging, and hold it against what was computed."""
    postgres, staging = connections.postgres, _staging_of(connections, run)
    if missing := control.unloaded(postgres, run.id):
        raise BooksOpenError(f"the mart {run.marts[missing[0]]} of run {run.id} was not loaded; nothing was published")
    for table in staging.tables:
        for target in connections.targets(run.targets):
            control.record_loaded(postgres, run.id, table.name, target.name, target.staged(staging, table))
    for account in control.accounts(postgres, run.id):
        if not account.closed:
            raise BooksOpenError(
                f"the mart {account.collection} has {account.source:,} rows, of which {account.target} holds "
                f"{account.loaded:,}; nothing was published"
            )


def _computed(mart: Mart, context: Context, spill: Spill, kept: Table | None) -> Iterator[pl.DataFrame]:
    """Compute a mart piece by piece, and hold each against its contract.

    Args:
        mart: The mart.
        context: The moment and the settings.
        spill: What it reads; it is kept there itself.
        kept: The columns that other marts read, if any does.

    Yields:
        Its rows.
    """
    buckets, tables = spill.cut([name for name in sources(mart.name) if name not in mart.whole], mart.by)
    whole = {name: frame for name in mart.whole for frame in spill.cut([name], None)[1].values()}
    with spill.adding(kept, _by_of_rows(mart), buckets) if kept else nullcontext() as keep:
        for bucket in range(buckets):
            pieces = {name: one.lazy(bucket) for name, one in tables.items()}
            frame = _computed_from(mart, context, pieces | {name: one.lazy(0) for name, one in whole.items()})
            if buckets > 1:
                _check_buckets(mart, frame, bucket, buckets)
            if keep:
                keep(frame, bucket)
            yield frame
            del frame  # or it would be in memory while the next one is computed
            release_memory()


def _computed_from(mart: Mart, context: Context, tables: Mapping[str, pl.LazyFrame]) -> pl.DataFrame:
    """Compute what one bucket of each table gives, and hold it against the contract."""
    from pandera.errors import SchemaErrors  # heavy, as in contracts.schema.frame

    frame = compute(mart.name)(**tables, **settings(mart.name, context)).collect(engine="streaming")
    try:
        pandera_schema(mart.table).validate(frame, lazy=True)
    except SchemaErrors as error:
        first = error.failure_cases.row(0, named=True)
        raise DataError(
            f"the mart {mart.name} breaks its contract in {len(error.failure_cases):,} places, first the rule "
            f"{first['check']!r} of {first['column']!r} by {str(first['failure_case'])[:200]!r}; nothing was published"
        ) from None
    return frame


def _by_of_rows(mart: Mart) -> pl.Expr | None:
    """Return what a mart is computed apart by, as its own rows have it."""
    return None if mart.by is None else pl.col(mart.by.meta.output_name())


def _check_buckets(mart: Mart, frame: pl.DataFrame, bucket: int, buckets: int) -> None:
    """Refuse what shows that a mart can't be computed apart as its contract says: its keys might come out twice."""
    by = _by_of_rows(mart)
    assert by is not None
    astray = frame.filter(bucket_of(by, buckets) != bucket)
    if not astray.is_empty():
        raise DataError(
            f"the mart {mart.name} can't be computed apart by {mart.by}: a row with {astray.select(by).item(0, 0)!r} "
            "comes from rows with another value; nothing was published"
        )
