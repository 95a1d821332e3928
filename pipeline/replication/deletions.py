"""Which documents of the quarantine are no more: what was deleted in MongoDB must not live on there."""

from collections.abc import Iterator

from pipeline import control
from pipeline.connections import Connections
from pipeline.runs.run import Run
from pipeline.stores.selection import Ids
from transforms.bson.identity import hash_id


def find_deleted(connections: Connections, run: Run) -> dict[str, list[bytes]]:
    """Return which documents of the quarantine MongoDB no longer has at a run's moment.

    Resolved ones are among them: their bytes are kept for a while, but not longer than the document itself.

    Args:
        connections: The open connections; PostgreSQL's must not be within a transaction.
        run: A run whose partitions are loaded.

    Returns:
        By collection, what the books know their ``_id``s by.
    """
    found = {name: list(_deleted(connections, run, name)) for name in run.uuids}
    return {name: hashes for name, hashes in found.items() if hashes}


def _deleted(connections: Connections, run: Run, collection: str) -> Iterator[bytes]:
    """Yield what is in quarantine and not in MongoDB; what the run itself has refused was read by it a moment ago."""
    after = b""
    while True:
        with connections.postgres.transaction():
            page = control.unrefused(connections.postgres, run.id, collection, after, is_full=run.is_full)
        if not page:
            return
        ids = Ids(tuple(page.values()))
        yield from page.keys() - set(map(hash_id, connections.mongo.ids(collection, run.cluster_time, ids)))
        after = max(page)
