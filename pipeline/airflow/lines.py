"""Log lines: one per step, with what it is about, how much of it there is, and how long it took."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.books import Account
    from pipeline.run import Partition
    from pipeline.sync import Synced
    from pipeline.verify import Comparison

SECONDS_BETWEEN_LINES = 10.0

log = logging.getLogger(__name__)


def partition_lines() -> Callable[["Partition", int, int], None]:
    """Return a progress that logs how far a partition is: when it begins, ends, and every few seconds between."""
    began = said = time.monotonic()

    def progress(partition: "Partition", source: int, through: int) -> None:
        nonlocal said
        now = time.monotonic()
        if through in (0, source) or now - said >= SECONDS_BETWEEN_LINES:
            said = now
            log.info("%s: %s of %s documents, %.1f s", partition.label, f"{through:,}", f"{source:,}", now - began)

    return progress


def collection_lines(verb: str) -> Callable[[str, int, int], None]:
    """Return a progress that logs each collection when all of it is through.

    Args:
        verb: What was done to its documents, such as ``written``.
    """
    began = time.monotonic()
    through: set[str] = set()

    def progress(collection: str, first: int, second: int) -> None:
        if first == second and collection not in through:
            through.add(collection)
            log.info("%s: %s documents %s, %.1f s", collection, f"{first:,}", verb, time.monotonic() - began)

    return progress


def mart_lines() -> Callable[[str, int], None]:
    """Return a progress that logs a mart that was loaded."""
    began = time.monotonic()

    def progress(mart: str, rows: int) -> None:
        log.info("%s: %s rows, %.1f s", mart, f"{rows:,}", time.monotonic() - began)

    return progress


def account_lines(accounts: Iterable["Account"]) -> None:
    """Log the books, a line per collection and target."""
    for one in accounts:
        sides = f"{one.source:,} documents = {one.loaded:,} loaded + {one.quarantined:,} quarantined"
        log.info("%s in %s: %s", one.collection, one.target, sides)


def change_lines(found: Iterable["Synced"]) -> None:
    """Log what became of changed documents, a line per collection."""
    for one in found:
        sides = f"{one.loaded:,} loaded + {one.deleted:,} deleted + {one.quarantined:,} quarantined"
        log.info("%s in %s: %s changed = %s", one.collection, " and ".join(one.targets), f"{one.changed:,}", sides)


def comparison_lines(found: Iterable["Comparison"]) -> None:
    """Log what a verification found, a line per collection and target, and the first differences."""
    for one in found:
        log.log(
            logging.INFO if one.proven else logging.ERROR,
            "%s in %s: %s of %s documents equal, %s quarantined, %s missing, %s extra, %s different, %s changed since",
            one.collection,
            one.target,
            *(f"{n:,}" for n in (one.equal, one.source, one.quarantined, one.missing, one.extra, one.different)),
            f"{one.changed_since:,}",
        )
        for difference in one.differences:
            log.error("%s", difference)
