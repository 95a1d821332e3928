"""What a copy is, from the moment it reads to its publish, and the pieces it is done in."""

from dataclasses import dataclass
from typing import Any

from bson import Timestamp, json_util
from bson.codec_options import DatetimeConversion

from pipeline.books import as_number
from pipeline.connections import Connections
from pipeline.publishing import REPLICA, tables_of
from pipeline.stores import Staging
from pipeline.stores.mongo import Range

_EXACT = json_util.CANONICAL_JSON_OPTIONS.with_options(datetime_conversion=DatetimeConversion.DATETIME_MS)


@dataclass(frozen=True)
class Run:
    """One copy, from the moment it reads to its publish.

    Attributes:
        id: Its name in the books.
        cluster_time: The moment that everything is read at.
        uuids: Identity of each collection at the start; None where there is no such collection.
        targets: Names of the stores that it loads.
    """

    id: str
    cluster_time: Timestamp
    uuids: dict[str, str | None]
    targets: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, to hand to another process."""
        moment = [self.cluster_time.time, self.cluster_time.inc]
        return {"id": self.id, "cluster_time": moment, "uuids": self.uuids, "targets": list(self.targets)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Run":
        """Return the run that :meth:`as_json` described."""
        return cls(values["id"], Timestamp(*values["cluster_time"]), values["uuids"], tuple(values["targets"]))


@dataclass(frozen=True)
class Partition:
    """A piece of a run that any process can load, once or more often.

    Attributes:
        collection: What to read.
        number: Its number in the run.
        within: Which ``_id``s.
        label: What people call it, such as ``SupportTickets 3/8``.
    """

    collection: str
    number: int
    within: Range
    label: str

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, to hand to another process."""
        bounds = [json_util.dumps(bound, json_options=_EXACT) for bound in (self.within.lower, self.within.upper)]
        return {"collection": self.collection, "number": self.number, "bounds": bounds, "label": self.label}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Partition":
        """Return the partition that :meth:`as_json` described."""
        lower, upper = (json_util.loads(bound, json_options=_EXACT) for bound in values["bounds"])
        return cls(values["collection"], values["number"], Range(lower, upper), values["label"])


def staging_of(connections: Connections, run: Run) -> Staging:
    """Return where a run gathers its tables."""
    return Staging(run.id, REPLICA, tables_of(connections, run.uuids), as_number(run.cluster_time))
