"""The proof that comes before a publish: every document that MongoDB counted is in each store or in quarantine."""

import re
from collections.abc import Iterable, Mapping

from contracts.schema.entity import ID, Entity
from pipeline import control
from pipeline.connections import Connections
from pipeline.control import Account
from pipeline.errors import BooksOpenError, QuarantineLimitError, UsageError
from pipeline.runs.lifecycle import holding_run_lock
from pipeline.runs.published import judged_here
from pipeline.runs.run import Partition, Run, select_documents, staging_of
from pipeline.runs.shrinking import check_shrinking
from pipeline.stores.base import Target
from pipeline.stores.selection import Ids, Range
from pipeline.stores.staging import Staging
from transforms.bson.documents import make_document
from transforms.bson.identity import identify
from transforms.ingest.ids import to_stored_ids

_NAMED = 5
_LIMIT = re.compile(r"\d+|\d+(\.\d+)?%")


def count_source(connections: Connections, run: Run) -> dict[str, int]:
    """Return how many documents MongoDB counts in each collection of a run, whole, at the run's moment.

    Of a run that copies no whole collections there is nothing to return, nor of what was read at no one moment: that
    goes on changing, so what was read was counted as it came.
    """
    counted = [name for name in run.uuids if run.is_full and name not in run.unpinned]
    return {name: connections.mongo.count(name, run.cluster_time, Range()) for name in counted}


def check_books(connections: Connections, run: Run, source: Mapping[str, int], limit: str | None = None) -> None:
    """Count what each target holds in staging, and hold it against the source.

    Args:
        connections: The open connections.
        run: A run whose partitions are loaded.
        source: What :func:`count_source` returned.
        limit: How many refused documents are tolerated: ``N``, or ``P%`` of all; None for any number.

    Raises:
        BooksOpenError: A partition was not loaded, or a document is neither loaded nor quarantined.
        QuarantineLimitError: More documents were refused than tolerated.
        ShrinkError: More of what is published would be gone than the settings allow.
    """
    postgres, staging = connections.postgres, staging_of(connections, run)
    if missing := control.unloaded(postgres, run.id):
        raise BooksOpenError(
            f"{len(missing)} partitions of run {run.id} were not loaded, the first is {missing[0]}; nothing was "
            "published; run it again"
        )
    roots = {collection: connections.entities[collection].root for collection in run.uuids}
    for target in connections.targets(run.targets):
        staged = target.staged(staging, [*roots.values()])
        loaded = {collection: staged[root.name] for collection, root in roots.items()}
        control.record_loaded(postgres, run.id, target.name, loaded)
    for account in control.accounts(postgres, run.id):
        if not account.closed or account.source != source.get(account.collection, account.source):
            raise BooksOpenError(_open_books(connections, run, account, source))
    if not run.is_full:
        _check_scopes(connections, run, staging)
    _check_limit(connections, run, limit)
    tolerated = {
        one.collection: limit is not None and one.quarantined <= parse_limit(limit, one.source)
        for one in control.accounts(postgres, run.id)
    }
    absent = {name for name, uuid in run.uuids.items() if uuid is None and run.is_full}
    check_shrinking(connections, staging, tolerated=tolerated, allow_shrink=run.allow_shrink, absent=absent)


def check_scope(
    connections: Connections, staging: Staging, entity: Entity, targets: Iterable[str], changed: int
) -> None:
    """Hold the list of documents that a staging area speaks for against those that were changed.

    What is missing from it would never be deleted, and nobody would ask for it again.

    Args:
        connections: The open connections.
        staging: The area; it is not whole.
        entity: The collection's contract.
        targets: Names of the stores.
        changed: How many documents it must speak for.

    Raises:
        BooksOpenError: A store has another number of them.
    """
    for target in connections.targets(targets):
        if (named := target.scope_size(staging, entity.root)) != changed:
            raise BooksOpenError(
                f"the books of {entity.collection} in {target.name} are open: {changed:,} documents were changed, and "
                f"the list of them that the store was given has {named:,}; nothing was published; run it again"
            )


def _check_scopes(connections: Connections, run: Run, staging: Staging) -> None:
    """Hold the lists of all collections of a run against what was noted as changed."""
    partitions = [Partition.from_json(values) for values in control.plan_of(connections.postgres, run.id) or []]
    for name in run.uuids:
        entity = judged_here(connections, name, run.targets)
        check_scope(connections, staging, entity, run.targets, _changed(connections, run, partitions, entity))


