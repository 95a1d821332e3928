"""Scale-out: one copy and its proof by 1, 2 and 4 processes of one machine."""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

import psutil

from benchmarks import record, stores, world
from benchmarks.contenders import Job
from benchmarks.measure import ETL, measure

PROCESSES = (1, 2, 4)
COMMANDS = ("replicate", "verify")
MEMORY_MIB = 2048  # of all processes together; four of them need 1,280
COLLECTION = "UserSessions"
_EVERY_S = 0.1
_OURS = "pipeline.runtime.worker", "/etl"


def run(rows: int, rounds: int, processes: Sequence[int] = PROCESSES) -> dict[str, Any]:
    """Measure in turn, save, and return the results: per number of processes and command the runs."""
    found: dict[str, Any] = world.surroundings() | {"collection": COLLECTION, "memory_mib": MEMORY_MIB}
    with world.engines() as (home, uris):
        job = Job(uris, home, "bench", COLLECTION, "", rows)
        found |= world.fill(uris, job.database, {COLLECTION: rows})[COLLECTION]
        found["processes"] = {str(number): {command: [] for command in COMMANDS} for number in processes}
        for _ in range(rounds):
            for number in processes:
                stores.forget_ours(job.uris)
                for command in COMMANDS:
                    found["processes"][str(number)][command].append(_one(command, number, job))
            record.save("scale-out", found)
    return found


def _one(command: str, processes: int, job: Job) -> dict[str, Any]:
    called = [ETL, command, job.collection, "--workers", str(processes), "--json"]
    with _watched() as sums:
        measured, said = measure(called, job.variables | {"ETL_MEMORY": f"{MEMORY_MIB}MiB"}, job.home)
    if measured.exit_code:
        print(f"{command} by {processes} processes failed:\n{said}", file=sys.stderr)
    took = f"{measured.wall_s:.1f} s, {measured.cpu_s:.1f} s of CPU, {max(sums):.0f} MiB"
    print(f"{command} by {processes} processes: {took}", file=sys.stderr)
    return asdict(measured) | {"sum_rss_mib": max(sums)}


@contextmanager
def _watched() -> Iterator[list[float]]:
    """Note, again and again, the memory of all processes of ours together: what they share counts for each."""
    sums, ended = [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(_EVERY_S):
            total = 0
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if any(word.endswith(_OURS) for word in process.cmdline()[:4]):
                        total += process.memory_info().rss
            sums.append(total / 2**20)

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    try:
        yield sums
    finally:
        ended.set()
        watching.join()
