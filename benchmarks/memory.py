"""Memory against size: what ``etl replicate`` and ``etl verify`` take at their peak when they may take 512 MiB."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks import stores, world
from benchmarks.contenders import CONTENDERS, Job
from benchmarks.measure import measure

MEMORY = "512MiB"
LIMIT_MIB = 640  # the target: a quarter above the setting
STEPS = ("both_first", "both_again", "verify")
COLLECTION = "UserSessions"


def run(sizes: Sequence[int]) -> dict[str, Any]:
    """Measure one run of each per size, save after each size, and return the results."""
    found: dict[str, Any] = world.surroundings() | {"memory": MEMORY, "collection": COLLECTION, "sizes": []}
    with world.engines() as (home, uris):
        for rows in sizes:
            database = f"bench_{rows}"
            size = world.fill(uris, database, {COLLECTION: rows})[COLLECTION]
            job = Job(uris, home, database, COLLECTION, "", rows)
            steps = {name: _step(name, job) for name in STEPS}
            found["sizes"].append(size | {"steps": steps})
            stores.forget_ours(uris)
            world.drop(uris, database)
            world.save("memory", found)
    return found


def _step(name: str, job: Job) -> dict[str, Any]:
    one = CONTENDERS[name]
    one.prepare(job)
    measured, said = measure(one.command(job), job.variables | {"ETL_MEMORY": MEMORY}, job.home)
    if measured.exit_code:
        print(f"{one.title} failed:\n{said}", file=sys.stderr)
    print(f"{job.documents:,} {one.title}: {measured.peak_rss_mib:.0f} MiB, {measured.wall_s:.1f} s", file=sys.stderr)
    return asdict(measured)
