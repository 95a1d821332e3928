"""Whether the slow path stays linear: ``python -m benchmarks.slopes [MOST]``.

Documents that the gate refuses are decoded one by one, so what grows with them must not grow faster than they do. Each
row grows one thing tenfold at a time, from 1,000 to at most MOST (1,000,000), or to what a document of 16 MB holds, and
tells the processor time of one of it; the slope is by how many powers of ten the time grows with each: 1 is linear.
No server takes part.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log10
from typing import Any

import bson
from bson import DatetimeMS, ObjectId

from contracts.schema.entity import Entity
from contracts.schema.fields import documents, identifier, integer, text, timestamp
from pipeline.runtime.memory import MemoryBudget
from transforms.bson.documents import in_chunks
from transforms.ingest.slow_path import transform_slowly

LEAST, MOST, LARGEST = 1_000, 1_000_000, 16 * 2**20
SLOW_BATCH = MemoryBudget(2**30).slow_batch  # as the copy takes them, by the default of ETL_MEMORY
ENTITY = Entity(
    "Things",
    "Something of everything.",
    "key",
    (
        identifier("key", "Business key."),
        timestamp("at", "When.", nullable=True),
        documents("items", "What there is many of.", text("name", "Name."), integer("n", "Number.", nullable=True)),
    ),
    misfits="extra",
)
Documents = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class Lane:
    """One thing that grows.

    Attributes:
        name: What it is called.
        made: Makes the documents that have so many of it.
        outcome: What must become of them.
    """

    name: str
    made: Callable[[int], Documents]
    outcome: str


def thing(number: int = 0, **fields: Any) -> dict[str, Any]:
    """Return a lawful document, but for what is given."""
    return {"_id": ObjectId(number.to_bytes(12, "big")), "key": f"k{number}", "at": DatetimeMS(0), "items": []} | fields


def many(count: int, **fields: Any) -> Documents:
    """Yield documents that depart from the contract in the same way."""
    return (thing(number, **fields) for number in range(count))


def items(count: int, **fields: Any) -> list[dict[str, Any]]:
    """Return items of an array."""
    return [{"name": "x", "n": number} | fields for number in range(count)]


LANES = (
    Lane("items of a document with an undeclared field", lambda n: iter([thing(items=items(n), more=1)]), "loaded"),
    Lane("items with an undeclared field each", lambda n: iter([thing(items=items(n, more=1))]), "loaded"),
    Lane("items that are misfits", lambda n: iter([thing(items=items(n, n="one"))]), "loaded"),
    Lane("items that break the contract", lambda n: iter([thing(items=items(n, name=1))]), "refused"),
    Lane(
        "undeclared keys of a document", lambda n: iter([thing(**{f"more_{one}": one for one in range(n)})]), "loaded"
    ),
    Lane("documents with an undeclared field", lambda n: many(n, more=1), "loaded"),
    Lane("documents with a misfit", lambda n: many(n, at="yesterday"), "loaded"),
    Lane("documents that are quarantined", lambda n: many(n, key=1), "refused"),
)


def main(most: int) -> None:
    """Print a table."""
    print(f"{'':46}{'least':>9}{'most':>10}{'us each':>9}{'us each':>9}{'slope':>7}")
    for lane in LANES:
        _seconds(lane, 10)  # what is made once is not counted
        sizes = [10**power for power in range(round(log10(LEAST)), round(log10(most)) + 1)]
        found = [(size, taken) for size in sizes if (taken := _seconds(lane, size)) is not None]
        (first, early), (before, shorter), (last, longest) = found[0], found[-2], found[-1]
        slope = log10(longest / shorter) / log10(last / before)
        each = f"{early / first * 1e6:9.1f}{longest / last * 1e6:9.1f}"
        print(f"{lane.name:46}{first:9,}{last:10,}{each}{slope:7.2f}", flush=True)


def _seconds(lane: Lane, size: int) -> float | None:
    """Return the processor time of so many, or None if MongoDB would not have a document of so many."""
    raws = list(map(bson.encode, lane.made(size)))
    if max(map(len, raws)) > LARGEST:
        return None
    began, refused = time.process_time(), 0
    for some in in_chunks(raws, SLOW_BATCH):
        refused += len(transform_slowly(some, ENTITY).refused)
    taken = time.process_time() - began
    assert refused == (len(raws) if lane.outcome == "refused" else 0), lane.name
    return taken


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MOST)
