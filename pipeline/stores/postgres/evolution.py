"""Published tables of PostgreSQL follow their contracts, and nobody who reads them waits for longer than a blink.

Whatever changes a table's columns locks its readers out until the transaction ends. So the long part, in which rows are
written, goes without: new values are gathered in columns that have a name of the run's own, made ahead in a transaction
of a moment. Only at the very end, when all rows are there, the old columns are dropped and the new ones take their
names.

A column that becomes required would be scanned for nulls while everybody waits. A check says the same, is proven while
people read, and then saves PostgreSQL that scan; it has a name of the run's own as well, and goes at the end.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from contracts.schema.ddl import postgres_index, qualified, quoted
from contracts.schema.entity import EXTRA, Column, Table
from contracts.schema.kinds import BYTEWISE
from contracts.schema.names import MADE as MADE
from pipeline.errors import EtlError


@dataclass(frozen=True)
class Found:
    """What a published table is like.

    Attributes:
        columns: Their types, and whether they refuse null.
        indexed: Those of them that have an index of their own.
        checks: What publishes that were cut short have left of their checks.
        ours: Which of the columns contracts have made; others are left alone.
        extra_is_free: Whether nothing of somebody's own is built on the column of undeclared fields.
    """

    columns: Mapping[str, tuple[str, bool]]
    indexed: frozenset[str]
    checks: tuple[str, ...]
    ours: Collection[str]
    extra_is_free: bool = False


@dataclass(frozen=True)
class Change:
    """What has to be done to a published table because its contract has changed.

    Attributes:
        ahead: Statements that change nothing of what readers see; each takes a moment.
        meanwhile: Statements that add indexes and prove checks: they take long, and let people read.
        last: Statements that give the table the contract's columns, when all its rows have the new values.
        names: What each column of the contract is called until then.
    """

    ahead: tuple[str, ...]
    meanwhile: tuple[str, ...]
    last: tuple[str, ...]
    names: dict[str, str]


def change(schema: str, table: Table, run_id: str, found: Found) -> Change:
    """Return how a published table becomes what its contract says; nothing has to be done as long as that is the same.

    Args:
        schema: Where the table is.
        table: The contract's columns and indexes.
        run_id: The run, which names the columns and the check that it makes.
        found: What the table is like.

    Raises:
        EtlError: The key has another type now, which nothing that refers to the table could follow.
    """
    alter = f"ALTER TABLE {qualified(schema, table.name)}"
    there, wanted = found.columns, {column.name: column for column in table.columns}
    retyped = {name for name, (kind, _) in there.items() if name in wanted and kind != type_name(wanted[name])}
    if changed := [name for name in table.key if name in retyped]:
        raise EtlError(
            f"the key column {changed[0]} of {schema}.{table.name} is {there[changed[0]][0]}, and its contract says "
            f"{type_name(wanted[changed[0]])} now; drop the table, and what refers to it, and run the command again"
        )
    if found.extra_is_free and any(name not in there or name in retyped for name in wanted):
        retyped.add(EXTRA)  # so that it comes last again: PostgreSQL puts new columns at the end
    gone = [name for name in there if name in retyped or (name not in wanted and name in found.ours)]
    made = {
        column.name: made_name(run_id, place)
        for place, column in enumerate(table.columns)
        if column.name in retyped or column.name not in there
    }
    names = {name: made.get(name, name) for name in wanted}
    free = [name for name, (_, required) in there.items() if required and (name in gone or _may_be_null(wanted, name))]
    required = [one.name for one in table.columns if not one.nullable and (one.name in made or not there[one.name][1])]
    check, proving, dropping = _proof(alter, made_name(run_id, "required"), [names[name] for name in required])
    # A publish that was cut short may have left its columns and checks: this run's, or another's that may go on still.
    ahead = [f"{alter} DROP CONSTRAINT {quoted(left)}" for left in found.checks]
    ahead += [f"{alter} ADD COLUMN IF NOT EXISTS {quoted(made[name])} {wanted[name].kind.postgres}" for name in made]
    ahead += [f"{alter} ALTER COLUMN {quoted(name)} DROP NOT NULL" for name in free]
    indexes = [
        postgres_index(schema, table, name, names[name])
        for name in table.indexes
        if name in made or name not in found.indexed
    ]
    last = [f"{alter} DROP COLUMN {quoted(name)}" for name in gone]
    last += [f"{alter} RENAME COLUMN {quoted(made[name])} TO {quoted(name)}" for name in made]
    last += [f"{alter} ALTER COLUMN {quoted(name)} SET NOT NULL" for name in required]
    return Change((*ahead, *check), (*indexes, *proving), (*last, *dropping), names)


def made_name(run_id: str, place: object) -> str:
    """Return the name of what a run adds to a table until it is published: a column, or a check on several."""
    return f"{MADE}{run_id}{MADE}{place}"


def type_name(column: Column) -> str:
    """Return a column's type as the catalog spells it."""
    spelled = column.kind.postgres.replace(BYTEWISE, "").replace(", ", ",")
    return {"timestamptz": "timestamp with time zone", "timestamptz[]": "timestamp with time zone[]"}.get(
        spelled, spelled
    )


def _proof(alter: str, check: str, columns: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return what adds a check that columns have no nulls, what proves it, and what drops it."""
    if not columns:
        return [], [], []
    no_nulls = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in columns)
    return (
        [f"{alter} ADD CONSTRAINT {quoted(check)} CHECK ({no_nulls}) NOT VALID"],
        [f"{alter} VALIDATE CONSTRAINT {quoted(check)}"],
        [f"{alter} DROP CONSTRAINT {quoted(check)}"],
    )


def _may_be_null(wanted: Mapping[str, Column], name: str) -> bool:
    return name in wanted and wanted[name].nullable
