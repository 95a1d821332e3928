"""What a copy is, from the moment it reads to its publish, and the pieces it is done in."""

from dataclasses import asdict, dataclass
from typing import Any

from bson import Timestamp, json_util
from bson.codec_options import DatetimeConversion

from pipeline import control as books
from pipeline.connections import Connections
from pipeline.control import as_number
from pipeline.runs.publish import REPLICA, tables_of
from pipeline.stores.base import Staging
from pipeline.stores.selection import Ids, Range

_EXACT = json_util.CANONICAL_JSON_OPTIONS.with_options(datetime_conversion=DatetimeConversion.DATETIME_MS)


@dataclass(frozen=True)
class Run:
    """One copy, from the moment it reads to its publish.

    Attributes:
        id: Its name in the books.
        cluster_time: The moment that everything is read at.
        uuids: Identity of each collection at the start; None where there is no such collection.
        targets: Names of the stores that it loads.
        whole: Whether it copies all documents of its collections, or only those that were changed.
        new_source: Whether it may take over what was copied from another server or database.
        allow_shrink: Whether it may take away more of what is published than the settings allow.
    """

    id: str
    cluster_time: Timestamp
    uuids: dict[str, str | None]
    targets: tuple[str, ...]
    whole: bool = True
    new_source: bool = False
    allow_shrink: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, to hand to another process."""
        moment = [self.cluster_time.time, self.cluster_time.inc]
        return asdict(self) | {"cluster_time": moment, "targets": list(self.targets)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Run":
        """Return the run that :meth:`as_json` described."""
        moment, targets = Timestamp(*values["cluster_time"]), tuple(values["targets"])
        flags = {name: values[name] for name in ("whole", "new_source", "allow_shrink")}
        return cls(values["id"], moment, values["uuids"], targets, **flags)


@dataclass(frozen=True)
class Places:
    """Some documents that a run has noted as changed, by a range of the places that the books gave them.

    Attributes:
        after: The range begins after this place.
        upto: It ends with this place.
    """

    after: int
    upto: int


@dataclass(frozen=True)
class Partition:
    """A piece of a run that any process can load, once or more often.

    Attributes:
        collection: What to read.
        number: Its number in the run.
        within: Which documents.
        label: What people call it, such as ``SupportTickets 3/8``.
    """

    collection: str
    number: int
    within: Range | Places
    label: str

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, to hand to another process."""
        values: dict[str, Any] = {"collection": self.collection, "number": self.number, "label": self.label}
        if isinstance(self.within, Places):
            return values | {"places": [self.within.after, self.within.upto]}
        bounds = [json_util.dumps(bound, json_options=_EXACT) for bound in (self.within.lower, self.within.upper)]
        return values | {"bounds": bounds}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Partition":
        """Return the partition that :meth:`as_json` described."""
        within: Range | Places
        if "places" in values:
            within = Places(*values["places"])
        else:
            within = Range(*(json_util.loads(bound, json_options=_EXACT) for bound in values["bounds"]))
        return cls(values["collection"], values["number"], within, values["label"])


def selected(connections: Connections, run: Run, partition: Partition) -> Range | Ids:
    """Return which documents MongoDB is asked for; those that were changed are named in the books."""
    within = partition.within
    if isinstance(within, Range):
        return within
    changed = Ids(books.touched(connections.postgres, run.id, partition.collection, within.after, within.upto))
    return connections.mongo.exact(partition.collection, run.cluster_time, changed)


def staging_of(connections: Connections, run: Run) -> Staging:
    """Return where a run gathers its tables."""
    return Staging(run.id, REPLICA, tables_of(connections, run.uuids), as_number(run.cluster_time), run.whole)
