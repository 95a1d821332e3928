"""The tasks of the DAG ``maintenance``."""

import logging

from pipeline import prune as use_case
from pipeline.airflow.sessions import connected

log = logging.getLogger(__name__)


def prune(*, dry_run: bool = False) -> None:
    """Remove what the books have kept for long enough, and log how much it was.

    Args:
        dry_run: Only count what would be removed.
    """
    with connected() as connections:
        found = use_case.prune(connections, dry_run=dry_run)
    for one in found:
        log.info("%s, %s: %s rows%s", one.table, one.what, f"{one.rows:,}", " would be removed" if dry_run else "")
