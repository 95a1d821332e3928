"""The changes since: documents that were changed after the published moment, read again at a later one and published.

Change streams tell which documents were touched, and nothing else is taken from them: the documents themselves are read
at one moment, in the same way as by a full copy. So whatever happened to one in between, and in which order, it comes
out as it is at that moment, and doing it again changes nothing.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, count, islice

from bson import Timestamp

from pipeline import control
from pipeline.connections import Connections
from pipeline.control import ChangePage, Publication
from pipeline.errors import EtlError
from pipeline.replication.presence import find_unfollowed, find_unpinned
from pipeline.replication.replicate import PARTITION_BYTES, load_all, publish
from pipeline.replication.sources import check_sources
from pipeline.runs.lifecycle import started
from pipeline.runs.lost_tables import check_nothing_lost, find_lost_tables
from pipeline.runs.publish import create_staging
from pipeline.runs.published import (
    check_columns,
    check_not_restored,
    check_omitted,
    publications_of,
    published_in,
    unpinned_in,
)
from pipeline.runs.reconcile import parse_limit
from pipeline.runs.recovery import check_not_stuck, recover
from pipeline.runs.resume import with_retries
from pipeline.runs.run import Offsets, Partition, Run, staging_of
from pipeline.runtime.prefetch import prefetch
from pipeline.runtime.progress import Progress, tell_nobody
from pipeline.runtime.workers import LEAST_BYTES
from pipeline.stores.postgres.store import Postgres

_NOTED = 10_000  # changed documents that are noted together


@dataclass(frozen=True)
class Synced:
    """What became of a collection's changes.

    Attributes:
        collection: Name of the collection.
        targets: Names of the stores that follow it.
        since: The moment that they showed.
        cluster_time: The moment that they show now.
        changed: How many documents were changed in between.
        loaded: How many of them are in the stores now.
        quarantined: How many of them were refused.
        run_id: The last run that changed something; None if nothing was changed.
    """

    collection: str
    targets: tuple[str, ...]
    since: Timestamp
    cluster_time: Timestamp
    changed: int = 0
    loaded: int = 0
    quarantined: int = 0
    run_id: str | None = None

    @property
    def deleted(self) -> int:
        """How many of the changed documents are no more."""
        return self.changed - self.loaded - self.quarantined


def sync(
    connections: Connections,
    collections: Iterable[str] = (),
    progress: Progress[Partition] = tell_nobody,
    max_quarantined: str | None = None,
    *,
    allow_shrink: bool = False,
) -> list[Synced]:
    """Bring what is published to the present moment, all collections to the same.

    Args:
        connections: The open connections.
        collections: Names of the collections; all that are published if none is named.
        progress: Is told the documents of each partition, and how many of them are through.
        max_quarantined: How many refused documents are tolerated: ``N``, or ``P%`` of the changed; None for any number.
        allow_shrink: Whether to take away more of what is published than the settings allow.

    Returns:
        What became of each collection.

    Raises:
        UsageError: A collection is not published, was copied from another server or database, or its contract
            declares other columns than are published.
        SnapshotError: MongoDB no longer knows all changes, or a collection was dropped or renamed.
        BooksOpenError: A changed document is neither loaded nor quarantined; nothing was published.
        QuarantineLimitError: More documents were refused than tolerated; nothing was published.
        DataError: A table, its view or its rows are gone from a store, or ClickHouse was restored without PostgreSQL.
        EtlError: ClickHouse could not follow an earlier publish of a collection, or MongoDB has a capped collection by
            its name by now; all others were followed.
    """
    found, stuck = _synced(connections, collections, progress, max_quarantined, allow_shrink=allow_shrink)
    check_not_stuck(stuck, stuck)
    return found


def _synced(
    connections: Connections,
    collections: Iterable[str],
    progress: Progress[Partition],
    max_quarantined: str | None,
    *,
    allow_shrink: bool,
) -> tuple[list[Synced], dict[str, EtlError]]:
    """Follow the changes of what was asked for; of everything, what can't be followed is left out and returned."""
    if max_quarantined is not None:
        parse_limit(max_quarantined, 0)  # a limit that can't be read is told before the work, not after
    asked = tuple(entity.collection for entity in connections.chosen(names)) if (names := tuple(collections)) else ()
    stuck = recover(connections, published_in(connections, asked or connections.entities))
    check_not_stuck(stuck, asked)
    with connections.postgres.transaction():
        published = publications_of(connections, asked)
    shows = {name: publications for name, publications in published.items() if name not in stuck}
    unpinned = find_unpinned(connections, shows, named=bool(asked), accepted=unpinned_in(connections))
    stuck |= {name: error for name, error in unpinned.items() if error}
    unfollowed = find_unfollowed(connections, [name for name in shows if name not in stuck], named=bool(asked))
    shows = {name: publications for name, publications in shows.items() if name not in {*stuck, *unfollowed}}
    check_not_restored(connections, shows)
    check_omitted(connections, shows)
    # Of such a collection nothing is changed; the others are followed first.
    gone = find_lost_tables(connections, shows)
    shows = {name: publications for name, publications in shows.items() if name not in gone}
    # In this order, as in a full copy: what is dropped from here on is noticed in the end.
    now = check_sources(connections, shows)
    moment = with_retries(connections, None, "to ask for the moment", connections.mongo.cluster_time)
    found: list[Synced] = []
    for targets, group in _by_targets(shows).items():
        uuids = {name: now[name].uuid for name in group}
        run = Run("", moment, uuids, targets, is_full=False, allow_shrink=allow_shrink)
        found += _followed(connections, run, group, progress, max_quarantined)
    check_nothing_lost(gone)
    return sorted(found, key=lambda one: one.collection), stuck


