"""How much a publish may take away before somebody has to say that this is right."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from contracts.schema.entity import Table
from pipeline import control
from pipeline.connections import Connections
from pipeline.control import Account
from pipeline.errors import QuarantineLimitError, ShrinkError
from pipeline.runs.published import REPLICA
from pipeline.stores.staging import Staging
from transforms.violations import shorten_text

NAMED = 3  # reasons that a message names


@dataclass(frozen=True)
class _Effect:
    """What a publish does to a collection in a target.

    Attributes:
        account: Its books in the run.
        before: Documents that are published.
        after: Documents that will be.
        refused: Documents that the run refuses and that were not in quarantine before.
    """

    account: Account
    before: int
    after: int
    refused: int

    @property
    def lost(self) -> int:
        """How many documents fewer there will be."""
        return max(0, self.before - self.after)


def check_shrinking(
    connections: Connections,
    staging: Staging,
    *,
    tolerated: Mapping[str, bool] | None = None,
    allow_shrink: bool = False,
    absent: Collection[str] = (),
    way_on: str = "add",
) -> None:
    """Refuse a publish that would remove or refuse too much of what is published, or all of a collection.

    Args:
        connections: The open connections, within the transaction of the publish.
        staging: What is to be published; its rows are counted in the books.
        tolerated: Whether the refused documents of a collection are within a limit that its user has given.
        allow_shrink: Whether documents may be gone, however many.
        absent: Collections that are not there, and are copied as empty on purpose.
        way_on: How people have it published on purpose, up to the name of an option.

    Raises:
        QuarantineLimitError: Too much would be refused.
        ShrinkError: Too much would be gone.
    """
    share, refused = connections.max_shrink, control.newly_refused(connections.postgres, staging.run_id)
    if share >= 1:
        return
    accounts = control.accounts(connections.postgres, staging.run_id)
    published = _published(connections, staging, accounts)
    for account in accounts:
        new = refused.get(account.collection, 0)
        allowed = new if tolerated and tolerated.get(account.collection) else 0
        named = published[account.collection, account.target]
        one = _effect(connections, staging, account, named, new - allowed)
        if (one.before and one.refused > share * one.before) or (one.refused and not one.after):
            raise QuarantineLimitError(_too_much_refused(connections, staging.run_id, one, way_on))
        may_shrink = allow_shrink or account.collection in absent
        if one.lost - allowed > share * one.before and not may_shrink:
            raise ShrinkError(_too_much_gone(one, share, way_on))


def _published(connections: Connections, staging: Staging, accounts: Iterable[Account]) -> dict[tuple[str, str], int]:
    """Count the published documents that a publish speaks for, by collection and target: of a whole copy all."""
    found, roots = dict[tuple[str, str], int](), defaultdict[str, dict[str, Table]](dict)
    for account in accounts:
        roots[account.target][account.collection] = connections.entities[account.collection].root
    for target in connections.targets(roots):
        tables = [*roots[target.name].values()]
        if staging.is_full:
            counts = target.count_published(REPLICA, tables)
        else:
            counts = target.count_scope_published(staging, tables)
        found |= {(name, target.name): counts[root.name] for name, root in roots[target.name].items()}
    return found


def _effect(connections: Connections, staging: Staging, account: Account, named: int, refused: int) -> _Effect:
    if staging.is_full:
        return _Effect(account, named, account.loaded, refused)
    # Of a large table no more rows are counted than it takes to know that it loses little.
    most = math.ceil(max(named - account.loaded, refused, 0) / max(connections.max_shrink, 1e-9)) + named + 1
    before = named
    if named > account.loaded or refused:
        (target,), root = connections.targets([account.target]), connections.entities[account.collection].root
        before = target.count_published(REPLICA, [root], most)[root.name]
    return _Effect(account, before, before - named + account.loaded, refused)


def _too_much_refused(connections: Connections, run_id: str, one: _Effect, way_on: str) -> str:
    entity, shown = connections.entities[one.account.collection], f"where {one.before:,} are published"
    return (
        f"{one.refused:,} of {one.account.source:,} documents of {entity.collection} would be newly refused, leaving "
        f"{one.after:,} in {one.account.target}{', ' + shown if one.before else ''}: "
        f"{_reasons(connections, run_id, entity.collection)}; nothing was published; mend the contract "
        f"{entity.table}.py or the documents, or, if that is right, {way_on} --max-quarantined 100%"
    )


def _reasons(connections: Connections, run_id: str, collection: str) -> str:
    found = control.reasons(connections.postgres, run_id, collection)
    told = [
        f"{count:,} times {rule!r} at {path or 'the document'} (such as {shorten_text(sample)})"
        for rule, path, count, sample in found[:NAMED]
    ]
    return "; ".join([*told, f"{len(found) - NAMED:,} more reasons"] if len(found) > NAMED else told)


def _too_much_gone(one: _Effect, share: float, way_on: str) -> str:
    why = f"{one.refused:,} are refused, the others are gone" if one.refused else "they are gone"
    return (
        f"{one.account.collection} in {one.account.target} would shrink from {one.before:,} documents to {one.after:,} "
        f"({why} from MongoDB), by more than {share * 100:g}% (ETL_MAX_SHRINK); nothing was published; if that is "
        f"right, {way_on} --allow-shrink"
    )
