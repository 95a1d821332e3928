"""Former versions in ClickHouse that are given up: all of a collection, of a time, or of some documents."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from contracts.schema.ddl import clickhouse_literal
from contracts.schema.ddl import clickhouse_quoted as quoted
from contracts.schema.entity import ID
from contracts.schema.history import HISTORY, SINCE, VALID_FROM, VALID_TO, VERSIONS
from contracts.schema.names import DATA
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
    for name in sorted(tables):
        yield f"DROP VIEW IF EXISTS {in_history(name + VERSIONS)}"
        yield f"DROP VIEW IF EXISTS {in_history(name)}"
        yield f"DROP TABLE IF EXISTS {in_history(name + DATA)} SYNC"
    yield from (f"DROP TABLE IF EXISTS {in_history(name + SINCE)} SYNC" for name in sorted(roots))


def removed(root: str, tables: Sequence[str], before: datetime | None, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the statements that count, and then remove, former versions of a collection; the root's come first.

    Args:
        root: Its root table.
        tables: All its tables of which former versions are kept.
        before: Of all documents those that ended by this moment; None for all of some documents.
        ids: The ``_id``s of these, as texts.

    Yields:
        A query of how many rows go, and the statement that removes them and waits until that is done.
    """
    named = f"toString({quoted(ID)}) IN ({', '.join(map(clickhouse_literal, ids))})" if ids else "false"
    chosen = named if before is None else f"{VALID_TO} <= {_text(before)}"
    begun = named if before is None else f"{VALID_FROM} <= {_text(before)}"
    current = f"{quoted(ID)} NOT IN (SELECT {quoted(ID)} FROM {REPLICA}.{quoted(root)})"
    parts = [(in_history(name + DATA), chosen) for name in (root, *(name for name in tables if name != root))]
    for table, condition in (*parts, (in_history(root + SINCE), f"{begun} AND {current}")):
        count = f"SELECT count() FROM {table} FINAL WHERE {condition}"
        # All versions of a row go, also such as are not merged yet: it is for good.
        yield count, f"ALTER TABLE {table} DELETE WHERE {condition} SETTINGS mutations_sync = 2"


def _text(moment: datetime) -> str:
    return f"toDateTime64('{moment_text(moment)}', 6, 'UTC')"
