"""The marts of a run become what people see: all of them together, proven before and after."""

from collections import defaultdict

from pipeline import control
from pipeline.connections import Connections
from pipeline.errors import BooksOpenError, SnapshotError
from pipeline.marts.run import BuiltMart, MartRun, staging_of
from pipeline.runs import publish as publishing
from pipeline.runs.lifecycle import holding_run_lock
from pipeline.runs.published import MARTS, unpinned_in
from pipeline.runs.recovery import check_not_stuck, recover
from pipeline.runs.resume import retrying
from pipeline.runtime.timings import ACTIVITY, PUBLISH
from pipeline.stores.staging import Staging


@retrying
@holding_run_lock
def publish(connections: Connections, run: MartRun) -> list[BuiltMart]:
    """Publish all marts of a run together; doing it again does nothing.

    Raises:
        BooksOpenError: A mart is not loaded, or not with all of its rows; nothing was published.
    """
    postgres, staging = connections.postgres, staging_of(connections, run)
    if not control.is_published(postgres, run.id):
        with ACTIVITY.at(PUBLISH, "keys"):
            publishing.prepare_publish(connections, staging, run.targets)
    with postgres.transaction():
        control.lock_publishing(postgres)
        if not control.is_published(postgres, run.id):
            with ACTIVITY.at(PUBLISH, "publish"):
                _publish(connections, run, staging)
    check_not_stuck(recover(connections, run.targets), run.marts)
    return _built(connections, run)


def _publish(connections: Connections, run: MartRun, staging: Staging) -> None:
    _prove(connections, run)
    _check_bases(connections, run)
    unpinned = run.marts if unpinned_in(connections) & run.shows.keys() else ()
    publishing.publish(connections, staging, run.marts, run.targets, unpinned=unpinned)
    _prove_completed(connections, run)
    _forget_changes(connections)


def _built(connections: Connections, run: MartRun) -> list[BuiltMart]:
    postgres = connections.postgres
    written_rows = {account.collection: account.source for account in control.accounts(postgres, run.id)}
    rows = written_rows | {
        one.name: one.held[one.name].rows
        for one in control.publications(postgres)
        if one.run_id == run.id and one.name in one.held
    }
    seconds = control.seconds(postgres, run.id)
    return [
        BuiltMart(name, rows[name], seconds[name], run.cluster_time, written_rows[name], run.plan(name))
        for name in run.marts
    ]


def _check_bases(connections: Connections, run: MartRun) -> None:
    """Refuse to complete a part from rows that are not those any more which it was computed beside.

    Raises:
        SnapshotError: A mart was published anew meanwhile.
    """
    shows = {(one.name, one.target): one.run_id for one in control.publications(connections.postgres) if one.finished}
    for name, one in run.plans.items():
        if one.base and any(shows.get((name, target)) != one.base for target in run.targets):
            raise SnapshotError(f"the mart {name} was published anew while it was computed; run it again")


def _prove_completed(connections: Connections, run: MartRun) -> None:
    """Count what has become of the tables of which a part was published.

    Raises:
        BooksOpenError: One has not as many rows as were to be.
    """
    postgres, known, parts = connections.postgres, connections.marts, staging_of(connections, run).parts
    for one in control.publications(postgres):
        if one.target == postgres.name and one.run_id == run.id and one.name in parts:
            rows, found = one.held[one.name].rows, postgres.count(MARTS, known[one.name].table)
            if rows != found:
                raise BooksOpenError(
                    f"the mart {one.name} in {one.target} was to have {rows:,} rows, and has {found:,}; nothing was "
                    f"published; etl marts --full {one.name} computes and writes all of it"
                )


def _forget_changes(connections: Connections) -> None:
    """Forget the changes of documents that no published mart has still to follow."""
    postgres, wanted = connections.postgres, defaultdict[str, set[str]](set)
    entities, published = connections.entities, control.publications(postgres)
    for run_id in {one.run_id for one in published if one.source is None}:  # of marts; plans of copies may be long
        for step in control.plan_of(postgres, run_id) or []:
            for collection, since in step.get("basis", {}).get("shows", {}).items():
                wanted[collection].add(since)
    # By now they may be at later runs than the marts.
    shows = {one.name: one.run_id for one in published if one.name in entities and one.target == postgres.name}
    control.trim_changes(postgres, shows, wanted)


def _prove(connections: Connections, run: MartRun) -> None:
    """Count what each target holds in staging, and hold it against what was computed."""
    postgres, staging = connections.postgres, staging_of(connections, run)
    if missing := control.unloaded(postgres, run.id):
        raise BooksOpenError(
            f"the mart {run.marts[missing[0]]} of run {run.id} was not loaded; nothing was published; build it again"
        )
    numbers = {name: number for number, name in enumerate(run.marts)}  # each is loaded as one partition
    for target in connections.targets(run.targets):
        loaded = {}
        for name, found in target.staged(staging, staging.tables).items():
            loaded[name] = {numbers[name]: found.get(numbers[name], 0)}
        control.record_loaded(postgres, run.id, target.name, loaded)
    for account in control.accounts(postgres, run.id):
        if not account.closed:
            raise BooksOpenError(
                f"the mart {account.collection} has {account.source:,} rows, of which {account.target} holds "
                f"{account.loaded:,}; nothing was published; build it again"
            )
