"""Refused documents, from the run that refuses them to the quarantine."""

from collections.abc import Iterable, Sequence

import orjson
import pyarrow as pa

from pipeline.books.runs import forget_notes
from pipeline.stores.postgres import JSONB_VERSION, Postgres
from transforms.digest import Refused
from transforms.identity import identity


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


def settle_quarantine(postgres: Postgres, run_id: str, collections: Iterable[str], *, whole: bool = True) -> None:
    """Take a run's refusals over into the quarantine, resolve what it no longer refused, and drop what it had noted.

    Args:
        postgres: Where the books are.
        run_id: The run.
        collections: Names of the collections that it speaks for.
        whole: Whether for all of their documents, or only for those that it has noted as changed.
    """
    spoken_for = "id_hash IN (SELECT id_hash FROM etl.touched WHERE run_id = $1::text AND collection = $2::text)"
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
            "WHERE collection = $2::text AND run_id <> $1::text AND resolved_at IS NULL "
            f"AND ({whole} OR {spoken_for})",
            parameters=(run_id, collection),
        )
    forget_notes(postgres, run_id)


def quarantined(postgres: Postgres, collection: str) -> set[bytes]:
    """Return the SHA-256 of each document of a collection that is in quarantine."""
    query = "SELECT sha256(bson) FROM etl.quarantine WHERE collection = $1::text AND resolved_at IS NULL"
    return {digest for (digest,) in postgres.rows(query, collection)}


def refused_hashes(postgres: Postgres, run_id: str, collection: str) -> set[bytes]:
    """Return the hash of the ``_id`` of each document that a run which is not published yet has refused."""
    query = "SELECT id_hash FROM etl.refused WHERE run_id = $1::text AND collection = $2::text"
    return {hashed for (hashed,) in postgres.rows(query, run_id, collection)}
