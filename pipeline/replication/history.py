"""Former versions of documents: proven, counted, and removed for good when they are old or somebody is to be forgotten.

They are kept by every publish, within the stores; nothing of that is done here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from contracts.schema.entity import Entity
from contracts.schema.history import HISTORY, valid_at
from pipeline import control
from pipeline.connections import TARGETS, Connections
from pipeline.control import Observation
from pipeline.errors import EtlError, UsageError
from pipeline.runs.changes import forget_bases
from pipeline.runs.published import REPLICA
from pipeline.runs.recovery import check_not_stuck, recover
from pipeline.stores.versions import checks, former, shown


@dataclass(frozen=True)
class Kept:
    """What is kept of a collection in a target.

    Attributes:
        collection: Name of the collection.
        target: Name of the target.
        observed_since: From when on former versions are kept: what was shown then is the first version.
        observed_until: Since when none are kept any more; None if they are.
        versions: How many former versions of documents there are.
        earliest: Since when the earliest of them was shown.
    """

    collection: str
    target: str
    observed_since: datetime
    observed_until: datetime | None
    versions: int
    earliest: datetime | None


@dataclass(frozen=True)
class HistoryProof:
    """What was found of the history of a collection in a target.

    Attributes:
        collection: Name of the collection.
        target: Name of the target.
        versions: How many former versions of documents there are.
        faults: What must not be, a sentence each.
    """

    collection: str
    target: str
    versions: int
    faults: list[str] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Whether nothing was found that must not be."""
        return not self.faults

    @property
    def told(self) -> str:
        """What must not be, in one sentence, and what to do."""
        return (
            f"the history of {self.collection} in {self.target} is not proven: {'; '.join(self.faults)}; a view that "
            f"is gone is made anew by etl replicate {self.collection}, former versions by nothing: restore the schema "
            f"history from a backup, or begin again by etl drop {self.collection} and etl replicate {self.collection}"
        )


@dataclass(frozen=True)
class Removed:
    """Former versions that were removed for good.

    Attributes:
        collection: Name of the collection.
        target: Name of the target.
        versions: How many former versions of documents.
        still_published: How many of the documents are published still: their current versions stay, and become former
            ones when they are deleted.
    """

    collection: str
    target: str
    versions: int
    still_published: int = 0


def kept(connections: Connections) -> list[Kept]:
    """Return of which collections former versions are kept, in which target, and how many there are."""
    control.ensure_schema(connections.postgres)
    with connections.postgres.transaction():
        last = {(one.collection, one.target): one for one in control.observations(connections.postgres)}
        return [_kept(connections, one) for one in last.values() if one.collection in connections.entities]


def prove_history(
    connections: Connections, collections: Iterable[str] = (), targets: Iterable[str] = TARGETS
) -> list[HistoryProof]:
    """Prove that the versions of each document follow each other, without overlap, gap or a missing row.

    The newest version of each is what the replica shows, which a verification proves by MongoDB.

    Args:
        connections: The open connections.
        collections: Names of the collections; all that have a history if none is named.
        targets: Names of the targets.
    """
    names = {entity.collection for entity in connections.chosen(collections)}
    wanted = set(connections.named(targets))
    found = list[HistoryProof]()
    for collection, target in _observed(connections):
        if collection in names and target in wanted:
            try:
                with connections.postgres.transaction():
                    control.lock_publishing(connections.postgres)  # while a publish goes on versions end and begin
                    found.append(_proven(connections, connections.entities[collection], target))
            except EtlError as error:  # a table or a view is gone
                found.append(HistoryProof(collection, target, 0, [str(error)]))
    return found


def prune_history(connections: Connections, before: datetime, collections: Iterable[str] = ()) -> list[Removed]:
    """Remove the versions that ended by a moment, from both stores and for good.

    Args:
        connections: The open connections.
        before: The moment.
        collections: Names of the collections; all that have a history if none is named.
    """
    names = {entity.collection for entity in connections.chosen(collections)}
    return [one for name in sorted(names) for one in _remove(connections, name, before, ())]


def forget(connections: Connections, collection: str, ids: Sequence[str]) -> list[Removed]:
    """Remove all former versions of some documents, from both stores and for good.

    Args:
        connections: The open connections.
        collection: Name of the collection, or of its table.
        ids: Their ``_id``s, as the stores have them.

    Raises:
        UsageError: No former versions are kept of the collection.
    """
    (entity,) = connections.chosen([collection])
    if entity.collection not in {name for name, _ in _observed(connections)}:
        raise UsageError(f"no former versions are kept of {entity.collection}; history=True in its contract keeps them")
    return _remove(connections, entity.collection, None, ids)


def _observed(connections: Connections) -> list[tuple[str, str]]:
    """Return the collections, and in which targets, of which versions are or were kept."""
    control.ensure_schema(connections.postgres)
    with connections.postgres.transaction():
        found = control.observations(connections.postgres)
    return list(dict.fromkeys((one.collection, one.target) for one in found if one.collection in connections.entities))


def _kept(connections: Connections, one: Observation) -> Kept:
    (target,) = connections.targets([one.target])
    versions, earliest = target.rows(former(connections.entities[one.collection].table, target.quoted))[0]
    until = None if one.until is None else valid_at(one.until)
    first = earliest if versions else None
    return Kept(one.collection, one.target, valid_at(one.since), until, int(versions), first)


def _proven(connections: Connections, entity: Entity, name: str) -> HistoryProof:
    (target,) = connections.targets([name])
    times = [one for one in control.observations(connections.postgres) if one.collection == entity.collection]
    beginnings = [one.since for one in times if one.target == name]
    faults = []
    for check in checks(entity, REPLICA, beginnings, target.quoted):
        number, sample = target.rows(check.query)[0]
        if number:
            faults.append(f"{number:,} {check.what} (such as _id {sample})")
    is_kept = any(one.until is None for one in times if one.target == name)
    current, published = (int(target.rows(query)[0][0]) for query in shown(entity, REPLICA, target.quoted))
    if is_kept and current != published:
        faults.append(f"the view of all versions shows {current:,} current documents, and there are {published:,}")
    return HistoryProof(entity.collection, name, int(target.rows(former(entity.table, target.quoted))[0][0]), faults)


def _remove(connections: Connections, name: str, before: datetime | None, ids: Sequence[str]) -> list[Removed]:
    """Remove versions of one collection, in PostgreSQL in one transaction; doing it again ends what was cut short."""
    postgres, targets = connections.postgres, [target for one, target in _observed(connections) if one == name]
    check_not_stuck(recover(connections, targets), [name])  # or ClickHouse would have old rows to follow still
    root, found = connections.entities[name].table, []
    with postgres.transaction():
        control.lock_publishing(postgres)
        forget_bases(connections)  # no publish tells marts of it
        known = control.recorded_tables(postgres, HISTORY)
        tables = sorted({root, *(table for table, of in known.items() if of == root)})
        for target in connections.targets(targets):
            versions = target.remove_versions(root, tables, before, ids)
            found.append(Removed(name, target.name, versions, target.count_ids(REPLICA, root, ids)))
    return found
