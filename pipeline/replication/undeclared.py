"""Collections that no contract declares, copied all the same: ``_id``, and each document whole as JSON."""

import shlex
from collections.abc import Iterable, Sequence

from bson import DatetimeMS, Int64, ObjectId

from contracts.schema.frame import FIRST_MOMENT, LAST_MOMENT
from contracts.schema.kinds import ANY_ID, INTEGER, KEY_TEXT, OBJECT_ID, TIMESTAMP, Kind
from contracts.schema.registry import by_name
from pipeline import control
from pipeline.connections import Connections, contract_of, is_ours
from pipeline.control import Undeclared
from pipeline.errors import UsageError
from pipeline.replication.presence import find_unpinned
from pipeline.stores.mongo.store import Mongo
from transforms.inference.names import Tables

_INFER = "etl contract infer writes contracts of what is there"
_TAKE_WHOLE = "etl replicate --undeclared copies each document whole without one"
_ADD_UNDECLARED = "or add --undeclared to copy each document whole"
_NAMED = 20  # collections that no contract declares, in a message


def take_in(connections: Connections, names: Iterable[str] = (), *, without_snapshot: bool = False) -> list[str]:
    """Let collections be copied that no contract declares, by this command and by all later ones.

    What kind of key each gets is decided here, for good: ``_id``s of other types that come later are quarantined.

    Args:
        connections: The open connections; the collections are added to its contracts.
        names: The collections; all that are in MongoDB if none is named. Those that have a contract are passed over.
        without_snapshot: Whether capped ones are among them, which can't be read at one moment.

    Returns:
        Which ones were taken in.

    Raises:
        UsageError: A named collection is not there, or can't be read at one moment.
    """
    mongo, named = connections.mongo, list(names)
    listed = mongo.listed()
    known = by_name(connections.entities.values())
    wanted = [name for name in named or sorted(listed) if name not in known and not is_ours(name)]
    if gone := [name for name in wanted if name not in listed]:
        raise UsageError(f"there is no collection {gone[0]!r} in the MongoDB database {mongo.database.name!r}")
    unpinned = find_unpinned(connections, wanted, named=bool(named), accepted=wanted if without_snapshot else ())
    found = _described(connections, [name for name in wanted if not unpinned.get(name)])
    for one in found:
        control.record_undeclared(connections.postgres, one)
        connections.entities[one.collection] = contract_of(one)
    return [one.collection for one in found]


def way_out(undeclared: Sequence[str]) -> str:
    """Say what to do where there is nothing to copy: there may be collections that no contract declares."""
    if not undeclared:
        return "set ETL_MONGO_DATABASE, or run etl generate"
    more = f" and {len(undeclared) - _NAMED:,} more" if len(undeclared) > _NAMED else ""
    found = f"it has {', '.join(undeclared[:_NAMED])}{more}, which no contract declares"
    return f"{found}; {_INFER}, {_TAKE_WHOLE}, or set ETL_MONGO_DATABASE"


def check_declared(connections: Connections, names: Iterable[str]) -> None:
    """Refuse collections that are there and have no contract, with both ways out.

    Raises:
        UsageError: There are such ones among them.
    """
    known = by_name(connections.entities.values())
    undeclared = connections.undeclared()
    if strangers := [name for name in names if name not in known and name in undeclared]:
        infer = f"etl contract infer {shlex.join(strangers)} writes one"
        raise UsageError(f"no contract declares {', '.join(strangers)}; {infer}, {_ADD_UNDECLARED}")


def _described(connections: Connections, names: Sequence[str]) -> list[Undeclared]:
    """Return how collections are to be copied: the names of their tables, and the kinds of their keys."""
    known = connections.entities.values()
    taken = {name for one in known for name in (one.collection, *(table.name for table in one.tables))}
    tables = Tables(taken.union(connections.marts), reserved=set(names))
    return [Undeclared(name, tables.take_stem(name), _kind(connections.mongo, name).name) for name in names]


def _kind(mongo: Mongo, name: str) -> Kind:
    """Return the kind that holds all ``_id``s of a collection: BSON's order goes by type first, so the ends tell."""
    first, last = mongo.id_bounds(name)
    ends = {type(first), type(last)}
    if ends == {ObjectId}:
        return OBJECT_ID
    if ends == {str}:
        return KEY_TEXT
    if ends == {DatetimeMS}:
        low, high = (int(one.timestamp() * 1000) for one in (FIRST_MOMENT, LAST_MOMENT))
        return TIMESTAMP if low <= int(first) and int(last) <= high else ANY_ID
    return INTEGER if ends <= {int, Int64} and not mongo.has_ids(name, "double", "decimal") else ANY_ID
