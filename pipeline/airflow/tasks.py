"""What the tasks of Airflow need and no other caller does: settings from its Connections, and news for its Assets.

Airflow itself is imported only where a task runs, so that this package works without it.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from bson import Timestamp

from contracts.schema.entity import ContractError
from pipeline import books
from pipeline.books import Account
from pipeline.connections import Connections, connect
from pipeline.embedded import engines
from pipeline.errors import DataError, SnapshotError, UsageError
from pipeline.marts import BuiltMart
from pipeline.publishing import abandon, finish_what_was_cut_short
from pipeline.replicate import open_run, plan
from pipeline.run import Partition, Run
from pipeline.settings import Settings

CONNECTION_IDS = {"mongo_uri": "etl_mongo", "postgres_uri": "etl_postgres", "clickhouse_uri": "etl_clickhouse"}
SECONDS_BETWEEN_LINES = 10.0
_SCHEMES = {
    "mongo": "mongodb",
    "mongodb": "mongodb",
    "mongodb+srv": "mongodb+srv",
    "mongodb_srv": "mongodb+srv",
    "postgres": "postgresql",
    "postgresql": "postgresql",
    "http": "http",
    "https": "https",
    "clickhouse": "http",
    "clickhouses": "https",
}
_CHOSEN_BY_EXTRA = {"mongodb": ("srv", "mongodb+srv"), "http": ("secure", "https")}

log = logging.getLogger(__name__)


class AirflowConnection(Protocol):
    """What is read of a Connection of Airflow."""

    conn_id: str
    conn_type: str | None
    host: str | None
    login: str | None
    password: str | None
    port: int | None
    schema: str | None

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """Its extras."""


@contextmanager
def connected() -> Iterator[Connections]:
    """Open the servers that Airflow's Connections name, for one task.

    Raises:
        UsageError: A Connection or a contract is wrong.
        ServerError: A server can't be reached or refuses.
    """
    try:
        with engines(settings()) as complete, connect(complete) as connections:
            yield connections
    except ContractError as error:  # of the error tree that the tasks' retry policy knows
        raise UsageError(str(error)) from error


@contextmanager
def part_of(described: dict[str, Any]) -> Iterator[tuple[Connections, Run]]:
    """Open the servers for a task that is part of a run.

    When the task fails in a way that no retry can mend the run is given up; after any other failure what is loaded
    stays, so that the task can be retried or cleared.

    Args:
        described: The run, as :func:`opened` described it.

    Raises:
        SnapshotError: The run was given up.
    """
    run = Run.from_json(described)
    with connected() as connections:
        if books.statuses(connections.postgres).get(run.id) not in ("running", "published"):
            raise SnapshotError(f"run {run.id} was given up: clear from the task snapshot, for a new run")
        try:
            yield connections, run
        except (DataError, SnapshotError) as error:
            abandon(connections, run.id, run.targets, str(error))
            raise


def opened(connections: Connections, collections: Iterable[str], targets: Iterable[str]) -> dict[str, Any]:
    """Open a run that many tasks will load, and plan it.

    Returns:
        ``run`` and ``partitions``, as plain JSON values.
    """
    finish_what_was_cut_short(connections)
    run = open_run(connections, collections, targets, single_process=False)
    try:
        partitions = plan(connections, run)
    except BaseException as error:  # nobody will ever know of this run: a retry opens another
        abandon(connections, run.id, run.targets, str(error) or type(error).__name__)
        raise
    log.info("run %s: %s partitions at %s", run.id, len(partitions), run.cluster_time.as_datetime().isoformat())
    return {"run": run.as_json(), "partitions": [partition.as_json() for partition in partitions]}


def settings() -> Settings:
    """Return the settings: Airflow's Connections where they are defined, else the environment."""
    given: dict[str, Any] = {}
    for field, conn_id in CONNECTION_IDS.items():
        connection = _connection(conn_id)
        if connection is not None:
            given[field] = uri_of(connection)
            if field == "mongo_uri" and connection.schema:
                given["mongo_database"] = connection.schema
    return Settings.load(**given)


