"""What a published table of PostgreSQL leaves behind that somebody has renamed or moved away: its references."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from contracts.schema.ddl import qualified, quoted
from contracts.schema.entity import Table
from pipeline.stores.staging import Staging

# The constraint's owner, its name, and the table at the other end from the one that stayed.
_REFERENCES = (
    "SELECT conrelid::regclass::text, conname::text FROM pg_constraint f JOIN pg_class r ON r.oid = {renamed} "
    "JOIN pg_namespace s ON s.oid = relnamespace WHERE contype = 'f' AND condeferred AND {stayed} = "
    "to_regclass($1::text) AND conkey = (SELECT array_agg(attnum ORDER BY place) FROM pg_attribute "
    "JOIN jsonb_array_elements_text($5::text::jsonb) WITH ORDINALITY k (name, place) ON attname = name "
    "WHERE attrelid = conrelid) AND NOT (nspname = $2::text AND relname IN "
    "(SELECT jsonb_array_elements_text($3::text::jsonb))) "
    # By its columns it is the table that is missing, and not a table of somebody's own.
    "AND NOT EXISTS (SELECT FROM jsonb_array_elements_text($4::text::jsonb) c WHERE NOT EXISTS "
    "(SELECT FROM pg_attribute WHERE attrelid = r.oid AND attname = c.value AND NOT attisdropped))"
)
_FROM_CHILD = _REFERENCES.format(renamed="confrelid", stayed="conrelid")
_TO_PARENT = _REFERENCES.format(renamed="conrelid", stayed="confrelid")


def released(rows: Callable[..., list[Any]], staging: Staging, missing: Sequence[Table]) -> list[str]:
    """Return the statements that drop references of ours between a published table and one that was renamed.

    The rows of the renamed table stay as they are, so the reference would be broken by what is published from now on.

    Args:
        rows: Returns the rows of a query.
        staging: What is published.
        missing: The tables that bear no longer their names.
    """
    ours = orjson.dumps(sorted({*staging.ours, *(table.name for table in staging.tables)})).decode()
    found = list[tuple[str, str]]()
    for table in missing:
        columns = orjson.dumps(sorted(staging.owned(table))).decode()
        ends = [(_FROM_CHILD, one.name, one) for one in staging.tables if one.parent == table.name]
        ends += [(_TO_PARENT, table.parent, table)] if table.parent else []
        for query, stayed, child in ends:
            name = qualified(staging.schema, stayed)
            found += rows(query, name, staging.schema, ours, columns, orjson.dumps(child.key[:-1]).decode())
    return [f"ALTER TABLE {where} DROP CONSTRAINT IF EXISTS {quoted(name)}" for where, name in found]
