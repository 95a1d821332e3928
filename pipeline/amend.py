"""Changes to part of what is published, at the moment that it shows: refused documents retried, broken rows mended."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic

import bson
import polars as pl
from bson import Timestamp

from contracts.schema.entity import ID, Entity
from contracts.schema.kinds import OBJECT_ID
from pipeline import books, quarantine
from pipeline.books import as_number
from pipeline.connections import Connections
from pipeline.errors import BooksOpenError, UsageError
from pipeline.publishing import (
    REPLICA,
    abandon,
    finish_what_was_cut_short,
    prepare,
    publish,
    refuse_other_columns,
    refuse_stuck,
)
from pipeline.replicate import in_chunks
from pipeline.stores import Staging
from pipeline.verify import BROKEN, Comparison
from transforms.careful import careful
from transforms.expected import stored_ids
from transforms.identity import decoded_id


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
class _Amendment:
    """What is to be done to one collection.

    Attributes:
        kind: ``replay`` or ``repair``.
        entity: The collection's contract.
        moment: The moment that is published.
        targets: Names of the stores.
        documents: How many documents there are.
        raws: The documents as they must be; a retry may bring more than memory holds.
        ids: The ``_id``s that are spoken for, as the stores have them: those without a document are deleted.
    """

    kind: str
    entity: Entity
    moment: Timestamp
    targets: tuple[str, ...]
    documents: int
    raws: Iterable[bytes]
    ids: pl.Series


def replay(connections: Connections, collections: Iterable[str] = ()) -> list[Replayed]:
    """Retry refused documents, as they were at the published moment, under the contracts of today.

    Args:
        connections: The open connections.
        collections: Names of the collections; all if none is named.

    Raises:
        UsageError: A contract declares other columns, or of other types, than are published.
    """
    stuck, found = finish_what_was_cut_short(connections), []
    for entity in connections.chosen(collections):
        number = quarantine.size(connections.postgres, entity.collection)
        if number:
            refuse_stuck(stuck, [entity.collection])
            moment, targets = _published(connections, entity)
            series = stored_ids(_refused(connections, entity), entity)
            retried = _refused(connections, entity)
            _amend(connections, _Amendment("replay", entity, moment, targets, number, retried, series))
            found.append(_replayed(connections, entity, number))
    return found


def repair(connections: Connections, found: Iterable[Comparison]) -> list[Comparison]:
    """Read again the documents that a verification found broken, at its moment, and put their rows right.

    Args:
        connections: The open connections.
        found: What the verification found.

    Returns:
        The comparisons that were repaired; verify again to prove it.

    Raises:
        UsageError: So much is broken that a full copy is the better repair.
    """
    broken = [one for one in found if one.broken]
    for one in broken:
        entity = connections.entities[one.collection]
        if len(one.broken) >= BROKEN:
            raise UsageError(f"{BROKEN:,} or more documents of {one.collection} are broken; run etl replicate instead")
        moment, _ = _published(connections, entity, one.target)
        values = [bson.ObjectId(value) for value in one.broken] if entity.id_kind is OBJECT_ID else one.broken
        refused = books.quarantined(connections.postgres, entity.collection)
        raws = list(connections.mongo.documents(entity.collection, values, one.cluster_time))
        lawful = [raw for raw in raws if sha256(raw).digest() not in refused]
        ids = pl.Series(ID, one.broken, entity.id_kind.frame)
        _amend(connections, _Amendment("repair", entity, moment, (one.target,), len(lawful), lawful, ids))
    return broken


def _amend(connections: Connections, what: _Amendment) -> None:
    """Stage some documents, prove the books over them, and apply them to what is published."""
    postgres, entity = connections.postgres, what.entity
    with postgres.transaction():
        run_id = books.open_run(postgres, what.kind, what.moment, what.targets, single_process=True)
    staging = Staging(run_id, REPLICA, entity.tables, as_number(what.moment), whole=False)
    try:
        with postgres.transaction():
            _stage(connections, what, staging)
        prepare(connections, staging, what.targets)
        with postgres.transaction():
            books.lock_publishing(postgres)
            for target in connections.targets(what.targets):
                books.enter_loaded(
                    postgres, run_id, entity.collection, target.name, target.staged(staging, entity.root)
                )
            for account in books.accounts(postgres, run_id):
                if not account.closed:
                    raise BooksOpenError(f"the books of {entity.collection} in {account.target} are open: {account}")
            # A replay speaks for all that was refused; a repair does not touch what it did not read.
            books.settle_quarantine(postgres, run_id, [entity.collection] if what.kind == "replay" else [])
            publish(connections, staging, [entity.collection], what.targets)
    except BaseException as error:
        abandon(connections, run_id, what.targets, str(error) or type(error).__name__)
        raise
    refuse_stuck(finish_what_was_cut_short(connections), [entity.collection])


def _stage(connections: Connections, what: _Amendment, staging: Staging) -> None:
    postgres, entity, started = connections.postgres, what.entity, monotonic()
    quarantined, size = 0, 0
    books.plan(postgres, staging.run_id, [{"collection": entity.collection, "number": 0}], what.targets)
    with ExitStack() as stack:
        loaders = []
        for target in connections.targets(what.targets):
            target.stage(staging)
            target.enlist(staging, entity.root, what.ids)
            loaders.append(stack.enter_context(target.loading(staging, 0, entity.tables)))
        for raws in in_chunks(what.raws, connections.memory):
            one = careful(raws, entity, gated=False)
            for load in loaders:
                for table in entity.tables:
                    load(table, one.frames[table.name])
            books.refuse(postgres, staging.run_id, entity.collection, 0, one.refused)
            quarantined, size = quarantined + len(one.refused), size + one.size
    seconds = monotonic() - started
    books.record(
        postgres, staging.run_id, 0, source=what.documents, quarantined=quarantined, size=size, seconds=seconds
    )


def _published(connections: Connections, entity: Entity, only: str | None = None) -> tuple[Timestamp, tuple[str, ...]]:
    """Return the moment that a collection shows and where, if it is one, and if the tables are still the contract's."""
    shown = [one for one in books.publications(connections.postgres) if one.name == entity.collection]
    shown = [one for one in shown if only in (None, one.target)]
    if len({one.cluster_time for one in shown}) != 1:
        raise UsageError(f"{entity.collection} does not show one moment in both stores; run etl replicate")
    names = tuple(one.target for one in shown)
    refuse_other_columns(connections, entity, names)
    return shown[0].cluster_time, names


def _replayed(connections: Connections, entity: Entity, number: int) -> Replayed:
    refused, same = 0, 0
    for raws in in_chunks(_refused(connections, entity), connections.memory):
        found = {raw: value for raw in raws for value in decoded_id(raw)}
        refused += len(raws)
        # One whose _id can't be decoded can't be asked for either.
        same += len(raws) - len(found)
        same += len(found.keys() & set(connections.mongo.documents(entity.collection, list(found.values()))))
    return Replayed(entity.collection, number, number - refused, refused, refused - same)


def _refused(connections: Connections, entity: Entity) -> Iterator[bytes]:
    """Yield the documents of a collection that are in quarantine, a few at a time."""
    return (one.raw for one in quarantine.export(connections.postgres, [entity.collection]))
