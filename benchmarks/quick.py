"""``make bench-quick``: the ratios in five minutes, and what has become slower since they were recorded.

By processor time, the client's and the servers', which a busy machine bends little. Each contender copies few documents
and more of them: what more of them take tells what a million would. Ours are held against a program that is not ours,
so a record of one machine says something on another one as well.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import record, stores, world
from benchmarks.contenders import CONTENDERS, Contender, Job
from benchmarks.environments import environment
from benchmarks.speed import COLLECTIONS, run_once
from benchmarks.targets import TARGETS
from pipeline.engines.embedded import Uris

NAME = "quick"  # of the record
FEW, MANY, MEANT = 1_000, 150_000, 1_000_000
YARDSTICK = "handwritten"
OURS = ("both_first", "both_again", "verify", "postgres")
WHO = ("floor", *OURS, YARDSTICK, "ingestr", "dlt_arrow")  # of whom the targets speak
SLOWER = 1.2
Costs = dict[str, float]  # processor seconds of a million documents, by contender


def main(
    keep: Annotated[
        bool, typer.Option("--record", help="Record the ratios: the next ones are held against them.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Of each contender the cheapest counts.")] = 2,
) -> None:
    """Measure, print the ratios, and end with exit code 1 if one of ours has become slower by more than a fifth."""
    costs = measured(rounds)
    recorded = record.read(NAME)
    found = {name: ratios(of) for name, of in costs.items()}
    show(found, recorded.get("ratios", {}))
    if keep or not recorded:
        about = world.surroundings() | {"few": FEW, "many": MANY, "meant": MEANT, "rounds": rounds}
        record.save(NAME, about | {"cpu_s": costs, "ratios": found})
    for line in (worse := slower(found, recorded.get("ratios", {}))):
        print(line, file=sys.stderr)
    sys.exit(1 if worse else 0)


def measured(rounds: int) -> dict[str, Costs]:
    """Return what a million documents of each collection would cost each contender."""
    chosen = [one for name, one in CONTENDERS.items() if name in WHO]
    for one in chosen:
        if one.environment:
            environment(one.environment)
    found = {}
    with world.engines() as (home, uris):
        for collection in COLLECTIONS:
            taken: dict[int, list[Costs]] = {}
            for documents in (FEW, MANY):
                world.fill(uris, NAME, {collection: documents})
                _round([CONTENDERS["floor"]], uris, home, collection, documents)  # nobody shall pay for being first
                taken[documents] = [_round(chosen, uris, home, collection, documents) for _ in range(rounds)]
            found[collection] = {
                one.name: extrapolated(*(min(of[one.name] for of in taken[number]) for number in (FEW, MANY)))
                for one in chosen
            }
    return found


def _round(chosen: list[Contender], uris: Uris, home: Path, collection: str, documents: int) -> Costs:
    """Return the processor seconds of each contender."""
    costs = {}
    for one in chosen:
        job = Job(uris, home, NAME, collection, f"peer_{one.name}", documents)
        taken = run_once(one, job)
        stores.drop_schema(uris, job.schema)
        if taken["exit_code"]:
            sys.exit(f"{one.title} has failed")
        costs[one.name] = taken["cpu_s"] + taken["servers_cpu_s"]
        print(
            f"{collection} {documents:,}: {one.title:36} {costs[one.name]:6.1f} s of CPU", file=sys.stderr, flush=True
        )
    return costs


def extrapolated(few: float, many: float) -> float:
    """Return what a million documents cost, by what few and more of them do."""
    each = (many - few) / (MANY - FEW)
    return few + each * (MEANT - FEW)


def ratios(costs: Costs) -> dict[str, float]:
    """Return what each costs by what the yardstick costs."""
    return {name: round(cost / costs[YARDSTICK], 3) for name, cost in costs.items()}


def slower(found: Mapping[str, Mapping[str, float]], recorded: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a sentence for each of ours that costs more than a fifth more than it did, by the yardstick."""
    return [
        f"{CONTENDERS[name].title}, {collection}: {now / before - 1:.0%} slower than recorded ({now:.2f} against "
        f"{before:.2f} of what {CONTENDERS[YARDSTICK].title} takes)"
        for collection, of in found.items()
        for name, now in of.items()
        if name in OURS and (before := recorded.get(collection, {}).get(name)) and now > before * SLOWER
    ]


def show(found: Mapping[str, Mapping[str, float]], recorded: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what each costs by the yardstick, and the ratios that there are targets for."""
    costs = Table(
        "collection", "contender", "of hand-written COPY", "recorded", title="Processor time, client and servers"
    )
    bounds = Table("collection", "ratio", "now", title="The targets' ratios, by processor time")
    for collection, of in found.items():
        for name, now in of.items():
            before = recorded.get(collection, {}).get(name)
            costs.add_row(collection, CONTENDERS[name].title, f"{now:.2f}", f"{before:.2f}" if before else "")
    for one in TARGETS:
        of = found[one.collection]
        if one.measured in of and one.to in of:
            bounds.add_row(one.collection, one.text, f"{of[one.measured] / of[one.to]:.2f}")
    Console().print(costs, bounds)


if __name__ == "__main__":
    typer.run(main)
