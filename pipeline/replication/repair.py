"""Changes to part of what is published, at the moment that it shows: refused documents retried, broken rows mended."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic

import polars as pl
from bson import Timestamp

from contracts.schema.entity import ID, Entity
from pipeline import control
from pipeline.connections import Connections
from pipeline.control import Publication, as_number, quarantine
from pipeline.errors import BooksOpenError, UsageError
from pipeline.replication.comparison import BROKEN, Comparison
from pipeline.replication.sources import check_sources
from pipeline.runs.lifecycle import started
from pipeline.runs.loading import loading
from pipeline.runs.lost_tables import check_nothing_lost, find_lost_tables
from pipeline.runs.publish import create_staging, prepare_publish, publish
from pipeline.runs.published import REPLICA, check_columns, check_same_run, judged, published_in
from pipeline.runs.reconcile import check_scope
from pipeline.runs.recovery import check_not_stuck, recover
from pipeline.runs.shrinking import check_shrinking
from pipeline.stores.staging import Staging
from transforms.bson.documents import in_chunks
from transforms.bson.identity import decode_id
from transforms.ingest.drift import HELD_ALONE
from transforms.ingest.ids import to_source_ids, to_stored_ids
from transforms.ingest.omit import without_omitted
from transforms.ingest.slow_path import transform_slowly


@dataclass(frozen=True)
class Replayed:
    """What became of a collection's refused documents.

    Attributes:
        collection: Name of the collection.
        retried: How many there were.
        loaded: How many of them are in the stores now.
        refused: How many are refused still.
        changed: How many of the refused have been changed or deleted in MongoDB since; the next sync sees that.
    """

    collection: str
    retried: int
    loaded: int
    refused: int
    changed: int


@dataclass(frozen=True)
class _Repair:
    """What is to be done to one collection.

    Attributes:
        kind: ``replay`` or ``repair``.
        entity: The collection's contract.
        moment: The moment that the documents were read at.
        shows: The run that each store showed then.
        documents: How many documents there are; None if as many as come.
        raws: The documents as they must be, which may be more than memory holds.
        ids: The ``_id``s that are spoken for, as the stores have them: those without a document are deleted.
    """

    kind: str
    entity: Entity
    moment: Timestamp
    shows: dict[str, str]
    documents: int | None
    raws: Iterable[bytes]
    ids: pl.Series

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the stores."""
        return tuple(self.shows)


def replay(connections: Connections, collections: Iterable[str] = ()) -> list[Replayed]:
    """Retry refused documents, as they were at the published moment, under the contracts of today.

    Args:
        connections: The open connections.
        collections: Names of the collections; all if none is named.

    Raises:
        UsageError: A collection was copied from another server or database, or a contract declares other columns,
            or of other types, than are published.
        SnapshotError: A collection was published anew meanwhile; nothing of it was changed.
        DataError: A published table or its view is missing.
    """
    names = [entity.collection for entity in connections.chosen(collections)]
    stuck, found = recover(connections, published_in(connections, names)), []
    check_sources(connections, names)
    check_nothing_lost(find_lost_tables(connections, names, rows=False))
    for entity in (judged(connections, name) for name in names):
        # First of all: whatever changes the quarantine from here on publishes something, and that is noticed.
        published = _published(connections, entity)
        if number := quarantine.size(connections.postgres, entity.collection):
            check_not_stuck(stuck, [entity.collection])
            moment = _one_moment(connections, entity, published)
            shows = {one.target: one.run_id for one in published}
            series = to_stored_ids(_refused(connections, entity), entity)
            retried = _refused(connections, entity)
            run_id = _apply(connections, _Repair("replay", entity, moment, shows, number, retried, series))
            found.append(_replayed(connections, entity, run_id))
    return found


def repair(connections: Connections, found: Iterable[Comparison]) -> list[Comparison]:
    """Read again the documents that a verification found broken, at its moment, and put their rows right.

    Args:
        connections: The open connections.
        found: What the verification found.

    Returns:
        The comparisons that were repaired; verify again to prove it.

    Raises:
        UsageError: So much is broken that a full copy is the better repair, or it was copied from another server.
        ShrinkError: More of what is published would be gone than the settings allow.
        QuarantineLimitError: More of it would be refused than they allow.
        SnapshotError: A collection was published anew since it was verified; nothing of it was changed.
        DataError: A published table or its view is missing.
    """
    broken = [one for one in found if one.broken]
    check_sources(connections, {one.collection for one in broken}, {one.target for one in broken})
    check_nothing_lost(
        find_lost_tables(connections, {one.collection for one in broken}, {one.target for one in broken}, rows=False)
    )
    for one in broken:
        entity = judged(connections, one.collection)
        if len(one.broken) >= BROKEN:
            raise UsageError(f"{BROKEN:,} or more documents of {one.collection} are broken; run etl replicate instead")
        check_columns(connections, [entity], [one.target])
        ids, shows = pl.Series(ID, one.broken, entity.id_kind.frame), {one.target: one.run_id}
        lawful = _read_again(connections, entity, one)
        _apply(connections, _Repair("repair", entity, one.cluster_time, shows, None, lawful, ids))
    return broken


