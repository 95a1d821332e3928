"""What is found of a collection in a target when the two are held against each other, piece by piece."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
from bson import Timestamp

from contracts.schema.entity import ID, Entity, Table
from pipeline.errors import EtlError
from pipeline.replication.chunks import Chunk
from pipeline.runs.published import REPLICA
from pipeline.runtime.timings import ACTIVITY
from pipeline.stores.base import Target
from pipeline.stores.conditions import within
from transforms.oracle.compare import SHOWN, Difference, Findings, as_stored, compare

BROKEN = 10_000  # where more documents are broken, a full copy is the better repair


@dataclass
class Comparison:
    """What was found of one collection in one target.

    Attributes:
        collection: Name of the collection.
        target: Name of the target.
        cluster_time: The moment that was compared.
        run_id: The run that the target shows.
        documents: Documents that the source has; of a sample about as many.
        source: Documents of the source that were compared.
        equal: Documents that the target holds value for value.
        missing: Documents that the target lacks.
        extra: Documents that the target has and the source has not.
        different: Documents that the target holds otherwise.
        quarantined: Documents of the source that are in quarantine, byte for byte.
        changed_since: Documents that were changed after the published moment, which can't be read any more.
        differences: The first differences.
        broken: ``_id`` of the documents that are not as they must be, as the stores have it; the first ones.
    """

    collection: str
    target: str
    cluster_time: Timestamp
    run_id: str
    documents: int = 0
    source: int = 0
    equal: int = 0
    missing: int = 0
    extra: int = 0
    different: int = 0
    quarantined: int = 0
    changed_since: int = 0
    differences: list[Difference] = field(default_factory=list)
    broken: list[Any] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Whether each document is equal or quarantined, and the target has nothing else."""
        return self.source == self.equal + self.quarantined and not (self.missing or self.extra or self.different)


def hold_against(target: Target, entity: Entity, chunk: Chunk, hidden: set[Any], result: Comparison) -> None:
    """Compare one chunk with what a target holds in its range."""
    findings = Findings()
    if chunk.is_last or chunk.after != chunk.upto:  # else no id lies in the range
        for table in entity.tables:
            with ACTIVITY.at(entity.collection, target.name, "compare"):
                rows = _read(target, table, chunk)
            found = without(as_stored(rows, table), hidden)
            compare(chunk.frames[table.name], found, table, findings)
    known = set(chunk.frames[entity.root.name][ID]) if findings.ids else set()
    unequal = findings.ids & known
    result.source += chunk.source
    result.quarantined += chunk.quarantined
    result.equal += len(chunk.frames[entity.root.name]) - len(unequal)
    result.missing += len(findings.missing) + len(chunk.unexpected)
    result.extra += len(findings.ids - known)
    result.different += len(unequal - findings.missing)
    result.broken += list(findings.ids)[: BROKEN - len(result.broken)]
    nowhere = [Difference(one, entity.table, "*", "a row or a quarantined document", None) for one in chunk.unexpected]
    result.differences = [*result.differences, *nowhere, *findings.first][:SHOWN]


def summed(found: Sequence[Sequence[Comparison]]) -> list[Comparison]:
    """Return what was found of a collection, as the sum of what was found of its ranges, in their order.

    Raises:
        EtlError: The ranges have more or fewer documents than the collection.
    """
    sums = [replace(one) for one in found[0]]
    for part in found[1:]:
        for one, further in zip(sums, part, strict=True):
            for name in ("source", "equal", "missing", "extra", "different", "quarantined"):
                setattr(one, name, getattr(one, name) + getattr(further, name))
            one.differences = [*one.differences, *further.differences][:SHOWN]
            one.broken = [*one.broken, *further.broken][:BROKEN]
    if not all(one.documents - one.changed_since <= one.source <= one.documents for one in sums):
        name, source = sums[0].collection, sums[0].source
        raise EtlError(
            f"{name} has {sums[0].documents:,} documents, but its ranges cover {source:,}, so nothing is proven; "
            f"run etl verify {name} --workers 1"
        )
    return sums


def _read(target: Target, table: Table, chunk: Chunk) -> pl.DataFrame:
    rows = target.read(REPLICA, table, within(table, chunk.after, chunk.upto))
    batches = [pl.DataFrame(pl.from_arrow(batch)) for batch in rows]
    return pl.concat(batches) if batches else table.frame_schema.to_frame()


def without(frame: pl.DataFrame, hidden: set[Any]) -> pl.DataFrame:
    """Return the rows of a table but those of some documents, by the ``_id``s that stores have."""
    return frame.filter(~pl.col(ID).is_in(list(hidden))) if hidden else frame
