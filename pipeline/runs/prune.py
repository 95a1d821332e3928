"""What the books no longer have to keep is removed, so that they don't grow without end."""

from pipeline import control
from pipeline.connections import Connections
from pipeline.control import Pruned
from pipeline.runs.recovery import recover


def prune(connections: Connections, *, dry_run: bool = False) -> list[Pruned]:
    """Remove what the books have kept for long enough, and what runs left that ended without a word.

    Args:
        connections: The open connections, with how long what is kept.
        dry_run: Only count what would be removed.

    Returns:
        How many rows of each table were removed, or would be.
    """
    postgres = connections.postgres
    if not dry_run:
        recover(connections)
    with postgres.transaction():
        if not control.has_books(postgres):
            return []  # nothing was ever replicated
        change = control.prunable if dry_run else control.prune
        return change(postgres, connections.retention)