def follow(
    connections: Connections,
    collections: Iterable[str] = (),
    rest: float = 5.0,
    max_quarantined: str | None = None,
    *,
    allow_shrink: bool = False,
) -> Iterator[list[Synced]]:
    """Sync again and again, and yield what became of the changes each time.

    Args:
        connections: The open connections.
        collections: Names of the collections; all that are published if none is named.
        rest: Seconds between the end of a sync and the next one.
        max_quarantined: As for :func:`sync`, each time.
        allow_shrink: As for :func:`sync`, each time.
    """
    asked = tuple(collections)
    while True:
        # PostgreSQL may have been started anew since the last one.
        with_retries(connections, None, "to reach PostgreSQL", connections.postgres.revive)
        # What is stuck in ClickHouse is warned of, and followed again as soon as it can be.
        found, _ = _synced(connections, asked, tell_nobody, max_quarantined, allow_shrink=allow_shrink)
        yield found
        time.sleep(rest)


def summed(earlier: Iterable[Synced], later: Iterable[Synced]) -> list[Synced]:
    """Return what became of the changes over two syncs, by collection and stores."""
    found = {(one.collection, one.targets): one for one in earlier}
    for one in later:
        before = found.get((one.collection, one.targets), replace(one, changed=0, loaded=0, quarantined=0))
        found[one.collection, one.targets] = replace(
            one,
            since=before.since,
            changed=before.changed + one.changed,
            loaded=before.loaded + one.loaded,
            quarantined=before.quarantined + one.quarantined,
            run_id=one.run_id or before.run_id,
        )
    return list(found.values())


def _by_targets(shows: Mapping[str, list[Publication]]) -> dict[tuple[str, ...], dict[str, list[Publication]]]:
    """Return what each collection shows, grouped by the stores that it is published in."""
    groups: dict[tuple[str, ...], dict[str, list[Publication]]] = defaultdict(dict)
    for name, publications in shows.items():
        groups[tuple(one.target for one in publications)][name] = publications
    return groups


def _followed(
    connections: Connections,
    run: Run,
    shows: dict[str, list[Publication]],
    progress: Progress[Partition],
    limit: str | None,
) -> list[Synced]:
    """Follow collections that are published in the same stores; where nothing was changed, no run is opened."""
    # Where two stores show two moments it is the earlier one: to one of them some changes are no news.
    since = {name: min(one.cluster_time for one in publications) for name, publications in shows.items()}
    first, others = with_retries(
        connections, None, "to read the changes", lambda: _begun(connections.mongo.touched(since, run.cluster_time))
    )
    changed = _taken_over(connections, run, since, chain(first, others), progress, limit) if first else []
    unchanged = shows.keys() - {one.collection for one in changed}
    with connections.postgres.transaction():
        looked_at = [one for name in unchanged for one in shows[name]]
        control.advance_moment(connections.postgres, looked_at, run.cluster_time)
    return [*changed, *(Synced(name, run.targets, since[name], run.cluster_time) for name in unchanged)]


