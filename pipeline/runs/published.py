"""What is published, and whether part of it may be changed."""

from collections.abc import Container, Iterable, Mapping, Sequence

from contracts.schema.entity import Entity, Table
from contracts.schema.omitted import omitted_names
from pipeline import control
from pipeline.connections import TARGETS, Connections
from pipeline.control import Publication
from pipeline.errors import DataError, SnapshotError, UsageError
from pipeline.stores.clickhouse.store import ClickHouse

REPLICA, MARTS = "replica", "marts"


def tables_of(connections: Connections, names: Iterable[str]) -> tuple[Table, ...]:
    """Return the tables of collections or marts."""
    known = known_tables(connections)
    return tuple(table for name in names for table in known[name])


def known_tables(connections: Connections) -> dict[str, tuple[Table, ...]]:
    """Return the tables of every collection and mart that has a contract, by its name."""
    known = {collection: entity.tables for collection, entity in connections.entities.items()}
    return known | {name: (mart.table,) for name, mart in connections.marts.items()}


def published_in(connections: Connections, names: Iterable[str]) -> set[str]:
    """Return the targets that any of some collections or marts is published in: whoever is at them needs no other."""
    control.ensure_schema(connections.postgres)
    with connections.postgres.transaction():
        return {one.target for one in control.publications(connections.postgres, names)}


def publications_of(
    connections: Connections, collections: Iterable[str] = (), targets: Iterable[str] = TARGETS
) -> dict[str, list[Publication]]:
    """Return what collections show, by collection.

    Args:
        connections: The open connections.
        collections: Names of the collections; all that are published if none is named.
        targets: Names of the targets.

    Raises:
        UsageError: A named collection is not published, or none is.
    """
    asked, wanted = tuple(collections), set(connections.named(targets))
    found: dict[str, list[Publication]] = {entity.collection: [] for entity in connections.chosen(asked)}
    for one in control.publications(connections.postgres, found):
        if one.target in wanted:
            found[one.name].append(one)
    missing = [name for name, publications in found.items() if not publications]
    if missing and (asked or len(missing) == len(found)):
        raise UsageError(f"{', '.join(missing)}: not replicated yet; run etl replicate")
    return {name: publications for name, publications in found.items() if publications}


def judged(connections: Connections, name: str, targets: Iterable[str] = ()) -> Entity:
    """Return a collection's contract as all the stores must hold its values that show it, or are about to.

    Args:
        connections: The open connections.
        name: The collection.
        targets: The stores that are about to show it.
    """
    with connections.postgres.transaction():
        return judged_here(connections, name, targets)


def judged_here(connections: Connections, name: str, targets: Iterable[str] = ()) -> Entity:
    """Do what :func:`judged` does, within the transaction that is open."""
    shown = {one.target for one in control.publications(connections.postgres, [name])}
    return connections.entities[name].within(shown | set(targets))


def check_held_alone(
    connections: Connections, names: Iterable[str], targets: Iterable[str], alone: Container[str] = ()
) -> None:
    """Refuse to show collections in a further store of which one shows what only that one can hold.

    Within the caller's transaction.

    Args:
        connections: The open connections.
        names: The collections.
        targets: The stores that are about to show them.
        alone: Those of which these would show what no other store can hold.

    Raises:
        UsageError: The two stores would show different documents.
    """
    chosen = set(targets)
    for one in control.publications(connections.postgres, names):
        if one.target not in chosen and (one.is_alone or one.name in alone):
            holder = one.target if one.is_alone else min(chosen)
            raise UsageError(
                f"{one.name} in {holder} has values that the other store can't hold, and would differ from it; nothing "
                f"was published; etl replicate {one.name} copies to both, and keeps out of both what one can't hold"
            )


def check_omitted(connections: Connections, collections: Iterable[str]) -> None:
    """Refuse to follow collections whose contracts omit by now what is in the tables, or omit no longer what is not.

    Raises:
        UsageError: Only a full copy takes it out, or brings it back.
    """
    with connections.postgres.transaction():
        found = control.publications(connections.postgres, collections)
    for one in found:
        now = set(omitted_names(connections.entities[one.name]))
        if one.omitted is not None and (changed := sorted(now ^ set(one.omitted))):
            name = changed[0]
            what = "omits" if name in now else "no longer omits"
            raise UsageError(
                f"the contract of {one.name} {what} {name!r}, which {'may be' if name in now else 'is not'} in what is "
                f"published; nothing was followed; run etl replicate {one.name}"
            )


def unpinned_in(connections: Connections) -> set[str]:
    """Return the published collections that were read at no one moment."""
    with connections.postgres.transaction():
        return {one.name for one in control.publications(connections.postgres) if not one.is_pinned}


def unfinished(connections: Connections) -> list[Publication]:
    """Return what was committed and not yet followed by ClickHouse."""
    return control.unfinished(connections.postgres)


def check_columns(connections: Connections, entities: Sequence[Entity], targets: Iterable[str]) -> None:
    """Refuse to change some rows of tables whose columns are not the contract's: all other rows would lose values.

    Raises:
        UsageError: A table has other columns, or of other types; only a full copy can change them.
    """
    for target in connections.targets(targets):
        ours = control.columns_added(connections.postgres, target.name, REPLICA)
        for entity in entities:
            for table in entity.tables:
                if not target.fits(REPLICA, table, ours.get(table.name)):
                    raise UsageError(
                        f"the contract of {entity.collection} declares other columns than {table.name} in "
                        f"{target.name} has; run etl replicate"
                    )


def check_same_run(connections: Connections, name: str, runs: Mapping[str, str]) -> None:
    """Refuse to put right part of what was published anew since it was read; the moment alone may have moved on.

    Args:
        connections: The open connections; within a transaction that holds the lock of publishing.
        name: The collection.
        runs: The run that each target showed when it was read.

    Raises:
        SnapshotError: A target shows another run.
    """
    shows = {one.target: one.run_id for one in control.publications(connections.postgres, [name])}
    for target, run_id in runs.items():
        if (now := shows.get(target)) != run_id:
            raise SnapshotError(
                f"{name} in {target} shows run {now} by now, and no longer run {run_id}, of which part was to be put "
                "right; nothing was changed; run the command again"
            )


def check_not_restored(connections: Connections, collections: Iterable[str]) -> None:
    """Refuse to change a part of tables in ClickHouse that show another run than the books say.

    What was changed between the two would never be made up for: deleted documents would be there for good.

    Args:
        connections: The open connections.
        collections: Names of the collections.

    Raises:
        DataError: One of them was restored from a backup, and the other was not.
    """
    with connections.postgres.transaction():
        control.lock_publishing(connections.postgres)  # while a publish goes on the two may differ
        shown = control.publications(connections.postgres, collections)
        told = [one for one in shown if one.target == ClickHouse.name and one.finished and one.marked]
        roots = {one.name: connections.entities[one.name].root for one in told}
        runs = connections.clickhouse.runs_of(REPLICA, [*roots.values()]) if roots else {}
        for one in told:
            if (found := runs.get(roots[one.name].name)) != one.run_id:
                raise DataError(
                    f"{one.name} in ClickHouse shows {f'run {found}' if found else 'nothing'}, and the books in "
                    f"PostgreSQL say run {one.run_id}: one of the two was restored or changed without the other; "
                    f"run etl replicate {one.name}"
                )
