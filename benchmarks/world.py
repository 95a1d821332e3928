"""The engines and the documents that everybody works with, and what a reader must know of the machine."""

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from pymongo import MongoClient

from contracts.schema.registry import entities
from pipeline.engines import embedded
from pipeline.engines.embedded import Uris
from pipeline.generate import generate

LIBRARIES = ("pymongo", "pymongoarrow", "pyarrow", "polars", "pandera", "adbc-driver-postgresql", "clickhouse-connect")
ENGINES = {"MongoDB": "6.0.5", "PostgreSQL": "18.6"}  # what the pinned wheels hold


@contextmanager
def engines() -> Iterator[tuple[Path, Uris]]:
    """Run all three engines in a temporary home (``BENCH_HOME`` says where), with their defaults of this project."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=os.environ.get("BENCH_HOME")) as folder:
        os.chmod(folder, 0o755)  # PostgreSQL may run as another user
        home = Path(folder) / "home"
        try:
            yield home, embedded.up(home)
        finally:
            embedded.down(home)


def fill(uris: Uris, database: str, rows: dict[str, int]) -> dict[str, dict[str, int]]:
    """Generate collections, without defects: peers must be able to load them.

    Returns:
        Per collection the ``documents`` and ``bson_bytes``.
    """
    sizes = {}
    with MongoClient[dict[str, Any]](uris.mongo) as client:
        for name, count in rows.items():
            generate(client[database], entities(), scale=0, rows={name: count}, replace=True)
            stats = client[database].command("collStats", name)
            sizes[name] = {"documents": int(stats["count"]), "bson_bytes": int(stats["size"])}
    return sizes


def surroundings() -> dict[str, Any]:
    """Return when, on what and of which versions."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "load_before": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release()}",
        "versions": {
            "Python": sys.version.split()[0],
            **ENGINES,
            "ClickHouse (chdb-core)": version("chdb-core"),
            **{name: version(name) for name in LIBRARIES},
        },
    }


def drop(uris: Uris, database: str) -> None:
    """Drop a database of MongoDB."""
    with MongoClient[dict[str, Any]](uris.mongo) as client:
        client.drop_database(database)
