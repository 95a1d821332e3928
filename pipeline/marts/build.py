"""Marts: computed in Polars from the published replica, all at its moment, and published to both stores together.

:func:`build` does it in one go. Its steps, :func:`open_run`, :func:`load` and :func:`publish`, are calls of their own,
so that another process or another machine can do one of them, and do it again.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import polars as pl

from contracts.schema.mart import Mart
from pipeline import control
from pipeline.connections import TARGETS, Connections
from pipeline.errors import reason_of
from pipeline.marts.basis import Basis
from pipeline.marts.difference import Part
from pipeline.marts.inputs import Inputs
from pipeline.marts.planning import plan
from pipeline.marts.publishing import publish
from pipeline.marts.run import BuiltMart, MartRun, staging_of
from pipeline.marts.sharing import groups
from pipeline.marts.sources import observed_since, sources_at_one_moment, with_sources, with_their_marts
from pipeline.marts.trace import Trace
from pipeline.runs import lifecycle
from pipeline.runs.lifecycle import holding_run_lock, running
from pipeline.runs.loading import loading
from pipeline.runs.lost_tables import check_nothing_lost, find_lost_tables
from pipeline.runs.publish import create_tables
from pipeline.runs.published import MARTS
from pipeline.runs.recovery import recover
from pipeline.runs.resume import retrying
from pipeline.runtime.progress import Progress, tell_nobody
from pipeline.runtime.timings import ACTIVITY, Stopwatch
from pipeline.runtime.workers import Call

__all__ = ["BuiltMart", "MartRun", "build", "load", "open_run", "publish"]


def build(
    connections: Connections,
    names: Iterable[str] = (),
    targets: Iterable[str] = TARGETS,
    progress: Progress[str] = tell_nobody,
    *,
    full: bool = False,
    without_snapshot: bool = False,
    trace: Trace | None = None,
) -> list[BuiltMart]:
    """Compute marts, and those that they read, and publish them together.

    Args:
        connections: The open connections.
        names: The marts; all if none is named.
        targets: Names of the stores that they are written to.
        progress: Is told the rows of each mart that is loaded: all of them are through.
        full: Whether all rows are computed, and not those alone that may have changed.
        without_snapshot: Whether marts may read what was copied at no one moment, such as capped collections.
        trace: Is told what is read, and how long each step takes; then this process does all of it.

    Raises:
        UsageError: There is no such mart, or its sources are not replicated or show different moments.
        DataError: A mart breaks its contract; nothing was published.
    """
    recover(connections, connections.named(targets))
    watch = trace.watch if trace else Stopwatch("marts")
    with watch.at("plan"):
        run = open_run(connections, names, targets, full=full, without_snapshot=without_snapshot)
    with running(connections, run.id, run.targets):
        if trace:
            load(connections, run, run.marts, progress, trace)
        else:
            _load_all(connections, run, progress)
        with watch.at("publish"):
            return publish(connections, run)


def open_run(
    connections: Connections,
    names: Iterable[str] = (),
    targets: Iterable[str] = TARGETS,
    *,
    single_process: bool = True,
    full: bool = False,
    without_snapshot: bool = False,
) -> MartRun:
    """Choose the moment that all sources of the marts show and what is to be computed, and create the staging areas.

    Args:
        connections: The open connections.
        names: The marts, to which those that they read are added; all if none is named.
        targets: Names of the stores that they are written to.
        single_process: Whether this process does all of the run; if it dies, so does the run.
        full: Whether all rows are computed, and not those alone that may have changed.
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
        about = (connections.timezone, connections.support_sla, observed_since(connections, wanted, source))
        run = MartRun(run_id, moment, source, shows, tuple(mart.name for mart in wanted), chosen, *about)
        basis = Basis(connections, run)
        steps = [{"collection": one.name, "number": n, "basis": basis.now(one)} for n, one in enumerate(wanted)]
        control.record_plan(postgres, run_id, steps, chosen)
    lifecycle.open_staging(connections, replace(staging_of(connections, run), tables=()), chosen)
    try:
        run = replace(run, plans=plan(connections, run, full=full))
        with postgres.transaction():
            create_tables(connections, staging_of(connections, run), chosen)
        return run
    except BaseException as error:
        lifecycle.abandon(connections, run_id, chosen, reason_of(error))
        raise


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
def load(
    connections: Connections,
    run: MartRun,
    names: Iterable[str],
    progress: Progress[str] = tell_nobody,
    trace: Trace | None = None,
) -> None:
    """Compute some marts of a run and load them into staging; those that are loaded already are left alone.

    A mart that they read and that is not among them is computed as well, and not loaded: so each mart may be the work
    of another process, in any order. It comes out the same, for what the marts sum up are integers.

    Args:
        connections: The open connections.
        run: An open run.
        names: Names of marts of the run.
        progress: Is told the rows of each mart that is loaded: all of them are through.
        trace: Is told what is read, and how long each step takes.

    Raises:
        DataError: A mart breaks its contract.
        SnapshotError: The replica shows another moment meanwhile.
    """
    unloaded, asked = set(control.unloaded(connections.postgres, run.id)), set(names)
    numbers = {name: number for number, name in enumerate(run.marts) if name in asked and number in unloaded}
    staying = [name for name in numbers if run.plan(name).stays]
    left = [name for name in numbers if name not in staying]
    wanted, started = with_sources(left, connections.marts), time.monotonic()
    with ExitStack() as stack:
        inputs = Inputs(connections, run, wanted, stack, trace := trace or Trace())
        for mart in wanted:
            if inputs.stays(mart):
                staying += [mart.name] * (mart.name in left)
                continue
            parts = stack.enter_context(closing(inputs.computed(mart)))
            if mart.name in left:
                with trace.watch.at(f"compute and load {mart.name}"):
                    rows = _load(connections, run, mart, numbers[mart.name], parts, started)
                progress(mart.name, rows, rows)
                started = time.monotonic()
            else:
                deque(parts, maxlen=0)
    if staying:
        _pass_over(connections, run, {name: numbers[name] for name in staying}, progress)


