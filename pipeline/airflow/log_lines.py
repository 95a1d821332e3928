"""Log lines: one per step, with what it is about, how much of it there is, and how long it took."""

import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipeline.text.printable import visible
from transforms.violations import shorten_text

if TYPE_CHECKING:
    from pipeline.control import Account
    from pipeline.replication.comparison import Comparison
    from pipeline.replication.sync import Synced
    from pipeline.runs.run import Partition
    from pipeline.runtime.progress import Progress

SECONDS_BETWEEN_LINES = 10.0
DIFFERENCE_CHARACTERS = 1_000  # a value may have 16 MB

log = logging.getLogger(__name__)


def line(text: str, level: int = logging.INFO) -> None:
    """Log a line, whatever the names and values in it are made of."""
    log.log(level, "%s", visible(text))


def partition_lines() -> "Progress[Partition]":
    """Return a progress that logs how far a partition is: when it begins, ends, and every few seconds between."""
    began = said = time.monotonic()

    def progress(partition: "Partition", total: int, done: int) -> None:
        nonlocal said
        now = time.monotonic()
        if done in (0, total) or now - said >= SECONDS_BETWEEN_LINES:
            said = now
            line(f"{partition.label}: {done:,} of {total:,} documents, {now - began:.1f} s")

    return progress


def finished_lines(what: str) -> "Progress[str]":
    """Return a progress that logs each collection or mart when all of it is done.

    Args:
        what: What there is of it, such as ``documents written``.
    """
    began = time.monotonic()
    finished: set[str] = set()

    def progress(name: str, total: int, done: int) -> None:
        if done == total and name not in finished:
            finished.add(name)
            line(f"{name}: {total:,} {what}, {time.monotonic() - began:.1f} s")

    return progress


def account_lines(accounts: Iterable["Account"]) -> None:
    """Log the books, a line per collection and target."""
    for one in accounts:
        sides = f"{one.source:,} documents = {one.loaded:,} loaded + {one.quarantined:,} quarantined"
        line(f"{one.collection} in {one.target}: {sides}")


def change_lines(found: Iterable["Synced"]) -> None:
    """Log what became of changed documents, a line per collection."""
    for one in found:
        sides = f"{one.loaded:,} loaded + {one.deleted:,} deleted + {one.quarantined:,} quarantined"
        line(f"{one.collection} in {' and '.join(one.targets)}: {one.changed:,} changed = {sides}")


def comparison_lines(found: Iterable["Comparison"]) -> None:
    """Log what a verification found, a line per collection and target, and the first differences."""
    for one in found:
        line(
            f"{one.collection} in {one.target}: {one.equal:,} of {one.source:,} documents equal, {one.quarantined:,} "
            f"quarantined, {one.missing:,} missing, {one.extra:,} extra, {one.different:,} different, "
            f"{one.changed_since:,} changed since",
            logging.INFO if one.proven else logging.ERROR,
        )
        for difference in one.differences:
            line(shorten_text(str(difference), DIFFERENCE_CHARACTERS), logging.ERROR)
