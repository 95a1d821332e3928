"""The ledger: per run, collection, partition and target, what there was and what became of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.control.locks import lock
from pipeline.stores.postgres.session import Session


@dataclass(frozen=True)
class Account:
    """One collection's books in one target.

    Attributes:
        collection: Name of the collection.
        target: Name of the target.
        source: Documents at the cluster time, counted by MongoDB.
        loaded: Rows in the target's staging, counted by the target.
        quarantined: Documents refused.
        bytes: BSON read.
        uncounted: Partitions whose documents nobody has loaded, or counted in the target: the numbers lack them.
    """

    collection: str
    target: str
    source: int
    loaded: int
    quarantined: int
    bytes: int
    uncounted: int = 0

    @property
    def closed(self) -> bool:
        """Whether every document is accounted for."""
        return not self.uncounted and self.source == self.loaded + self.quarantined


def record_plan(
    postgres: Session, run_id: str, partitions: Sequence[Mapping[str, Any]], targets: Sequence[str]
) -> None:
    """Keep a run's plan, and open an account for each of its partitions and targets.

    Args:
        postgres: Where the books are.
        run_id: The run.
        partitions: Plain JSON values, among them ``collection`` and ``number``.
        targets: Names of the targets.
    """
    postgres.execute(
        "UPDATE etl.runs SET plan = $2::text::jsonb WHERE run_id = $1::text",
        parameters=(run_id, orjson.dumps(partitions).decode()),
    )
    collections, numbers = [one["collection"] for one in partitions], [one["number"] for one in partitions]
    postgres.execute(
        "INSERT INTO etl.ledger (run_id, collection, partition, target) SELECT $1::text, collection, partition, target "
        "FROM unnest($2::text[], $3::bigint[]) p (collection, partition), unnest($4::text[]) target",
        parameters=(run_id, collections, numbers, [*targets]),
    )


def plan_of(postgres: Session, run_id: str) -> list[dict[str, Any]] | None:
    """Return the plan of a run, as :func:`record_plan` kept it; None if it has none yet."""
    found = postgres.rows("SELECT plan::text FROM etl.runs WHERE run_id = $1::text", run_id)
    return orjson.loads(found[0][0]) if found and found[0][0] else None


def forget_basis(postgres: Session, run_id: str) -> None:
    """Remove from the plan of a run of marts what they were computed from, so that none is computed in part by it."""
    postgres.execute(
        "UPDATE etl.runs SET plan = (SELECT jsonb_agg(one - 'basis') FROM jsonb_array_elements(plan) one) "
        "WHERE run_id = $1::text AND plan IS NOT NULL",
        parameters=(run_id,),
    )


def lock_partition(postgres: Session, run_id: str, partition: int) -> None:
    """Let one process at a time load a partition, until the transaction ends."""
    lock(postgres, f"{run_id}/{partition}", f"loading partition {partition} of run {run_id}")


def is_loaded(postgres: Session, run_id: str, partition: int) -> bool:
    """Return whether a partition was loaded into all targets; raise nothing if the run is unknown."""
    query = "SELECT count(*) FROM etl.ledger WHERE run_id = $1::text AND partition = $2::bigint AND source IS NOT NULL"
    return bool(postgres.rows(query, run_id, partition)[0][0])


def record_empty(postgres: Session, run_id: str, partitions: Iterable[int]) -> None:
    """Enter that of some partitions nothing is to be loaded, so that all targets have it."""
    postgres.execute(
        "UPDATE etl.ledger SET source = 0, loaded = 0, quarantined = 0, bytes = 0, seconds = 0, "
        "loaded_at = clock_timestamp() WHERE run_id = $1::text AND partition = ANY ($2::bigint[])",
        parameters=(run_id, [*partitions]),
    )


def record_partition(
    postgres: Session, run_id: str, partition: int, *, source: int, quarantined: int, size: int, seconds: float
) -> None:
    """Enter what became of a partition; with the commit, it is loaded."""
    postgres.execute(
        "UPDATE etl.ledger SET source = $3::bigint, quarantined = $4::bigint, bytes = $5::bigint, "
        "seconds = $6::float8, loaded_at = clock_timestamp() WHERE run_id = $1::text AND partition = $2::bigint",
        parameters=(run_id, partition, source, quarantined, size, seconds),
    )


def record_loaded(postgres: Session, run_id: str, target: str, loaded: Mapping[str, Mapping[int, int]]) -> None:
    """Enter how many rows of the root tables of collections a target counted in its staging, by partition.

    In one statement: there may be many collections, and a store may name all partitions of the run for each.
    """
    query = "SELECT DISTINCT collection, partition FROM etl.ledger WHERE run_id = $1::text AND target = $2::text"
    planned = [(name, int(number)) for name, number in postgres.rows(query, run_id, target)]
    found = [(name, number, loaded[name][number]) for name, number in planned if number in loaded.get(name, ())]
    if found:
        names, numbers, rows = map(list, zip(*found, strict=True))
        postgres.execute(
            "UPDATE etl.ledger l SET loaded = c.rows "
            "FROM unnest($3::text[], $4::bigint[], $5::bigint[]) c (collection, partition, rows) "
            "WHERE l.run_id = $1::text AND l.target = $2::text "
            "AND l.collection = c.collection AND l.partition = c.partition",
            parameters=(run_id, target, names, numbers, rows),
        )


def accounts(postgres: Session, run_id: str) -> list[Account]:
    """Return the books of a run, one account per collection and target."""
    query = (
        "SELECT collection, target, coalesce(sum(source), 0)::bigint, coalesce(sum(loaded), 0)::bigint, "
        "coalesce(sum(quarantined), 0)::bigint, coalesce(sum(bytes), 0)::bigint, "
        # Where a target was never asked, all are lacking; where it was, one that it does not know has lost its rows.
        "CASE count(loaded) WHEN 0 THEN count(*) ELSE count(*) FILTER (WHERE source IS NULL) END FROM etl.ledger "
        "WHERE run_id = $1::text GROUP BY 1, 2 ORDER BY 1, 2 DESC"
    )
    return [Account(*row) for row in postgres.rows(query, run_id)]


def seconds(postgres: Session, run_id: str) -> dict[str, float]:
    """Return how long each collection or mart of a run took, its partitions together."""
    query = (
        "SELECT collection, sum(seconds)::float8 FROM (SELECT DISTINCT collection, partition, seconds FROM etl.ledger "
        "WHERE run_id = $1::text) one_per_partition GROUP BY 1"
    )
    return {collection: took or 0.0 for collection, took in postgres.rows(query, run_id)}


def unloaded(postgres: Session, run_id: str) -> list[int]:
    """Return the partitions of a run that nobody has loaded."""
    query = "SELECT DISTINCT partition FROM etl.ledger WHERE run_id = $1::text AND source IS NULL ORDER BY 1"
    return [int(number) for (number,) in postgres.rows(query, run_id)]


def bytes_per_second(postgres: Session) -> float | None:
    """Return how fast the latest published copy read, in bytes of BSON; None if there was none of any size.

    A copy of few bytes tells nothing: most of its time went into beginning and ending.
    """
    query = (
        "SELECT sum(bytes) / extract(epoch FROM max(finished_at) - min(started_at)) "
        "FROM (SELECT DISTINCT ON (run_id, partition) run_id, bytes FROM etl.ledger WHERE run_id IN "
        "(SELECT run_id FROM etl.runs WHERE kind = 'replicate' AND status = 'published')) l "
        "JOIN etl.runs USING (run_id) GROUP BY run_id "
        "HAVING sum(bytes) > 100000000 ORDER BY max(finished_at) DESC LIMIT 1"
    )
    found = postgres.rows(query)
    return float(found[0][0]) if found else None
