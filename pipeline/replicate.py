"""The full copy: all collections at one cluster time, staged, proven and published together."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from bson import Timestamp, json_util
from bson.codec_options import DatetimeConversion

from contracts.schema.entity import Entity
from pipeline import books, publishing
from pipeline.books import Account, as_number
from pipeline.connections import TARGETS, Connections
from pipeline.errors import BooksOpenError, SnapshotError, UsageError
from pipeline.prefetch import prefetched
from pipeline.publishing import REPLICA, abandon, finish_what_was_cut_short, tables_of
from pipeline.stores import LoadFrame, Staging
from pipeline.stores.mongo import Range
from transforms.careful import careful
from transforms.digest import Digest, digest

PARTITION_BYTES = 256 * 2**20  # some ten seconds of work; far above the second that a worker takes to start
CHUNK_ROWS, CHUNK_BYTES = 5_000, 16 * 2**20  # of the careful lane; a single document may have 16 MB
Progress = Callable[["Partition", int, int], None]
_EXACT = json_util.CANONICAL_JSON_OPTIONS.with_options(datetime_conversion=DatetimeConversion.DATETIME_MS)


@dataclass(frozen=True)
class Run:
    """One copy, from the moment it reads to its publish.

    Attributes:
        id: Its name in the books.
        cluster_time: The moment that everything is read at.
        uuids: Identity of each collection at the start; None where there is no such collection.
        targets: Names of the stores that it loads.
    """

    id: str
    cluster_time: Timestamp
    uuids: dict[str, str | None]
    targets: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, to hand to another process."""
        moment = [self.cluster_time.time, self.cluster_time.inc]
        return {"id": self.id, "cluster_time": moment, "uuids": self.uuids, "targets": list(self.targets)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Run":
        """Return the run that :meth:`as_json` described."""
        return cls(values["id"], Timestamp(*values["cluster_time"]), values["uuids"], tuple(values["targets"]))


@dataclass(frozen=True)
class Partition:
    """A piece of a run that any process can load, once or more often.

    Attributes:
        collection: What to read.
        number: Its number in the run.
        within: Which ``_id``s.
        label: What people call it, such as ``SupportTickets 3/8``.
    """

    collection: str
    number: int
    within: Range
    label: str

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, to hand to another process."""
        bounds = [json_util.dumps(bound, json_options=_EXACT) for bound in (self.within.lower, self.within.upper)]
        return {"collection": self.collection, "number": self.number, "bounds": bounds, "label": self.label}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Partition":
        """Return the partition that :meth:`as_json` described."""
        lower, upper = (json_util.loads(bound, json_options=_EXACT) for bound in values["bounds"])
        return cls(values["collection"], values["number"], Range(lower, upper), values["label"])


def replicate(
    connections: Connections,
    collections: Iterable[str] = (),
    targets: Iterable[str] = TARGETS,
    progress: Progress = lambda partition, source, loaded: None,
) -> tuple[Run, list[Account]]:
    """Copy collections into the targets, all at one moment, and publish them together.

    Args:
        connections: The open connections.
        collections: Names of the collections; all if none is named.
        targets: Names of the targets.
        progress: Is told the documents of each partition, and how many of them are through.

    Returns:
        The run and its closed books.

    Raises:
        BooksOpenError: A document is neither loaded nor quarantined; nothing was published.
        SnapshotError: The moment can't be read any more; nothing was published.
    """
    finish_what_was_cut_short(connections)
    run = open_run(connections, collections, targets)
    try:
        for partition in plan(connections, run):
            load(connections, run, partition, progress)
        return run, publish(connections, run)
    except BaseException as error:
        abandon(connections, run.id, run.targets, str(error) or type(error).__name__)
        raise


def open_run(
    connections: Connections, collections: Iterable[str], targets: Iterable[str], *, single_process: bool = True
) -> Run:
    """Choose the moment, remember which collections there are, and create the staging areas."""
    entities = connections.chosen(collections)
    wanted = connections.targets(targets)
    # In this order: what is dropped after the list was made is noticed in the end, even if before the moment.
    found = connections.mongo.uuids()
    cluster_time = connections.mongo.cluster_time()
    if not any(entity.collection in found for entity in entities):
        raise UsageError(
            f"the MongoDB database {connections.mongo.database.name!r} has none of the collections "
            f"{', '.join(entity.collection for entity in entities)}; set ETL_MONGO_DATABASE, or run etl generate"
        )
    uuids = {entity.collection: found.get(entity.collection) for entity in entities}
    books.prepare(connections.postgres)
    names = tuple(target.name for target in wanted)
    with connections.postgres.transaction():
        run_id = books.open_run(connections.postgres, "replicate", cluster_time, names, single_process=single_process)
    run = Run(run_id, cluster_time, uuids, names)
    with connections.postgres.transaction():
        books.lock_publishing(connections.postgres)  # of two runs at once only one may create the schema
        for target in wanted:
            target.stage(staging_of(connections, run))
    return run


def plan(connections: Connections, run: Run) -> list[Partition]:
    """Cut the collections of a run into partitions and open their accounts."""
    partitions: list[Partition] = []
    for collection, uuid in run.uuids.items():
        ranges = connections.mongo.ranges(collection, PARTITION_BYTES) if uuid else [Range()]
        for place, within in enumerate(ranges, start=1):
            label = f"{collection} {place}/{len(ranges)}"
            partitions.append(Partition(collection, len(partitions), within, label))
    with connections.postgres.transaction():
        accounts = [(partition.collection, partition.number) for partition in partitions]
        books.plan(connections.postgres, run.id, accounts, run.targets)
    return partitions


def load(
    connections: Connections,
    run: Run,
    partition: Partition,
    progress: Progress = lambda partition, source, loaded: None,
) -> None:
    """Load one partition into the staging of all targets; one that is loaded already is left alone."""
    if books.is_loaded(connections.postgres, run.id, partition.number):
        return
    started = time.monotonic()
    entity = connections.entities[partition.collection]
    source = connections.mongo.count(partition.collection, run.cluster_time, partition.within)
    progress(partition, source, 0)
    with connections.postgres.transaction(), ExitStack() as stack:
        staging = staging_of(connections, run)
        targets = connections.targets(run.targets)
        loaders = [stack.enter_context(target.loading(staging, partition.number, entity.tables)) for target in targets]
        documents = quarantined = size = 0
        for one in _loaded(_digests(connections, run, partition, entity), entity, loaders):
            books.refuse(connections.postgres, run.id, partition.collection, partition.number, one.refused)
            quarantined += len(one.refused)
            documents += len(one.refused) + len(one.frames[entity.root.name])
            size += one.size
            progress(partition, source, documents)
        seconds = time.monotonic() - started
        books.record(
            connections.postgres,
            run.id,
            partition.number,
            source=source,
            quarantined=quarantined,
            size=size,
            seconds=seconds,
        )


def publish(connections: Connections, run: Run) -> list[Account]:
    """Prove the books of a run, then publish its tables; doing it again does nothing.

    Returns:
        The closed books.

    Raises:
        BooksOpenError: A document is neither loaded nor quarantined, or a partition was not loaded.
        SnapshotError: A collection was dropped or renamed during the run, so that part of it read as empty.
    """
    postgres = connections.postgres
    with postgres.transaction():
        books.lock_publishing(postgres)
        if not books.is_published(postgres, run.id):
            _refuse_changed_collections(connections, run)
            _prove(connections, run)
            books.settle_quarantine(postgres, run.id, run.uuids)
            publishing.publish(connections, staging_of(connections, run), run.uuids, run.targets)
    finish_what_was_cut_short(connections)
    return books.accounts(postgres, run.id)


def staging_of(connections: Connections, run: Run) -> Staging:
    """Return where a run gathers its tables."""
    return Staging(run.id, REPLICA, tables_of(connections, run.uuids), as_number(run.cluster_time))


def _digests(connections: Connections, run: Run, partition: Partition, entity: Entity) -> Iterator[Digest]:
    """Yield all documents of a partition, digested: first what the gate refuses, then the rest."""
    mongo, gated = connections.mongo, False
    for raws in _in_chunks(mongo.refused(entity, run.cluster_time, partition.within)):
        gated = True
        yield careful(raws, entity)
    batches = mongo.batches(entity, run.cluster_time, partition.within, gated=gated)
    for batch in prefetched(batches):
        yield digest(batch, entity)


def _in_chunks(raws: Iterable[bytes]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    size = 0
    for raw in raws:
        chunk.append(raw)
        size += len(raw)
        if len(chunk) == CHUNK_ROWS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _loaded(digests: Iterable[Digest], entity: Entity, loaders: Sequence[LoadFrame]) -> Iterator[Digest]:
    """Yield each digest when it is loaded into all targets; the next ones are made meanwhile."""
    with ThreadPoolExecutor(len(loaders), thread_name_prefix="load") as pool:
        for one in prefetched(digests):
            for loading in [pool.submit(_load_frames, loader, one, entity) for loader in loaders]:
                loading.result()
            yield one


def _load_frames(loader: LoadFrame, one: Digest, entity: Entity) -> None:
    for table in entity.tables:
        loader(table, one.frames[table.name])


def _prove(connections: Connections, run: Run) -> None:
    """Count what each target holds in staging and compare with what MongoDB counted."""
    postgres, staging = connections.postgres, staging_of(connections, run)
    if missing := books.unloaded(postgres, run.id):
        raise BooksOpenError(f"{len(missing)} partitions of run {run.id} were not loaded, the first is {missing[0]}")
    for collection in run.uuids:
        root = connections.entities[collection].root
        for target in connections.targets(run.targets):
            books.enter_loaded(postgres, run.id, collection, target.name, target.staged(staging, root))
    counted = {name: connections.mongo.count(name, run.cluster_time, Range()) for name in run.uuids}
    for account in books.accounts(postgres, run.id):
        if not account.closed or account.source != counted[account.collection]:
            raise BooksOpenError(
                f"the books of {account.collection} in {account.target} are open: MongoDB has "
                f"{counted[account.collection]:,} documents ({account.source:,} by partition), {account.loaded:,} were "
                f"loaded and {account.quarantined:,} quarantined; nothing was published"
            )


def _refuse_changed_collections(connections: Connections, run: Run) -> None:
    now = connections.mongo.uuids()
    for collection, uuid in run.uuids.items():
        if now.get(collection) != uuid:
            raise SnapshotError(
                f"the collection {collection} was dropped, renamed or made again during the run, so it can't be read "
                "as it was; nothing was published; run etl replicate again"
            )
