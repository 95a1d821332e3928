"""Drift: in what the documents of a run went beyond their contracts."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.stores.postgres import Postgres
from transforms.drift import Drift


@dataclass(frozen=True)
class CollectionDrift:
    """One way in which documents of a collection go beyond their contract.

    Attributes:
        collection: Name of the collection.
        path: JSON Pointer; ``*`` stands for any position in an array.
        kind: ``undeclared field``, ``new value`` or ``duplicate key``.
        value: The new value or the duplicate key; None for a field, and for values too many to list.
        count: How often it was seen.
        first_id: ``_id`` of the first document that has it.
    """

    collection: str
    path: str
    kind: str
    value: str | None
    count: int
    first_id: str


def enter_drift(postgres: Postgres, run_id: str, collection: str, partition: int, found: Iterable[Drift]) -> None:
    """Enter what a partition's documents have that their contract does not know."""
    for one in found:
        postgres.execute(
            "INSERT INTO etl.drift VALUES ($1::text, $2::text, $3::bigint, $4::text, $5::text, $6::text, $7::bigint, "
            "$8::text)",
            parameters=(run_id, collection, partition, one.path, one.kind, one.value, one.count, one.first_id),
        )


def forget_drift(postgres: Postgres, run_id: str, kind: str) -> None:
    """Take back what was entered for a run of one kind, so that it can be entered again."""
    postgres.execute("DELETE FROM etl.drift WHERE run_id = $1::text AND kind = $2::text", parameters=(run_id, kind))


def drift(postgres: Postgres, run_id: str) -> list[CollectionDrift]:
    """Return the drift that a run has seen, over all partitions."""
    query = (
        "SELECT collection, path, kind, value, sum(count)::bigint, "
        "(array_agg(first_id ORDER BY partition))[1] FROM etl.drift WHERE run_id = $1::text "
        "GROUP BY collection, path, kind, value ORDER BY collection, path, kind, value IS NULL, 5 DESC, value"
    )
    return [CollectionDrift(*row) for row in postgres.rows(query, run_id)]
