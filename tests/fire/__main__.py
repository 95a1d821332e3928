"""Burn for a while, say what came of it, and keep the figures: `make fire`, or `FIRE=5m make fire`."""

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.fire.rounds import Report, fire

PAGE = Path(__file__).parents[2] / "docs/reliability.md"
_FIGURES = re.compile(r"(?<=<!-- figures of make fire -->\n).*(?=<!-- end of figures -->)", re.DOTALL)
_UNITS = {"s": 1, "m": 60, "h": 3600}


def main() -> None:
    """Do it."""
    found = re.fullmatch(r"(\d+)([smh])", os.environ.get("FIRE", "1h"))
    if not found:
        sys.exit("error: FIRE must be a time such as 60s, 5m or 1h")
    seconds, seed = int(found[1]) * _UNITS[found[2]], int(os.environ.get("SEED", time.time()))
    print(f"{found[0]} of fire, SEED={seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fire-") as folder:
        report = fire(seconds, seed, Path(folder), lambda line: print(line, flush=True))
    print(json.dumps(report.figures(), indent=1))
    if report.wrong:
        sys.exit(f"{len(report.wrong)} things are wrong, the first: {report.wrong[0]}")
    table = "".join(f"{line}\n" for line in _table(report, found[0], seed))
    PAGE.write_text(_FIGURES.sub(table, PAGE.read_text()))


def _table(report: Report, duration: str, seed: int) -> Iterator[str]:
    """Yield the lines of the table that people read."""
    yield f"{duration} of fire, seed {seed}, {datetime.now(UTC):%Y-%m-%d}:\n"
    yield "| | |\n|---|---|"
    yield f"| rounds | {report.rounds:,} |"
    yield f"| commands | {sum(report.outcomes.values()):,} |"
    yield f"| of them killed by SIGKILL | {report.kills:,} |"
    yield f"| documents written meanwhile | {report.written:,} |"
    for fault, times in sorted(report.done.items()):
        if fault != "nothing":
            yield f"| {fault} | {times:,} times |"
    yield f"| looks of readers at both stores | {report.looks:,} |"
    yield f"| documents compared, each in each store | {report.compared:,} |"
    yield "| lost, bent, invented; staging left; books open; mixtures seen | 0 |"


if __name__ == "__main__":
    main()
