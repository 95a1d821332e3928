"""Since when the former versions of collections are kept, in each target."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.stores.postgres.session import Session

if TYPE_CHECKING:
    from contracts.schema.entity import Table


@dataclass(frozen=True)
class Observation:
    """A time in which the former versions of a collection were kept in a target.

    Attributes:
        collection: Name of the collection.
        target: Name of the target.
        since: The moment from which on they are, as a number: what was shown then is the first version.
        until: The moment from which on they were not any more, as a number; None if they are.
    """

    collection: str
    target: str
    since: int
    until: int | None


def observations(postgres: Session) -> list[Observation]:
    """Return all times in which former versions were kept, by collection and target, the earliest first."""
    query = "SELECT collection, target, observed_since, observed_until FROM etl.history ORDER BY 1, 2 DESC, 3"
    return [Observation(*row) for row in postgres.rows(query)]


def observed(postgres: Session, target: str) -> Mapping[str, int]:
    """Return since when collections have their former versions kept in a target, of those that do."""
    return {one.collection: one.since for one in observations(postgres) if one.target == target and one.until is None}


def observe(postgres: Session, collection: str, target: str, since: int) -> None:
    """Enter that the former versions of a collection are kept from a moment on, anew if they were before."""
    end_observation(postgres, collection, target, since)
    postgres.execute(
        "INSERT INTO etl.history VALUES ($1::text, $2::text, $3::bigint) "
        "ON CONFLICT (collection, target, observed_since) DO UPDATE SET observed_until = NULL",
        parameters=(collection, target, since),
    )


def end_observation(postgres: Session, collection: str, target: str, until: int) -> None:
    """Enter that the former versions of a collection are not kept any more from a moment on."""
    postgres.execute(
        "UPDATE etl.history SET observed_until = greatest(observed_since, $3::bigint) "
        "WHERE collection = $1::text AND target = $2::text AND observed_until IS NULL",
        parameters=(collection, target, until),
    )


def record_former(postgres: Session, target: str, schema: str, tables: Iterable["Table"]) -> None:
    """Enter the tables of which former versions are kept; what is there already stays, for the history keeps it."""
    for table in tables:
        postgres.execute(
            "INSERT INTO etl.columns SELECT $1::text, $2::text, $3::text, $4::text, unnest($5::text[]) "
            "ON CONFLICT DO NOTHING",
            parameters=(target, schema, table.root, table.name, table.names),
        )
