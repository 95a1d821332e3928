"""``python -m benchmarks``: what ``make bench`` runs."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import fidelity, in_part, marts, memory, scale_out, speed, strangers, tables
from benchmarks.contenders import CONTENDERS

PARTS = ("speed", "memory", "fidelity", "scale-out", "in-part", "marts")
ALONE = ("scale-out", "in-part", "marts")  # only if they are named


def main(
    rows: Annotated[int, typer.Option(min=1000, help="Documents per collection.")] = 1_000_000,
    runs: Annotated[int, typer.Option(min=1, help="Rounds.")] = 3,
    part: Annotated[
        list[str] | None,
        typer.Option(help=f"One of {', '.join(PARTS)}; all but {', '.join(ALONE)} if none is named."),
    ] = None,
    contender: Annotated[
        list[str] | None, typer.Option(help=f"Some of {', '.join(CONTENDERS)}; all if none is named.")
    ] = None,
    sizes: Annotated[
        list[int] | None, typer.Option("--size", help="Documents for memory; a quarter and all of the rows if unnamed.")
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(help="A folder of collections as Extended JSON, which ours and dlt are to copy.")
    ] = None,
    collection: Annotated[
        list[str] | None, typer.Option(help="UserSessions, EventLogs; both if none is named.")
    ] = None,
) -> None:
    """Measure on engines of its own and print tables; the figures go to benchmarks/results.

    What is measured anew replaces what was there; other collections, sizes and contenders stay.
    """
    # Engines run as processes of their own: ended by a signal or by Ctrl-C, the measurement still stops them.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    parts = part or (() if samples else tuple(one for one in PARTS if one not in ALONE))
    if "speed" in parts:
        tables.show(speed.run(rows, runs, contender or list(CONTENDERS), collection or speed.COLLECTIONS))
    if "memory" in parts:
        memory.run(sizes or [max(rows // 4, 1000), rows])
    if "scale-out" in parts:
        scale_out.run(rows, runs)
    if "in-part" in parts:
        in_part.run(rows, runs)
    if "marts" in parts:
        marts.run(rows)
    if "fidelity" in parts:
        fidelity.run()
    if samples:
        strangers.run(samples)


if __name__ == "__main__":
    typer.run(main)
