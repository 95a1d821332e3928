"""What the demo's sync has changed, as the versions tell that it kept: how many, and what became of documents."""

from collections.abc import Mapping
from dataclasses import dataclass

from bson import Timestamp

from contracts.schema.ddl import quoted
from contracts.schema.entity import ID, Entity
from contracts.schema.history import HISTORY, VALID_FROM, VALID_TO, valid_at, versions_table
from pipeline.control import as_number
from pipeline.stores.postgres.session import Session

# Of the demo's collections, what of a document's change from one version to the next people ask for.
_ASKED = {
    "SupportTickets": {
        "tickets reopened": "old.status IN ('resolved', 'closed') AND new.status NOT IN ('resolved', 'closed')",
        "tickets resolved": "new.status IN ('resolved', 'closed') AND old.status NOT IN ('resolved', 'closed')",
    },
    "ProductPriceHistory": {
        "prices dropped": "new.current_price < old.current_price",
        "prices raised": "new.current_price > old.current_price",
    },
    "ModerationQueue": {"reviews decided": "old.moderation_status = 'pending' AND new.moderation_status <> 'pending'"},
    "UserRecommendations": {"lists replaced": "new._id IS NOT NULL"},
}


@dataclass(frozen=True)
class KeptVersions:
    """What a sync has kept of a collection's past.

    Attributes:
        versions: How many versions it has ended: they are in ``history`` from now on.
        told: How many documents changed in what people ask for, by what that is.
    """

    versions: int
    told: dict[str, int]


def kept_by(postgres: Session, entities: Mapping[str, Entity], at: Mapping[str, Timestamp]) -> dict[str, KeptVersions]:
    """Return what syncs have kept of the past, by collection; of what has no history, nothing.

    Args:
        postgres: The store that is asked.
        entities: The contracts by collection.
        at: The moment that each collection shows since the sync.
    """
    with postgres.transaction():
        return {name: _kept(postgres, entities[name], moment) for name, moment in at.items() if entities[name].history}


def _kept(postgres: Session, entity: Entity, at: Timestamp) -> KeptVersions:
    versions = f"{HISTORY}.{quoted(versions_table(entity.root).name)}"
    ended = f"old.{VALID_TO} = '{valid_at(as_number(at)).isoformat()}'"
    asked = _ASKED.get(entity.collection, {})
    counts = "".join(f", count(*) FILTER (WHERE {condition})" for condition in asked.values())
    query = (
        f"SELECT count(*){counts} FROM {versions} AS old "
        f"LEFT JOIN {versions} AS new ON new.{quoted(ID)} = old.{quoted(ID)} AND new.{VALID_FROM} = old.{VALID_TO} "
        f"WHERE {ended}"
    )
    ((number, *found),) = postgres.rows(query)
    return KeptVersions(number, {what: count for what, count in zip(asked, found, strict=True) if count})
