"""Queries on former versions that both stores understand: what proves them, counts them and chooses which ones go."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from contracts.schema.entity import ID, Entity, Table
from contracts.schema.history import HISTORY, REMOVED, VALID_FROM, VALID_TO, valid_at, versions_table

REPLICA = "replica"  # where current versions are
Quote = Callable[[str], str]  # quotes an identifier as a store reads it


@dataclass(frozen=True)
class Check:
    """Something that must not be.

    Attributes:
        what: In words, to follow a number of them.
        query: Returns how many there are, and the ``_id`` of one.
    """

    what: str
    query: str


def checks(entity: Entity, schema: str, beginnings: Sequence[int], quoted: Quote) -> Iterator[Check]:
    """Yield what must not be in the history of a collection.

    Args:
        entity: Its contract.
        schema: Where its current versions are.
        beginnings: The moments at which its versions began to be kept, as numbers: before each, nobody kept any.
        quoted: Quotes identifiers for the store.
    """
    root, place = entity.root, f"{HISTORY}.{quoted(entity.table)}"
    versions = f"{HISTORY}.{quoted(versions_table(root).name)}"
    yield Check("versions that end before they have begun", _counted(f"{place} v", f"{VALID_TO} <= {VALID_FROM}"))
    numbered = (
        f"SELECT {ID}, {VALID_FROM}, {VALID_TO}, {REMOVED}, "
        f"row_number() OVER (PARTITION BY {ID} ORDER BY {VALID_FROM}) AS n FROM {versions}"
    )
    pairs = f"({numbered}) v JOIN ({numbered}) w ON w.{ID} = v.{ID} AND w.n = v.n + 1"
    overlapping = f"v.{VALID_TO} IS NULL OR w.{VALID_FROM} < v.{VALID_TO}"
    yield Check("versions that overlap", _counted(pairs, overlapping))
    begun = ", ".join(f"'{moment_text(valid_at(one))}'" for one in beginnings)
    gap = f"w.{VALID_FROM} > v.{VALID_TO} AND NOT v.{REMOVED} AND w.{VALID_FROM} NOT IN ({begun})"
    yield Check("gaps between versions of a document that was there", _counted(pairs, gap))
    last = moment_text(valid_at(max(beginnings)))
    current = f"SELECT {ID} FROM {schema}.{quoted(root.name)}"
    ended = (
        f"(SELECT {ID}, max({VALID_TO}) AS ended FROM {place} WHERE {ID} NOT IN ({current}) "
        f"GROUP BY {ID}) v JOIN {place} w ON w.{ID} = v.{ID} AND w.{VALID_TO} = v.ended"
    )
    lost = f"NOT w.{REMOVED} AND v.ended > '{last}'"
    yield Check(
        "documents whose last version did not end by their removal and is followed by none", _counted(ended, lost)
    )
    tables = {table.name: table for table in entity.tables}
    for child in entity.children:
        yield from _of_child(root, tables[str(child.parent)], child, quoted)


def _of_child(root: Table, parent: Table, child: Table, quoted: Quote) -> Iterator[Check]:
    place, of = f"{HISTORY}.{quoted(parent.name)}", f"{HISTORY}.{quoted(child.name)}"
    whole = ", ".join((ID, VALID_FROM, VALID_TO, REMOVED))
    yield Check(
        f"rows of {child.name} that are of no version",
        _counted(f"{of} v", f"({whole}) NOT IN (SELECT {whole} FROM {HISTORY}.{quoted(root.name)})"),
    )
    keys = [*map(quoted, parent.key), VALID_FROM]
    joint = " AND ".join(f"w.{key} = v.{key}" for key in keys)
    for count in (one.name for one in parent.columns if one.counts and one.path == child.path):
        number = f"(SELECT {', '.join(keys)}, count(*) AS n FROM {of} GROUP BY {', '.join(keys)}) w"
        differs = f"coalesce(v.{quoted(count)}, 0) <> coalesce(w.n, 0)"
        yield Check(
            f"versions with another number of rows in {child.name} than {count} says",
            _counted(f"{place} v LEFT JOIN {number} ON {joint}", differs),
        )


def shown(entity: Entity, schema: str, quoted: Quote) -> tuple[str, str]:
    """Return queries of how many documents are current by the view of all versions, and how many there are."""
    versions = f"{HISTORY}.{quoted(versions_table(entity.root).name)}"
    return (
        f"SELECT count(*) FROM {versions} WHERE {VALID_TO} IS NULL",
        f"SELECT count(*) FROM {schema}.{quoted(entity.table)}",
    )


def former(table: str, quoted: Quote) -> str:
    """Return a query of how many former versions a root table has, and since when the earliest was shown."""
    return f"SELECT count(*), min({VALID_FROM}) FROM {HISTORY}.{quoted(table)}"


def moment_text(moment: datetime) -> str:
    """Return a moment as both stores read it, the sessions of both being in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


def _counted(rows: str, condition: str) -> str:
    return f"SELECT count(*), min(CAST(v.{ID} AS text)) FROM {rows} WHERE {condition}"
