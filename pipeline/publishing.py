"""From staging to what people read: the steps that replicated tables and marts share."""

from collections import defaultdict
from collections.abc import Iterable

from contracts.schema.entity import Table
from contracts.schema.registry import marts
from pipeline import books
from pipeline.books import Publication, as_number
from pipeline.connections import Connections
from pipeline.errors import SnapshotError
from pipeline.stores import Staging

REPLICA, MARTS = "replica", "marts"


def publish(connections: Connections, staging: Staging, names: Iterable[str], targets: Iterable[str]) -> None:
    """Publish a run's staging, within the caller's transaction on PostgreSQL.

    PostgreSQL's tables change with that transaction's commit. It also records that ClickHouse is to follow, which
    :func:`finish_what_was_cut_short` then lets it do, now or in the next command.

    Args:
        connections: The open connections.
        staging: Where the tables were gathered.
        names: The collections or marts that are published.
        targets: Names of the stores.

    Raises:
        SnapshotError: A later moment is published already.
    """
    postgres, names, targets = connections.postgres, tuple(names), tuple(targets)
    _refuse_to_go_back(connections, staging, names)
    for target in connections.targets(targets):
        target.prepare(staging)
    if postgres.name in targets:
        postgres.publish(staging)
    books.enter_publication(postgres, staging.run_id, names, targets)


def finish_what_was_cut_short(connections: Connections) -> None:
    """Let ClickHouse follow what PostgreSQL has committed, and drop the staging of runs that are over.

    Every command that writes begins with it, so a run that was killed leaves nothing that lasts.
    """
    postgres, clickhouse = connections.postgres, connections.clickhouse
    books.prepare(postgres)
    for run_id, waiting in _unfinished(connections).items():
        schema = REPLICA if waiting[0].name in connections.entities else MARTS
        tables = tables_of(connections, [publication.name for publication in waiting])
        clickhouse.publish(Staging(run_id, schema, tables, as_number(waiting[0].cluster_time)))
        with postgres.transaction():
            books.finish(postgres, run_id, clickhouse.name)
    for target in connections.targets():
        for run_id in target.leftovers():
            if not books.is_alive(postgres, run_id):
                with postgres.transaction():
                    target.discard(run_id)
                    books.fail(postgres, run_id, "the process ended before the run did")


def abandon(connections: Connections, run_id: str, targets: Iterable[str], message: str) -> None:
    """Give a run up: nothing of it is published, its staging is removed."""
    with connections.postgres.transaction():
        books.fail(connections.postgres, run_id, message)
        for target in connections.targets(targets):
            target.discard(run_id)


def tables_of(connections: Connections, names: Iterable[str]) -> tuple[Table, ...]:
    """Return the tables of collections or marts."""
    known = {collection: entity.tables for collection, entity in connections.entities.items()}
    known |= {mart.name: (mart.table,) for mart in marts().values()}
    return tuple(table for name in names for table in known[name])


def _unfinished(connections: Connections) -> dict[str, list[Publication]]:
    """Return what was committed and not yet followed by ClickHouse, by run."""
    waiting: dict[str, list[Publication]] = defaultdict(list)
    for publication in books.publications(connections.postgres):
        if not publication.finished:
            waiting[publication.run_id].append(publication)
    return waiting


def _refuse_to_go_back(connections: Connections, staging: Staging, names: tuple[str, ...]) -> None:
    for publication in books.publications(connections.postgres):
        if publication.name in names and as_number(publication.cluster_time) > staging.version:
            raise SnapshotError(
                f"{publication.name} in {publication.target} shows a later moment already (run {publication.run_id}), "
                f"so run {staging.run_id} was not published"
            )
