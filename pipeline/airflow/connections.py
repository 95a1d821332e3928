"""Settings from Airflow's Connections, in whatever form they are written down."""

import json
import os
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from pipeline.errors import UsageError
from pipeline.settings import CLICKHOUSE_SETTING, Settings, truth

CONNECTION_IDS = {"mongo_uri": "etl_mongo", "postgres_uri": "etl_postgres", "clickhouse_uri": "etl_clickhouse"}
# What may write to MongoDB, where that is somebody else: etl_mongo need only read.
WRITER_ID = "etl_mongo_writer"
_SETTINGS = {conn_id: f"ETL_{field.upper()}" for field, conn_id in CONNECTION_IDS.items()}
_SETTINGS[WRITER_ID] = _SETTINGS["etl_mongo"]
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
# What the hooks of Airflow's providers take for themselves: of PostgreSQL's extras, and of ClickHouse's client_kwargs.
_HOOK_EXTRAS = {"cursor", "sqlalchemy_scheme", "sqlalchemy_query", "iam", "redshift", "redshift-serverless"}
_HOOK_EXTRAS |= {"aws_conn_id", "azure_conn_id", "cluster-identifier", "workgroup-name"}
_HOOK_KWARGS = {"host", "port", "username", "password", "database", "secure", "verify", "client_name", "settings"}
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
    found = Settings.load(**given)
    # Airflow has several tasks of a run at work at a time already.
    return found.model_copy(update={"workers": found.workers or 1})


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
    extras, schema = _filled(connection.extra_dejson), connection.schema
    if scheme == "http" and schema in ("http", "https"):  # as Airflow's own hooks read a Connection of the type http
        scheme, schema = schema, None
    option, other = _CHOSEN_BY_EXTRA.get(scheme, ("", ""))
    if option in extras:
        scheme = _chosen(connection, scheme, option, other, extras.pop(option))
    options = _options(connection, scheme, extras)
    given = {name: _as_option(connection, name, value) for name, value in options.items()}
    path = f"/{quote(schema, safe='')}" if schema else "/"
    query = f"?{urlencode(given, quote_via=quote)}" if given else ""  # for libpq, a plus is a plus
    return f"{scheme}://{_user(connection)}{_address(scheme, connection.host, connection.port)}{path}{query}"


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what was left empty in a form, which may be stored as null."""
    return {name: value for name, value in values.items() if value is not None}


def _options(connection: AirflowConnection, scheme: str, extras: dict[str, Any]) -> dict[str, Any]:
    """Return the driver's options for what the form of a type offers, read as the hook of that type does."""
    if scheme == "postgresql":
        return _postgres_options(connection, extras)
    if scheme in ("http", "https"):
        return _clickhouse_options(connection, extras)
    insecure = _truth(connection, "allow_insecure", extras.pop("allow_insecure", False))
    if insecure and any(_truth(connection, name, extras.get(name, False)) for name in ("ssl", "tls")):
        extras["tlsAllowInvalidCertificates"] = True
    return extras


def _clickhouse_options(connection: AirflowConnection, extras: dict[str, Any]) -> dict[str, Any]:
    more = _object(connection, extras, "client_kwargs")
    session = _object(connection, extras, "session_settings")
    kept = {name: value for name, value in more.items() if name not in _HOOK_KWARGS}
    return kept | extras | {f"{CLICKHOUSE_SETTING}{name}": value for name, value in session.items()}


def _postgres_options(connection: AirflowConnection, extras: dict[str, Any]) -> dict[str, Any]:
    if _truth(connection, "iam", extras.get("iam", False)):
        raise UsageError(
            f"the Airflow Connection {connection.conn_id} has the extra iam: "
            "its login would be a token that ends in the middle of a copy; give it a login and a password"
        )
    return {name: value for name, value in extras.items() if name not in _HOOK_EXTRAS}


def _object(connection: AirflowConnection, extras: dict[str, Any], name: str) -> dict[str, Any]:
    """Take an extra that is an object in JSON, or a text that holds one."""
    value = extras.pop(name, None) or {}
    try:
        value = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UsageError(f"the extra {name} of the Airflow Connection {connection.conn_id} is no object in JSON")
    return _filled(value)


def _truth(connection: AirflowConnection, name: str, value: object) -> bool:
    found = truth(str(value))
    if found is None:
        raise UsageError(
            f"the extra {name} of the Airflow Connection {connection.conn_id} is {value!r}; it must be true or false"
        )
    return found


def _chosen(connection: AirflowConnection, scheme: str, option: str, other: str, value: object) -> str:
    """Return the scheme that an extra chooses; what can't be understood must not come to a connection without TLS."""
    chosen = _truth(connection, option, value)
    if scheme == other and not chosen:
        raise UsageError(
            f"the extra {option} of the Airflow Connection {connection.conn_id} is {value!r}; "
            f"it must agree with the scheme {scheme}"
        )
    return other if chosen else scheme


def _connection(conn_id: str) -> AirflowConnection | None:
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        found: AirflowConnection = Connection.get(conn_id)
    except AirflowNotFoundException:
        # One that can't be read counts as none, and another server would be taken for the one that was meant.
        if os.environ.get(variable := f"AIRFLOW_CONN_{conn_id.upper()}"):
            raise UsageError(
                f"Airflow can't read the Connection {conn_id}, which {variable} defines: a URI may have one host "
                f"there; several go into JSON, as the host a:27017,b:27017, or into {_SETTINGS[conn_id]} with "
                f"{variable} left empty"
            ) from None
        return None
    return found


def _user(connection: AirflowConnection) -> str:
    if not connection.login:
        return ""
    password = f":{quote(connection.password, safe='')}" if connection.password else ""
    return f"{quote(connection.login, safe='')}{password}@"


def _address(scheme: str, host: str, port: int | None) -> str:
    if host.startswith("/"):
        host = quote(host, safe="")  # the folder, or the file, of a socket
    if host.count(":") > 1 and "," not in host and not host.startswith("["):
        host = f"[{host}]"  # an IPv6 address
    if port and scheme == "postgresql":  # libpq takes one port for all hosts, but not in a URI
        return ",".join(one if _has_port(one) else f"{one}:{port}" for one in host.split(","))
    return f"{host}:{port}" if port else host


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]


def _as_option(connection: AirflowConnection, name: str, value: object) -> str:
    if isinstance(value, (dict, list)):
        raise UsageError(
            f"the extra {name} of the Airflow Connection {connection.conn_id} is no simple value: it must be text, "
            "a number, true or false"
        )
    return str(value).lower() if isinstance(value, bool) else str(value)
