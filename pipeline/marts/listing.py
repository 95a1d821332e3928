"""Which marts there are, what each is for, and what is published of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.schema.entity import Entity
from contracts.schema.mart import Mart
from pipeline import control
from pipeline.control import Publication
from pipeline.marts.available import reasons, tables_of
from pipeline.stores.postgres.session import Session
from transforms.marts import in_order, sources


@dataclass(frozen=True)
class ListedMart:
    """A mart.

    Attributes:
        name: Its name.
        question: The question that it answers, and whose it is.
        description: What one row is.
        key: The columns that identify a row.
        sources: The tables and marts that it reads.
        own: Whether it is a user's own, of a folder that ``ETL_MARTS`` names.
        lacks: Why it can't be built; empty if it can.
        targets: The stores that show it.
        shows_at: The moment that it shows, the oldest where the stores differ; None if it is not built.
        rows: How many rows it has; None if that is not known.
        is_behind: Whether a collection that it reads shows a later moment.
    """

    name: str
    question: str
    description: str
    key: tuple[str, ...]
    sources: tuple[str, ...]
    own: bool
    lacks: str
    targets: tuple[str, ...] = ()
    shows_at: datetime | None = None
    rows: int | None = None
    is_behind: bool = False


def list_marts(entities: Mapping[str, Entity], known: Mapping[str, Mart], postgres: Session | None) -> list[ListedMart]:
    """Return the marts that can be built, and a user's own that can't, each after those that it reads.

    Args:
        entities: The contracts of collections, by name.
        known: All marts, by name.
        postgres: Where the books are, if there are any.
    """
    lacking = reasons(entities.values(), known)
    published = _published(postgres)
    moments = _moments_of_tables(entities, published)
    return [
        _listed(mart, lacking.get(mart.name, ""), published.get(mart.name, []), moments)
        for mart in in_order(known.values())
        if mart.name not in lacking or mart.home is not None
    ]


def _published(postgres: Session | None) -> dict[str, list[Publication]]:
    """Return what is published, by collection and mart."""
    found: dict[str, list[Publication]] = {}
    if postgres is not None and control.has_books(postgres):
        for one in control.publications(postgres):
            found.setdefault(one.name, []).append(one)
    return found


def _moments_of_tables(
    entities: Mapping[str, Entity], published: Mapping[str, Sequence[Publication]]
) -> dict[str, datetime]:
    """Return the latest moment that each published table, or mart, shows in any store."""
    names = {name: [name] for name in published} | {
        name: [table.name for table in tables_of(one)] for name, one in entities.items()
    }
    latest = {name: max(one.cluster_time for one in shown).as_datetime() for name, shown in published.items()}
    return {table: moment for name, moment in latest.items() for table in names[name]}


def _listed(mart: Mart, lacks: str, shown: list[Publication], moments: Mapping[str, datetime]) -> ListedMart:
    shows_at = min(one.cluster_time for one in shown).as_datetime() if shown else None
    held = [one.held[mart.name].rows for one in shown if mart.name in one.held]
    return ListedMart(
        mart.name,
        mart.question,
        mart.description,
        mart.key,
        sources(mart),
        mart.home is not None,
        lacks,
        tuple(one.target for one in shown),
        shows_at,
        max(held, default=None),
        shows_at is not None and any(moments[name] > shows_at for name in sources(mart) if name in moments),
    )
