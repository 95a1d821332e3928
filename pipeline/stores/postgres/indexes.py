"""The slow part of a publish to PostgreSQL: keys, indexes and statistics, before anybody is in the way of anybody."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from contracts.schema.ddl import postgres_foreign_key, postgres_keys, qualified, quoted, quoted_names
from contracts.schema.entity import Table
from pipeline.stores.postgres.catalog import Catalog
from pipeline.stores.postgres.session import Session
from pipeline.stores.staging import Staging

_MEMORY = "256MB"  # of the server, for each of two connections that build indexes at the same time


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
    build_all(session, work)
    names = {table.name for table in new}
    if references := [postgres_foreign_key(staging.name, table) for table in missing if table.parent in names]:
        build(session, references)


def build_all(session: Session, work: Sequence[Sequence[str]]) -> None:
    """Do pieces of work, each in a transaction, on this connection and another: PostgreSQL builds an index on one core.

    Opening one takes longer than the keys of a small table, so there are no more.
    """
    todo = iter(work)
    with ThreadPoolExecutor(1, thread_name_prefix="keys") as pool:
        helping = [pool.submit(_help, session, todo)] if len(work) > 1 else []
        _build_in_turn(session, todo)
        for one in helping:
            one.result()


def _help(session: Session, todo: Iterator[Sequence[str]]) -> None:
    with closing(session.another()) as other:
        _build_in_turn(other, todo)


def _build_in_turn(session: Session, todo: Iterator[Sequence[str]]) -> None:
    try:
        for statements in todo:
            build(session, statements)
    finally:
        deque(todo, maxlen=0)  # where one fails, the other begins nothing more


def build(session: Session, statements: Sequence[str]) -> None:
    """Run statements in a transaction of their own, with memory for indexes."""
    with session.transaction():
        # Nobody else is at a staging area; whoever is must not hold us up for ever.
        session.execute(
            f"SET LOCAL maintenance_work_mem = '{_MEMORY}'",
            "SET LOCAL lock_timeout = '1min'",
            *statements,
        )


def _analyze(staging: Staging, table: Table, *, whole: bool) -> str:
    """Return what gathers statistics of a table in staging; of one that is only merged its key's are asked for."""
    columns = "" if whole else f" ({quoted_names(table.key)})"
    return f"ANALYZE {qualified(staging.name, table.name)}{columns}"
