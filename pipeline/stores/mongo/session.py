"""The connection to MongoDB: which moment, which collections by which names, and how far back it can be read."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import CodecOptions, Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.errors import OperationFailure, PyMongoError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from contracts.schema.namespace import Namespace
from pipeline.errors import LostError, ServerError
from pipeline.runtime.waits import SILENCE_S
from pipeline.stores.mongo.client import bounds_of, open_client
from pipeline.stores.mongo.concerns import AfterReadConcern, SnapshotReadConcern
from pipeline.stores.mongo.errors import UNAUTHORIZED, first_line, translated
from pipeline.stores.mongo.listing import Listed, listed
from pipeline.stores.source import Source
from pipeline.text.redaction import remember

Document = dict[str, Any]
RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
_HISTORY_S = 300  # MongoDB's default
_SECONDS_TO_ELECT = 15.0  # an election takes 10 to 12 s by default


@dataclass(frozen=True)
class SnapshotWindow:
    """How much of its past MongoDB can read.

    Attributes:
        seconds: For how long it remembers; its default if that could not be read.
        unread: Why it could not be read; None if it was.
    """

    seconds: int
    unread: str | None = None

    def outlived_by(self, work: str, seconds: float) -> str | None:
        """Return a warning if work at one moment is likely to take longer than that moment can be read.

        Args:
            work: What people call it.
            seconds: How long it is likely to take.

        Returns:
            One sentence that tells both times and how to raise the limit; None if all is well.
        """
        if seconds < self.seconds:
            return None
        assumed = f" (its default, assumed because the limit could not be read: {self.unread})" if self.unread else ""
        return (
            f"{work} is likely to take {seconds / 60:,.0f} minutes, but MongoDB can read a moment of the past for "
            f"{self.seconds / 60:,.0f} minutes only{assumed}; raise it on every node, and the oplog with it: "
            f"setParameter minSnapshotHistoryWindowInSeconds={int(seconds * 2)}"
        )


class _NoPrimaryYetError(LostError):
    """The server has just started, or another one is about to be elected."""


class Session:
    """One MongoDB database as a source: which collections it has, and at which moments they can be read.

    Args:
        uri: Connection string; the server must be a member of a replica set (or a mongos).
        database: Name of the database.
        silence: Seconds that the server may be silent; there is nobody to ask whether it is still at work, so one
            answer may take five times as long. That the server is gone altogether the driver finds in half a minute.
    """

    def __init__(self, uri: str, database: str, silence: float = SILENCE_S) -> None:
        self._shown = remember(uri)
        waiting = bounds_of(uri, silence)
        with translated(self._shown):
            self.client = open_client(uri, tz_aware=True, appname="etl", **waiting)
        self.database = self.client[database]
        self._elsewhere: dict[str, Namespace] = {}
        self._unpinned: set[str] | None = None  # what can't be read at one moment, as listed last

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    @retry(
        retry=retry_if_exception_type(_NoPrimaryYetError),
        wait=wait_fixed(0.2),
        stop=stop_after_delay(_SECONDS_TO_ELECT),
        reraise=True,
    )
    def cluster_time(self) -> Timestamp:
        """Return the server's newest cluster time; a read at it waits until a majority has it.

        Raises:
            ServerError: The server can't be reached, refuses, or is no member of a replica set.
        """
        with self._translated():
            answer = self.client.admin.command("hello")
            self.client.admin.command("listDatabases", nameOnly=True)  # refused credentials show here, not later
            if "setName" not in answer and answer.get("msg") != "isdbgrid":
                raise ServerError(
                    f"MongoDB at {self._shown} is no replica set, so it can't be read at one moment in time; "
                    "start it with --replSet and run rs.initiate() (one node will do)"
                )
            if "operationTime" not in answer:
                raise _NoPrimaryYetError(f"MongoDB at {self._shown} has no primary yet")
            return Timestamp(answer["operationTime"].time, answer["operationTime"].inc)

    def uuids(self, names: Sequence[str]) -> dict[str, str]:
        """Return the identities of what there is of some names."""
        if self._elsewhere.keys() & set(names):
            there = self.listed()
        else:  # MongoDB tells no others then, of which there may be many
            with self._translated():
                there = listed(self.database.list_collections(filter={"name": {"$in": [*names]}}))
        return {name: there[name].uuid for name in names if name in there}

    def listed(self) -> dict[str, Listed]:
        """Return everything that the database has by a name, views and special collections as well."""
        with self._translated():
            there = listed(self.database.list_collections())
            for database in {one.database for one in self._elsewhere.values()}:
                others = listed(self.client[database].list_collections())
                for called, one in self._elsewhere.items():
                    if one.database == database and one.name in others:
                        there[called] = others[one.name]
                        if database == self.database.name:
                            there.pop(one.name, None)
            self._unpinned = {name for name, one in there.items() if not one.is_pinned}
            return there

    def know(self, collections: Iterable[str]) -> None:
        """Learn which collections are in other databases, so that their names stand for these."""
        self._elsewhere |= {one: one for one in collections if isinstance(one, Namespace)}

    def all_of(self, database: str) -> list[Namespace]:
        """Return the names of all that another database has."""
        with self._translated():
            return [Namespace(database, name) for name in self.client[database].list_collection_names()]

    def databases(self) -> list[str]:
        """Return the names of the databases that this user may see."""
        with self._translated():
            return [one["name"] for one in self.client.list_databases(nameOnly=True, authorizedDatabases=True)]

    def database_of(self, collection: str) -> str:
        """Return the name of the database that a collection is in."""
        elsewhere = self._elsewhere.get(collection)
        return elsewhere.database if elsewhere else self.database.name

    def collection(self, called: str) -> Collection[Document]:
        """Return a collection of this database or of another one, by the name that the contracts have for it."""
        one = self._elsewhere.get(called)
        return self.client[one.database][one.name] if one else self.database[called]

    def source(self) -> Source:
        """Return where this database is, as far as whoever may read it is told; of no collection yet."""
        with self._translated():
            # The replica set's id takes a right that people who only read lack, but it comes along with any answer
            # that is asked for what the members of a set tell each other.
            answer = self.client.admin.command({"hello": 1, "$replData": 1})
            set_id = answer.get("$replData", {}).get("replicaSetId") or self._cluster_id()
            members = [*answer.get("hosts", ()), *answer.get("passives", ())]
            hosts = members or [f"{host}:{port}" for host, port in self.client.nodes]
        set_id, name = str(set_id) if set_id else None, answer.get("setName")
        return Source(set_id, name, tuple(sorted(hosts)), self.database.name, uuid=None)

    def snapshot_window(self) -> SnapshotWindow:
        """Return for how long MongoDB remembers its past; its default is assumed if it does not tell this user."""
        with self._translated():
            try:
                answer = self.client.admin.command("getParameter", 1, minSnapshotHistoryWindowInSeconds=1)
            except OperationFailure as error:
                if error.code == UNAUTHORIZED:
                    return SnapshotWindow(_HISTORY_S, "the user lacks the right getParameter")
                return SnapshotWindow(_HISTORY_S, first_line(error))
            return SnapshotWindow(int(answer["minSnapshotHistoryWindowInSeconds"]))

    def is_plain(self, collection: str) -> bool:
        """Return whether a collection is neither a view nor a time series.

        Then an ``_id`` is one document's, its index can be named, and a change stream tells what changes; of a capped
        collection it tells as well which documents were overwritten.
        """
        kind: str = self._described(collection).get("type", "collection")
        return kind == "collection"

    def is_pinned(self, collection: str) -> bool:
        """Return whether MongoDB can read a collection at one moment."""
        if self._unpinned is None:
            self.listed()
        return collection not in (self._unpinned or ())

    def _at(self, collection: str, cluster_time: Timestamp) -> Collection[Document]:
        concern = SnapshotReadConcern if self.is_pinned(collection) else AfterReadConcern
        return self.collection(collection).with_options(read_concern=concern(cluster_time))

    def _is_collated(self, collection: str) -> bool:
        """Return whether a collection orders texts in another way than by their bytes."""
        return "collation" in self._described(collection).get("options", {})

    def _described(self, collection: str) -> Mapping[str, Any]:
        """Return what MongoDB lists of a collection, as it is now; nothing if it is not there."""
        source = self.collection(collection)
        with self._translated():
            return next(iter(source.database.list_collections(filter={"name": source.name})), {})

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._shown, self._began)

    def _began(self) -> datetime | None:
        """Return since when the server runs, as far as it tells: its process has an id that begins with the time."""
        with suppress(PyMongoError, KeyError):
            began: datetime = self.client.admin.command("hello")["topologyVersion"]["processId"].generation_time
            return began
        return None

    def _cluster_id(self) -> Any:
        """Return the id of a sharded cluster, if this is one and tells us; that takes the right to read ``config``."""
        try:
            return (self.client.config.version.find_one() or {}).get("clusterId") if self.client.is_mongos else None
        except OperationFailure:
            return None
