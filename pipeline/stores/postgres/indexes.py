"""The slow part of a publish to PostgreSQL: keys, indexes and statistics, before anybody is in the way of anybody."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from contracts.schema.ddl import postgres_foreign_key, postgres_keys, qualified, quoted, quoted_names
from contracts.schema.entity import Table
from pipeline.stores.postgres.catalog import Catalog
from pipeline.stores.postgres.session import Session
from pipeline.stores.staging import Staging

_BUILDERS = 2  # connections that build indexes at the same time
_MEMORY = "256MB"  # of the server, for each of them


def prepare(session: Session, staging: Staging) -> None:
    """Add keys and indexes to the tables that are not published yet, and statistics to all."""
    catalog = Catalog(session.rows)
    there = catalog.existing(staging.schema, staging.tables)
    new = [table for table in staging.tables if table not in there]
    keyed = catalog.keyed(staging.name, [table.name for table in new])
    missing = [table for table in new if table.name not in keyed]
    session.commit()  # or the locks of this look would be in the others' way
    work = [
        [
            *(postgres_keys(staging.name, table) if table in missing else []),
            _analyze(staging, table, whole=table in new),
        ]
        for table in staging.tables
        if table.name not in staging.parts
    ]
    if not staging.is_full:
        work.append([f"ANALYZE {quoted(staging.name)}.{staging.documents(root)}" for root in staging.roots])
    # Each table on a connection of its own: PostgreSQL builds an index on one core.
    with ThreadPoolExecutor(_BUILDERS, thread_name_prefix="keys") as pool:
        for building in [pool.submit(build, session, statements) for statements in work]:
            building.result()
    names = {table.name for table in new}
    build(session, [postgres_foreign_key(staging.name, table) for table in missing if table.parent in names])


def build(session: Session, statements: Sequence[str]) -> None:
    """Run statements in a transaction and on a connection of their own, with memory for indexes."""
    with closing(session.another()) as other, other.transaction():
        # Nobody else is at a staging area; whoever is must not hold us up for ever.
        other.execute(
            f"SET maintenance_work_mem = '{_MEMORY}'",
            "SET lock_timeout = '1min'",
            # Or the server would go on building for a process that was killed, and hold its locks.
            "SET client_connection_check_interval = '1s'",
            *statements,
        )


def _analyze(staging: Staging, table: Table, *, whole: bool) -> str:
    """Return what gathers statistics of a table in staging; of one that is only merged its key's are asked for."""
    columns = "" if whole else f" ({quoted_names(table.key)})"
    return f"ANALYZE {qualified(staging.name, table.name)}{columns}"
