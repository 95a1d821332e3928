"""From staging to what people read: the steps that replicated tables and marts share."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from contracts.schema.entity import Entity, Table
from contracts.schema.registry import marts
from pipeline import control as books
from pipeline.connections import TARGETS, Connections
from pipeline.control import Held, Publication, as_number
from pipeline.engines import embedded
from pipeline.errors import BusyError, DataError, EtlError, ServerError, SnapshotError, UsageError, reason_of
from pipeline.runs import unrecorded as unsaid
from pipeline.stores.base import Staging
from pipeline.stores.clickhouse.store import ClickHouse
from pipeline.stores.source import Source
from pipeline.text.redaction import redacted

log = logging.getLogger(__name__)
REPLICA, MARTS = "replica", "marts"
WHOLE = ("replicate", "marts")  # kinds of runs that stage all rows of their tables


class _HasId(Protocol):
    @property
    def id(self) -> str:
        """The run's name in the books."""


_R = TypeVar("_R", bound=_HasId)
_P = ParamSpec("_P")
_T = TypeVar("_T")


def open_staging(connections: Connections, staging: Staging, targets: Iterable[str]) -> None:
    """Create the staging areas of a run that was opened; if that fails the run is given up."""
    postgres, names = connections.postgres, tuple(targets)
    try:
        with postgres.transaction():
            books.lock_publishing(postgres)  # of two runs at once only one may create the schema
            stage(connections, staging, names)
    except BaseException as error:
        abandon(connections, staging.run_id, names, reason_of(error))
        raise


def prepare(connections: Connections, staging: Staging, targets: Iterable[str]) -> None:
    """Do the slow part of a publish, before its transaction begins; nobody who reads the published tables notices.

    Args:
        connections: The open connections; PostgreSQL's must not be within a transaction.
        staging: Where the tables were gathered.
        targets: Names of the stores.
    """
    for target in connections.targets(targets):
        target.prepare(staging)


def stage(connections: Connections, staging: Staging, targets: Iterable[str]) -> None:
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


def _with_ours(connections: Connections, staging: Staging, target: str) -> Staging:
    return replace(staging, ours=books.columns_made(connections.postgres, target, staging.schema))


def publish(
    connections: Connections,
    staging: Staging,
    names: Iterable[str],
    targets: Iterable[str],
    *,
    amends: bool = False,
    sources: Mapping[str, Source] | None = None,
) -> None:
    """Publish a run's staging, within the caller's transaction on PostgreSQL.

    PostgreSQL's tables change with that transaction's commit. It also records that ClickHouse is to follow, which
    :func:`finish_what_was_cut_short` then lets it do, now or in the next command.

    Args:
        connections: The open connections.
        staging: Where the tables were gathered, prepared.
        names: The collections or marts that are published.
        targets: Names of the stores.
        amends: Whether part of what is shown is put right, whose moment stays; :func:`refuse_another_run` comes first.
        sources: What the collections were copied from, if from elsewhere than what the books tell.

    Raises:
        SnapshotError: A later moment is published already.
        UsageError: Part of a table was staged, which has other columns by now.
    """
    postgres, names, targets = connections.postgres, tuple(names), tuple(targets)
    sources = sources or {}
    if not amends:
        _refuse_to_go_back(connections, staging, names, sources)
    if not staging.whole:
        for one in _unfinished(connections):
            if one.name in names and one.target in targets:
                _follow(connections, one)  # or our entry would take the place of what ClickHouse has still to follow
        for name in names:  # another run may have published other columns since this one began
            refuse_other_columns(connections, connections.entities[name], targets)
    growths = {target.name: target.growth(staging) for target in connections.targets(targets)}
    held = {(one.name, one.target): one.held for one in books.publications(postgres)}
    if postgres.name in targets:
        postgres.publish(_with_ours(connections, staging, postgres.name))
    for target in targets:
        books.enter_columns(postgres, target, staging.schema, staging.tables)
    books.enter_publication(postgres, staging.run_id, names, targets, moment_stays=amends)
    for name, source in sources.items():
        books.enter_source(postgres, name, targets, source)
    for store in connections.targets(targets):
        marks = {table: sight.mark for table, sight in store.seen(staging.schema, staging.tables).items()}
        for name in names:
            # Rows that are put right make up for what somebody did, of which nobody knows how many they were.
            before = {} if amends else held.get((name, store.name), {})
            now = _grown(connections, staging, name, before, growths[store.name], marks)
            books.enter_held(postgres, name, store.name, now)


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
        if staging.whole or table.name in before:
            rows = growth[table.name] + (0 if staging.whole else before[table.name].rows)
            found[table.name] = Held(rows, marks.get(table.name, ""))
    return found


def published_in(connections: Connections, names: Iterable[str]) -> set[str]:
    """Return the targets that any of some collections or marts is published in: whoever is at them needs no other."""
    wanted = set(names)
    books.prepare(connections.postgres)
    with connections.postgres.transaction():
        return {one.target for one in books.publications(connections.postgres) if one.name in wanted}


