"""Former versions in PostgreSQL that are given up: all of a collection, of a time, or of some documents."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from contracts.schema.ddl import postgres_literal, quoted
from contracts.schema.entity import ID
from contracts.schema.history import HISTORY, SINCE, VALID_FROM, VALID_TO, VERSIONS
from pipeline.stores.versions import REPLICA, moment_text


def in_history(name: str) -> str:
    """Return the name of what the history has by a name, quoted."""
    return f"{HISTORY}.{quoted(name)}"


def dropped(roots: Collection[str], tables: Collection[str]) -> Iterator[str]:
    """Yield the statements that drop the history of collections; what is gone already is passed over.

    Args:
        roots: Their root tables.
        tables: All tables of which former versions were kept.
    """
    yield from (f"DROP VIEW IF EXISTS {in_history(name + VERSIONS)}" for name in sorted(tables))
    yield from (f"DROP TABLE IF EXISTS {in_history(name)}" for name in sorted(tables))
    yield from (f"DROP TABLE IF EXISTS {in_history(name + SINCE)}" for name in sorted(roots))


def removed(root: str, tables: Sequence[str], before: datetime | None, ids: Sequence[str]) -> Iterator[str]:
    """Yield the statements that remove former versions of a collection, each telling how many rows; the root's first.

    Args:
        root: Its root table.
        tables: All its tables of which former versions are kept.
        before: Of all documents those that ended by this moment; None for all of some documents.
        ids: The ``_id``s of these, as texts.
    """
    named = f"{quoted(ID)}::text IN ({', '.join(map(postgres_literal, ids))})" if ids else "false"
    chosen = named if before is None else f"{VALID_TO} <= '{moment_text(before)}'"
    for name in (root, *(name for name in tables if name != root)):
        yield f"WITH gone AS (DELETE FROM {in_history(name)} WHERE {chosen} RETURNING 1) SELECT count(*) FROM gone"
    # Since when a document is shown that is not there any more, nobody asks.
    begun = named if before is None else f"{VALID_FROM} <= '{moment_text(before)}'"
    current = f"SELECT FROM {REPLICA}.{quoted(root)} t WHERE t.{quoted(ID)} = s.{quoted(ID)}"
    yield (
        f"WITH gone AS (DELETE FROM {in_history(root + SINCE)} s WHERE {begun} AND NOT EXISTS ({current}) RETURNING 1) "
        "SELECT count(*) FROM gone"
    )
