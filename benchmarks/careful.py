"""What documents cost that take the slow path: ``python benchmarks/careful.py [DOCUMENTS]``.

Starts its own engines in a temporary folder, and copies UserSessions of two sizes into both stores by ``etl
replicate``: as they were generated, with a misfit in each document that its contract lets go aside, with a field that
nobody declared in each, or many of them (all these are mended), and with a number where a text should be (all are
refused). A map as a child table and a field whose name has a dot and a dollar are beside them, both declared. Memory
is flat if both sizes need the same; what is mended should take no three times as long as what is lawful, and the time
should grow with the documents and with the fields.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.collection import Collection

from contracts import user_sessions
from contracts.schema.registry import entities
from pipeline.engines import embedded
from pipeline.generate import generate

DATABASE, COLLECTION = "benchmark_careful", "UserSessions"
DOCUMENTS, LARGER = 50_000, 4  # how many, and how many times as many for the second size
ODD_NAME = "net.of $tax"
# What is done to each document, and what must become of it.
LANES: dict[str, tuple[dict[str, Any] | list[dict[str, Any]], str]] = {
    "lawful": ({}, "loaded"),
    "map": ({"$set": {"prices": {"CHF": 9, "EUR": 10, "USD": 11}}}, "loaded"),
    "odd name": ([{"$replaceWith": {"$setField": {"field": ODD_NAME, "input": "$$ROOT", "value": 1}}}], "loaded"),
    "misfit": ({"$set": {"end_time": "yesterday"}}, "loaded"),
    "dozen": ({"$set": {f"undeclared_{number}": number for number in range(12)}}, "loaded"),
    "mended": ({"$set": {"undeclared": {"note": "no contract knows this", "counts": [1, 2.5, None]}}}, "loaded"),
    "refused": ({"$set": {"device.os": 7}}, "quarantined"),
}


@dataclass(frozen=True)
class Measured:
    """One copy.

    Attributes:
        seconds: Of the whole process.
        processor: Seconds that its threads were at work, which other work on the machine hardly changes.
        servers: Seconds that the three servers were at work meanwhile.
        peak: Largest memory of the process, in MiB; the servers are others.
    """

    seconds: float
    processor: float
    servers: float
    peak: float


_MAP = 'map_of("prices", "P.", INTEGER, nullable=True)'
_ODD = f'integer("{ODD_NAME}", "N.", alias="net_of_tax", nullable=True)'


def main(documents: int) -> None:
    """Print a table."""
    headings = f"{'seconds':>9}{'documents/s':>13}{'processor s':>13}{'servers s':>11}{'peak MiB':>10}"
    print(f"{'documents':>10}  {'lane':10}{headings}")
    with tempfile.TemporaryDirectory() as home:
        try:
            uris = embedded.up(Path(home))
            client: MongoClient[Any] = MongoClient(uris.mongo)
            environment = _environment(uris, home)
            _write_contract(Path(home, "contracts"))
            for number in (documents, documents * LARGER):
                for lane, (change, end) in LANES.items():
                    _fill(client, number, change)
                    measured = _copy(environment, number, end)
                    speed = number / measured.seconds
                    times = f"{measured.seconds:9.1f}{speed:13,.0f}{measured.processor:13.1f}{measured.servers:11.1f}"
                    print(f"{number:10,}  {lane:10}{times}{measured.peak:10.0f}", flush=True)
            client.close()
        finally:
            embedded.down(Path(home))


def _environment(uris: embedded.Uris, home: str) -> dict[str, str]:
    servers = {f"ETL_{name.upper()}_URI": getattr(uris, name) for name in ("mongo", "postgres", "clickhouse")}
    return {
        **os.environ,
        **servers,
        "ETL_HOME": home,
        "ETL_MONGO_DATABASE": DATABASE,
        "ETL_CONTRACTS": f"{home}/contracts",
    }


def _write_contract(folder: Path) -> None:
    """Write the demo's contract, with misfits aside where there may be nulls."""
    folder.mkdir()
    source = Path(user_sessions.__file__).read_text().rstrip()
    words = "from contracts.schema.kinds import INTEGER\nfrom contracts.schema.fields import integer, map_of, "
    for old, new in (
        ("from contracts.schema.fields import ", words),
        ("    fields=(\n", f"    fields=(\n        {_MAP},\n        {_ODD},\n"),
    ):
        assert old in source
        source = source.replace(old, new, 1)
    (folder / "user_sessions.py").write_text(source.removesuffix(")") + '    misfits="extra",\n)\n')


def _fill(client: "MongoClient[Any]", number: int, change: dict[str, Any] | list[dict[str, Any]]) -> None:
    generate(client[DATABASE], entities(), scale=0, rows={COLLECTION: number})
    collection: Collection[Any] = client[DATABASE][COLLECTION]
    if change:
        collection.update_many({}, change)


def _copy(environment: dict[str, str], number: int, end: str) -> Measured:
    """Copy the collection in a process of its own, and see that all documents ended as they must."""
    command = [sys.executable, "-m", "pipeline.cli", "replicate", COLLECTION, "--max-quarantined", "100%", "--json"]
    began, before = time.perf_counter(), _at_work(environment["ETL_HOME"])
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, env=environment, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)  # the usage of this one process
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        found = json.load(out)
    servers = _at_work(environment["ETL_HOME"]) - before
    assert process.returncode == 0, found
    assert all(account[end] == number for account in found["books"]), found["books"]
    return Measured(seconds, usage.ru_utime + usage.ru_stime, servers, usage.ru_maxrss / 1024)


def _at_work(home: str) -> float:
    """Return for how many seconds the servers under a folder were at work so far, with those that they have ended."""
    found = 0
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if home.encode() in (one / "cmdline").read_bytes():
                found += sum(map(int, (one / "stat").read_text().rpartition(")")[2].split()[11:15]))
    return found / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else DOCUMENTS)