def finish_what_was_cut_short(connections: Connections, targets: Iterable[str] = TARGETS) -> dict[str, EtlError]:
    """Let ClickHouse follow what PostgreSQL has committed, and drop the staging of runs that are over.

    Every command that writes begins with it, so a run that was killed leaves nothing that lasts.

    Args:
        connections: The open connections.
        targets: The targets that the command uses. ClickHouse is not touched if it is none of them: then what it has
            to follow, and staging that it holds, is left to the next command that uses it.

    Returns:
        Why a collection or mart could not follow, by its name; the others did.
    """
    postgres, stuck, used = connections.postgres, dict[str, EtlError](), connections.named(targets)
    books.prepare(postgres)
    with postgres.transaction():
        # Of two commands that come here at once one waits: an exchange that both do undoes itself.
        books.lock_publishing(postgres)
        for publication in _unfinished(connections):
            if publication.name not in _known(connections):
                continue  # whoever has the contract of what is published finishes it
            if publication.target not in used:
                log.warning("%s", _waits(publication))
                continue
            try:
                _follow(connections, publication)
            except ServerError:
                raise
            except EtlError as error:
                stuck[publication.name] = _stuck(connections, publication, error)
                log.warning("%s", stuck[publication.name])
    with postgres.transaction():
        books.lock_publishing(postgres)
        _sweep(connections, used)
    return stuck


def refuse_stuck(stuck: Mapping[str, EtlError], names: Iterable[str]) -> None:
    """Refuse to go on with what ClickHouse could not follow.

    Args:
        stuck: What :func:`finish_what_was_cut_short` returned.
        names: The collections or marts that are needed.

    Raises:
        EtlError: One of them is stuck; the sentence says the way out.
    """
    for name in names:
        if name in stuck:
            raise stuck[name]


def _follow(connections: Connections, publication: Publication) -> None:
    """Let ClickHouse follow for one collection or mart, so that what is wrong with it never blocks the others."""
    postgres, clickhouse = connections.postgres, connections.clickhouse
    schema = REPLICA if publication.name in connections.entities else MARTS
    tables, whole = tables_of(connections, [publication.name]), books.kind_of(postgres, publication.run_id) in WHOLE
    clickhouse.publish(
        Staging(publication.run_id, schema, tables, books.moment_of(postgres, publication.run_id), whole),
    )
    books.finish(postgres, publication.run_id, publication.name, clickhouse.name)


def _waits(publication: Publication) -> str:
    return (
        f"{publication.name} is published in PostgreSQL, and ClickHouse has still to follow (run "
        f"{publication.run_id}), in the next command that uses it"
    )


def _stuck(connections: Connections, publication: Publication, error: EtlError) -> EtlError:
    command = "replicate" if publication.name in connections.entities else "marts"
    kind = next((kind for kind in (DataError, BusyError) if isinstance(error, kind)), EtlError)
    return kind(
        f"{publication.name} is published in PostgreSQL, and ClickHouse could not follow (run {publication.run_id}): "
        f"{error}; put that right and run the command again, or make it anew by etl {command} {publication.name}"
    )


def refuse_what_was_restored(connections: Connections, collections: Iterable[str]) -> None:
    """Refuse to change a part of tables in ClickHouse that show another run than the books say.

    What was changed between the two would never be made up for: deleted documents would be there for good.

    Args:
        connections: The open connections.
        collections: Names of the collections.

    Raises:
        DataError: One of them was restored from a backup, and the other was not.
    """
    wanted = set(collections)
    with connections.postgres.transaction():
        books.lock_publishing(connections.postgres)  # while a publish goes on the two may differ
        for one in books.publications(connections.postgres):
            if one.name in wanted and one.target == ClickHouse.name and one.finished and one.marked:
                found = connections.clickhouse.run_of(REPLICA, connections.entities[one.name].root)
                if found != one.run_id:
                    raise DataError(
                        f"{one.name} in ClickHouse shows {f'run {found}' if found else 'nothing'}, and the books in "
                        f"PostgreSQL say run {one.run_id}: one of the two was restored or changed without the other; "
                        f"run etl replicate {one.name}"
                    )