def _begun(changes: Iterator[tuple[str, bytes]]) -> tuple[list[tuple[str, bytes]], Iterator[tuple[str, bytes]]]:
    """Return the first change, if there is any, and the others: MongoDB looks for it now."""
    return list(islice(changes, 1)), changes


def _taken_over(
    connections: Connections,
    wanted: Run,
    since: dict[str, Timestamp],
    changes: Iterable[tuple[str, bytes]],
    progress: Progress[Partition],
    limit: str | None,
) -> list[Synced]:
    """Do a run of the collections that were changed, from noting the changes to the publish."""
    postgres, moment, targets = connections.postgres, wanted.cluster_time, wanted.targets
    with started(connections, "sync", moment, targets) as run_id:
        # What is noted twice counts once, so a reading that broke off is begun anew.
        readings = chain([changes], (connections.mongo.touched(since, moment) for _ in count()))
        noted = with_retries(
            connections, run_id, "to note the changes", lambda: _note(postgres, run_id, next(readings))
        )
        most = _most_together(connections, [name for name, number in noted.items() if number > _NOTED])
        with postgres.transaction():
            pages = control.cut_pages(postgres, run_id, most)
        run = replace(wanted, id=run_id, uuids={page.collection: wanted.uuids[page.collection] for page in pages})
        partitions = _plan(connections, run, pages)
        load_all(connections, run, partitions, progress)
        accounts = {account.collection: account for account in publish(connections, run, limit)}
    numbers = Counter[str]()
    for page in pages:
        numbers[page.collection] += page.ids
    return [
        Synced(name, targets, since[name], moment, numbers[name], one.loaded, one.quarantined, run_id)
        for name, one in accounts.items()
    ]


def _note(postgres: Postgres, run_id: str, changes: Iterable[tuple[str, bytes]]) -> Counter[str]:
    """Note changes, and return about how many of each collection."""
    noted = Counter[str]()
    with closing(prefetch(_distinct(changes))) as ahead:  # MongoDB takes as long to tell as PostgreSQL to note
        for some in ahead:
            with postgres.transaction():
                control.record_changes(postgres, run_id, some)
            noted.update(collection for collection, _ in some)
    return noted


def _most_together(connections: Connections, collections: Iterable[str]) -> dict[str, int]:
    """Return of how many documents a partition is at most, so that it is none larger than those of a full copy.

    Several processes share the smallest that are worth it. What was deleted has no size, so few are never too many.
    """
    size = PARTITION_BYTES if connections.workers.number == 1 else LEAST_BYTES
    extents = {name: connections.mongo.extent(name) for name in collections}
    return {name: max(_NOTED, size * one.documents // max(1, one.size)) for name, one in extents.items()}


def _plan(connections: Connections, run: Run, pages: Sequence[ChangePage]) -> list[Partition]:
    """Make partitions of what was noted, open their accounts, and create the staging areas."""
    postgres = connections.postgres
    check_columns(connections, [connections.entities[collection] for collection in run.uuids], run.targets)
    partitions = [
        Partition(
            page.collection,
            number,
            Offsets(page.after, page.upto),
            f"{page.collection} {number + 1}/{len(pages)}",
            _size(connections, page),
        )
        for number, page in enumerate(pages)
    ]
    with postgres.transaction():
        control.lock_publishing(postgres)  # of two runs at once only one may create the schema
        control.record_plan(postgres, run.id, [one.as_json() for one in partitions], run.targets)
        create_staging(connections, staging_of(connections, run), run.targets)
    return partitions


def _size(connections: Connections, page: ChangePage) -> int:
    """Return how many bytes of BSON the documents of a page are, about; asked only where others may share the work."""
    if connections.workers.number == 1:
        return 0
    extent = connections.mongo.extent(page.collection)
    return page.ids * extent.size // max(1, extent.documents)


def _distinct(changes: Iterable[tuple[str, bytes]]) -> Iterator[set[tuple[str, bytes]]]:
    """Yield changes, many at a time; a document that is changed over and over appears once among them."""
    found: set[tuple[str, bytes]] = set()
    for one in changes:
        found.add(one)
        if len(found) == _NOTED:
            yield found
            found = set()
    if found:
        yield found
