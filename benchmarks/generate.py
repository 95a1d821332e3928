"""How many documents per second ``etl generate`` writes, by collection: ``python benchmarks/generate.py [ROWS]``.

Starts its own MongoDB in a temporary folder. The second column is drawing alone, the third drawing and storing (what
the command does), the fourth the same with one document in a hundred broken.
"""

import gc
import resource
import sys
import tempfile
import time
from pathlib import Path

from pymongo import MongoClient

from contracts.schema.registry import entities
from generators import World
from generators import generate as draw
from pipeline.engines import embedded
from pipeline.generate import generate

DATABASE = "benchmark_generate"


def main(rows: int) -> None:
    """Print a table."""
    contracts = entities()
    with tempfile.TemporaryDirectory() as home:
        try:
            client = MongoClient(embedded.up(Path(home), ["mongo"]).mongo)
            print(f"{rows:,} documents per collection, thousands per second\n")
            print(f"{'collection':22}{'drawn':>8}{'stored':>8}{'broken':>8}{'bytes':>8}")
            for name in contracts:
                print(f"{name:22}{_drawn(name, rows):8.0f}", end="", flush=True)
                for defects in (0.0, 0.01):
                    made = generate(client[DATABASE], contracts, scale=0, rows={name: rows}, defects=defects)
                    print(f"{rows / made.collections[0].seconds / 1000:8.0f}", end="", flush=True)
                print(f"{client[DATABASE].command('collStats', name)['avgObjSize']:8.0f}")
                client[DATABASE].drop_collection(name)
            client.close()
        finally:
            embedded.down(Path(home))
    print(f"\nlargest memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def _drawn(name: str, rows: int) -> float:
    """Return thousands of documents per second that are drawn when nothing is stored."""
    contracts = entities()
    world = World.sized(contracts, {name: rows}, seed=0)
    gc.disable()  # as the command does
    began = time.perf_counter()
    for _ in draw(contracts[name], rows, world=world):
        pass
    seconds = time.perf_counter() - began
    gc.enable()
    return rows / seconds / 1000


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