def _pass_over(connections: Connections, run: MartRun, staying: Mapping[str, int], progress: Progress[str]) -> None:
    """Enter of marts of which no row can have changed that nothing is to be written of them."""
    if "clickhouse" in run.targets:  # it may be another command by which it follows
        connections.clickhouse.stay(staging_of(connections, run), staying)
    with connections.postgres.transaction():
        control.record_empty(connections.postgres, run.id, staying.values())
    for name in staying:
        progress(name, 0, 0)


def _load(
    connections: Connections, run: MartRun, mart: Mart, number: int, parts: Iterable[Part], started: float
) -> int:
    """Load what is to be written of a mart into all targets, and enter that into the books: with the commit it is done.

    Returns:
        How many rows are written.
    """
    staging, plan = staging_of(connections, run), run.plan(mart.name)
    rows, keys, targets = 0, [mart.table.frame_schema.to_frame().select(mart.key)], connections.targets(run.targets)
    with connections.postgres.transaction():
        with loading(targets, staging, number, (mart.table,)) as loads:
            for part in ACTIVITY.timed(mart.name, "compute", parts, "mart"):
                for name, load_frame in loads.items():
                    with ACTIVITY.at(mart.name, name, "mart"):
                        load_frame(mart.table, part.rows)
                rows += len(part.rows)
                keys.append(part.keys)
                del part  # or it would be in memory while the next one is computed
        for target in targets if plan.base else ():
            target.speak_for(staging, mart.table, pl.concat(keys))
        took = time.monotonic() - started
        control.record_partition(connections.postgres, run.id, number, source=rows, quarantined=0, size=0, seconds=took)
    return rows
