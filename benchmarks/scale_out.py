"""Scale-out: one copy whose partitions are loaded by 1, 2 and 4 processes."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks import record, stores, world
from benchmarks.contenders import LOADERS, Job
from benchmarks.measure import measure

PROCESSES = (1, 2, 4)
# Small enough that four workers have several partitions each at a million sessions (400 MB).
PARTITION_MIB = 32
COLLECTION = "UserSessions"


def run(rows: int, rounds: int, processes: Sequence[int] = PROCESSES) -> dict[str, Any]:
    """Measure in turn, save, and return the results: per number of processes the runs."""
    found: dict[str, Any] = world.surroundings() | {"collection": COLLECTION, "partition_mib": PARTITION_MIB}
    with world.engines() as (home, uris):
        job = Job(uris, home, "bench", COLLECTION, "", rows)
        found |= world.fill(uris, job.database, {COLLECTION: rows})[COLLECTION]
        found["processes"] = {str(number): [] for number in processes}
        for _ in range(rounds):
            for number in processes:
                found["processes"][str(number)].append(_one(number, job))
            record.save("scale-out", found)
    return found


def _one(processes: int, job: Job) -> dict[str, Any]:
    stores.forget_ours(job.uris)
    command = [sys.executable, str(LOADERS / "workers.py"), str(processes), str(PARTITION_MIB), job.collection]
    measured, said = measure(command, job.variables, job.home)
    if measured.exit_code:
        print(f"{processes} processes failed:\n{said}", file=sys.stderr)
    print(f"{processes} processes: {measured.wall_s:.1f} s, {measured.cpu_s:.1f} s of CPU", file=sys.stderr)
    return asdict(measured)
