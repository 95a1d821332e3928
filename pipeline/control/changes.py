"""Which documents were changed since the moment that is published: noted by a run until it is over."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass

import pyarrow as pa

from pipeline.stores.postgres.session import Session
from transforms.bson.documents import make_document
from transforms.bson.identity import hash_id, id_equality_hash

_PAGE_BYTES = 6 * 2**20  # of BSON in a query by ids, of which MongoDB takes 16 MB: the fewer, the less is waited for
_BYTES_PER_ID = 16  # of it for an id, about, beside the id itself


@dataclass(frozen=True)
class ChangePage:
    """Some documents of a collection that were changed, by ranges of their places, so that equal ids stand together.

    Attributes:
        collection: Name of the collection.
        after: The range begins after this place.
        upto: It ends with this place.
        ids: How many documents there are.
    """

    collection: str
    after: int
    upto: int
    ids: int


def record_changes(postgres: Session, run_id: str, changes: Iterable[tuple[str, bytes]]) -> None:
    """Note that documents were changed; noted twice, they count once.

    Args:
        postgres: Where the books are.
        run_id: The run.
        changes: Collection and BSON element of the ``_id`` of each.
    """
    collections, elements = zip(*changes, strict=True)
    rows = {
        "run_id": [run_id] * len(elements),
        "collection": collections,
        "place": pa.array(map(id_equality_hash, elements), pa.int64()),
        "id_hash": pa.array([hash_id(make_document(element)) for element in elements], pa.binary()),
        "element": pa.array(elements, pa.binary()),
    }
    postgres.append("etl", "touched", pa.table(rows))


def cut_pages(postgres: Session, run_id: str, most: Mapping[str, int]) -> list[ChangePage]:
    """Return what a run has noted, a piece of work at a time.

    Args:
        postgres: Where the books are.
        run_id: The run.
        most: By collection, how many documents a page has at most, about; of others as many as a query can name.
    """
    distinct = "SELECT DISTINCT collection, place, element FROM etl.touched WHERE run_id = $1::text"
    known = "unnest($2::text[], $3::bigint[]) AS known (collection, most)"
    bytes_of_one = f"greatest(octet_length(element) + {_BYTES_PER_ID}, ({_PAGE_BYTES} / most)::int)"
    size = f"sum({bytes_of_one}) OVER (PARTITION BY collection ORDER BY place)"
    rows = postgres.rows(
        f"SELECT collection, max(place), count(*) FROM (SELECT collection, place, {size} / {_PAGE_BYTES} AS page "
        f"FROM ({distinct}) AS one LEFT JOIN {known} USING (collection)) AS placed "
        "GROUP BY collection, page ORDER BY collection, page",
        run_id,
        [*most],
        [*most.values()],
    )
    found: list[ChangePage] = []
    for collection, upto, ids in rows:
        after = found[-1].upto if found and found[-1].collection == collection else -1
        found.append(ChangePage(collection, after, upto, ids))
    return found


def changed_ids(postgres: Session, run_id: str, collection: str, after: int, upto: int) -> tuple[bytes, ...]:
    """Return the BSON elements of the ``_id``s on a page."""
    query = (
        "SELECT DISTINCT element FROM etl.touched WHERE run_id = $1::text AND collection = $2::text "
        "AND place > $3::bigint AND place <= $4::bigint"
    )
    with closing(postgres.batches(query, run_id, collection, after, upto)) as batches:
        return tuple(element for batch in batches for element in batch.column(0).to_pylist())
