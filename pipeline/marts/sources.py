"""Which marts are meant, what they read, and the one moment at which it is read."""

from collections.abc import Iterable, Mapping, Sequence

from bson import Timestamp

from contracts.schema.entity import Entity, Table
from contracts.schema.history import versions_table
from contracts.schema.mart import Mart
from contracts.schema.registry import all_tables
from pipeline import control
from pipeline.connections import TARGETS, Connections
from pipeline.control import Publication
from pipeline.errors import SnapshotError, UsageError
from pipeline.marts.available import reasons
from pipeline.marts.run import MartRun
from transforms.marts import in_order, sources

_DEMO_ADDS = "the word demo in ETL_CONTRACTS adds the contracts of the demo"


def with_their_marts(connections: Connections, names: Iterable[str]) -> list[Mart]:
    """Return the named marts and the marts that they read, each after those; all that can be computed if none is named.

    Raises:
        UsageError: There is no such mart, or it can't be computed, or none can.
    """
    named, everything, entities = list(names), connections.known_marts, connections.entities.values()
    if named and everything.keys() >= set(named):
        meant = with_sources(named, everything)
        # These alone are tried: to try all others takes longer than to compute a small one.
        if not reasons(entities, {mart.name: mart for mart in meant}):
            return meant
    lacking = reasons(entities, everything)
    known = {name: mart for name, mart in everything.items() if name not in lacking}
    asked = named or list(known)
    if unknown := [name for name in asked if name not in known]:
        raise UsageError(_why_not(unknown[0], everything, lacking, known))
    if not asked:
        raise UsageError(f"there are no marts: no contract declares what they read ({_DEMO_ADDS})")
    return with_sources(asked, known)


def with_sources(names: Iterable[str], known: Mapping[str, Mart]) -> list[Mart]:
    """Return marts and those that they read, each after those."""
    wanted: dict[str, Mart] = {}
    queue = list(names)
    while queue:
        name = queue.pop()
        wanted[name] = known[name]
        queue += [source for source in sources(known[name]) if source in known and source not in wanted]
    return [*in_order(wanted.values())]


def _why_not(name: str, marts: Mapping[str, Mart], lacking: Mapping[str, str], known: Iterable[str]) -> str:
    there = f"; there are {', '.join(sorted(known))}" if known else ""
    if name not in lacking:
        return f"there is no mart {name!r}{there}"
    hint = f" ({_DEMO_ADDS})" if marts[name].home is None else ""
    return f"the mart {name!r} can't be computed: {lacking[name]}{hint}{there}"


def sources_at_one_moment(
    connections: Connections, wanted: list[Mart], *, without_snapshot: bool = False
) -> tuple[str, Timestamp, dict[str, str]]:
    """Return the store to read from, the one moment that all sources of the marts show there, and by which runs.

    What was read at no one moment shows none; it is read only where that is accepted.

    Raises:
        UsageError: A source is not replicated, or they show different moments; with the marts that can be built.
    """
    needed, shown = collections_of(connections, wanted), _shown(connections, wanted)
    for target, found in shown.items():
        if found.keys() == needed and (moment := _moment_of(found.values())) is not None:
            if not without_snapshot:
                _check_pinned(found)
            return target, moment, {name: one.run_id for name, one in found.items()}
    _check_observed(connections, _kept(connections, wanted))
    if missing := min((needed - found.keys() for found in shown.values()), key=len):
        raise UsageError(
            f"the marts need {', '.join(sorted(missing))}, which are not replicated; run etl replicate "
            f"(--allow-missing also copies as empty what MongoDB does not have){_others(connections, wanted)}"
        )
    names = ", ".join(sorted(needed))
    raise UsageError(f"{names} show different moments; run etl sync to bring all to one{_others(connections, wanted)}")


def _moment_of(found: Iterable[Publication]) -> Timestamp | None:
    """Return the one moment that some publications show; None if they show several."""
    shown = list(found)
    times = {one.cluster_time for one in shown if one.is_pinned} or {max(one.cluster_time for one in shown)}
    return times.pop() if len(times) == 1 else None