def shown(
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
    for one in books.publications(connections.postgres):
        if one.name in found and one.target in wanted:
            found[one.name].append(one)
    missing = [name for name, publications in found.items() if not publications]
    if missing and (asked or len(missing) == len(found)):
        raise UsageError(f"{', '.join(missing)}: not replicated yet; run etl replicate")
    return {name: publications for name, publications in found.items() if publications}


@contextmanager
def running(connections: Connections, run_id: str, targets: Iterable[str]) -> Iterator[None]:
    """Do all of a run that this process has opened: if it fails it is given up, and it is let go of in any case."""
    try:
        yield
    except BaseException as error:
        abandon(connections, run_id, targets, reason_of(error))
        raise
    finally:
        books.leave(connections.postgres, run_id)


def attended(
    function: Callable[Concatenate[Connections, _R, _P], _T],
) -> Callable[Concatenate[Connections, _R, _P], _T]:
    """Return a part of the work on a run that shows, as long as it goes on, that the run is alive."""

    @wraps(function)
    def attending(connections: Connections, run: _R, /, *arguments: _P.args, **options: _P.kwargs) -> _T:
        with books.attending(connections.postgres, run.id):
            return function(connections, run, *arguments, **options)

    return attending


def abandon(connections: Connections, run_id: str, targets: Iterable[str], message: str) -> None:
    """Give a run up: nothing of it is published, its staging is removed, and this process lets go of it.

    A run that PostgreSQL has committed stays as it is: ClickHouse still has to follow, and needs the staging for it.
    What a server that is gone or full keeps us from doing here, the next command does; so the reason is kept for it.
    """
    postgres, is_told = connections.postgres, False
    postgres.undo()  # in a transaction that has failed nothing could be entered
    with suppress(EtlError), postgres.transaction():
        books.fail(postgres, run_id, message)
        # Asked afterwards: somebody else may be about to publish it, and then we waited for the commit.
        if books.is_published(postgres, run_id):
            return
        is_told = True
    for target in connections.targets(targets):
        with suppress(EtlError), postgres.transaction():
            target.discard(run_id)
    if not is_told:
        reason = "; ".join(filter(None, (message, embedded.full_disk(connections.home))))
        unsaid.keep(connections.home, run_id, redacted(reason))
    books.leave(postgres, run_id)


def tables_of(connections: Connections, names: Iterable[str]) -> tuple[Table, ...]:
    """Return the tables of collections or marts."""
    known = _known(connections)
    return tuple(table for name in names for table in known[name])


def refuse_other_columns(connections: Connections, entity: Entity, targets: Iterable[str]) -> None:
    """Refuse to change some rows of tables whose columns are not the contract's: all other rows would lose values.

    Raises:
        UsageError: A table has other columns, or of other types; only a full copy can change them.
    """
    for target in connections.targets(targets):
        ours = books.columns_made(connections.postgres, target.name, REPLICA)
        for table in entity.tables:
            if not target.fits(REPLICA, table, ours.get(table.name)):
                raise UsageError(
                    f"the contract of {entity.collection} declares other columns than {table.name} in {target.name} "
                    "has; run etl replicate"
                )


def refuse_another_run(connections: Connections, name: str, runs: Mapping[str, str]) -> None:
    """Refuse to put right part of what was published anew since it was read; the moment alone may have moved on.

    Args:
        connections: The open connections; within a transaction that holds the lock of publishing.
        name: The collection.
        runs: The run that each target showed when it was read.

    Raises:
        SnapshotError: A target shows another run.
    """
    shows = {one.target: one.run_id for one in books.publications(connections.postgres) if one.name == name}
    for target, run_id in runs.items():
        if (now := shows.get(target)) != run_id:
            raise SnapshotError(
                f"{name} in {target} shows run {now} by now, and no longer run {run_id}, of which part was to be put "
                "right; nothing was changed; run the command again"
            )


def _known(connections: Connections) -> dict[str, tuple[Table, ...]]:
    known = {collection: entity.tables for collection, entity in connections.entities.items()}
    return known | {mart.name: (mart.table,) for mart in marts().values()}


def _sweep(connections: Connections, used: Iterable[str]) -> None:
    """Drop the staging of runs that are over; what bears the name of no run in the books is not ours to drop."""
    leftovers = {run_id for target in connections.targets(used) for run_id in target.leftovers()}
    leftovers -= {publication.run_id for publication in _unfinished(connections)}
    for run_id in books.unsettled(connections.postgres, leftovers):
        if not books.is_alive(connections.postgres, run_id):
            for target in connections.targets(used):
                target.discard(run_id)
            reason = unsaid.take(connections.home, run_id) or "the process ended before the run did"
            books.fail(connections.postgres, run_id, reason)


def _unfinished(connections: Connections) -> list[Publication]:
    """Return what was committed and not yet followed by ClickHouse."""
    return [publication for publication in books.publications(connections.postgres) if not publication.finished]


def _refuse_to_go_back(
    connections: Connections, staging: Staging, names: tuple[str, ...], sources: Mapping[str, Source]
) -> None:
    for publication in books.publications(connections.postgres):
        # The moments of two servers are no earlier and later.
        was, now = publication.source, sources.get(publication.name)
        if was and now and was.is_other(now):
            continue
        if publication.name in names and as_number(publication.cluster_time) > staging.version:
            raise SnapshotError(
                f"{publication.name} in {publication.target} shows a later moment already (run {publication.run_id}), "
                f"so run {staging.run_id} was not published"
            )
