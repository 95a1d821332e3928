"""What MongoDB and its driver say of an error, as one sentence: what it is about and what to do."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from pymongo.errors import ConfigurationError, ConnectionFailure, NetworkTimeout, OperationFailure, PyMongoError
from pymongo.monitoring import (
    ServerHeartbeatFailedEvent,
    ServerHeartbeatListener,
    ServerHeartbeatStartedEvent,
    ServerHeartbeatSucceededEvent,
)

from pipeline.errors import EtlError, LostError, OvertakenError, ServerError, SnapshotError
from pipeline.runtime.waits import sentence
from pipeline.stores.unreachable import shortened, why_unreachable

NAMESPACE_NOT_FOUND, UNAUTHORIZED = 26, 13
_SNAPSHOT_GONE = {NAMESPACE_NOT_FOUND, 239, 246}  # and SnapshotTooOld, SnapshotUnavailable
# Host unreachable or not found, network timeout, shutdown, primary stepped down, time limit, socket, election, and
# operations and cursors that went with them.
_STEPPED_DOWN = {6, 7, 43, 89, 91, 175, 189, 237, 262, 9001, 10107, 11600, 11601, 11602, 13435, 13436}
_MOMENT = re.compile(r"(?:Read|Snapshot) timestamp (?:is )?Timestamp\((\d+),")  # what could not be read
_OPLOG_GONE = {286}  # ChangeStreamHistoryLost
_OVERTAKEN = {136}  # CappedPositionLost
_SNAPSHOT_IMPOSSIBLE = {20, 123, 206, 211}
_AUTHENTICATION_FAILED = 18
_WAITED = re.compile(r"socketTimeoutMS: ([\d.]+)")  # what the driver says of a timeout
_UNAUTHORIZED_FOR = re.compile(r"not authorized on (\S+) to execute command \{ (\w+)")


class _Heartbeats(ServerHeartbeatListener):
    """Why each node could not be reached when the driver looked at it last.

    Of a node that is named directly, and as one of a replica set, the driver forgets it: it then says that the node
    belongs to another set.
    """

    def __init__(self) -> None:
        self.failures: dict[tuple[str, int | None], Exception] = {}

    def started(self, event: ServerHeartbeatStartedEvent) -> None:
        """Wait for what comes of it."""

    def succeeded(self, event: ServerHeartbeatSucceededEvent) -> None:
        """Note that a node is there."""
        self.failures.pop(event.connection_id, None)

    def failed(self, event: ServerHeartbeatFailedEvent) -> None:
        """Note why a node can't be reached."""
        self.failures[event.connection_id] = event.reply


HEARTBEATS = _Heartbeats()
_NODE = re.compile(r"ServerDescription \('([^']+)', (\d+)\)")


@contextmanager
def translated(shown: str, began: Callable[[], datetime | None] = lambda: None) -> Iterator[None]:
    """Turn the driver's errors into one sentence each.

    Args:
        shown: The server's URI without its password.
        began: Returns since when the server runs, if that is known.
    """
    try:
        yield
    except NetworkTimeout as error:
        waited = _WAITED.search(str(error))
        since = datetime.now(UTC) - timedelta(milliseconds=float(waited[1]) if waited else 0)
        raise ServerError(sentence(f"MongoDB at {shown}", since, asked=False)) from error
    except ConnectionFailure as error:
        raise LostError(f"MongoDB at {shown} can't be reached: {_why_unreachable(error)}") from error
    except OperationFailure as error:
        raise _of_operation(error, f"MongoDB at {shown}", began) from error
    except ConfigurationError as error:
        raise ServerError(f"the MongoDB URI {shown} can't be used: {first_line(error)}") from error
    except PyMongoError as error:
        raise EtlError(f"MongoDB at {shown}: {first_line(error)}") from error


def _of_operation(error: OperationFailure, server: str, began: Callable[[], datetime | None]) -> EtlError:
    """Return what the server's refusal of an operation is to us."""
    said = first_line(error)
    if error.code == UNAUTHORIZED:
        told = _UNAUTHORIZED_FOR.match(said)
        what = f"{told[2]} on the database {told[1]}" if told else said
        return ServerError(
            f"{server}: the user may not read, it lacks the right {what}; it needs the role read on the "
            "database (docs/permissions.md)"
        )
    if error.code == _AUTHENTICATION_FAILED:
        return ServerError(f"{server} refused the user or password")
    if error.code in _OVERTAKEN:
        return OvertakenError(
            f"{server} overwrites a capped collection faster than it sends it; run it again while less "
            "is written, or give the collection more room"
        )
    if "capped collection" in said:  # a name may have the first of these words
        return ServerError(f"{server} can't read at one moment what is in a capped collection")
    if error.code in _SNAPSHOT_GONE:
        return SnapshotError(_why_gone(error, began()))
    if error.code in _STEPPED_DOWN:
        return LostError(f"{server} gave up, as in an election: {said}")
    if error.code in _OPLOG_GONE:
        return SnapshotError("MongoDB's oplog no longer reaches back to the moment of the copy; run etl replicate")
    if error.code in _SNAPSHOT_IMPOSSIBLE:
        return ServerError(f"{server} can't read at one moment in time: {said}")
    return EtlError(f"{server}: {said}")


def first_line(error: Exception) -> str:
    """Return what an error says, without what the driver adds to it."""
    return shortened(str(error).partition(", Timeout:")[0].partition(", full error:")[0])


def _why_gone(error: OperationFailure, began: datetime | None) -> str:
    """Return why a cluster time can't be read: one that was started since has lost its history."""
    moment = _MOMENT.search(str(error))
    if began and moment and began.timestamp() >= int(moment[1]):
        return (
            f"MongoDB was started anew at {began:%Y-%m-%d %H:%M:%S} UTC, after the run's cluster time, and can't read "
            "that moment any more; start again"
        )
    return (
        "the run's cluster time has left MongoDB's history window, or a collection was dropped meanwhile; "
        "start again, or raise minSnapshotHistoryWindowInSeconds"
    )


def _why_unreachable(error: Exception) -> str:
    said = first_line(error)
    if "belongs to a set named" in said:
        nodes = ((host, int(port)) for host, port in _NODE.findall(str(error)))
        failures = [failure for node in nodes if (failure := HEARTBEATS.failures.get(node))]
        if not failures:
            return said.replace("this node belongs to a set named 'None'", "this node is a member of none")
        said = first_line(failures[0])
    return why_unreachable(said)
