"""Which documents the publishes of collections changed, and what these were before: marts are recomputed by it.

It tells of PostgreSQL, which the marts are read from. Each publish of a part notes the run that was shown before, so
that the changes since any run follow from one to the next; where one is not noted, nobody knows what was changed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.stores.postgres.session import Session

MOST = 100_000  # changed documents of a collection: of more, it is quicker to compute marts whole than to look them up


@dataclass(frozen=True)
class Changed:
    """What is known of the documents of a collection that were changed.

    Attributes:
        ids: Their ``_id``s as texts, each once.
        former: The values that they had before, by column; documents that are new have none.
    """

    ids: tuple[str, ...]
    former: tuple[dict[str, Any], ...]


def has_readers(postgres: Session) -> bool:
    """Return whether any mart is published, for which it is worth while to note changes."""
    query = "SELECT EXISTS (SELECT FROM etl.published JOIN etl.runs USING (run_id) WHERE kind = 'marts')"
    return bool(postgres.rows(query)[0][0])


def record_changed(postgres: Session, collection: str, run_id: str, follows: str, documents: str) -> None:
    """Note the documents of a collection that a publish changes, within its transaction, before it does.

    Args:
        postgres: Where the books and the published tables are.
        collection: Name of the collection.
        run_id: The run that is published.
        follows: The run that is shown until then.
        documents: A query of the documents: ``_id``, and a JSON object of what they were, null of new ones.
    """
    postgres.execute(
        "INSERT INTO etl.publishes VALUES ($1::text, $2::text, $3::text)", parameters=(collection, run_id, follows)
    )
    postgres.execute(
        f"INSERT INTO etl.changed SELECT $1::text, $2::text, d.* FROM ({documents}) d", parameters=(collection, run_id)
    )
    if int(postgres.rows("SELECT count(*) FROM etl.changed WHERE collection = $1::text", collection)[0][0]) > MOST:
        forget_changes(postgres, collection)


def forget_changes(postgres: Session, collection: str) -> None:
    """Forget what was changed of a collection: all of it may have been."""
    for table in ("etl.changed", "etl.publishes"):
        postgres.execute(f"DELETE FROM {table} WHERE collection = $1::text", parameters=(collection,))


def changed_since(postgres: Session, collection: str, run_id: str, since: str) -> Changed | None:
    """Return which documents were changed from one publish to another; None if that is not known.

    Args:
        postgres: Where the books are.
        collection: Name of the collection.
        run_id: The run that is shown.
        since: The run that was shown.
    """
    if run_id == since:
        return Changed((), ())
    runs = _back_to(_follows(postgres, [collection])[collection], run_id, since)
    if runs is None:
        return None
    query = "SELECT _id, former::text FROM etl.changed WHERE collection = $1::text AND run_id = ANY ($2::text[])"
    rows = postgres.rows(query, collection, runs)
    former = tuple(orjson.loads(values) for _, values in rows if values is not None)
    return Changed(tuple(dict.fromkeys(one for one, _ in rows)), former)


def trim_changes(postgres: Session, shows: Mapping[str, str], wanted: Mapping[str, Iterable[str]]) -> None:
    """Forget the changes before the earliest publishes that anybody still asks from.

    Args:
        postgres: Where the books are.
        shows: The run that is shown of each collection.
        wanted: The runs that marts show, by collection.
    """
    kept = [
        (collection, run_id)
        for collection, follows in _follows(postgres, shows).items()
        for run_id in _earliest(follows, shows[collection], wanted.get(collection, ()))
    ]
    collections, runs = [name for name, _ in kept], [run_id for _, run_id in kept]
    for table in ("etl.changed", "etl.publishes"):
        postgres.execute(
            f"DELETE FROM {table} WHERE collection = ANY ($1::text[]) AND (collection, run_id) NOT IN "
            "(SELECT * FROM unnest($2::text[], $3::text[]) kept (collection, run_id))",
            parameters=([*shows], collections, runs),
        )


def _earliest(follows: dict[str, str], run_id: str, wanted: Iterable[str]) -> list[str]:
    """Return the runs that were published since the earliest that is asked from."""
    paths = [path for path in (_back_to(follows, run_id, since) for since in wanted) if path is not None]
    return max(paths, key=len, default=[])


def _follows(postgres: Session, collections: Iterable[str]) -> defaultdict[str, dict[str, str]]:
    """Return which run each publish of some collections followed, by collection and run."""
    found = defaultdict[str, dict[str, str]](dict)
    query = "SELECT collection, run_id, follows FROM etl.publishes WHERE collection = ANY ($1::text[])"
    for collection, run_id, follows in postgres.rows(query, [*collections]):
        found[collection][run_id] = follows
    return found


def _back_to(follows: dict[str, str], run_id: str, since: str) -> list[str] | None:
    """Return the runs that were published after another, the last one first; None if they are not all noted."""
    found: dict[str, None] = {}
    while run_id != since:
        if run_id not in follows or run_id in found:
            return None
        found[run_id] = None
        run_id = follows[run_id]
    return list(found)
