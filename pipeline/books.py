"""The books, kept in PostgreSQL's schema ``etl``: runs, what each loaded, what is published, what was refused."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
import pyarrow as pa
from bson import Timestamp

from pipeline.stores.postgres import JSONB_VERSION, Postgres
from transforms.digest import Refused
from transforms.identity import identity

_LOCK = 7_305_101_001  # an arbitrary number that stands for the books among PostgreSQL's advisory locks
_LOCK_OF_RUN = "hashtextextended($1::text, 0)"
_QUARANTINE = (
    "collection text NOT NULL, id_hash bytea NOT NULL, _id text NOT NULL, bson bytea NOT NULL, reasons jsonb NOT NULL"
)
_TABLES = (
    "CREATE SCHEMA IF NOT EXISTS etl",
    "CREATE TABLE IF NOT EXISTS etl.runs ("
    "run_id text PRIMARY KEY, kind text NOT NULL, status text NOT NULL, cluster_time bigint NOT NULL, "
    "cluster_time_at timestamptz NOT NULL, targets text[] NOT NULL, single_process boolean NOT NULL, "
    "started_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz, message text)",
    "CREATE TABLE IF NOT EXISTS etl.ledger ("
    "run_id text NOT NULL REFERENCES etl.runs, collection text NOT NULL, partition bigint NOT NULL, "
    "target text NOT NULL, source bigint, loaded bigint, quarantined bigint, bytes bigint, seconds double precision, "
    "PRIMARY KEY (run_id, collection, partition, target))",
    "CREATE TABLE IF NOT EXISTS etl.published ("
    "collection text NOT NULL, target text NOT NULL, run_id text NOT NULL REFERENCES etl.runs, "
    "cluster_time bigint NOT NULL, cluster_time_at timestamptz NOT NULL, published_at timestamptz, "
    "PRIMARY KEY (collection, target))",
    f"CREATE TABLE IF NOT EXISTS etl.quarantine ({_QUARANTINE}, run_id text NOT NULL REFERENCES etl.runs, "
    "first_seen_at timestamptz NOT NULL, resolved_at timestamptz, PRIMARY KEY (collection, id_hash))",
    f"CREATE TABLE IF NOT EXISTS etl.refused (run_id text NOT NULL, partition bigint NOT NULL, {_QUARANTINE})",
    "COMMENT ON SCHEMA etl IS 'The books of the pipeline.'",
    "COMMENT ON TABLE etl.runs IS 'One row per run; cluster_time is the moment it read, as seconds * 2^32 + ordinal.'",
    "COMMENT ON TABLE etl.ledger IS 'Per run, collection, partition and target: "
    "source (counted by MongoDB) = loaded (counted in the store) + quarantined.'",
    "COMMENT ON TABLE etl.published IS 'Which run, and so which moment, each collection or mart shows in each target; "
    "published_at is null until ClickHouse has followed PostgreSQL.'",
    "COMMENT ON TABLE etl.refused IS 'What running runs have refused so far.'",
    "COMMENT ON TABLE etl.quarantine IS 'Documents that were refused, whole, with every reason; "
    "resolved_at is null as long as they are refused.'",
)


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
    """

    collection: str
    target: str
    source: int
    loaded: int
    quarantined: int
    bytes: int

    @property
    def closed(self) -> bool:
        """Whether every document is accounted for."""
        return self.source == self.loaded + self.quarantined


@dataclass(frozen=True)
class Publication:
    """What a collection or mart shows in a target.

    Attributes:
        name: The collection or mart.
        target: Name of the target.
        run_id: The run it is from.
        cluster_time: The moment it shows.
        finished: False while ClickHouse still has to follow what PostgreSQL committed.
    """

    name: str
    target: str
    run_id: str
    cluster_time: Timestamp
    finished: bool


def prepare(postgres: Postgres) -> None:
    """Create the books if they do not exist."""
    with postgres.transaction():
        # Two commands may come here at once, and CREATE ... IF NOT EXISTS is no protection against that.
        postgres.rows(f"SELECT pg_advisory_xact_lock({_LOCK})::text")
        postgres.execute(*_TABLES)


def open_run(
    postgres: Postgres, kind: str, cluster_time: Timestamp, targets: Sequence[str], *, single_process: bool
) -> str:
    """Open a run and return its id, which sorts by time.

    Args:
        postgres: Where the books are.
        kind: ``replicate`` or ``marts``.
        cluster_time: The moment that it reads.
        targets: Where it loads.
        single_process: Whether the process that opens it does all of it; if that process dies, so does the run.
    """
    run_id = f"{datetime.now(UTC):%Y%m%dt%H%M%S}_{secrets.token_hex(3)}"
    postgres.execute(
        "INSERT INTO etl.runs (run_id, kind, status, cluster_time, cluster_time_at, targets, single_process) VALUES "
        "($1::text, $2::text, 'running', $3::bigint, to_timestamp($4::bigint), "
        "string_to_array($5::text, ','), $6::bool)",
        parameters=(run_id, kind, as_number(cluster_time), cluster_time.time, ",".join(targets), single_process),
    )
    if single_process:  # held by the session: it falls when the process does
        postgres.rows(f"SELECT pg_advisory_lock({_LOCK_OF_RUN})::text", run_id)
    return run_id


