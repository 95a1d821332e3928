"""Speed: each contender copies the same collections, in turn, round by round, so that a slow minute hits all alike.

What is measured of one collection at one time is a session. Ratios are taken within one alone.
"""

import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import equality, record, stores, world
from benchmarks.contenders import CONTENDERS, TABLES, Contender, Job, versions
from benchmarks.environments import environment
from benchmarks.measure import measure
from pipeline.engines.embedded import Uris

DATABASE = "bench"
FEWER = "bench_fewer"  # the same for those that would take too long


def run(rows: int, rounds: int, names: Collection[str], collections: Collection[str]) -> dict[str, dict[str, Any]]:
    """Measure, save after every round, and return a session per collection.

    An earlier session stays beside it as long as it has a contender that was not measured anew.

    Args:
        rows: Documents per collection.
        rounds: How often each contender runs.
        names: The contenders.
        collections: What they copy.
    """
    chosen = [one for name, one in CONTENDERS.items() if name in names]
    for one in chosen:
        if one.environment:
            environment(one.environment)
    found: dict[str, dict[str, Any]] = {}
    with world.engines() as (home, uris):
        for collection in collections:
            earlier = record.read(f"speed-{rows}").get("collections", {}).get(collection, [])
            session = world.surroundings() | world.fill(uris, DATABASE, {collection: rows})[collection]
            session["contenders"] = {one.name: _described(one) for one in chosen}
            # Nobody shall pay for being first: the collection is read once before.
            run_once(CONTENDERS["floor"], _job(CONTENDERS["floor"], uris, home, collection, rows))
            for number in range(1, rounds + 1):
                _round(number, chosen, uris, home, collection, rows, session["contenders"])
                record.save_speed(rows, collection, [*earlier, session])
            kept = record.and_then(earlier, session)  # not before: it might have been cut short
            record.save_speed(rows, collection, kept)
            _tell_kept(collection, kept[:-1], session)
            found[collection] = session
    return found


def _tell_kept(collection: str, kept: Sequence[dict[str, Any]], session: dict[str, Any]) -> None:
    for one in kept:
        others = ", ".join(sorted(record.contenders(one) - record.contenders(session)))
        print(f"{collection}: what was measured at {one['commit']} stays beside it, for {others}", file=sys.stderr)


def _described(one: Contender) -> dict[str, Any]:
    return {"title": one.title, "settings": one.settings, "versions": versions(one.name), "runs": []}


def _job(one: Contender, uris: Uris, home: Path, collection: str, rows: int) -> Job:
    fewer = one.most is not None and rows > one.most
    database, documents = (FEWER, one.most or 0) if fewer else (DATABASE, rows)
    return Job(uris, home, database, collection, f"peer_{one.name}", documents)


def _round(
    number: int,
    chosen: list[Contender],
    uris: Uris,
    home: Path,
    collection: str,
    rows: int,
    results: dict[str, Any],
) -> None:
    """Let everyone work once who takes part in this round."""
    for one in chosen:
        if one.rounds is not None and number > one.rounds:
            continue
        job = _job(one, uris, home, collection, rows)
        if job.database == FEWER:
            world.fill(uris, FEWER, {collection: job.documents})
        measured = run_once(one, job)
        results[one.name]["runs"].append(measured | {"round": number, "documents": job.documents})
        if number == 1 and one.lands:
            results[one.name]["left"] = equality.summed(one.name, job)
        stores.drop_schema(uris, job.schema)
        print(f"{collection} {number}: {one.title:36} {measured['wall_s']:7.1f} s", file=sys.stderr, flush=True)


def run_once(one: Contender, job: Job) -> dict[str, Any]:
    """Let a contender work once and return what it took; what went wrong is told."""
    one.prepare(job)
    measured, said = measure(one.command(job), job.variables, job.home)
    if measured.exit_code:
        print(f"{one.title} failed:\n{said}", file=sys.stderr)
        return asdict(measured) | {"said": said[-400:]}
    return asdict(measured)


WALL, CPU = ("wall_s",), ("cpu_s", "servers_cpu_s")


def seconds(result: dict[str, Any], name: str, measures: Sequence[str]) -> dict[int, float]:
    """Return the seconds of a contender's good runs, by round; of several measures their sum."""
    runs = result["contenders"].get(name, {"runs": []})["runs"]
    return {one["round"]: sum(one[measure] for measure in measures) for one in runs if one["exit_code"] == 0}


def disturbed_pct(result: dict[str, Any]) -> float | None:
    """Return which share of the machine others took during the runs, in the middle."""
    runs = [one for contender in result["contenders"].values() for one in contender["runs"] if "others_cpu_s" in one]
    return median(100 * one["others_cpu_s"] / one["wall_s"] / result["cores"] for one in runs) if runs else None


def middle(result: dict[str, Any], name: str, measure: str) -> float | None:
    """Return the median of one measure over a contender's good runs."""
    runs = [one[measure] for one in result["contenders"][name]["runs"] if one["exit_code"] == 0]
    return median(runs) if runs else None


def ratios(result: dict[str, Any], name: str, to: str, measures: Sequence[str] = WALL) -> list[float]:
    """Return how many times as long one contender took as another, paired by round.

    One that copied fewer documents is compared per document, which flatters it or the other by the seconds of their
    starts.
    """
    documents = {
        who: result["contenders"][who]["runs"][0]["documents"]
        for who in (name, to)
        if result["contenders"].get(who, {}).get("runs")
    }
    if len(documents) < len({name, to}):
        return []
    mine, others = seconds(result, name, measures), seconds(result, to, measures)
    scale = documents[to] / documents[name]
    return [mine[number] * scale / others[number] for number in sorted(mine.keys() & others.keys())]


COLLECTIONS = tuple(TABLES)
