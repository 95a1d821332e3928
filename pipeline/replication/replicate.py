"""The full copy: all collections at one cluster time, staged, proven and published together."""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from contracts.schema.entity import Entity
from pipeline import control
from pipeline.connections import TARGETS, Connections
from pipeline.control import Account
from pipeline.errors import DataError, EtlError, SnapshotError, UsageError
from pipeline.replication.deletions import find_deleted
from pipeline.replication.duplicates import record_duplicates
from pipeline.replication.lanes import is_larger_than, reading
from pipeline.replication.omitted import count_omitted, forget_omitted
from pipeline.replication.presence import choose_copied, find_unpinned
from pipeline.replication.snapshot_window import outlives_history
from pipeline.replication.sources import check_same_source, read_sources
from pipeline.replication.undeclared import check_declared, take_in, way_out
from pipeline.runs import lifecycle
from pipeline.runs import publish as publishing
from pipeline.runs.lifecycle import holding_run_lock, running
from pipeline.runs.loading import loading
from pipeline.runs.published import check_held_alone, judged
from pipeline.runs.reconcile import check_books, count_source, parse_limit
from pipeline.runs.recovery import check_not_stuck, recover
from pipeline.runs.resume import retrying, with_retries
from pipeline.runs.run import Partition, Run, select_documents, staging_of
from pipeline.runtime.memory import release_memory
from pipeline.runtime.prefetch import prefetch
from pipeline.runtime.progress import Progress, tell_nobody
from pipeline.runtime.timings import PUBLISH, Stopwatch
from pipeline.runtime.workers import LEAST_BYTES, SHARES, Call
from pipeline.stores.base import LoadFrame
from pipeline.stores.selection import Ids, Range
from pipeline.stores.source import Source
from pipeline.text.redaction import redacted
from transforms.bson.documents import make_document
from transforms.bson.identity import identify
from transforms.ingest.batch import BatchResult
from transforms.ingest.drift import Drift, merge_drifts
from transforms.ingest.ids import to_stored_ids

PARTITION_BYTES = 512 * 2**20  # some ten seconds of work; far above the second that a worker takes to start
PARTITIONS = 1_000  # of a run, about, at most: Airflow maps over no more than 1,024; then they are larger
log = logging.getLogger(__name__)


def replicate(
    connections: Connections,
    collections: Iterable[str] = (),
    targets: Iterable[str] = TARGETS,
    progress: Progress[Partition] = tell_nobody,
    max_quarantined: str | None = None,
    *,
    new_source: bool = False,
    allow_shrink: bool = False,
    allow_missing: bool = False,
    undeclared: bool = False,
    without_snapshot: bool = False,
) -> tuple[Run, list[Account]]:
    """Copy collections into the targets, all at one moment, and publish them together.

    Args:
        connections: The open connections.
        collections: Names of the collections; all if none is named.
        targets: Names of the targets.
        progress: Is told the documents of each partition, and how many of them are through.
        max_quarantined: How many refused documents are tolerated: ``N``, or ``P%`` of all; None for any number.
        new_source: Whether to take over what was copied from another server or database.
        allow_shrink: Whether to take away more of what is published than the settings allow.
        allow_missing: Whether collections that are not there are copied as empty.
        undeclared: Whether collections without a contract are copied as well, each document whole, now and later on.
        without_snapshot: Whether capped collections are copied as well, which can't be read at one moment.

    Returns:
        The run and its closed books.

    Raises:
        UsageError: What is published was copied from another server or database, or a collection is not there that
            was named or of which documents are published, or one was named that can't be copied.
        BooksOpenError: A document is neither loaded nor quarantined; nothing was published.
        SnapshotError: The moment can't be read any more; nothing was published.
    """
    if max_quarantined is not None:
        parse_limit(max_quarantined, 0)  # a limit that can't be read is told before the work, not after
    targets = connections.named(targets)
    recover(connections, targets)
    run = open_run(
        connections,
        collections,
        targets,
        new_source=new_source,
        allow_shrink=allow_shrink,
        allow_missing=allow_missing,
        undeclared=undeclared,
        without_snapshot=without_snapshot,
    )
    with running(connections, run.id, run.targets):
        load_all(connections, run, plan(connections, run), progress)
        return run, publish(connections, run, max_quarantined)


