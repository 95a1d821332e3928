"""Published tables of PostgreSQL follow their contracts, and nobody who reads them waits for longer than a blink.

Whatever changes a table's columns locks its readers out until the transaction ends. So the long part, in which rows are
written, goes without: new values are gathered in columns that have a name of the run's own, made ahead in a transaction
of a moment. Only at the very end, when all rows are there, the old columns are dropped and the new ones take their
names.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.schema.ddl import postgres_index, quoted
from contracts.schema.entity import Column, Table
from pipeline.errors import EtlError

MADE = "#"  # no column of a contract has a name with a number sign


@dataclass(frozen=True)
class Change:
    """What has to be done to a published table because its contract has changed.

    Attributes:
        ahead: Statements that change nothing of what readers see; each takes a moment.
        indexes: Statements that add indexes: they take long, and let people read.
        last: Statements that give the table the contract's columns, when all its rows have the new values.
        names: What each column of the contract is called until then.
    """

    ahead: tuple[str, ...]
    indexes: tuple[str, ...]
    last: tuple[str, ...]
    names: dict[str, str]


def change(
    schema: str, table: Table, run_id: str, found: Mapping[str, tuple[str, bool]], indexed: frozenset[str]
) -> Change:
    """Return how a published table becomes what its contract says; nothing has to be done as long as that is the same.

    Args:
        schema: Where the table is.
        table: The contract's columns and indexes.
        run_id: The run, which names the columns that it makes.
        found: The columns that the table has: their types, and whether they refuse null.
        indexed: Those of them that have an index of their own.

    Raises:
        EtlError: The key has another type now, which nothing that refers to the table could follow.
    """
    alter = f"ALTER TABLE {quoted(schema)}.{quoted(table.name)}"
    wanted = {column.name: column for column in table.columns}
    retyped = {name for name, (kind, _) in found.items() if name in wanted and kind != _type_name(wanted[name])}
    if changed := [name for name in table.key if name in retyped]:
        raise EtlError(
            f"the key column {changed[0]} of {schema}.{table.name} is {found[changed[0]][0]}, and its contract says "
            f"{_type_name(wanted[changed[0]])} now; drop the table, and what refers to it, and run the command again"
        )
    gone = [name for name in found if name in retyped or (name not in wanted and not name.startswith(MADE))]
    made = {
        column.name: made_name(run_id, place)
        for place, column in enumerate(table.columns)
        if column.name in retyped or column.name not in found
    }
    ahead = [f"{alter} ADD COLUMN {quoted(made[name])} {wanted[name].kind.postgres}" for name in made]
    free = [name for name, (_, required) in found.items() if required and (name in gone or _may_be_null(wanted, name))]
    ahead += [f"{alter} ALTER COLUMN {quoted(name)} DROP NOT NULL" for name in free]
    last = [f"{alter} DROP COLUMN {quoted(name)}" for name in gone]
    last += [f"{alter} RENAME COLUMN {quoted(made[name])} TO {quoted(name)}" for name in made]
    required = [one.name for one in table.columns if not one.nullable and (one.name in made or not found[one.name][1])]
    last += [f"{alter} ALTER COLUMN {quoted(name)} SET NOT NULL" for name in required]
    names = {name: made.get(name, name) for name in wanted}
    indexes = [
        postgres_index(schema, table, name, names[name])
        for name in table.indexes
        if name in made or name not in indexed
    ]
    return Change(tuple(ahead), tuple(indexes), tuple(last), names)


def made_name(run_id: str, place: object) -> str:
    """Return the name that a column has until its run is published."""
    return f"{MADE}{run_id}{MADE}{place}"


def _may_be_null(wanted: Mapping[str, Column], name: str) -> bool:
    return name in wanted and wanted[name].nullable


def _type_name(column: Column) -> str:
    """Return the column's type as the catalog spells it."""
    spelled = column.kind.postgres.replace(' COLLATE "C"', "").replace(", ", ",")
    return {"timestamptz": "timestamp with time zone", "timestamptz[]": "timestamp with time zone[]"}.get(
        spelled, spelled
    )
