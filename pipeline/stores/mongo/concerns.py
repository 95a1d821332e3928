"""Read concerns that name a cluster time."""

from typing import Any

from bson import Timestamp
from pymongo.read_concern import ReadConcern


class _TimedReadConcern(ReadConcern):
    """A read concern that names a cluster time, which several processes can share."""

    def __init__(self, level: str, word: str, cluster_time: Timestamp) -> None:
        super().__init__(level)
        self._named = {word: cluster_time}

    @property
    def document(self) -> dict[str, Any]:
        """The read concern as the server takes it."""
        return {"level": self.level, **self._named}


class SnapshotReadConcern(_TimedReadConcern):
    """Read concern ``snapshot``: as it was at a given cluster time."""

    def __init__(self, cluster_time: Timestamp) -> None:
        super().__init__("snapshot", "atClusterTime", cluster_time)


class AfterReadConcern(_TimedReadConcern):
    """Read concern ``majority``, for what can't be read at one moment: not as it was before a given cluster time."""

    def __init__(self, cluster_time: Timestamp) -> None:
        super().__init__("majority", "afterClusterTime", cluster_time)
