"""From staging to what people read: the steps that replicated tables and marts share."""

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import replace

from contracts.schema.omitted import omitted_names
from pipeline import control
from pipeline.connections import Connections
from pipeline.control import Held, as_number
from pipeline.errors import SnapshotError
from pipeline.runs.changes import note_changes
from pipeline.runs.observed import observe, observed
from pipeline.runs.published import check_columns, check_held_alone, tables_of, unfinished
from pipeline.runs.recovery import follow
from pipeline.stores.source import Source
from pipeline.stores.staging import Staging


def create_staging(connections: Connections, staging: Staging, targets: Iterable[str]) -> None:
    """Create the staging areas of a run, within the caller's transaction on PostgreSQL.

    Args:
        connections: The open connections.
        staging: Where its tables will be gathered.
        targets: Names of the stores.

    Raises:
        EtlError: Something of somebody's own on a published table would end the publish.
    """
    for target in connections.targets(targets):
        target.stage(_with_ours(connections, staging, target.name))


def create_tables(connections: Connections, staging: Staging, targets: Iterable[str]) -> None:
    """Create the tables of staging areas that were created without, as :func:`create_staging` does it."""
    for target in connections.targets(targets):
        target.stage_tables(_with_ours(connections, staging, target.name))


def _with_ours(connections: Connections, staging: Staging, target: str) -> Staging:
    ours = control.columns_added(connections.postgres, target, staging.schema)
    return replace(staging, ours=ours, observed=observed(connections, target))


def prepare_publish(connections: Connections, staging: Staging, targets: Iterable[str]) -> None:
    """Do the slow part of a publish, before its transaction begins; nobody who reads the published tables notices.

    Args:
        connections: The open connections; PostgreSQL's must not be within a transaction.
        staging: Where the tables were gathered.
        targets: Names of the stores.
    """
    for target in connections.targets(targets):
        target.prepare(staging)


def publish(
    connections: Connections,
    staging: Staging,
    names: Iterable[str],
    targets: Iterable[str],
    *,
    amends: bool = False,
    sources: Mapping[str, Source] | None = None,
    unpinned: Container[str] = (),
) -> None:
    """Publish a run's staging, within the caller's transaction on PostgreSQL.

    PostgreSQL's tables change with that transaction's commit. It also records that ClickHouse is to follow, which
    :func:`~pipeline.runs.recovery.recover` then lets it do, now or in the next command.

    Args:
        connections: The open connections.
        staging: Where the tables were gathered, prepared.
        names: The collections or marts that are published.
        targets: Names of the stores.
        amends: Whether part of what is shown is put right, whose moment stays;
            :func:`~pipeline.runs.published.check_same_run` comes first.
        sources: What the collections were copied from, if from elsewhere than what the books tell.
        unpinned: Those of them that were read at no one moment.

    Raises:
        SnapshotError: A later moment is published already.
        UsageError: Part of a table was staged, which has other columns by now.
    """
    postgres, names, targets = connections.postgres, tuple(names), tuple(targets)
    sources = sources or {}
    if not amends:
        _check_not_earlier(connections, staging, names, sources)
    check_held_alone(connections, names, targets, control.held_alone(postgres, staging.run_id))
    if not staging.is_full:
        _make_way(connections, names, targets)
    growths = {target.name: target.growth(staging) for target in connections.targets(targets)}
    held = {(one.name, one.target): one.held for one in control.publications(postgres, names)}
    note_changes(connections, staging, names, targets)
    observe(connections, staging, names, targets)
    if postgres.name in targets:
        postgres.publish(_with_ours(connections, staging, postgres.name))
    for target in targets:
        control.record_columns(postgres, target, staging.schema, staging.tables)
    control.record_publication(postgres, staging.run_id, names, targets, moment_stays=amends)
    control.record_alone(postgres, staging.run_id, names, targets, is_full=staging.is_full)
    if not amends:
        control.record_unpinned(postgres, {name: name in unpinned for name in names}, targets)
    for name in names if staging.is_full else ():
        if entity := connections.entities.get(name):
            control.record_omitted(postgres, name, targets, omitted_names(entity))
    for name, source in sources.items():
        control.record_source(postgres, name, targets, source)
    # Rows that are put right make up for what somebody did, of which nobody knows how many they were.
    _record_held(connections, staging, names, targets, {} if amends else held, growths)


def _make_way(connections: Connections, names: Collection[str], targets: Collection[str]) -> None:
    """Let ClickHouse follow what it has still to follow, and refuse tables that have other columns by now."""
    for one in unfinished(connections):
        if one.name in names and one.target in targets:
            follow(connections, [one])  # or our entry would take the place of what ClickHouse has still to follow
    # Another run may have published other columns since this one began.
    check_columns(connections, [connections.entities[name] for name in names], targets)


def _record_held(
    connections: Connections,
    staging: Staging,
    names: Iterable[str],
    targets: Iterable[str],
    before: Mapping[tuple[str, str], Mapping[str, Held]],
    growths: Mapping[str, Mapping[str, int]],
) -> None:
    """Enter how many rows each table has after a publish, and the mark that its store gives it.

    Args:
        connections: The open connections.
        staging: What was published.
        names: The collections or marts.
        targets: Names of the stores.
        before: What their tables held before, by name and store, as far as that is known.
        growths: How many rows more they have, or have in all, by store and table.
    """
    for store in connections.targets(targets):
        marks = {table: stats.mark for table, stats in store.stats(staging.schema, staging.published).items()}
        now = {
            name: _grown(connections, staging, name, before.get((name, store.name), {}), growths[store.name], marks)
            for name in names
        }
        control.record_held(connections.postgres, store.name, now)


def _grown(
    connections: Connections,
    staging: Staging,
    name: str,
    before: Mapping[str, Held],
    growth: Mapping[str, int],
    marks: Mapping[str, str],
) -> dict[str, Held]:
    """Return what the tables of a collection or mart hold after a publish, as far as that was known before."""
    found = {}
    for table in tables_of(connections, [name]):
        if not staging.is_part(table) or table.name in before:
            rows = growth.get(table.name, 0) + (before[table.name].rows if staging.is_part(table) else 0)
            found[table.name] = Held(rows, marks.get(table.name, ""))
    return found


def _check_not_earlier(
    connections: Connections, staging: Staging, names: tuple[str, ...], sources: Mapping[str, Source]
) -> None:
    for publication in control.publications(connections.postgres, names):
        # The moments of two servers are no earlier and later.
        was, now = publication.source, sources.get(publication.name)
        is_observed = publication.name in connections.entities and connections.entities[publication.name].history
        if was and now and was.is_other(now) and not is_observed:
            continue
        if as_number(publication.cluster_time) > staging.version:
            raise SnapshotError(
                f"{publication.name} in {publication.target} shows a later moment already (run {publication.run_id}), "
                f"so run {staging.run_id} was not published; run the command again"
            )