def _check_pinned(found: Mapping[str, Publication]) -> None:
    if unpinned := sorted(name for name, one in found.items() if not one.is_pinned):
        raise UsageError(
            f"{', '.join(unpinned)} was read without a snapshot, so it shows no one moment with the others; "
            "etl marts --without-snapshot computes from it all the same, or name marts that need others"
        )


def _shown(connections: Connections, wanted: Iterable[Mart]) -> dict[str, dict[str, Publication]]:
    """Return what the sources of some marts show in each store, as far as it has all that is read of them."""
    wanted = list(wanted)
    needed, kept = collections_of(connections, wanted), _kept(connections, wanted)
    shown: dict[str, dict[str, Publication]] = {name: {} for name in TARGETS}
    for one in control.publications(connections.postgres):
        if one.name in needed and one.finished:
            shown[one.target][one.name] = one
    for target, found in shown.items():
        for name in kept - control.observed(connections.postgres, target).keys():
            found.pop(name, None)
    return shown


def _others(connections: Connections, wanted: Sequence[Mart]) -> str:
    """Tell which of the marts can be built though all together can't, if any can."""
    known = {mart.name: mart for mart in wanted}
    able = [name for name in known if len(known) > 1 and _is_ready(connections, with_sources([name], known))]
    return f"; these can be built by name: {', '.join(able)}" if able else ""


def _is_ready(connections: Connections, wanted: list[Mart]) -> bool:
    needed = collections_of(connections, wanted)
    return any(
        found.keys() == needed and _moment_of(found.values()) is not None
        for found in _shown(connections, wanted).values()
    )


def empty_sources(connections: Connections, names: Iterable[str]) -> dict[str, list[str]]:
    """Return the collections without a document that published marts read, each with these marts."""
    held = {
        one.name: one.held[connections.entities[one.name].table].rows
        for one in control.publications(connections.postgres)
        if one.name in connections.entities and connections.entities[one.name].table in one.held
    }
    found: dict[str, list[str]] = {}
    for name in names:
        for collection in sorted(collections_of(connections, [connections.known_marts[name]])):
            if held.get(collection) == 0:
                found.setdefault(collection, []).append(name)
    return found


def owners(connections: Connections) -> dict[str, Entity]:
    """Return the collections that tables belong to, by the names of all tables that marts may read of them."""
    return {table: connections.entities[name] for table, name in _owners(connections).items()}


def collections_of(connections: Connections, wanted: Iterable[Mart]) -> set[str]:
    """Return the collections that marts read."""
    owners = _owners(connections)
    return {owners[table] for mart in wanted for table in sources(mart) if table in owners}


def _kept(connections: Connections, wanted: Iterable[Mart]) -> set[str]:
    """Return the collections of which marts need all versions."""
    owners, views = _owners(connections), versions(connections)
    needed = {table for mart in wanted for table in sources(mart) if table not in mart.optional}
    return {owners[table] for table in needed & views.keys()}


def observed_since(connections: Connections, wanted: Iterable[Mart], target: str) -> dict[str, int]:
    """Return since when a store keeps the versions that marts read, of those it keeps, by the root table."""
    owners, read = _owners(connections), {table for mart in wanted for table in sources(mart)}
    asked = {owners[table] for table in read & versions(connections).keys()}
    since = control.observed(connections.postgres, target)
    entities = [connections.entities[name] for name in sorted(asked & since.keys())]
    return {entity.table: since[entity.collection] for entity in entities if entity.history}


def _owners(connections: Connections) -> dict[str, str]:
    """Return the collection of each table that marts may read: the tables, and the views of all their versions."""
    entities = connections.entities.items()
    views = {versions_table(table).name: name for name, entity in entities for table in entity.tables}
    return views | {table.name: name for name, entity in entities for table in entity.tables}


def versions(connections: Connections) -> dict[str, Table]:
    """Return the views of all versions, kept or not, by name; a table of that name goes before."""
    views = {view.name: view for entity in connections.entities.values() for view in map(versions_table, entity.tables)}
    tables = all_tables(connections.entities.values())
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
