"""Whether published tables still hold what was published: a look that every sync can afford."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from pipeline import control
from pipeline.connections import TARGETS, Connections
from pipeline.control import Held, Publication
from pipeline.errors import DataError
from pipeline.runs.published import REPLICA
from pipeline.stores.base import Reader, TableStats


def find_lost_tables(
    connections: Connections, names: Iterable[str], targets: Iterable[str] = TARGETS, *, rows: bool = True
) -> dict[str, str]:
    """Return which collections have lost a table, its view or rows, and what is to be said of them.

    In a transaction of its own. What a store can tell without reading rows is compared with the books; rows are counted
    only of a table that was written anew as a whole, and where the books don't know how many there are.

    Args:
        connections: The open connections.
        names: Names of the collections.
        targets: Names of the targets that count.
        rows: Whether rows count, or tables and views alone.
    """
    wanted, found = set(names), dict[str, str]()
    with connections.postgres.transaction():
        control.lock_publishing(connections.postgres)  # while a publish goes on the books and the stores may differ
        shows: dict[str, list[Publication]] = defaultdict(list)
        for one in control.publications(connections.postgres):
            if one.name in wanted and one.finished:
                shows[one.target].append(one)
        for target in connections.targets(name for name in connections.named(targets) if name in shows):
            tables = [table for one in shows[target.name] for table in connections.entities[one.name].tables]
            seen = target.stats(REPLICA, tables)
            for one in shows[target.name]:
                if what := _lost(connections, target, one, seen, rows):
                    found.setdefault(one.name, what)
    return found


def check_nothing_lost(lost: Mapping[str, str]) -> None:
    """Refuse to go on with what :func:`find_lost_tables` returned, if that is anything.

    Raises:
        DataError: A collection has lost a table, its view or rows.
    """
    if lost:
        raise DataError("; ".join(lost.values()))


def _lost(
    connections: Connections, target: Reader, one: Publication, seen: Mapping[str, TableStats], are_rows_asked: bool
) -> str | None:
    """Return what to say of a collection that has lost something in a target; enter what the books did not know."""
    tables, held = connections.entities[one.name].tables, dict(one.held)
    for table in tables:
        place, stats = f"{REPLICA}.{table.name} in {target.name}", seen.get(table.name)
        if stats is None and held and table.name not in held:
            continue  # never published: the contract has it anew, which those tell who compare columns
        if stats is None:
            return f"{place}, or what it is a view of, is missing; run etl replicate {one.name}"
        if not are_rows_asked:
            continue
        known, most = held.get(table.name), stats.most
        if known and known.mark == stats.mark and (most is None or most >= known.rows):
            continue
        rows = target.count(REPLICA, table)
        if known and rows != known.rows:
            return (
                f"{place} has {rows:,} rows, and {known.rows:,} were published by the run {one.run_id}: somebody has "
                f"emptied or changed it; run etl replicate {one.name}"
            )
        held[table.name] = Held(rows, stats.mark)
    if held != one.held:
        control.record_held(connections.postgres, target.name, {one.name: held})
    return None