def _read_again(connections: Connections, entity: Entity, found: Comparison) -> Iterator[bytes]:
    """Yield the documents that were found broken, each once and without those that are in quarantine."""
    known = set(control.quarantined(connections.postgres, entity.collection))
    values, wanted = to_source_ids(found.broken, entity), set(found.broken)
    read = connections.mongo.documents(entity, values, found.cluster_time)
    for raws in in_chunks(read, connections.memory.slow_batch):
        for raw in _having(raws, wanted, entity):
            if (digest := sha256(raw).digest()) not in known:
                known.add(digest)
                yield raw


def _having(raws: list[bytes], wanted: set[str], entity: Entity) -> list[bytes]:
    """Return those of some documents that have one of some ``_id``s as the stores have them.

    By a collation of its own a collection may answer with another document than was asked for, and so twice.
    """
    stored = to_stored_ids(raws, entity)
    if len(stored) == len(raws) and wanted.issuperset(stored):
        return raws
    return [raw for raw in raws if not wanted.isdisjoint(to_stored_ids([raw], entity))]


def _apply(connections: Connections, what: _Repair) -> str:
    """Stage some documents, prove the books over them, apply them to what is published, and return the run's id."""
    postgres, entity = connections.postgres, what.entity
    with started(connections, what.kind, what.moment, what.targets) as run_id:
        staging = Staging(run_id, REPLICA, entity.tables, as_number(what.moment), is_full=False)
        with postgres.transaction():
            _stage(connections, what, staging)
        prepare_publish(connections, staging, what.targets)
        with postgres.transaction():
            control.lock_publishing(postgres)
            check_same_run(connections, entity.collection, what.shows)
            for target in connections.targets(what.targets):
                staged = target.staged(staging, [entity.root])[entity.root.name]
                control.record_loaded(postgres, run_id, target.name, {entity.collection: staged})
            for account in control.accounts(postgres, run_id):
                if not account.closed:
                    raise BooksOpenError(
                        f"the books of {entity.collection} in {account.target} are open: {account.source:,} documents "
                        f"were read, {account.loaded:,} were loaded and {account.quarantined:,} quarantined; "
                        "nothing was changed; run it again"
                    )
            check_scope(connections, staging, entity, what.targets, what.ids.n_unique())
            check_shrinking(connections, staging, way_on=f"run etl replicate {entity.collection} with")
            # A replay speaks for all that was refused; a repair does not touch what it did not read.
            control.apply_refusals(postgres, run_id, [entity.collection] if what.kind == "replay" else [])
            publish(connections, staging, [entity.collection], what.targets, amends=True)
    check_not_stuck(recover(connections, what.targets), [entity.collection])
    return run_id


def _stage(connections: Connections, what: _Repair, staging: Staging) -> None:
    postgres, entity, started = connections.postgres, what.entity, monotonic()
    documents, quarantined, size = 0, 0, 0
    control.record_plan(postgres, staging.run_id, [{"collection": entity.collection, "number": 0}], what.targets)
    create_staging(connections, staging, what.targets)
    targets = connections.targets(what.targets)
    for target in targets:
        target.set_scope(staging, entity.root, what.ids)
    with loading(targets, staging, 0, entity.tables) as loaders:
        for raws in in_chunks(what.raws, connections.memory.slow_batch):
            one = transform_slowly(raws, entity, gated=False)
            for load in loaders.values():
                for table in entity.tables:
                    load(table, one.frames[table.name])
            control.record_refusals(postgres, staging.run_id, entity.collection, 0, one.refused)
            alone = [drift for drift in one.drift if drift.kind == HELD_ALONE]
            control.record_drift(postgres, staging.run_id, entity.collection, 0, alone)
            documents, quarantined, size = documents + len(raws), quarantined + len(one.refused), size + one.size
    seconds = monotonic() - started
    source = documents if what.documents is None else what.documents
    control.record_partition(
        postgres, staging.run_id, 0, source=source, quarantined=quarantined, size=size, seconds=seconds
    )


def _published(connections: Connections, entity: Entity) -> list[Publication]:
    """Return what a collection shows."""
    return control.publications(connections.postgres, [entity.collection])


def _one_moment(connections: Connections, entity: Entity, published: Iterable[Publication]) -> Timestamp:
    """Return the moment that a collection shows, if it is one, and if the tables are still the contract's."""
    moments = {one.cluster_time for one in published}
    if len(moments) != 1:
        raise UsageError(f"{entity.collection} does not show one moment in both stores; run etl replicate")
    check_columns(connections, [entity], [one.target for one in published])
    return moments.pop()


def _replayed(connections: Connections, entity: Entity, run_id: str) -> Replayed:
    account, same = control.accounts(connections.postgres, run_id)[0], 0
    for raws in in_chunks(_refused(connections, entity, run_id), connections.memory.slow_batch):
        found = {raw: value for raw in raws for value in decode_id(raw)}
        # One whose _id can't be decoded can't be asked for either.
        same += len(raws) - len(found)
        same += len(found.keys() & set(connections.mongo.documents(entity, list(found.values()))))
    refused = account.quarantined
    return Replayed(entity.collection, account.source, account.loaded, refused, refused - same)


def _refused(connections: Connections, entity: Entity, run_id: str | None = None) -> Iterator[bytes]:
    """Yield the documents of a collection that are in quarantine, a few at a time; those of one run or all."""
    found = quarantine.export(connections.postgres, [entity.collection])
    # What it omits by now may have been kept when it was refused.
    return (without_omitted(one.raw, entity) for one in found if run_id in (None, one.run_id))
