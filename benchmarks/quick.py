"""``make bench-quick``: the ratios in five minutes, and what has become slower since they were recorded.

By processor time, the client's and the servers'. A virtual machine does not always get equally much done in a second of
it, so before and after each run it is measured how long a sort takes: what the run cost is told in sorts, and then by
what only reading the same documents costs.

Few documents cost a little more or less than many, so these ratios are not those of ``make bench``. By what they have
become since they were recorded, the ones of a million documents that were recorded beside them are brought up to date;
other programs, whose versions are pinned, are taken to cost what they did.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import record, stores, world
from benchmarks.contenders import CONTENDERS, Contender, Job
from benchmarks.speed import COLLECTIONS, CPU, ratios, run_once
from benchmarks.targets import TARGETS
from pipeline.engines.embedded import Uris

NAME = "quick"  # of the record
DOCUMENTS, MEANT = 100_000, 1_000_000
YARDSTICK = "floor"
OURS = ("both_first", "both_again", "both_changed", "verify", "postgres")
TIMES = {YARDSTICK: 3}  # in a round: once would be too short
SLOWER = 1.2
_SORTED = pa.array(np.random.default_rng(0).random(1_000_000))
Figures = dict[str, dict[str, float]]  # by collection, and by contender or by the text of a target


def main(
    keep: Annotated[
        bool, typer.Option("--record", help="Record the ratios: the next ones are held against them.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="The mean counts.")] = 4,
) -> None:
    """Measure, print the ratios, and end with exit code 1 if one of ours has become slower by more than a fifth."""
    costs, recorded = dict(measured(rounds)), record.read(NAME)
    if keep or not recorded:
        about = world.surroundings() | {"documents": DOCUMENTS, "rounds": rounds}
        record.save(NAME, about | {"costs": costs, "meant": meant()})
    before = recorded.get("costs", {})
    show(costs, before, estimates(costs, before, recorded.get("meant", {})))
    for line in (worse := slower(costs, before)):
        print(line, file=sys.stderr)
    sys.exit(1 if worse else 0)


def measured(rounds: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each collection, and what it cost the contenders by what reading it costs."""
    chosen = [CONTENDERS[name] for name in (YARDSTICK, *OURS)]
    with world.engines() as (home, uris):
        for collection in COLLECTIONS:
            world.fill(uris, NAME, {collection: DOCUMENTS})
            _cost(CONTENDERS[YARDSTICK], uris, home, collection)  # nobody shall pay for being first
            costs = [{one.name: _cost(one, uris, home, collection) for one in chosen} for _ in range(rounds)]
            yield collection, by_yardstick(costs)


def _cost(one: Contender, uris: Uris, home: Path, collection: str) -> float:
    """Let a contender work, and return how many sorts its processor time would have been enough for."""
    cost = 0.0
    for _ in range(TIMES.get(one.name, 1)):
        job = Job(uris, home, NAME, collection, f"peer_{one.name}", DOCUMENTS)
        before = _sort_s()
        taken = run_once(one, job)
        cost += (taken["cpu_s"] + taken["servers_cpu_s"]) / ((before + _sort_s()) / 2)
        stores.drop_schema(uris, job.schema)
        if taken["exit_code"]:
            sys.exit(f"{one.title} has failed")
    cost /= TIMES.get(one.name, 1)
    print(f"{collection}: {one.title:36} {cost:6.1f}", file=sys.stderr, flush=True)
    return cost


def _sort_s() -> float:
    """Return the processor seconds of a sort: of work that takes memory as much as it computes."""
    began = time.process_time()
    pc.sort_indices(_SORTED)
    return time.process_time() - began


def by_yardstick(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return what each costs by what the yardstick costs, all rounds together."""
    sums = {name: sum(one[name] for one in rounds) for name in rounds[0]}
    return {name: round(cost / sums[YARDSTICK], 3) for name, cost in sums.items()}


def meant() -> Figures:
    """Return the targets' ratios by processor time as ``make bench`` has measured them last."""
    sessions = record.read(f"speed-{MEANT}").get("collections", {})
    found: Figures = {name: {} for name in sessions}
    for one in TARGETS:
        of = (ratios(session, one.measured, one.to, CPU) for session in reversed(sessions.get(one.collection, ())))
        if last := next(filter(None, of), None):
            found[one.collection][one.text] = round(median(last), 3)
    return found


def estimates(now: Figures, recorded: Figures, then: Figures) -> Figures:
    """Return the targets' ratios of a million documents, by what they were and by what has changed since.

    Args:
        now: What the contenders cost by the yardstick.
        recorded: What they cost when it was recorded.
        then: The targets' ratios of a million documents when it was recorded.
    """

    def dearer(collection: str, name: str) -> float:
        before = recorded.get(collection, {}).get(name)
        return now[collection][name] / before if before else 1.0

    return {
        collection: {
            one.text: then[collection][one.text] * dearer(collection, one.measured) / dearer(collection, one.to)
            for one in TARGETS
            if one.collection == collection and one.text in then[collection]
        }
        for collection in now.keys() & then.keys()
    }


def slower(found: Figures, recorded: Figures) -> list[str]:
    """Return a sentence for each of ours that costs more than a fifth more than it did, by the yardstick."""
    return [
        f"{CONTENDERS[name].title}, {collection}: {now / before - 1:.0%} slower than recorded ({now:.2f} against "
        f"{before:.2f} of what only reading takes)"
        for collection, of in found.items()
        for name, now in of.items()
        if (before := recorded.get(collection, {}).get(name)) and now > before * SLOWER
    ]


def show(costs: Figures, recorded: Figures, of_many: Figures) -> None:
    """Print what each costs by the yardstick, and the ratios that there are targets for."""
    title = f"Processor time of {DOCUMENTS:,} documents, client and servers"
    by_reading = Table("collection", "contender", "of only reading", "recorded", title=title)
    for collection, of in costs.items():
        for name, cost in of.items():
            before = recorded.get(collection, {}).get(name)
            by_reading.add_row(collection, CONTENDERS[name].title, f"{cost:.2f}", f"{before:.2f}" if before else "")
    bounds = Table("collection", "ratio", "about", title=f"So of {MEANT:,} documents, by processor time")
    for collection, of in of_many.items():
        for text, ratio in of.items():
            bounds.add_row(collection, text, f"{ratio:.2f}")
    Console().print(by_reading, *([bounds] if of_many else []))


if __name__ == "__main__":
    typer.run(main)