def plan(postgres: Postgres, run_id: str, partitions: Iterable[tuple[str, int]], targets: Sequence[str]) -> None:
    """Open an account for each partition (collection and number) and target of a run."""
    for collection, number in partitions:
        for target in targets:
            postgres.execute(
                "INSERT INTO etl.ledger (run_id, collection, partition, target) "
                "VALUES ($1::text, $2::text, $3::bigint, $4::text)",
                parameters=(run_id, collection, number, target),
            )


def is_loaded(postgres: Postgres, run_id: str, partition: int) -> bool:
    """Tell whether a partition was loaded into all targets; raise nothing if the run is unknown."""
    query = "SELECT count(*) FROM etl.ledger WHERE run_id = $1::text AND partition = $2::bigint AND source IS NOT NULL"
    return bool(postgres.rows(query, run_id, partition)[0][0])


def refuse(postgres: Postgres, run_id: str, collection: str, partition: int, refused: Sequence[Refused]) -> None:
    """Keep refused documents, whole and with their reasons, until the run is published."""
    if not refused:
        return
    ids = [identity(one.raw) for one in refused]
    reasons = [JSONB_VERSION + orjson.dumps([reason.as_json() for reason in one.reasons]).decode() for one in refused]
    rows = {
        "run_id": [run_id] * len(refused),
        "partition": [partition] * len(refused),
        "collection": [collection] * len(refused),
        "id_hash": pa.array([hashed for hashed, _ in ids], pa.binary()),
        "_id": [text for _, text in ids],
        "bson": pa.array([one.raw for one in refused], pa.binary()),
        "reasons": reasons,
    }
    postgres.append("etl", "refused", pa.table(rows))


def record(
    postgres: Postgres, run_id: str, partition: int, *, source: int, quarantined: int, size: int, seconds: float
) -> None:
    """Enter what became of a partition; with the commit, it is loaded."""
    postgres.execute(
        "UPDATE etl.ledger SET source = $3::bigint, quarantined = $4::bigint, bytes = $5::bigint, seconds = $6::float8 "
        "WHERE run_id = $1::text AND partition = $2::bigint",
        parameters=(run_id, partition, source, quarantined, size, seconds),
    )


def enter_loaded(postgres: Postgres, run_id: str, collection: str, target: str, loaded: Mapping[int, int]) -> None:
    """Enter how many rows of a collection's root table a target counted in its staging, by partition."""
    for partition, rows in loaded.items():
        postgres.execute(
            "UPDATE etl.ledger SET loaded = $5::bigint WHERE run_id = $1::text AND collection = $2::text "
            "AND target = $3::text AND partition = $4::bigint",
            parameters=(run_id, collection, target, partition, rows),
        )


def accounts(postgres: Postgres, run_id: str) -> list[Account]:
    """Return the books of a run, one account per collection and target."""
    query = (
        "SELECT collection, target, coalesce(sum(source), 0)::bigint, coalesce(sum(loaded), 0)::bigint, "
        "coalesce(sum(quarantined), 0)::bigint, coalesce(sum(bytes), 0)::bigint FROM etl.ledger "
        "WHERE run_id = $1::text GROUP BY 1, 2 ORDER BY 1, 2 DESC"
    )
    return [Account(*row) for row in postgres.rows(query, run_id)]


def unloaded(postgres: Postgres, run_id: str) -> list[int]:
    """Return the partitions of a run that nobody has loaded."""
    query = "SELECT DISTINCT partition FROM etl.ledger WHERE run_id = $1::text AND source IS NULL ORDER BY 1"
    return [int(number) for (number,) in postgres.rows(query, run_id)]


def is_published(postgres: Postgres, run_id: str) -> bool:
    """Tell whether a run is published already."""
    return bool(postgres.rows("SELECT status = 'published' FROM etl.runs WHERE run_id = $1::text", run_id)[0][0])


def lock_publishing(postgres: Postgres) -> None:
    """Let one publish at a time pass, until the transaction ends."""
    postgres.rows(f"SELECT pg_advisory_xact_lock({_LOCK})::text")