def open_run(
    connections: Connections,
    collections: Iterable[str],
    targets: Iterable[str],
    *,
    single_process: bool = True,
    new_source: bool = False,
    allow_shrink: bool = False,
    allow_missing: bool = False,
    undeclared: bool = False,
    without_snapshot: bool = False,
) -> Run:
    """Choose the moment, remember which collections there are, and create the staging areas.

    Args:
        connections: The open connections.
        collections: Names of the collections; all if none is named.
        targets: Names of the targets.
        single_process: Whether this process does all of the run; if it dies, so does the run.
        new_source: Whether to take over what was copied from another server or database.
        allow_shrink: Whether to take away more of what is published than the settings allow.
        allow_missing: Whether collections that are not there are copied as empty.
        undeclared: Whether collections without a contract are copied as well, each document whole, now and later on.
        without_snapshot: Whether capped collections are copied as well, which can't be read at one moment.

    Raises:
        UsageError: There is no such collection, or it can't be copied, or it was copied from elsewhere.
    """
    named = tuple(collections)
    if undeclared:
        control.ensure_schema(connections.postgres)
        with connections.postgres.transaction():
            take_in(connections, named, without_snapshot=without_snapshot)
    else:
        check_declared(connections, named)
    entities, names = connections.chosen(named), connections.named(targets)
    every = [entity.collection for entity in entities]
    unpinned = find_unpinned(connections, every, named=bool(named), accepted=every if without_snapshot else ())
    left_out = [name for name, error in unpinned.items() if error]
    # In this order: what is dropped after the list was made is noticed in the end, even if before the moment.
    found = read_sources(connections, (name for name in every if name not in left_out))
    cluster_time = with_retries(connections, None, "to ask for the moment", connections.mongo.cluster_time)
    if not any(one.uuid for one in found.values()) and not (named and allow_missing):
        declared = ", ".join(entity.collection for entity in entities)
        nothing = f"has none of the collections {declared}" if declared else "has no collection that is declared"
        database = connections.mongo.database.name
        raise UsageError(f"the MongoDB database {database!r} {nothing}; {way_out(connections.undeclared())}")
    control.ensure_schema(connections.postgres)
    with connections.postgres.transaction():
        if not new_source:
            check_same_source(connections, found, names)
        check_held_alone(connections, found, names)
        copied = choose_copied(connections, found, names, named=bool(named), allow_missing=allow_missing)
        run_id = control.open_run(connections.postgres, "replicate", cluster_time, names, single_process=single_process)
    uuids = {name: found[name].uuid for name in copied}
    run = Run(
        run_id,
        cluster_time,
        uuids,
        names,
        new_source=new_source,
        allow_shrink=allow_shrink,
        unpinned=tuple(name for name in copied if name in unpinned),
    )
    lifecycle.open_staging(connections, staging_of(connections, run), names)
    return run