def uri_of(connection: AirflowConnection) -> str:
    """Return a Connection as the URI that its server's driver takes; any password survives.

    Raises:
        UsageError: Its type is none of ours, or it names no host.
    """
    scheme = _SCHEMES.get((connection.conn_type or "").lower())
    if scheme is None:
        raise UsageError(
            f"the Airflow Connection {connection.conn_id} has the type {connection.conn_type!r}; "
            "it must be mongodb, postgresql, or http or https for ClickHouse"
        )
    if not connection.host:
        raise UsageError(f"the Airflow Connection {connection.conn_id} names no host")
    extras = dict(connection.extra_dejson)
    option, other = _CHOSEN_BY_EXTRA.get(scheme, ("", ""))
    if str(extras.pop(option, "false")).lower() == "true":
        scheme = other
    path = f"/{quote(connection.schema, safe='')}" if connection.schema else "/"
    query = f"?{urlencode({name: _as_option(value) for name, value in extras.items()})}" if extras else ""
    return f"{scheme}://{_user(connection)}{_address(connection.host, connection.port)}{path}{query}"


def partition_lines() -> Callable[[Partition, int, int], None]:
    """Return a progress that logs how far a partition is: when it begins, ends, and every few seconds between."""
    began = said = time.monotonic()

    def progress(partition: Partition, source: int, through: int) -> None:
        nonlocal said
        now = time.monotonic()
        if through in (0, source) or now - said >= SECONDS_BETWEEN_LINES:
            said = now
            log.info("%s: %s of %s documents, %.1f s", partition.label, f"{through:,}", f"{source:,}", now - began)

    return progress


def collection_lines() -> Callable[[str, int, int], None]:
    """Return a progress that logs each collection when all of it is through."""
    began = time.monotonic()
    through: set[str] = set()

    def progress(collection: str, written: int, planned: int) -> None:
        if written == planned and collection not in through:
            through.add(collection)
            log.info("%s: %s documents, %.1f s", collection, f"{written:,}", time.monotonic() - began)

    return progress


def mart_line(mart: str, rows: int) -> None:
    """Log a mart that was computed."""
    log.info("%s: %s rows", mart, f"{rows:,}")


def mart_news(built: Iterable[BuiltMart]) -> dict[str, dict[str, Any]]:
    """Return rows and moment of each mart as plain JSON values by name, for Airflow's Assets."""
    return {mart.name: {"rows": mart.rows, **_moment(mart.cluster_time)} for mart in built}


def news(connections: Connections, run: Run, accounts: Iterable[Account]) -> dict[str, dict[str, Any]]:
    """Return what a published run says of each table: rows by target, the moment, and the books.

    Returns:
        Plain JSON values by name of the table, for Airflow's Assets.
    """
    told: dict[str, dict[str, Any]] = {}
    for account in accounts:
        about = told.setdefault(
            connections.entities[account.collection].table,
            {"run_id": run.id, **_moment(run.cluster_time), "rows": {}, "books": []},
        )
        about["rows"][account.target] = account.loaded
        about["books"].append(asdict(account))
        log.info(
            "%s in %s: %s documents = %s loaded + %s quarantined",
            account.collection,
            account.target,
            f"{account.source:,}",
            f"{account.loaded:,}",
            f"{account.quarantined:,}",
        )
    return told


def _moment(cluster_time: Timestamp) -> dict[str, Any]:
    return {
        "cluster_time": [cluster_time.time, cluster_time.inc],
        "cluster_time_at": cluster_time.as_datetime().isoformat(),
    }


def _connection(conn_id: str) -> AirflowConnection | None:
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        found: AirflowConnection = Connection.get(conn_id)
    except AirflowNotFoundException:
        return None
    return found


def _user(connection: AirflowConnection) -> str:
    if not connection.login:
        return ""
    password = f":{quote(connection.password, safe='')}" if connection.password else ""
    return f"{quote(connection.login, safe='')}{password}@"


def _address(host: str, port: int | None) -> str:
    if host.count(":") > 1 and "," not in host and not host.startswith("["):
        host = f"[{host}]"  # an IPv6 address
    return f"{host}:{port}" if port else host


def _as_option(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
