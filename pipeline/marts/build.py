"""Marts: computed in Polars from the published replica, all at its moment, and published to both stores together.

:func:`build` does it in one go. Its steps, :func:`open_run`, :func:`load` and :func:`publish`, are calls of their own,
so that another process or another machine can do one of them, and do it again.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import polars as pl

from contracts.schema.mart import Mart
from pipeline import control
from pipeline.connections import TARGETS, Connections
from pipeline.errors import BooksOpenError
from pipeline.marts.computing import computed
from pipeline.marts.reading import spill_sources, tables_read
from pipeline.marts.run import BuiltMart, MartRun, staging_of
from pipeline.marts.sharing import groups
from pipeline.marts.sources import observed_since, sources_at_one_moment, with_their_marts
from pipeline.marts.spill import spilling
from pipeline.runs import lifecycle
from pipeline.runs import publish as publishing
from pipeline.runs.lifecycle import holding_run_lock, running
from pipeline.runs.lost_tables import check_nothing_lost, find_lost_tables
from pipeline.runs.published import MARTS, unpinned_in
from pipeline.runs.recovery import check_not_stuck, recover
from pipeline.runs.resume import retrying
from pipeline.runtime.progress import Progress, tell_nobody
from pipeline.runtime.timings import ACTIVITY, PUBLISH
from pipeline.runtime.workers import Call

__all__ = ["BuiltMart", "MartRun", "build", "load", "open_run", "publish"]


def build(
    connections: Connections,
    names: Iterable[str] = (),
    targets: Iterable[str] = TARGETS,
    progress: Progress[str] = tell_nobody,
    *,
    without_snapshot: bool = False,
) -> list[BuiltMart]:
    """Compute marts, and those that they read, and publish them together.

    Args:
        connections: The open connections.
        names: The marts; all if none is named.
        targets: Names of the stores that they are written to.
        progress: Is told the rows of each mart that is loaded: all of them are through.
        without_snapshot: Whether marts may read what was copied at no one moment, such as capped collections.

    Raises:
        UsageError: There is no such mart, or its sources are not replicated or show different moments.
        DataError: A mart breaks its contract; nothing was published.
    """
    recover(connections, connections.named(targets))
    run = open_run(connections, names, targets, without_snapshot=without_snapshot)
    with running(connections, run.id, run.targets):
        _load_all(connections, run, progress)
        return publish(connections, run)


def open_run(
    connections: Connections,
    names: Iterable[str] = (),
    targets: Iterable[str] = TARGETS,
    *,
    single_process: bool = True,
    without_snapshot: bool = False,
) -> MartRun:
    """Choose the moment that all sources of the marts show, and create the staging areas.

    Args:
        connections: The open connections.
        names: The marts, to which those that they read are added; all if none is named.
        targets: Names of the stores that they are written to.
        single_process: Whether this process does all of the run; if it dies, so does the run.
        without_snapshot: Whether marts may read what was copied at no one moment, such as capped collections.

    Raises:
        UsageError: There is no such mart, or its sources are not replicated or show different moments.
        DataError: A source was emptied, or its table is gone.
    """
    wanted = with_their_marts(connections, names)
    source, moment, shows = sources_at_one_moment(connections, wanted, without_snapshot=without_snapshot)
    check_nothing_lost(find_lost_tables(connections, shows, [source]))
    postgres, chosen = connections.postgres, connections.named(targets)
    with postgres.transaction():
        run_id = control.open_run(postgres, MARTS, moment, chosen, single_process=single_process)
        plan = [{"collection": mart.name, "number": number} for number, mart in enumerate(wanted)]
        control.record_plan(postgres, run_id, plan, chosen)
    about = (connections.timezone, connections.support_sla, observed_since(connections, wanted, source))
    run = MartRun(run_id, moment, source, shows, tuple(mart.name for mart in wanted), chosen, *about)
    lifecycle.open_staging(connections, staging_of(connections, run), chosen)
    return run


def _load_all(connections: Connections, run: MartRun, progress: Progress[str]) -> None:
    """Compute all marts of a run, by several processes where there is enough to compute."""
    if (number := connections.workers.number) > 1:
        shares = groups(connections, run, number)
        told = run.as_json()
        calls = [Call(load_in_worker, (told, one.names), f"marts {', '.join(one.names)}", one.size) for one in shares]
        if connections.workers.wanted(calls) > 1:
            for _ in connections.workers.share(calls, lambda _, *said: progress(*said)):
                pass
            return
    load(connections, run, run.marts, progress)


def load_in_worker(
    connections: Connections, progress: Callable[[str, int, int], None], run: dict[str, Any], names: list[str]
) -> None:
    """Compute some marts, as :func:`load` does, from plain JSON values."""
    load(connections, MartRun.from_json(run), names, progress)


@retrying
@holding_run_lock
def load(connections: Connections, run: MartRun, names: Iterable[str], progress: Progress[str] = tell_nobody) -> None:
    """Compute some marts of a run and load them into staging; those that are loaded already are left alone.

    A mart that they read and that is not among them is computed as well, and not loaded: so each mart may be the work
    of another process, in any order. It comes out the same, for what the marts sum up are integers.

    Args:
        connections: The open connections.
        run: An open run.
        names: Names of marts of the run.
        progress: Is told the rows of each mart that is loaded: all of them are through.

    Raises:
        DataError: A mart breaks its contract.
        SnapshotError: The replica shows another moment meanwhile.
    """
    numbers = {name: number for number, name in enumerate(run.marts) if name in set(names)}
    left = [name for name, number in numbers.items() if not control.is_loaded(connections.postgres, run.id, number)]
    if not left:
        return
    wanted, started = with_their_marts(connections, left), time.monotonic()
    with spilling(connections.memory.bucket) as spill:
        read = tables_read(connections, wanted)
        with ACTIVITY.at("read the replica", run.source):
            spill_sources(connections, run, read, spill)
        for mart in wanted:
            pieces = computed(mart, run.context, spill, read.get(mart.name))
            if mart.name in left:
                rows = _load(connections, run, mart, numbers[mart.name], pieces, started)
                progress(mart.name, rows, rows)
                started = time.monotonic()
            else:
                deque(pieces, maxlen=0)


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
                _prove(connections, run)
                unpinned = run.marts if unpinned_in(connections) & run.shows.keys() else ()
                publishing.publish(connections, staging, run.marts, run.targets, unpinned=unpinned)
    check_not_stuck(recover(connections, run.targets), run.marts)
    rows = {account.collection: account.source for account in control.accounts(postgres, run.id)}
    seconds = control.seconds(postgres, run.id)
    return [BuiltMart(name, rows[name], seconds[name], run.cluster_time) for name in run.marts]


def _load(
    connections: Connections, run: MartRun, mart: Mart, number: int, pieces: Iterable[pl.DataFrame], started: float
) -> int:
    """Load a mart into all targets, and enter it into the books: with the commit, it is loaded.

    Returns:
        How many rows it has.
    """
    rows = 0
    with connections.postgres.transaction():
        with ExitStack() as stack:
            loads = {
                target.name: stack.enter_context(target.loading(staging_of(connections, run), number, (mart.table,)))
                for target in connections.targets(run.targets)
            }
            for frame in ACTIVITY.timed(mart.name, "compute", pieces, "mart"):
                for target, load_frame in loads.items():
                    with ACTIVITY.at(mart.name, target, "mart"):
                        load_frame(mart.table, frame)
                rows += len(frame)
                del frame  # or it would be in memory while the next one is computed
        took = time.monotonic() - started
        control.record_partition(connections.postgres, run.id, number, source=rows, quarantined=0, size=0, seconds=took)
    return rows


def _prove(connections: Connections, run: MartRun) -> None:
    """Count what each target holds in staging, and hold it against what was computed."""
    postgres, staging = connections.postgres, staging_of(connections, run)
    if missing := control.unloaded(postgres, run.id):
        raise BooksOpenError(f"the mart {run.marts[missing[0]]} of run {run.id} was not loaded; nothing was published")
    for table in staging.tables:
        for target in connections.targets(run.targets):
            control.record_loaded(postgres, run.id, table.name, target.name, target.staged(staging, table))
    for account in control.accounts(postgres, run.id):
        if not account.closed:
            raise BooksOpenError(
                f"the mart {account.collection} has {account.source:,} rows, of which {account.target} holds "
                f"{account.loaded:,}; nothing was published"
            )
