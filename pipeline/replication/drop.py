"""Published collections and marts are removed again: from both stores and from the books; MongoDB is not touched."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from contracts.schema.history import HISTORY
from contracts.schema.names import snake_case
from pipeline import control
from pipeline.connections import Connections
from pipeline.control import quarantine
from pipeline.errors import BusyError, UsageError
from pipeline.runs.published import MARTS, REPLICA
from pipeline.runs.recovery import recover
from pipeline.stores.clickhouse.store import ClickHouse


@dataclass(frozen=True)
class Dropped:
    """What is published of a collection or mart, and goes.

    Attributes:
        collection: Its name.
        targets: The stores that show it.
        rows: How many documents, or rows of a mart, these show, as far as that is known without counting.
        quarantined: How many of its documents are in quarantine.
        roots: The tables of its documents; those of their arrays go with them.
        schema: Where these are.
    """

    collection: str
    targets: tuple[str, ...]
    rows: int
    quarantined: int
    roots: tuple[str, ...]
    schema: str = REPLICA


def find_dropped(connections: Connections, names: Sequence[str]) -> list[Dropped]:
    """Return what dropping some collections and marts would remove, and change nothing.

    Args:
        connections: The open connections.
        names: Names of collections or of their tables, or of marts; their contracts may be gone.

    Raises:
        UsageError: Nothing of one is published or in quarantine.
    """
    control.ensure_schema(connections.postgres)
    with connections.postgres.transaction():
        return [_found(connections, name) for name in _recorded(connections, names)]


def drop(connections: Connections, names: Sequence[str]) -> list[Dropped]:
    """Remove collections and marts from both stores and from the books, each all at once.

    In ClickHouse the tables go one by one, before the books are closed over them: whatever kills this, doing it again
    ends it.

    Args:
        connections: The open connections.
        names: Names of collections or of their tables, or of marts; their contracts may be gone.

    Returns:
        What was removed.

    Raises:
        UsageError: Nothing of one is published or in quarantine; nothing was removed.
        BusyError: A run is at work on one; nothing of it was removed.
        EtlError: Something of somebody's own is built on a table, so that PostgreSQL keeps it.
    """
    postgres = connections.postgres
    recover(connections)
    chosen = find_dropped(connections, names)
    for one in chosen:
        with postgres.transaction():
            control.lock_publishing(postgres)
            _check_idle(connections, one.collection)
            if one.schema == REPLICA:
                _drop_history(connections, one)  # first of all: its views read what is dropped then
            tables = _tables(connections, one, one.schema)
            postgres.drop(one.schema, one.roots, tables)
            if ClickHouse.name in one.targets:
                connections.clickhouse.drop(one.schema, one.roots, tables)
            control.forget_collection(postgres, one.collection, one.schema, one.roots)
    return chosen


def _drop_history(connections: Connections, one: Dropped) -> None:
    kept = _tables(connections, one, HISTORY)
    for target in connections.targets({"postgres", *one.targets}):
        target.drop_history(one.roots, kept)
    control.forget_collection(connections.postgres, one.collection, HISTORY, one.roots)


def _recorded(connections: Connections, names: Iterable[str]) -> list[str]:
    """Return the collections and marts that names stand for."""
    recorded = control.recorded_collections(connections.postgres)
    marts = control.recorded_marts(connections.postgres)
    tables = {root: name for name in recorded for root in _roots(connections, name, recorded)}
    by_name = {name: name for name in marts} | tables | {name: name for name in recorded}
    if unknown := [name for name in names if name not in by_name]:
        there = f"; there are {', '.join(sorted({*recorded, *marts}))}" if recorded else ""
        raise UsageError(f"nothing is published of {unknown[0]!r}, and nothing of it is in quarantine{there}")
    return list(dict.fromkeys(by_name[name] for name in names))


def _found(connections: Connections, name: str) -> Dropped:
    recorded = control.recorded_collections(connections.postgres)
    shown = control.publications(connections.postgres, [name])
    schema, roots = (REPLICA, _roots(connections, name, recorded)) if name in recorded else (MARTS, (name,))
    rows = max((one.held[root].rows for one in shown for root in roots if root in one.held), default=0)
    quarantined = quarantine.size(connections.postgres, name)
    return Dropped(name, tuple(one.target for one in shown), rows, quarantined, roots, schema)


def _roots(connections: Connections, name: str, recorded: dict[str, set[str]]) -> tuple[str, ...]:
    """Return the root tables of a collection: its contract's, and those that it was published as."""
    known, entity = control.recorded_tables(connections.postgres, REPLICA), connections.entities.get(name)
    roots = {known[table] for table in recorded[name] if table in known}
    roots |= {entity.table} if entity else set()
    if not roots:  # books of an older version do not tell
        roots = {snake_case(name)}
    others = {one.table for one in connections.entities.values() if one.collection != name}
    return tuple(sorted(roots - others))


def _tables(connections: Connections, one: Dropped, schema: str) -> list[str]:
    """Return the names of all tables of a collection, or of those of which former versions were kept."""
    known, entity = control.recorded_tables(connections.postgres, schema), connections.entities.get(one.collection)
    declared = [table.name for table in entity.tables] if entity else []
    return sorted({*declared, *one.roots, *(table for table, root in known.items() if root in one.roots)})


def _check_idle(connections: Connections, name: str) -> None:
    for run_id in control.runs_at_work(connections.postgres, name):
        if control.is_alive(connections.postgres, run_id):
            raise BusyError(f"run {run_id} is at work on {name}; nothing of it was removed; wait until that is over")
