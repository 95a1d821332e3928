"""Refused documents, from the run that refuses them to the quarantine."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa

from pipeline.control.runs import forget_notes
from pipeline.stores.postgres.session import JSONB_VERSION, Session
from transforms.bson.identity import cut_id, hash_id, identify
from transforms.violations import FURTHER

if TYPE_CHECKING:  # heavy, and who reads the books alone needs none of it
    from transforms.ingest.batch import Refused

_NOTED = "id_hash IN (SELECT id_hash FROM etl.touched WHERE run_id = $1::text AND collection = $2::text)"
_NEW = (
    "run_id = $1::text AND NOT EXISTS (SELECT FROM etl.quarantine q "
    "WHERE q.collection = r.collection AND q.id_hash = r.id_hash AND q.resolved_at IS NULL)"
)
_ASKED = 10_000  # documents of which MongoDB is asked at once whether they are there
_LOOKED_AT = 100  # documents that are read from the quarantine at once; each may have 16 MB
_ASKED_BYTES = 2 * 2**20  # of their _ids; MongoDB takes 16 MB in a query
_ID_BYTES = 128  # of a document, which hold most ids; of a longer one all of the document is read
_PREFIX = 4  # bytes of a document before the element of its _id


def record_refusals(
    postgres: Session, run_id: str, collection: str, partition: int, refused: "Sequence[Refused]"
) -> None:
    """Keep refused documents, whole and with their reasons, until the run is published."""
    if not refused:
        return
    ids = [identify(one.raw) for one in refused]
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


def apply_refusals(postgres: Session, run_id: str, collections: Iterable[str], *, is_full: bool = True) -> None:
    """Take a run's refusals over into the quarantine, resolve what it no longer refused, and drop what it had noted.

    Args:
        postgres: Where the books are.
        run_id: The run.
        collections: Names of the collections that it speaks for.
        is_full: Whether for all of their documents, or only for those that it has noted as changed.
    """
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
            f"AND ({is_full} OR {_NOTED})",
            parameters=(run_id, collection),
        )
    forget_notes(postgres, run_id)


def unrefused(postgres: Session, run_id: str, collection: str, after: bytes, *, is_full: bool) -> dict[bytes, bytes]:
    """Return some documents of the quarantine, resolved ones included, that a run speaks for and has not refused.

    Args:
        postgres: Where the books are.
        run_id: The run, not published yet.
        collection: Name of the collection.
        after: Only those whose hash is greater.
        is_full: Whether it speaks for all documents of the collection, or only for those that it has noted as changed.

    Returns:
        The BSON element of each ``_id`` by its hash, in order of the hashes; nothing if there are no more.
    """
    query = (
        f"SELECT id_hash, substr(bson, 1, {_ID_BYTES}) FROM etl.quarantine q WHERE collection = $2::text "
        f"AND id_hash > $3::bytea AND substr(bson, 6, 4) = '_id\\000' AND ({is_full} OR {_NOTED}) AND NOT EXISTS "
        "(SELECT FROM etl.refused r WHERE r.run_id = $1::text AND r.collection = $2::text AND r.id_hash = q.id_hash) "
        f"ORDER BY id_hash LIMIT {_ASKED}"
    )
    found: dict[bytes, bytes] = {}
    size = 0
    for id_hash, head in postgres.rows(query, run_id, collection, after):
        only = cut_id(head)
        if hash_id(only) != id_hash:  # a long _id, of which that is not all
            only = cut_id(_document(postgres, collection, id_hash))
        found[id_hash] = only[_PREFIX:-1]
        size += len(only)
        if size > _ASKED_BYTES:
            break
    return found


def forget_documents(postgres: Session, collection: str, hashes: Sequence[bytes]) -> None:
    """Delete documents from the quarantine, bytes and reasons, because they are no more.

    Args:
        postgres: Where the books are.
        collection: Name of the collection.
        hashes: What the books know their ``_id``s by.
    """
    for start in range(0, len(hashes), _ASKED):
        some = [one.hex() for one in hashes[start : start + _ASKED]]
        postgres.execute(
            "DELETE FROM etl.quarantine WHERE collection = $1::text AND id_hash IN "
            "(SELECT decode(one, 'hex') FROM jsonb_array_elements_text($2::text::jsonb) AS one)",
            parameters=(collection, orjson.dumps(some).decode()),
        )


def forget_resolved(postgres: Session, collection: str, is_to_go: Callable[[bytes], bool]) -> None:
    """Delete documents from the quarantine that were resolved and hold what may not be kept any more.

    Args:
        postgres: Where the books are.
        collection: Name of the collection.
        is_to_go: Tells of a document's BSON whether it is deleted.
    """
    query = (
        "SELECT id_hash, bson FROM etl.quarantine WHERE collection = $1::text AND resolved_at IS NOT NULL "
        f"AND id_hash > $2::bytea ORDER BY id_hash LIMIT {_LOOKED_AT}"
    )
    after = b""
    while rows := postgres.rows(query, collection, after):
        after = rows[-1][0]
        forget_documents(postgres, collection, [hashed for hashed, raw in rows if is_to_go(raw)])


def quarantined(postgres: Session, collection: str) -> set[bytes]:
    """Return the SHA-256 of each document of a collection that is in quarantine."""
    query = "SELECT sha256(bson) FROM etl.quarantine WHERE collection = $1::text AND resolved_at IS NULL"
    return {digest for (digest,) in postgres.rows(query, collection)}


def refused_hashes(postgres: Session, run_id: str, collection: str) -> set[bytes]:
    """Return the hash of the ``_id`` of each document that a run which is not published yet has refused."""
    query = "SELECT id_hash FROM etl.refused WHERE run_id = $1::text AND collection = $2::text"
    return {hashed for (hashed,) in postgres.rows(query, run_id, collection)}


def _document(postgres: Session, collection: str, id_hash: bytes) -> bytes:
    query = "SELECT bson FROM etl.quarantine WHERE collection = $1::text AND id_hash = $2::bytea"
    return bytes(postgres.rows(query, collection, id_hash)[0][0])


def newly_refused(postgres: Session, run_id: str) -> dict[str, int]:
    """Return how many documents a run has refused, by collection, that are not in quarantine yet."""
    return dict(postgres.rows(f"SELECT collection, count(*) FROM etl.refused r WHERE {_NEW} GROUP BY 1", run_id))


def reasons(postgres: Session, run_id: str, collection: str) -> list[tuple[str, str, int, str]]:
    """Return why a run refuses documents that are not in quarantine yet, the most frequent reason first.

    Returns:
        Of each reason the rule, the first path, of how many documents, and one ``_id``.
    """
    query = (
        "SELECT reason->>'rule', min(reason->>'path'), count(DISTINCT id_hash), min(_id) FROM etl.refused r, "
        f"jsonb_array_elements(reasons) AS reason WHERE {_NEW} AND collection = $2::text "
        "AND reason->>'rule' <> $3::text GROUP BY 1 ORDER BY 3 DESC, 1"
    )
    found = postgres.rows(query, run_id, collection, FURTHER)
    return [(rule, path, count, sample) for rule, path, count, sample in found]
