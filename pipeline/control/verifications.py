"""The last verification of each collection in each target: what was compared, and what came of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bson import Timestamp

from pipeline.control.cluster_time import as_number
from pipeline.stores.postgres.session import Session

_COUNTS = ("documents", "source", "equal", "missing", "extra", "different", "quarantined", "changed_since")


class Compared(Protocol):
    """What a verification tells of a collection in a target: ``pipeline.replication.comparison.Comparison``."""

    @property
    def collection(self) -> str: ...  # noqa: D102
    @property
    def target(self) -> str: ...  # noqa: D102
    @property
    def run_id(self) -> str: ...  # noqa: D102
    @property
    def cluster_time(self) -> Timestamp: ...  # noqa: D102
    @property
    def proven(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Verification:
    """The last verification of a collection in a target.

    Attributes:
        collection: Name of the collection.
        target: Name of the target.
        verified_at: When it was done.
        shows_at: The moment that was compared.
        run_id: The run that the target showed.
        sample: What part of it was compared; empty if it was all.
        is_proven: Whether each document is equal or in quarantine, and the target has nothing else.
        documents: Documents of the collection.
        source: Those that were compared.
        equal: Documents with equal values.
        missing: Documents that the target lacks.
        extra: Documents that only the target has.
        different: Documents with other values.
        quarantined: Documents in quarantine.
        changed_since: Documents that were changed after the moment, and could not be compared.
    """

    collection: str
    target: str
    verified_at: datetime
    shows_at: datetime
    run_id: str
    sample: str
    is_proven: bool
    documents: int
    source: int
    equal: int
    missing: int
    extra: int
    different: int
    quarantined: int
    changed_since: int


def record_verification(postgres: Session, compared: Compared, sample: str = "") -> None:
    """Enter what came of a verification, instead of what came of the one before it of the same kind.

    Args:
        postgres: Where the books are.
        compared: What was found of a collection in a target.
        sample: What part of the collection was compared; empty if it was all.
    """
    counts = ", ".join(f"${place}::bigint" for place in range(8, 8 + len(_COUNTS)))
    postgres.execute(
        "INSERT INTO etl.verifications (collection, target, run_id, cluster_time, cluster_time_at, verified_at, "
        f"sample, is_proven, {', '.join(_COUNTS)}) "
        "VALUES ($1::text, $2::text, $3::text, $4::bigint, to_timestamp($5::bigint), "
        f"now(), $6::text, $7::bool, {counts}) ON CONFLICT (collection, target, (sample = '')) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name in _CHANGED),
        parameters=(
            compared.collection,
            compared.target,
            compared.run_id,
            as_number(compared.cluster_time),
            compared.cluster_time.time,
            sample,
            compared.proven,
            *(getattr(compared, name) for name in _COUNTS),
        ),
    )


def verifications(postgres: Session) -> list[Verification]:
    """Return the last verification of all documents, and the last one of a sample, of each collection and target."""
    query = (
        "SELECT collection, target, verified_at, cluster_time_at, run_id, sample, is_proven, "
        f"{', '.join(_COUNTS)} FROM etl.verifications ORDER BY collection, target DESC, sample"
    )
    known = postgres.rows("SELECT to_regclass('etl.verifications') IS NOT NULL")[0][0]  # not of older books
    return [Verification(*row) for row in postgres.rows(query)] if known else []


_CHANGED = ("run_id", "cluster_time", "cluster_time_at", "verified_at", "sample", "is_proven", *_COUNTS)