def _changed(connections: Connections, run: Run, partitions: Iterable[Partition], entity: Entity) -> int:
    """Return how many of a collection's changed documents bear an ``_id`` that the stores can have.

    Equal ones are in one partition, so partitions are counted one by one.
    """
    found = 0
    for partition in partitions:
        if partition.collection == entity.collection and isinstance(
            ids := select_documents(connections, run, partition), Ids
        ):
            found += to_stored_ids(map(make_document, ids.all), entity).n_unique()
    return found


@holding_run_lock
def close_books(connections: Connections, run: Run, limit: str | None = None) -> list[Account]:
    """Close the books of a run ahead of its publish, which proves them again; a published run is left alone.

    Args:
        connections: The open connections.
        run: A run whose partitions are loaded.
        limit: How many refused documents are tolerated: ``N``, or ``P%`` of all; None for any number.

    Returns:
        The closed books.

    Raises:
        BooksOpenError: A document is neither loaded nor quarantined, or a partition was not loaded.
        QuarantineLimitError: More documents were refused than tolerated.
        ShrinkError: More of what is published would be gone than the settings allow.
    """
    with connections.postgres.transaction():
        if not control.is_published(connections.postgres, run.id):
            check_books(connections, run, count_source(connections, run), limit)
        return control.accounts(connections.postgres, run.id)


def _check_limit(connections: Connections, run: Run, limit: str | None) -> None:
    if limit is None:
        return
    accounts = {account.collection: account for account in control.accounts(connections.postgres, run.id)}.values()
    refused, source = sum(one.quarantined for one in accounts), sum(one.source for one in accounts)
    if refused > parse_limit(limit, source):
        worst = max(accounts, key=lambda one: one.quarantined)
        raise QuarantineLimitError(
            f"{refused:,} of {source:,} documents were refused, more than the limit of {limit}; most of them, "
            f"{worst.quarantined:,}, in {worst.collection}; nothing was published; etl contract check "
            f"{worst.collection} tells by which rules"
        )


def parse_limit(limit: str, source: int) -> float:
    """Return how many documents a limit allows.

    Args:
        limit: ``N`` or ``P%``.
        source: How many documents there are.

    Raises:
        UsageError: It is neither.
    """
    is_share = limit.endswith("%")
    if not _LIMIT.fullmatch(limit) or (is_share and float(limit[:-1]) > 100):
        raise UsageError(
            f"a limit of the quarantine is a number or a percentage up to 100%, such as 100 or 0.5%, not {limit!r}"
        )
    return source * float(limit[:-1]) / 100 if is_share else int(limit)


def _open_books(connections: Connections, run: Run, account: Account, source: Mapping[str, int]) -> str:
    entity = judged_here(connections, account.collection, run.targets)
    target = connections.targets([account.target])[0]
    named = ", ".join(_unaccounted(connections, run, entity, target)[:_NAMED])
    counted = source.get(account.collection, account.source)
    return (
        f"the books of {account.collection} in {account.target} are open: MongoDB has {counted:,} "
        f"documents ({account.source:,} by partition), {account.loaded:,} were loaded and {account.quarantined:,} "
        f"quarantined; {'unaccounted for: ' + named if named else 'every _id is accounted for'}; "
        "nothing was published; run it again"
    )


def _unaccounted(connections: Connections, run: Run, entity: Entity, target: Target) -> list[str]:
    """Return the ``_id``s that are neither in a target's staging nor refused, or that are there but not in MongoDB."""
    refused = control.refused_hashes(connections.postgres, run.id, entity.collection)
    found: list[str] = []
    for values in control.plan_of(connections.postgres, run.id) or []:
        partition = Partition.from_json(values)
        if partition.collection != entity.collection:
            continue
        ids = target.staged_ids(staging_of(connections, run), entity.root, partition.number)
        staged = {str(value) for batch in ids for value in batch[ID].to_pylist()}
        selection = select_documents(connections, run, partition)
        for raw in connections.mongo.ids(entity.collection, run.cluster_time, selection):
            hashed, text = identify(raw)
            stored = set(map(str, to_stored_ids([raw], entity)))
            if hashed not in refused and not stored & staged:
                found.append(text)
            staged -= stored
        found += sorted(staged)
    return found
