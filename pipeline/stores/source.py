"""Where a collection is: which replica set, which database, which collection of that name."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Source:
    """What a copy is made of.

    A collection's UUID is new when it was dropped and made again, so it can't tell alone whether that happened or
    whether it is another server's. The replica set's id can: it is made once, and stays through restarts, failovers
    and changes of members.

    Attributes:
        set_id: Id of the replica set, or of the cluster behind a mongos; None where the server doesn't tell it.
        set_name: Name of the replica set; None behind a mongos.
        hosts: Addresses of the members, for people.
        database: Name of the database.
        uuid: Of the collection; None where there is no such collection.
    """

    set_id: str | None
    set_name: str | None
    hosts: tuple[str, ...]
    database: str
    uuid: str | None

    def is_other(self, now: "Source") -> bool:
        """Return whether what is there now is of another server or database, or may be: then nobody can tell."""
        if self.database != now.database:
            return True
        if self.set_id and now.set_id:
            return self.set_id != now.set_id
        return self.set_name != now.set_name or self.is_made_anew(now)

    def is_made_anew(self, now: "Source") -> bool:
        """Return whether the collection was dropped and made again."""
        return None not in (self.uuid, now.uuid) and self.uuid != now.uuid

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, for the books."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Source":
        """Return the source that :meth:`as_json` described."""
        return cls(**{**values, "hosts": tuple(values["hosts"])})

    def __str__(self) -> str:
        return f"{self._server} ({', '.join(self.hosts)}), database {self.database!r}"

    @property
    def _server(self) -> str:
        return f"replica set {self.set_name}" if self.set_name else "sharded cluster"


def told_apart(one: Source, other: Source) -> tuple[str, str]:
    """Return what people call two sources; where that is the same, with what makes them two."""
    if str(one) != str(other):
        return str(one), str(other)
    if one.set_id and other.set_id and one.set_id != other.set_id:
        return f"{one}, id {one.set_id}", f"{other}, id {other.set_id}"
    return f"{one}, collection UUID {one.uuid}", f"{other}, collection UUID {other.uuid}"
