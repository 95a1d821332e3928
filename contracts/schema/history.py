"""Derived for history: the tables of former versions, which a collection has whose contract says ``history=True``.

A version is a whole document: its row and its child rows, as they were shown from one publish to the next.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from contracts.schema.field import ContractError
from contracts.schema.kinds import BOOLEAN, MOMENT
from contracts.schema.names import check_table
from contracts.schema.table import Column, Table

if TYPE_CHECKING:
    from contracts.schema.entity import Entity

HISTORY = "history"  # the schema, or database, of former versions
VALID_FROM, VALID_TO, REMOVED = "_valid_from", "_valid_to", "_removed"
VERSIONS = "_versions"  # ends the name of the view of all versions
SINCE = "__since"  # ends the name of the table that tells since when the current versions are shown
_MICROSECONDS = 1_000_000


def valid_at(version: int) -> datetime:
    """Return a cluster time as a moment of history: its ordinal within the second becomes microseconds.

    Args:
        version: The cluster time as one number, seconds * 2^32 + ordinal.
    """
    ordinal = min(version & 0xFFFFFFFF, _MICROSECONDS - 1)
    return datetime.fromtimestamp(version >> 32, UTC) + timedelta(microseconds=ordinal)


@cache
def former_table(table: Table) -> Table:
    """Return the table of the former versions of a table's rows; its key is the table's and ``_valid_from``.

    Any other column may be null: an older version may be from before its time.
    """
    validity = (
        Column(VALID_FROM, MOMENT, "Since when the copy showed this version; the first one seen: at least since then."),
        Column(VALID_TO, MOMENT, "Until when the copy showed it."),
        Column(REMOVED, BOOLEAN, "Whether it ended because the document was gone; else another version follows."),
    )
    keys = tuple(column for column in table.columns if column.name in table.key)
    others = (replace(column, nullable=True) for column in table.columns if column.name not in table.key)
    return replace(
        table,
        description=f"Former versions. {table.description}",
        columns=(*keys, *validity, *others),
        key=(*table.key, VALID_FROM),
        parent=None,
        outer=(),
        indexes=(),
        rules=(),
    )


@cache
def versions_table(table: Table) -> Table:
    """Return the view of all versions of a table's rows, the current one included, whose ``_valid_to`` is null."""
    former = former_table(table)
    columns = (replace(one, nullable=True) if one.name == VALID_TO else one for one in former.columns)
    description = f"All versions, current ones with {VALID_TO} null. {table.description}"
    return replace(former, name=table.name + VERSIONS, description=description, columns=tuple(columns))


def versions_of(entity: "Entity") -> tuple[Table, ...]:
    """Return the views of all versions that a collection has; none where its contract does not say so."""
    return tuple(versions_table(table) for table in entity.tables) if entity.history else ()


def check_history(tables: Iterable[Table]) -> None:
    """Refuse a collection of which the stores could not bear the tables of history.

    Raises:
        ContractError: A name is too long for them, or is one that history keeps for itself.
    """
    for table in tables:
        check_table(versions_table(table).name)
        if table.parent is None:
            check_table(table.name + SINCE)


def check_histories_apart(entities: "Iterable[Entity]") -> None:
    """Refuse collections of which one has a table where history keeps something of the other.

    Raises:
        ContractError: With both, and what to do.
    """
    owners = {table.name: entity for entity in entities if entity.history for table in entity.tables}
    for name, entity in owners.items():
        for ending in (VERSIONS, SINCE):
            if other := owners.get(name + ending):
                raise ContractError(
                    f"{other.collection} makes a table {name + ending!r}, as the history of {entity.collection} calls "
                    f"what it keeps of {name!r}; give one of them another name by table='...' in its contract, or "
                    "leave the field out of it: it is kept in _extra"
                )
