"""Contracts are held against the documents before anything is published: what would be refused, why, and which ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bson import Timestamp

from contracts.schema.entity import Entity
from contracts.schema.registry import by_name
from pipeline.connections import is_ours
from pipeline.errors import UsageError
from pipeline.inference.trial import Reason, Trial, tries
from pipeline.runtime.progress import Progress, tell_nobody
from pipeline.stores.mongo.store import Mongo
from transforms.gc_pause import gc_paused
from transforms.ingest.drift import Drift


@dataclass(frozen=True)
class Checked:
    """What would become of a collection.

    Attributes:
        collection: Its name.
        documents: How many there are.
        slow: How many go beyond the contract, and so take the slow path.
        refused: How many would be refused.
        reasons: Why; a document that breaks several rules counts for each.
        drift: In what the others go beyond the contract.
    """

    collection: str
    documents: int
    slow: int
    refused: int
    reasons: tuple[Reason, ...]
    drift: tuple[Drift, ...]


@dataclass(frozen=True)
class Check:
    """What ``check`` found.

    Attributes:
        cluster_time: The moment at which all was read.
        collections: By collection what would become of it.
        missing: Collections that have a contract and are not in the database.
        undeclared: Collections that have none.
    """

    cluster_time: Timestamp
    collections: tuple[Checked, ...]
    missing: tuple[str, ...]
    undeclared: tuple[str, ...]

    @property
    def refused(self) -> int:
        """How many documents would be refused in all."""
        return sum(one.refused for one in self.collections)


def check(
    mongo: Mongo,
    entities: Mapping[str, Entity],
    collections: Iterable[str] = (),
    *,
    progress: Progress[str] = tell_nobody,
) -> Check:
    """Send all documents of collections through the gate and through what a copy does with them; nothing is written.

    Args:
        mongo: The source.
        entities: The contracts, by collection.
        collections: Names of collections or of their tables; all that have a contract if none is named.
        progress: Is told how many documents of a collection there are, and how many of them are through.

    Raises:
        UsageError: A named collection has no contract, is not there.
        SnapshotError: The moment can't be read any more.
    """
    chosen, missing, undeclared = choose_declared(mongo, entities, collections)
    cluster_time = mongo.cluster_time()
    found = tuple(_checked(mongo, one, cluster_time, progress) for one in chosen)
    return Check(cluster_time, found, missing, undeclared)


def choose_declared(
    mongo: Mongo, entities: Mapping[str, Entity], collections: Iterable[str]
) -> tuple[list[Entity], tuple[str, ...], tuple[str, ...]]:
    """Return the contracts of collections that are there, those that are not, and collections without a contract.

    Args:
        mongo: The source.
        entities: The contracts, by collection.
        collections: Names of collections or of their tables; all that have a contract if none is named.

    Raises:
        UsageError: A named collection has no contract or is not there; or none is there, or has a contract.
    """
    known = by_name(entities.values())
    listed, named = mongo.listed(), list(dict.fromkeys(collections))
    if not known and not named:
        raise UsageError("no contract is declared; set ETL_CONTRACTS to a folder that has some")
    if unknown := [name for name in named if name not in known]:
        there = f"; there are {', '.join(sorted(entities))}" if entities else ""
        raise UsageError(f"there is no contract of {unknown[0]!r}{there}")
    chosen = list(dict.fromkeys(known[name] for name in named or sorted(entities)))
    present = [one for one in chosen if one.collection in listed]
    missing = tuple(one.collection for one in chosen if one not in present)
    if missing and (named or not present):
        where = f"in the MongoDB database {mongo.database_of(missing[0])!r}"
        raise UsageError(f"{missing[0]} is not {where}, so there is nothing to hold its contract against")
    return present, missing, tuple(name for name in sorted(listed) if name not in entities and not is_ours(name))


@gc_paused()
def _checked(mongo: Mongo, entity: Entity, cluster_time: Timestamp, progress: Progress[str]) -> Checked:
    expected, trial = mongo.extent(entity.collection).documents, Trial()
    progress(entity.collection, expected, 0)
    for trial in tries(mongo, entity, cluster_time):
        progress(entity.collection, max(expected, trial.documents), trial.documents)
    return Checked(entity.collection, trial.documents, trial.slow, trial.refused, trial.reasons, tuple(trial.drift))