def enter_publication(postgres: Postgres, run_id: str, names: Iterable[str], targets: Iterable[str]) -> None:
    """Enter what a run publishes; in targets other than PostgreSQL it is an intent until :func:`finish`."""
    for name in names:
        for target in targets:
            postgres.execute(
                "INSERT INTO etl.published SELECT $2::text, $3::text, run_id, cluster_time, cluster_time_at, "
                "CASE WHEN $3::text = 'postgres' THEN now() END FROM etl.runs WHERE run_id = $1::text "
                "ON CONFLICT (collection, target) DO UPDATE SET run_id = excluded.run_id, "
                "cluster_time = excluded.cluster_time, cluster_time_at = excluded.cluster_time_at, "
                "published_at = excluded.published_at",
                parameters=(run_id, name, target),
            )
    postgres.execute(
        "UPDATE etl.runs SET status = 'published', finished_at = now() WHERE run_id = $1::text", parameters=(run_id,)
    )


def settle_quarantine(postgres: Postgres, run_id: str, collections: Iterable[str]) -> None:
    """Take a run's refusals over into the quarantine, and resolve what it no longer refused."""
    postgres.execute(
        "INSERT INTO etl.quarantine (collection, id_hash, _id, bson, reasons, run_id, first_seen_at) "
        "SELECT collection, id_hash, _id, bson, reasons, run_id, now() FROM etl.refused WHERE run_id = $1::text "
        "ON CONFLICT (collection, id_hash) DO UPDATE SET bson = excluded.bson, reasons = excluded.reasons, "
        "run_id = excluded.run_id, resolved_at = NULL",
        parameters=(run_id,),
    )
    for collection in collections:
        postgres.execute(
            "UPDATE etl.quarantine SET resolved_at = now() "
            "WHERE collection = $2::text AND run_id <> $1::text AND resolved_at IS NULL",
            parameters=(run_id, collection),
        )
    postgres.execute("DELETE FROM etl.refused WHERE run_id = $1::text", parameters=(run_id,))


def quarantined(postgres: Postgres, collection: str) -> set[bytes]:
    """Return the SHA-256 of each document of a collection that is in quarantine."""
    query = "SELECT sha256(bson) FROM etl.quarantine WHERE collection = $1::text AND resolved_at IS NULL"
    return {digest for (digest,) in postgres.rows(query, collection)}


def finish(postgres: Postgres, run_id: str, target: str) -> None:
    """Enter that a target has followed a publish."""
    postgres.execute(
        "UPDATE etl.published SET published_at = now() WHERE run_id = $1::text AND target = $2::text",
        parameters=(run_id, target),
    )


def fail(postgres: Postgres, run_id: str, message: str) -> None:
    """Enter that a run failed, and why."""
    postgres.execute("DELETE FROM etl.refused WHERE run_id = $1::text", parameters=(run_id,))
    postgres.execute(
        "UPDATE etl.runs SET status = 'failed', finished_at = now(), message = $2::text "
        "WHERE run_id = $1::text AND status = 'running'",
        parameters=(run_id, message[:2000]),
    )


def publications(postgres: Postgres) -> list[Publication]:
    """Return what every collection and mart shows, in each target."""
    query = (
        "SELECT collection, target, run_id, cluster_time, published_at IS NOT NULL "
        "FROM etl.published ORDER BY 1, 2 DESC"
    )
    return [
        Publication(name, target, run, as_timestamp(at), done) for name, target, run, at, done in postgres.rows(query)
    ]


def statuses(postgres: Postgres) -> dict[str, str]:
    """Return every run with its status: running, published or failed."""
    return dict(postgres.rows("SELECT run_id, status FROM etl.runs ORDER BY started_at"))


def is_alive(postgres: Postgres, run_id: str) -> bool:
    """Tell whether a run may still go on.

    A run of one process lives as long as that process holds the run's lock. A run whose partitions are loaded by
    many processes is given a day: no history window lasts longer.
    """
    query = (
        "SELECT single_process, started_at > now() - interval '1 day' FROM etl.runs "
        "WHERE run_id = $1::text AND status = 'running'"
    )
    found = postgres.rows(query, run_id)
    if not found:
        return False
    single_process, recent = found[0]
    if not single_process:
        return bool(recent)
    if postgres.rows(f"SELECT pg_try_advisory_lock({_LOCK_OF_RUN})", run_id)[0][0]:
        postgres.rows(f"SELECT pg_advisory_unlock({_LOCK_OF_RUN})", run_id)
        return False
    return True


def as_number(cluster_time: Timestamp) -> int:
    """Return a cluster time as one number: a later one is greater."""
    return cluster_time.time << 32 | cluster_time.inc


def as_timestamp(number: int) -> Timestamp:
    """Return the cluster time that :func:`as_number` made a number of."""
    return Timestamp(number >> 32, number & 0xFFFFFFFF)
