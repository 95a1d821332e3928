"""Which marts are meant, what they read, and the one moment at which it is read."""

from collections.abc import Iterable

from bson import Timestamp

from contracts.schema.entity import Entity, Table
from contracts.schema.history import versions_of
from contracts.schema.mart import Mart
from contracts.schema.registry import marts
from pipeline import control
from pipeline.connections import TARGETS, Connections
from pipeline.control import Publication
from pipeline.errors import SnapshotError, UsageError
from pipeline.marts.run import MartRun
from transforms.marts import in_order, marts_of, sources

_DEMO_ADDS = "the word demo in ETL_CONTRACTS adds the contracts of the demo"


def with_their_marts(connections: Connections, names: Iterable[str]) -> list[Mart]:
    """Return the named marts and the marts that they read, each after those."""
    known = marts_of(connections.entities.values())
    wanted: dict[str, None] = {}
    queue = list(names) or list(known)
    while queue:
        name = queue.pop()
        if name not in known:
            raise UsageError(f"there is no mart {name!r}{_why_not(name)}{_there_are(known)}")
        wanted[name] = None
        queue += [source for source in sources(name) if source in known and source not in wanted]
    if not wanted:
        raise UsageError(f"there are no marts: no contract declares what they read ({_DEMO_ADDS})")
    return [known[name] for name in in_order(wanted)]


def _why_not(name: str) -> str:
    """Say why a mart is not there that is a module of this package: it follows what it reads."""
    return f" of these contracts: they do not declare all that it reads ({_DEMO_ADDS})" if name in marts() else ""


def _there_are(known: Iterable[str]) -> str:
    return f"; there are {', '.join(sorted(known))}" if known else ""


def sources_at_one_moment(
    connections: Connections, wanted: list[Mart], *, without_snapshot: bool = False
) -> tuple[str, Timestamp, dict[str, str]]:
    """Return the store to read from, the one moment that all sources of the marts show there, and by which runs.

    What was read at no one moment shows none; it is read only where that is accepted.
    """
    owners = {table.name: name for name, entity in connections.entities.items() for table in _tables_of(entity)}
    read = {table for mart in wanted for table in sources(mart.name)}
    needed = {owners[table] for table in read if table in owners}
    kept = {owners[table] for table in read & versions(connections).keys()}
    _check_observed(connections, kept)
    shown: dict[str, dict[str, Publication]] = {name: {} for name in TARGETS}
    for one in control.publications(connections.postgres):
        if one.name in needed and one.finished:
            shown[one.target][one.name] = one
    complete = {
        target: found
        for target, found in shown.items()
        if found.keys() == needed and control.observed(connections.postgres, target).keys() >= kept
    }
    if not complete:
        raise UsageError(
            f"the marts need {', '.join(sorted(needed))}, which are not all replicated; run etl replicate "
            "(--allow-missing also copies as empty what MongoDB does not have), or name marts that need others"
        )
    for target, found in complete.items():
        unpinned = sorted(name for name, one in found.items() if not one.is_pinned)
        if unpinned and not without_snapshot:
            raise UsageError(
                f"{', '.join(unpinned)} was read without a snapshot, so it shows no one moment with the others; "
                "etl marts --without-snapshot computes from it all the same, or name marts that need others"
            )
        times = {one.cluster_time for one in found.values() if one.is_pinned}
        if len(times := times or {max(one.cluster_time for one in found.values())}) == 1:
            return target, times.pop(), {name: one.run_id for name, one in found.items()}
    raise UsageError(f"{', '.join(sorted(needed))} show different moments; run etl sync to bring all to one")


def _tables_of(entity: Entity) -> tuple[Table, ...]:
    """Return what marts may read of a collection: its tables, and all their versions where these are kept."""
    return (*versions_of(entity), *entity.tables)


def versions(connections: Connections) -> dict[str, Table]:
    """Return the views of all versions, by name; a table of that name goes before."""
    views = {view.name: view for entity in connections.entities.values() for view in versions_of(entity)}
    tables = {table.name for entity in connections.entities.values() for table in entity.tables}
    return {name: view for name, view in views.items() if name not in tables}


def _check_observed(connections: Connections, names: Iterable[str]) -> None:
    for name in sorted(names):
        if not any(name in control.observed(connections.postgres, target) for target in TARGETS):
            raise UsageError(
                f"the marts need the history of {name}, which has not begun: run etl replicate {name}, or etl sync"
            )


def check_same_run(connections: Connections, run: MartRun) -> None:
    """Refuse what was read while it was published anew, at a later moment or at the same; a moment may move on."""
    publications = control.publications(connections.postgres)
    shows = {one.name: one.run_id for one in publications if one.target == run.source and one.name in run.shows}
    if shows != run.shows:
        raise SnapshotError("the replica was published anew while the marts were reading it; run etl marts again")
