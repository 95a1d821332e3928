"""Memory against size: what the commands take at their peak when they may take 512 MiB."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pymongo import MongoClient

from benchmarks import record, stores, world
from benchmarks.contenders import CONTENDERS, Contender, Job
from benchmarks.measure import ETL, measure

MEMORY = "512MiB"
LIMIT_MIB = 640  # the target: a quarter above the setting
COLLECTION = "UserSessions"
OTHERS = ("SearchQueries", "SupportTickets", "ModerationQueue")  # what the marts read beside it
OTHERS_PART = 20  # so many times fewer documents, or generating them would take most of the time
STEPS = {
    "both_first": "first copy, both stores",
    "both_again": "repeated copy",
    "verify": "verify",
    "marts": "marts",
    "sync": "sync of a tenth",
}


def _all_at_one_moment(job: Job) -> None:
    """Copy what the marts read: they refuse sources of different moments."""
    command = [ETL, "replicate", COLLECTION, *OTHERS, "--json"]
    subprocess.run(command, env=job.variables, stdout=subprocess.DEVNULL, check=True)
    stores.settle(job.uris)


MARTS = Contender(
    "marts", "etl marts, both stores", lambda _: [ETL, "marts", "--json"], _all_at_one_moment, "all marts"
)


def _change_a_tenth(job: Job) -> None:
    with MongoClient[dict[str, Any]](job.uris.mongo) as client:
        everything = client[job.database][COLLECTION]
        everything.update_many({"session_id": {"$regex": "7$"}}, {"$set": {"device.os": "Plan 9"}})


SYNC = Contender(
    "sync",
    "etl sync, both stores",
    lambda _: [ETL, "sync", COLLECTION, "--json"],
    _change_a_tenth,
    "a tenth of the documents changed since",
)


def run(sizes: Sequence[int]) -> dict[str, Any]:
    """Measure one run of each per size, save after each size, and return the results; other sizes stay."""
    saved = record.read("memory")
    found = saved if saved.get("memory") == MEMORY else {"memory": MEMORY, "collection": COLLECTION, "sizes": []}
    with world.engines() as (home, uris):
        for rows in sizes:
            database = f"bench_{rows}"
            one = world.surroundings()
            wanted = {COLLECTION: rows, **dict.fromkeys(OTHERS, max(rows // OTHERS_PART, 1))}
            one |= world.fill(uris, database, wanted)[COLLECTION]
            job = Job(uris, home, database, COLLECTION, "", rows)
            known = CONTENDERS | {MARTS.name: MARTS, SYNC.name: SYNC}
            one["steps"] = {name: _step(known[name], job) for name in STEPS}
            stores.forget_ours(uris)
            world.drop(uris, database)
            others = [other for other in found["sizes"] if other["documents"] != one["documents"]]
            found["sizes"] = sorted([*others, one], key=lambda size: int(size["documents"]))
            record.save("memory", found)
    return found


def _step(one: Contender, job: Job) -> dict[str, Any]:
    one.prepare(job)
    measured, said = measure(one.command(job), job.variables | {"ETL_MEMORY": MEMORY}, job.home)
    if measured.exit_code:
        print(f"{one.title} failed:\n{said}", file=sys.stderr)
    print(f"{job.documents:,} {one.title}: {measured.peak_rss_mib:.0f} MiB, {measured.wall_s:.1f} s", file=sys.stderr)
    return asdict(measured)
