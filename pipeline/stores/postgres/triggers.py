"""What users put on published tables of PostgreSQL, and what may drop or change rows as they are written."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import DataError

_Rows = Callable[..., list[tuple[Any, ...]]]
_WITH_PARTS = (  # partitions, and tables that inherit, have triggers of their own
    "WITH RECURSIVE ours AS (SELECT to_regclass(name)::oid AS oid FROM unnest($1::text[]) name "
    "UNION SELECT inhrelid FROM pg_inherits JOIN ours ON inhparent = ours.oid) "
)
_CHANGES = 4 | 8 | 16  # INSERT, DELETE and UPDATE, in the bits of pg_trigger.tgtype


@dataclass(frozen=True)
class Trigger:
    """A trigger of a user's own.

    Attributes:
        name: Its name, with its table's.
        waits: Whether it fires at the end of the transaction.
    """

    name: str
    waits: bool


def triggers(rows: _Rows, tables: Iterable[str]) -> list[Trigger]:
    """Return what fires when rows of tables are changed, and is none of PostgreSQL's own.

    Args:
        rows: Returns the rows of a query.
        tables: Their names, quoted; those that don't exist have none.
    """
    query = (
        "SELECT format('%s on %s', tgname, tgrelid::regclass), tgdeferrable FROM pg_trigger JOIN ours "
        "ON ours.oid = tgrelid WHERE NOT tgisinternal AND tgenabled IN ('O', 'A') AND tgtype & $2::int <> 0 ORDER BY 1"
    )
    return [Trigger(name, waits) for name, waits in rows(_WITH_PARTS + query, list(tables), _CHANGES)]


def check_provable(rows: _Rows, tables: Sequence[str]) -> None:
    """Refuse tables of which nobody could tell whether they became what they are to be.

    Args:
        rows: Returns the rows of a query.
        tables: Their names, quoted; those that don't exist are let pass.

    Raises:
        DataError: A rule rewrites what is written, or row-level security hides rows from this user.
    """
    rules = "SELECT format('%s on %s', rulename, ev_class::regclass) FROM pg_rewrite JOIN ours ON ours.oid = ev_class"
    if found := [name for (name,) in rows(f"{_WITH_PARTS}{rules} WHERE rulename <> '_RETURN' ORDER BY 1", tables)]:
        raise DataError(
            f"{_named('rule', found)} in PostgreSQL would write other rows than were copied; nothing was published; "
            "drop it (DROP RULE) and run the command again"
        )
    policies = (
        "SELECT ours.oid::regclass::text, coalesce((SELECT string_agg(polname, ', ' ORDER BY polname) FROM pg_policy "
        "WHERE polrelid = ours.oid), 'none') FROM ours WHERE row_security_active(ours.oid) ORDER BY 1"
    )
    for table, named in rows(_WITH_PARTS + policies, tables):
        raise DataError(
            f"row-level security hides rows of {table} in PostgreSQL from the pipeline's user (policies: {named}), so "
            "nobody could tell whether all were written; nothing was published; give that user BYPASSRLS, or make it "
            "the owner without FORCE ROW LEVEL SECURITY, and run the command again"
        )


def blamed(found: Sequence[Trigger]) -> str:
    """Return who is to blame for rows that are not as they were written, and what to do."""
    if not found:
        return "somebody else wrote to it meanwhile; run the command again"
    return (
        f"{_named('trigger', [one.name for one in found])} may have done that; drop or disable what does "
        "(ALTER TABLE ... DISABLE TRIGGER ...) and run the command again"
    )


def _named(what: str, names: Sequence[str]) -> str:
    return f"the {what}{'s' * (len(names) > 1)} {', '.join(names)}"
