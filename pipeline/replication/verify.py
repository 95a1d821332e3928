"""Proof: MongoDB at the published moment and the stores, held against each other value by value."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

from bson import Timestamp

from contracts.schema.entity import Entity
from pipeline import control
from pipeline.connections import TARGETS, Connections
from pipeline.control import Publication
from pipeline.errors import SnapshotError
from pipeline.replication.chunks import Chunk, chunks
from pipeline.replication.comparison import Comparison, hold_against, summed, without
from pipeline.replication.presence import find_unpinned
from pipeline.replication.sample import Sample
from pipeline.replication.sources import check_sources
from pipeline.replication.walk import Part, parts, tile, tiles
from pipeline.runs.lost_tables import check_nothing_lost, find_lost_tables
from pipeline.runs.published import publications_of, published_in, unpinned_in
from pipeline.runs.recovery import recover
from pipeline.runs.resume import with_retries
from pipeline.runtime.memory import release_memory
from pipeline.runtime.prefetch import prefetch
from pipeline.runtime.progress import Progress, tell_nobody
from pipeline.runtime.workers import LEAST_BYTES, SHARES, Call
from pipeline.stores.selection import Range
from transforms.bson.documents import make_document
from transforms.bson.identity import identify
from transforms.gc_pause import gc_paused
from transforms.oracle.expected import expected_ids

TRIES = 3  # of a collection that is published anew while it is compared


class PartlyVerifiedError(SnapshotError):
    """Some collections could not be verified; what was found of the others is not lost.

    Attributes:
        names: The collections.
        found: One comparison per target and collection that could be compared.
    """

    def __init__(self, failures: Mapping[str, SnapshotError], found: Sequence[Comparison]) -> None:
        super().__init__("; ".join(map(str, failures.values())))
        self.names, self.found = tuple(failures), found


def verify(
    connections: Connections,
    collections: Iterable[str] = (),
    targets: Iterable[str] = TARGETS,
    progress: Progress[str] = tell_nobody,
    sample: Sample | None = None,
) -> list[Comparison]:
    """Prove that the targets hold exactly what MongoDB held at the published moment.

    Args:
        connections: The open connections.
        collections: Names of the collections; all that are published if none is named.
        targets: Names of the targets.
        progress: Is told the documents of a collection, and how many of them are through.
        sample: Which part of each collection is compared; None for all of it.

    Returns:
        One comparison per collection and target.

    Raises:
        DataError: A table or its view is gone from a store.
        UsageError: Nothing of it is published, or it was copied from another server or database, or can't be read at
            one moment by now; where none is named such ones are left out.
        PartlyVerifiedError: Of a collection neither the moment nor the changes since can be read any more, or it was
            published anew each time that it was compared.
    """
    targets, asked = connections.named(targets), tuple(collections)
    chosen = [entity.collection for entity in connections.chosen(asked)]
    recover(connections, published_in(connections, chosen) & set(targets))
    with connections.postgres.transaction():
        names = list(publications_of(connections, asked, targets))
    left_out = find_unpinned(connections, names, named=bool(asked), accepted=unpinned_in(connections))
    names = [name for name in names if not left_out.get(name)]
    check_sources(connections, names, targets)
    check_nothing_lost(find_lost_tables(connections, names, targets, rows=False))
    found, failures = list[Comparison](), dict[str, SnapshotError]()
    for name in names:
        work = partial(_verify_collection, connections, connections.entities[name], targets, progress, sample)
        try:
            found += with_retries(connections, None, f"verify {name}", work)
        except SnapshotError as error:
            failures[name] = error
    _record(connections, found, sample)
    if failures:
        raise PartlyVerifiedError(failures, found)
    return found


def _record(connections: Connections, found: Iterable[Comparison], sample: Sample | None) -> None:
    """Enter into the books what was found, for reports to tell."""
    control.ensure_schema(connections.postgres)  # who has verified so far had no need of the newest books
    with connections.postgres.transaction():
        for one in found:
            control.record_verification(connections.postgres, one, sample.asked if sample else "")


def left_out(
    connections: Connections, collections: Iterable[str], targets: Iterable[str], found: Iterable[Comparison]
) -> list[str]:
    """Return the published collections that a verification left out, as MongoDB has something else by their names."""
    with connections.postgres.transaction():
        return sorted(publications_of(connections, collections, targets).keys() - {one.collection for one in found})


def why_left_out(names: Sequence[str]) -> str:
    """Return in one sentence that collections are not proven as they were left out, and what to do."""
    named = " ".join(names)
    return (
        f"not proven: {', '.join(names)}, left out since MongoDB has by that name what it can't read at one moment, "
        f"such as a capped collection; bring back what was copied, copy what is there by etl replicate {named} "
        f"--without-snapshot, or remove it from the stores by etl drop {named}"
    )


def _verify_collection(
    connections: Connections, entity: Entity, targets: Sequence[str], progress: Progress[str], sample: Sample | None
) -> list[Comparison]:
    """Compare a collection in some targets; if it is published anew meanwhile, what was found is worth nothing."""
    for _ in range(TRIES):
        before = _publications(connections, entity)
        judged = entity.within({one.target for one in before})
        groups: dict[Timestamp, list[Publication]] = defaultdict(list)
        for one in before:
            if one.target in targets:
                groups[one.cluster_time].append(one)
        is_followed = all(one.finished for group in groups.values() for one in group)
        # Somebody has just published, and ClickHouse is following; where it can't, that is what is to be told.
        if not is_followed and entity.collection not in recover(connections, targets):
            continue
        with connections.postgres.transaction():  # ended each time, or its locks would hold up changes of tables
            found = [
                one for group in groups.values() for one in _compared(connections, judged, group, progress, sample)
            ]
        if _runs(before) == _runs(_publications(connections, entity)):
            return found
    raise SnapshotError(
        f"{entity.collection} was published anew during each of {TRIES} attempts to verify it, so nothing is proven; "
        f"run etl verify {entity.collection} while no sync is running"
    )


def _publications(connections: Connections, entity: Entity) -> list[Publication]:
    """Return what a collection shows, in all targets: they have one quarantine."""
    with connections.postgres.transaction():
        return control.publications(connections.postgres, [entity.collection])


def _runs(publications: Iterable[Publication]) -> list[tuple[str, str, bool]]:
    """Return the run that each target shows; its moment may move on, for as long as nothing is changed."""
    return [(one.target, one.run_id, one.finished) for one in publications]


def _compared(
    connections: Connections,
    entity: Entity,
    published: Sequence[Publication],
    progress: Progress[str],
    sample: Sample | None,
) -> list[Comparison]:
    """Compare a collection with what targets hold that show one moment of it."""
    is_pinned = all(one.is_pinned for one in published) and connections.mongo.is_pinned(entity.collection)
    since = published[0].cluster_time
    moment, touched = _readable_moment(connections, entity, since, is_pinned=is_pinned)
    documents, wanted, selected = parts(connections, entity, moment, sample)
    shown = {one.target: one.run_id for one in published}
    begun = None if is_pinned else since
    asked = _Asked(entity.collection, moment, shown, frozenset(touched), documents, begun, entity.stores)
    through = {0: 0}

    def told(place: int, _: int, done: int) -> None:
        through[place] = done
        progress(entity.collection, wanted, sum(through.values()))

    calls = [] if sample or not is_pinned else _calls(connections, entity, asked)
    if connections.verify_workers.wanted(calls) == 1:
        return _compare(connections, entity, asked, selected, partial(told, 0))
    found = dict(connections.verify_workers.share(calls, told))
    return summed([found[place] for place in range(len(calls))])


@dataclass(frozen=True)
class _Asked:
    """What is compared of a collection.

    Attributes:
        collection: Its name.
        moment: When it is read.
        shown: The run that each target shows.
        touched: ``_id``s of the documents that were changed after the published moment.
        documents: How many documents the source has.
        since: The published moment, if MongoDB can't be read at any; None if it can.
        stores: The stores that must hold its values.
    """

    collection: str
    moment: Timestamp
    shown: dict[str, str]
    touched: frozenset[bytes]
    documents: int
    since: Timestamp | None
    stores: tuple[str, ...]


def _calls(connections: Connections, entity: Entity, asked: _Asked) -> list[Call]:
    """Return how several processes share a comparison; nothing where this one does it."""
    if (workers := connections.verify_workers.number) == 1:
        return []
    extent = connections.mongo.extent(entity.collection)
    size = asked.documents * extent.size // max(1, extent.documents)
    number = min(workers * SHARES, size // LEAST_BYTES)
    cut = tiles(connections, entity, asked.moment, asked.documents, number)
    return [
        Call(compare_in_worker, (asked, one), f"verify {entity.collection} {place}/{len(cut)}", size // len(cut))
        for place, one in enumerate(cut, start=1)
    ]


def compare_in_worker(
    connections: Connections, progress: Callable[[int, int], None], asked: _Asked, selection: Range
) -> list[Comparison]:
    """Compare one of the ranges of a collection that several processes share."""
    entity = connections.entities[asked.collection].within(asked.stores)

    def compare_once() -> list[Comparison]:
        with connections.postgres.transaction():
            part = tile(connections, entity, asked.moment, selection)
            return _compare(connections, entity, asked, [part], progress)

    return with_retries(connections, None, f"verify {asked.collection}", compare_once)


def _compare(
    connections: Connections,
    entity: Entity,
    asked: _Asked,
    selected: Iterable[Part],
    progress: Callable[[int, int], None],
) -> list[Comparison]:
    """Compare some parts of a collection, one after the other."""
    changes = _Changes(connections, entity, asked.since, set(asked.touched))
    quarantine = control.quarantined(connections.postgres, entity.collection)
    targets = connections.targets(asked.shown)
    results = {
        target: Comparison(entity.collection, target, asked.moment, run_id, asked.documents)
        for target, run_id in asked.shown.items()
    }
    through, most = 0, connections.memory.compared
    pieces = (chunk for part in selected for chunk in chunks(part, entity, quarantine, asked.touched))
    with gc_paused(), closing(prefetch(pieces, lambda one: one.size > most)) as ahead:
        for chunk in ahead:
            chunk = changes.hide(chunk)
            for target in targets:
                hold_against(target, entity, chunk, changes.hidden, results[target.name])
            through += chunk.source
            progress(asked.documents, through)
            if chunk.size > most:
                del chunk
                release_memory()
    for comparison in results.values():
        comparison.changed_since = len(changes.touched)
    return list(results.values())


class _Changes:
    """Which documents were changed since the published moment: they are not compared.

    Args:
        connections: The open connections.
        entity: The collection's contract.
        since: The published moment, if MongoDB can't be read at any: then they become more while it is read.
        touched: The ``_id``s that were changed before, as BSON elements.
    """

    def __init__(self, connections: Connections, entity: Entity, since: Timestamp | None, touched: set[bytes]) -> None:
        self._mongo, self._entity, self._since = connections.mongo, entity, since
        self.touched = touched
        self.hidden = set(expected_ids(map(make_document, touched), entity))

    def hide(self, chunk: Chunk) -> Chunk:
        """Return documents that were read without those that had been changed by then."""
        if self._since is None:
            return chunk
        now, name = self._mongo.cluster_time(), self._entity.collection
        new = {element for _, element in self._mongo.touched({name: self._since}, now)}
        self._since = now
        self.touched |= new
        self.hidden |= set(expected_ids(map(make_document, new), self._entity))
        told = {identify(make_document(one))[1] for one in self.touched} if chunk.unexpected else set()
        frames = {table: without(frame, self.hidden) for table, frame in chunk.frames.items()}
        unexpected = [one for one in chunk.unexpected if one not in told]
        gone = len(chunk.frames[self._entity.table]) - len(frames[self._entity.table])
        gone += len(chunk.unexpected) - len(unexpected)
        return replace(chunk, frames=frames, unexpected=unexpected, source=chunk.source - gone)


def _readable_moment(
    connections: Connections, entity: Entity, published: Timestamp, *, is_pinned: bool
) -> tuple[Timestamp, set[bytes]]:
    """Return the moment to compare at, and the ``_id``s that were changed between the published one and it.

    What can't be read at one moment is read as it is by now, and what was changed is told as it is read.
    """
    mongo = connections.mongo
    if not is_pinned:
        return mongo.cluster_time(), set()
    try:
        # What was dropped reads as empty, without an error; the change stream tells whether it ever was.
        if mongo.uuids([entity.collection]):
            next(mongo.ids(entity.collection, published, Range()), None)
            return published, set()
    except SnapshotError:
        pass
    now = mongo.cluster_time()
    return now, {element for _, element in mongo.touched({entity.collection: published}, now)}
