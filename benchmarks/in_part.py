"""Marts in part beside marts whole, after few changes: whole processes, in a world as it is generated."""

import random
import sys
from dataclasses import asdict
from typing import Any

from pymongo import MongoClient

from benchmarks import record, world
from benchmarks.contenders import Job
from benchmarks.measure import Measurement, measure_etl
from contracts.schema.registry import entities
from generators.batches import rows_at
from pipeline.generate import generate

COLLECTION, CHANGED = "UserSessions", 1_000


def run(rows: int, rounds: int) -> dict[str, Any]:
    """Measure round by round, save and return the results.

    Args:
        rows: Sessions; of the other collections as many as are generated beside them.
        rounds: In each other sessions are changed and followed by a sync before all marts are computed, both ways.
    """
    with world.engines() as (home, uris):
        job = Job(uris, home, "etl", COLLECTION, "", rows)
        with MongoClient[dict[str, Any]](uris.mongo) as client:
            sessions = client[job.database][COLLECTION]
            generate(client[job.database], known := entities(), scale=rows / rows_at(known[COLLECTION], 1))
            documents = sum(client[job.database][name].estimated_document_count() for name in known)
            found = world.surroundings() | {"documents": documents, "sessions": rows, "changed": CHANGED}
            found |= {"part": [], "whole": []}
            for command in (["replicate"], ["marts"]):
                _run(job, *command)
            draw = random.Random(0)
            for _ in range(rounds):
                picked = sessions.aggregate([{"$sample": {"size": CHANGED}}, {"$project": {"_id": 1}}])
                ids = [one["_id"] for one in picked]
                sessions.update_many({"_id": {"$in": ids}}, {"$push": {"pages_visited": f"/{draw.random()}"}})
                _run(job, "sync")
                found["part"].append(asdict(_run(job, "marts")))
                found["whole"].append(asdict(_run(job, "marts", "--full")))
                record.save("in-part", found)
    return found


def _run(job: Job, *arguments: str) -> Measurement:
    measured = measure_etl(arguments, job.variables, job.home)
    print(f"etl {' '.join(arguments)}: {measured.wall_s:.1f} s", file=sys.stderr)
    return measured
