"""What a copy is, from the moment it reads to its publish, and the pieces it is done in."""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Protocol, Self

from bson import Timestamp, json_util
from bson.codec_options import DatetimeConversion
from pydantic import BeforeValidator, ConfigDict, PlainSerializer, TypeAdapter

from pipeline import control
from pipeline.connections import Connections
from pipeline.control import as_number
from pipeline.runs.published import REPLICA, tables_of
from pipeline.stores.selection import Ids, Range
from pipeline.stores.staging import Staging

_EXACT = json_util.CANONICAL_JSON_OPTIONS.with_options(datetime_conversion=DatetimeConversion.DATETIME_MS)
ClusterTime = Annotated[
    Timestamp,
    BeforeValidator(lambda moment: moment if isinstance(moment, Timestamp) else Timestamp(*moment)),
    PlainSerializer(lambda moment: [moment.time, moment.inc]),
]


class Portable:
    """What one process hands to another as plain JSON values: a dataclass whose fields pydantic knows."""

    __pydantic_config__ = ConfigDict(arbitrary_types_allowed=True)

    @classmethod
    @cache  # making one takes longer than all of its work
    def _adapter(cls) -> TypeAdapter[Any]:
        return TypeAdapter(cls)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        values: dict[str, Any] = self._adapter().dump_python(self, mode="json")
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return what :meth:`as_json` described."""
        found: Self = cls._adapter().validate_python(values)
        return found


class HasId(Protocol):
    """A run of whatever kind, as far as the books know it."""

    @property
    def id(self) -> str:
        """Its name in the books."""


@dataclass(frozen=True)
class Run(Portable):
    """One copy, from the moment it reads to its publish.

    Attributes:
        id: Its name in the books.
        cluster_time: The moment that everything is read at.
        uuids: Identity of each collection at the start; None where there is no such collection.
        targets: Names of the stores that it loads.
        is_full: Whether it copies all documents of its collections, or only those that were changed.
        new_source: Whether it may take over what was copied from another server or database.
        allow_shrink: Whether it may take away more of what is published than the settings allow.
        unpinned: The collections that are not read at its moment but later, without a snapshot.
    """

    id: str
    cluster_time: ClusterTime
    uuids: dict[str, str | None]
    targets: tuple[str, ...]
    is_full: bool = True
    new_source: bool = False
    allow_shrink: bool = False
    unpinned: tuple[str, ...] = ()


@dataclass(frozen=True)
class Offsets:
    """Some documents that a run has noted as changed, by a range of the places that the books gave them.

    Attributes:
        after: The range begins after this place.
        upto: It ends with this place.
    """

    after: int
    upto: int


def _told(selection: Range | Offsets) -> dict[str, Any]:
    if isinstance(selection, Offsets):
        return {"places": [selection.after, selection.upto]}
    return {"bounds": [json_util.dumps(bound, json_options=_EXACT) for bound in (selection.lower, selection.upper)]}


def _heard(selection: Any) -> Range | Offsets:
    if not isinstance(selection, dict):
        return selection  # type: ignore[no-any-return]
    if "places" in selection:
        return Offsets(*selection["places"])
    return Range(*(json_util.loads(bound, json_options=_EXACT) for bound in selection["bounds"]))


@dataclass(frozen=True)
class Partition(Portable):
    """A piece of a run that any process can load, once or more often.

    Attributes:
        collection: What to read.
        number: Its number in the run.
        selection: Which documents.
        label: What people call it, such as ``SupportTickets 3/8``.
        size: Bytes of BSON, about; 0 where nobody has asked.
    """

    collection: str
    number: int
    selection: Annotated[Range | Offsets, BeforeValidator(_heard), PlainSerializer(_told)]
    label: str
    size: int = 0


def select_documents(connections: Connections, run: Run, partition: Partition) -> Range | Ids:
    """Return which documents MongoDB is asked for; those that were changed are named in the books."""
    selection = partition.selection
    if isinstance(selection, Range):
        return selection
    changed = Ids(
        control.changed_ids(connections.postgres, run.id, partition.collection, selection.after, selection.upto)
    )
    return connections.mongo.exact(partition.collection, run.cluster_time, changed)


def staging_of(connections: Connections, run: Run) -> Staging:
    """Return where a run gathers its tables."""
    return Staging(run.id, REPLICA, tables_of(connections, run.uuids), as_number(run.cluster_time), run.is_full)