@retrying
def plan(connections: Connections, run: Run) -> list[Partition]:
    """Cut the collections of a run into partitions and open their accounts; a plan that was made already is kept."""
    # A plan is made once: its bounds come from a sample, so a second one would be another.
    if (kept := control.plan_of(connections.postgres, run.id)) is not None:
        return [Partition.from_json(values) for values in kept]
    mongo = connections.mongo
    extents = {collection: mongo.extent(collection) for collection, uuid in run.uuids.items() if uuid}
    size = sum(extent.size for extent in extents.values())
    if warning := outlives_history(connections, size):
        log.warning(redacted(warning))
    partition_bytes = max(_partition_bytes(size, connections.workers.number), size // PARTITIONS)
    partitions: list[Partition] = []
    for collection in run.uuids:
        extent = extents.get(collection)
        is_cut = extent and collection not in run.unpinned
        ranges = mongo.ranges(collection, extent, partition_bytes) if extent and is_cut else [Range()]
        for place, selection in enumerate(ranges, start=1):
            label, part = f"{collection} {place}/{len(ranges)}", extent.size // len(ranges) if extent else 0
            partitions.append(Partition(collection, len(partitions), selection, label, part))
    with connections.postgres.transaction():
        control.record_plan(connections.postgres, run.id, [one.as_json() for one in partitions], run.targets)
    return partitions


def _partition_bytes(size: int, workers: int) -> int:
    """Return how large a partition is to be: of several processes each is to have some, so that all end together."""
    return PARTITION_BYTES if workers == 1 else min(PARTITION_BYTES, max(LEAST_BYTES, size // (workers * SHARES)))


def load_all(
    connections: Connections, run: Run, partitions: Sequence[Partition], progress: Progress[Partition]
) -> None:
    """Load partitions into the staging of all targets, by several processes where there is enough to load."""
    calls = [Call(load_in_worker, (run.as_json(), one.as_json()), f"load {one.label}", one.size) for one in partitions]
    if connections.workers.wanted(calls) == 1:
        for partition in partitions:
            load(connections, run, partition, progress)
        return
    for _ in connections.workers.share(calls, lambda place, total, done: progress(partitions[place], total, done)):
        pass


def load_in_worker(
    connections: Connections, progress: Callable[[int, int], None], run: dict[str, Any], partition: dict[str, Any]
) -> None:
    """Load one partition, as :func:`load` does, from plain JSON values."""
    told = Partition.from_json(partition)
    load(connections, Run.from_json(run), told, lambda _, total, done: progress(total, done))


@retrying
@holding_run_lock
def load(
    connections: Connections,
    run: Run,
    partition: Partition,
    progress: Progress[Partition] = tell_nobody,
) -> None:
    """Load one partition into the staging of all targets; one that is loaded already is left alone."""
    if control.is_loaded(connections.postgres, run.id, partition.number):
        return
    _check_collections(run, read_sources(connections, [partition.collection]))
    postgres, watch = connections.postgres, Stopwatch(partition.collection)
    entity = judged(connections, partition.collection, run.targets)
    selection = select_documents(connections, run, partition)
    with reading(connections, run, entity, selection, watch) as (source, found), postgres.transaction():
        progress(partition, source, 0)
        control.lock_partition(postgres, run.id, partition.number)
        if control.is_loaded(postgres, run.id, partition.number):
            return  # by somebody who was at it when we came
        staging, targets = staging_of(connections, run), connections.targets(run.targets)
        with loading(targets, staging, partition.number, entity.tables) as loaders:
            if isinstance(selection, Ids):
                ids = to_stored_ids(map(make_document, selection.all), entity)
                for target in targets:
                    target.set_scope(staging, entity.root, ids)
            with closing(prefetch(found, is_larger_than(connections.memory.batch))) as results:
                loaded = _loaded(results, entity, loaders, watch)
                tally = _account(connections, run, partition, loaded, lambda done: progress(partition, source, done))
            # Before the loaders are closed: where a lost connection has ended the run, its area may be gone there.
            control.record_partition(
                postgres,
                run.id,
                partition.number,
                source=source,
                quarantined=tally.quarantined,
                size=tally.size,
                seconds=watch.elapsed,
            )
            with watch.at("mongo"):
                tally.drift += count_omitted(connections, run, entity, selection)
            control.record_drift(postgres, run.id, partition.collection, partition.number, tally.drift)
            control.record_timings(postgres, run.id, watch.seconds)
    if tally.size > connections.memory.batch:
        release_memory()  # what is free but in pieces adds up from one partition to the next


@retrying
@holding_run_lock
def publish(connections: Connections, run: Run, max_quarantined: str | None = None) -> list[Account]:
    """Prove the books of a run, then publish its tables; doing it again does nothing.

    Args:
        connections: The open connections.
        run: A run whose partitions are loaded.
        max_quarantined: How many refused documents are tolerated: ``N``, or ``P%`` of all; None for any number.

    Returns:
        The closed books.

    Raises:
        BooksOpenError: A document is neither loaded nor quarantined, or a partition was not loaded.
        QuarantineLimitError: More documents were refused than tolerated.
        ShrinkError: More of what is published would be gone than the settings allow.
        SnapshotError: A collection was dropped or renamed during the run, so that part of it read as empty.
    """
    postgres, staging, watch = connections.postgres, staging_of(connections, run), Stopwatch(PUBLISH)
    if not control.is_published(postgres, run.id):
        # MongoDB counts while PostgreSQL builds keys; of a large collection both take their time.
        with ThreadPoolExecutor(1, thread_name_prefix="count") as pool:
            counting = pool.submit(count_source, connections, run)
            with watch.at("keys"), _explaining_repeated_ids(connections, run):
                publishing.prepare_publish(connections, staging, run.targets)
            with watch.at("prove"):
                gone = find_deleted(connections, run)
    with _explaining_repeated_ids(connections, run), postgres.transaction():
        control.lock_publishing(postgres)
        if not control.is_published(postgres, run.id):
            with watch.at("prove"):
                now = read_sources(connections, run.uuids)
                _check_collections(run, now)
                if not run.new_source:  # somebody may have taken it over meanwhile
                    check_same_source(connections, now, run.targets)
                check_books(connections, run, counting.result(), max_quarantined)
            with watch.at("publish"):
                control.apply_refusals(postgres, run.id, run.uuids, is_full=run.is_full)
                forget_omitted(connections, run)
                for collection, hashes in gone.items():
                    control.forget_documents(postgres, collection, hashes)
                publishing.publish(connections, staging, run.uuids, run.targets, sources=now, unpinned=run.unpinned)
            control.record_timings(postgres, run.id, watch.seconds)
    check_not_stuck(recover(connections, run.targets), run.uuids)
    if run.is_full:
        record_duplicates(connections, run)
        _prune(connections)
    return control.accounts(postgres, run.id)


@contextmanager
def _explaining_repeated_ids(connections: Connections, run: Run) -> Iterator[None]:
    """Say what is wrong where it is that a view or a time series collection has an ``_id`` more than once."""
    try:
        yield
    except EtlError as error:
        listed = connections.mongo.listed()
        for name in run.uuids if run.is_full else ():
            special = listed[name].special if name in listed else None
            if special and (found := connections.mongo.repeated_ids(name, run.cluster_time)):
                number, one = found
                raise DataError(
                    f"{name} is {special} in which {number:,} _ids stand more than once, such as {identify(one)[1]}: "
                    "they are no keys for the stores; nothing was published; give each document an _id of its own, or "
                    "take the contract away to leave it out"
                ) from error
        raise


def _prune(connections: Connections) -> None:
    """Remove from the books what is old enough; that it can't be done is no fault of what was published."""
    try:
        with connections.postgres.transaction():
            control.prune(connections.postgres, connections.retention)
    except EtlError as error:
        log.warning("the books could not be pruned: %s", error)


@dataclass
class _Tally:
    """What has become of a partition's documents so far."""

    documents: int = 0
    quarantined: int = 0
    size: int = 0
    drift: list[Drift] = field(default_factory=list)

    def add(self, one: BatchResult) -> None:
        self.documents += one.documents
        self.quarantined += len(one.refused)
        self.size += one.size
        self.drift = merge_drifts([*self.drift, *one.drift])


def _loaded(
    results: Iterable[BatchResult], entity: Entity, loaders: Mapping[str, LoadFrame], watch: Stopwatch
) -> Generator[BatchResult, None, None]:
    """Yield each batch's result when it is loaded into all targets."""

    def load_frames(target: str, one: BatchResult) -> None:
        with watch.at(target):
            for table in entity.tables:
                loaders[target](table, one.frames[table.name])

    with ThreadPoolExecutor(len(loaders), thread_name_prefix="load") as pool:
        for one in results:
            for loading in [pool.submit(load_frames, target, one) for target in loaders]:
                loading.result()
            yield one


def _account(
    connections: Connections,
    run: Run,
    partition: Partition,
    loaded: Generator[BatchResult, None, None],
    progress: Callable[[int], None],
) -> _Tally:
    """Enter which documents were refused, and return what has become of all; memory is given back now and then."""
    tally, is_heavy, released = _Tally(), is_larger_than(connections.memory.batch), 0
    with closing(loaded):
        for one in loaded:
            control.record_refusals(connections.postgres, run.id, partition.collection, partition.number, one.refused)
            tally.add(one)
            progress(tally.documents)
            if is_heavy(one) or tally.size - released > connections.memory.total:
                del one
                release_memory()
                released = tally.size
    return tally


def _check_collections(run: Run, now: Mapping[str, Source]) -> None:
    for collection, source in now.items():
        if source.uuid != run.uuids[collection]:
            raise SnapshotError(
                f"the collection {collection} was dropped, renamed or made again during the run, so it can't be read "
                "as it was; nothing was published; run etl replicate again"
            )
