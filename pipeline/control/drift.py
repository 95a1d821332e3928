"""Drift: in what the documents of a run went beyond their contracts."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.stores.postgres.session import Session

if TYPE_CHECKING:
    from transforms.ingest.drift import Drift

_ROWS = pa.schema(
    [
        ("run_id", pa.string()),
        ("collection", pa.string()),
        ("partition", pa.int64()),
        ("path", pa.string()),
        ("kind", pa.string()),
        ("value", pa.string()),
        ("count", pa.int64()),
        ("first_id", pa.string()),
    ]
)


@dataclass(frozen=True)
class CollectionDrift:
    """One way in which documents of a collection go beyond their contract.

    Attributes:
        collection: Name of the collection.
        path: JSON Pointer; ``*`` stands for any position in an array, and as its end for all other undeclared fields.
        kind: ``undeclared field``, ``new value``, ``misfit``, ``omitted field``, ``only in this store`` (the other
            could not hold it) or ``duplicate key``.
        value: The new value or the duplicate key, shortened; None for a field, and for values too many to list.
        count: How often it was seen.
        first_id: ``_id`` of the first document that has it.
    """

    collection: str
    path: str
    kind: str
    value: str | None
    count: int
    first_id: str


def record_drift(postgres: Session, run_id: str, collection: str, partition: int, found: Iterable["Drift"]) -> None:
    """Enter what a partition's documents have that their contract does not know."""
    if not (rows := [asdict(one) for one in found]):
        return
    about = {"run_id": run_id, "collection": collection, "partition": partition}
    told = [about | {name: _without_nul(value) for name, value in row.items()} for row in rows]
    postgres.append("etl", "drift", pa.Table.from_pylist(told, _ROWS))


def _without_nul(value: Any) -> Any:
    """Return a value as PostgreSQL can hold it: of what was copied to ClickHouse alone a text may have a NUL."""
    return value.replace("\0", "\\0") if isinstance(value, str) else value


def forget_drift(postgres: Session, run_id: str, kind: str) -> None:
    """Take back what was entered for a run of one kind, so that it can be entered again."""
    postgres.execute("DELETE FROM etl.drift WHERE run_id = $1::text AND kind = $2::text", parameters=(run_id, kind))


def drift(postgres: Session, run_id: str) -> list[CollectionDrift]:
    """Return the drift that a run has seen, over all partitions."""
    from transforms.ingest.drift import Drift, merge_drifts

    query = (
        "SELECT collection, path, kind, value, sum(count)::bigint, "
        "(array_agg(first_id ORDER BY partition))[1] FROM etl.drift WHERE run_id = $1::text "
        "GROUP BY collection, path, kind, value ORDER BY 5 DESC, path, value"
    )
    found: dict[str, list[Drift]] = defaultdict(list)
    for collection, *row in postgres.rows(query, run_id):
        found[collection].append(Drift(*row))
    # Each partition names as many as there may be; of all together the most frequent are named.
    return [
        CollectionDrift(collection, *astuple(one))
        for collection in sorted(found)
        for one in sorted(merge_drifts(found[collection]), key=_order)
    ]


def _order(one: "Drift") -> tuple[str, str, bool, int, str]:
    return one.path, one.kind, one.value is None, -one.count, one.value or ""
