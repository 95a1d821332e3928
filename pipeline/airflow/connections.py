"""Settings from Airflow's Connections, in whatever form they are written down."""

from typing import Any, Protocol
from urllib.parse import quote, urlencode

from pipeline.errors import UsageError
from pipeline.settings import Settings, truth

CONNECTION_IDS = {"mongo_uri": "etl_mongo", "postgres_uri": "etl_postgres", "clickhouse_uri": "etl_clickhouse"}
# What may write to MongoDB, where that is somebody else: etl_mongo need only read.
WRITER_ID = "etl_mongo_writer"
# Says what Airflow's own option sql_alchemy_conn says: that is hidden from tasks, so that none writes there by mistake.
AIRFLOW_DATABASE = "ETL_AIRFLOW_DATABASE"
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
_CHOSEN_BY_EXTRA = {"mongodb": ("srv", "mongodb+srv"), "http": ("secure", "https"), "https": ("secure", "https")}


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


def settings(*, writing: bool = False) -> Settings:
    """Return the settings: Airflow's Connections where they are defined, else the environment.

    Args:
        writing: Whether MongoDB is written to: then `WRITER_ID` goes before ``etl_mongo``, if it is defined.
    """
    given: dict[str, Any] = {}
    for field, conn_id in CONNECTION_IDS.items():
        connection = (_connection(WRITER_ID) if writing and field == "mongo_uri" else None) or _connection(conn_id)
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
    extras, schema = dict(connection.extra_dejson), connection.schema
    if scheme == "http" and schema in ("http", "https"):  # as Airflow's own hooks read a Connection of the type http
        scheme, schema = schema, None
    option, other = _CHOSEN_BY_EXTRA.get(scheme, ("", ""))
    if option in extras:
        scheme = _chosen(connection, scheme, option, other, str(extras.pop(option)))
    path = f"/{quote(schema, safe='')}" if schema else "/"
    query = f"?{urlencode({name: _as_option(value) for name, value in extras.items()})}" if extras else ""
    return f"{scheme}://{_user(connection)}{_address(connection.host, connection.port)}{path}{query}"


def _chosen(connection: AirflowConnection, scheme: str, option: str, other: str, value: str) -> str:
    """Return the scheme that an extra chooses; what can't be understood must not come to a connection without TLS."""
    chosen = truth(value)
    if chosen is None or (scheme == other and not chosen):
        raise UsageError(
            f"the extra {option} of the Airflow Connection {connection.conn_id} is {value!r}; "
            f"it must be true or false, and agree with the scheme {scheme}"
        )
    return other if chosen else scheme


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
