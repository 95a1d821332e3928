"""What was refused: counted, shown, exported."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import bsonjs
import orjson

from contracts.schema.entity import Entity
from contracts.schema.registry import by_name
from pipeline.control.schema import has_books
from pipeline.errors import UsageError
from pipeline.stores.postgres.session import Session

_EXPORT_ROWS = 100
_ONE = "SELECT collection, _id, bson, reasons::text, run_id, first_seen_at, resolved_at FROM etl.quarantine"


@dataclass(frozen=True)
class RuleCount:
    """How many documents of a collection break a rule.

    Attributes:
        collection: Name of the collection.
        rule: The rule, as the reasons name it.
        path: Where the first of them breaks it.
        documents: How many.
        sample: ``_id`` of one of them, as canonical Extended JSON.
    """

    collection: str
    rule: str
    path: str
    documents: int
    sample: str


@dataclass(frozen=True)
class Quarantined:
    """One document that was refused.

    Attributes:
        collection: Where it is from.
        id: Its ``_id`` as canonical Extended JSON.
        raw: Its BSON as stored.
        reasons: Every rule that it breaks: ``path``, ``rule``, ``value``.
        run_id: The last run that refused it.
        first_seen_at: When it was refused first.
        resolved_at: When a run found it mended; None as long as it is refused. One that is gone is deleted here too.
    """

    collection: str
    id: str
    raw: bytes
    reasons: list[dict[str, Any]]
    run_id: str
    first_seen_at: datetime
    resolved_at: datetime | None

    @property
    def document(self) -> str:
        """The document as canonical Extended JSON, or ``{"$bson": hex}`` where its bytes can't be decoded."""
        return _extended_json(self.raw)


def size(postgres: Session, collection: str) -> int:
    """Count the documents of a collection that are in quarantine."""
    query = "SELECT count(*) FROM etl.quarantine WHERE collection = $1::text AND resolved_at IS NULL"
    return int(postgres.rows(query, collection)[0][0]) if has_books(postgres) else 0


def chosen(postgres: Session, entities: Iterable[Entity], names: Iterable[str] = ()) -> list[str]:
    """Return the names of the collections that names of collections or tables stand for; none if none is named.

    Args:
        postgres: Where the books are; a collection whose contract is gone may still have documents in quarantine.
        entities: The contracts.
        names: Names of collections or of their tables.

    Raises:
        UsageError: There is no such collection.
    """
    known = {name: entity.collection for name, entity in by_name(entities).items()}
    if has_books(postgres):
        known |= {name: name for (name,) in postgres.rows("SELECT DISTINCT collection FROM etl.quarantine")}
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"there is no collection {unknown[0]!r}; there are {', '.join(sorted(set(known.values())))}")
    return [known[name] for name in names]


def counts(postgres: Session, collections: Sequence[str] = ()) -> list[RuleCount]:
    """Count the documents in quarantine by collection and rule; one that breaks several counts for each.

    Args:
        postgres: Where the books are.
        collections: Only these; all if none is named.
    """
    if not has_books(postgres):
        return []
    rows = postgres.rows(
        "SELECT collection, reason->>'rule', min(reason->>'path'), count(DISTINCT id_hash), min(_id) "
        "FROM etl.quarantine, jsonb_array_elements(reasons) AS reason WHERE resolved_at IS NULL "
        "GROUP BY 1, 2 ORDER BY 1, 4 DESC, 2"
    )
    return [RuleCount(*row) for row in rows if not collections or row[0] in collections]


def find(postgres: Session, identity: str) -> list[Quarantined]:
    """Return the documents of one ``_id``, of any collection, those that were resolved included.

    Args:
        postgres: Where the books are.
        identity: The ``_id`` as the quarantine lists it, or just the text or the hex digits in it.

    Raises:
        UsageError: There is none.
    """
    condition = "WHERE _id IN (SELECT jsonb_array_elements_text($1::text::jsonb)) ORDER BY collection, _id"
    spellings = orjson.dumps(_spellings(identity)).decode()
    found = (
        [_quarantined(row) for row in postgres.rows(f"{_ONE} {condition}", spellings)] if has_books(postgres) else []
    )
    if not found:
        raise UsageError(f"no document with the _id {identity} is in quarantine; etl quarantine list shows samples")
    return found


def export(postgres: Session, collections: Sequence[str] = ()) -> Iterator[Quarantined]:
    """Yield every document that is in quarantine, a few at a time.

    Args:
        postgres: Where the books are.
        collections: Only these; all if none is named.
    """
    if not has_books(postgres):
        return
    names = [name for (name,) in postgres.rows("SELECT DISTINCT collection FROM etl.quarantine ORDER BY 1")]
    condition = "WHERE resolved_at IS NULL AND collection = $1::text AND id_hash > $2::bytea"
    query = f"{_ONE.replace('SELECT ', 'SELECT id_hash, ', 1)} {condition} ORDER BY id_hash LIMIT {_EXPORT_ROWS}"
    for name in names:
        after = b""
        while (not collections or name in collections) and (rows := postgres.rows(query, name, after)):
            yield from (_quarantined(row[1:]) for row in rows)
            after = rows[-1][0]


def _spellings(identity: str) -> list[str]:
    """Return the Extended JSON that a person may mean who writes an ``_id`` down."""
    named = ("$oid", "$numberInt", "$numberLong", "$numberDouble")
    values: list[object] = [identity, *({name: identity} for name in named)]
    return [identity, *(orjson.dumps(value).decode() for value in values)]


def _quarantined(row: Sequence[Any]) -> Quarantined:
    collection, identity, raw, reasons, *rest = row
    return Quarantined(collection, identity, raw, orjson.loads(reasons), *rest)


def _extended_json(raw: bytes) -> str:
    try:
        text: str = bsonjs.dumps(raw, mode=bsonjs.CANONICAL)
        orjson.loads(text)  # libbson passes some damaged texts on
    except Exception:  # whatever the bytes are, they can be shown
        return orjson.dumps({"$bson": raw.hex()}).decode()
    return text
