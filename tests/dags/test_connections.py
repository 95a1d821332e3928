"""Settings from Airflow's Connections: whatever the password, the driver gets the one that was written down."""

import json
from contextlib import closing
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import hypothesis
import pytest
from adbc_driver_postgresql import dbapi
from hypothesis import given
from hypothesis import strategies as st

from pipeline.airflow import connections as airflow
from pipeline.errors import UsageError
from pipeline.settings import Settings

NASTY = "p@ss:w/rd?#[%41]&=+ '\"\\é€"
PRINTABLE = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=30)


def _connection(**values: Any) -> Any:
    from airflow.sdk import Connection

    if "uri" in values:
        return Connection(conn_id="etl_x", **values)
    return Connection.from_json(json.dumps(values), conn_id="etl_x")


@hypothesis.settings(deadline=None)  # the first example imports Airflow
@given(password=PRINTABLE, login=PRINTABLE)
def test_any_password_survives_both_forms(password: str, login: str) -> None:
    as_uri = _connection(
        uri=f"postgresql://{quote(login, safe='')}:{quote(password, safe='')}@db:5433/etl?sslmode=require"
    )
    as_json = _connection(
        conn_type="postgres",
        host="db",
        port=5433,
        schema="etl",
        login=login,
        password=password,
        extra={"sslmode": "require"},
    )
    uri = airflow.uri_of(as_uri)
    assert uri == airflow.uri_of(as_json)
    parts = urlsplit(uri)
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (login, password)
    assert (parts.scheme, parts.hostname, parts.port, parts.path, parts.query) == (
        "postgresql",
        "db",
        5433,
        "/etl",
        "sslmode=require",
    )


@pytest.mark.parametrize("form", ["uri", "json"])
def test_a_server_accepts_what_a_connection_says(settings: Settings, form: str) -> None:
    admin = settings.postgres_uri.get_secret_value()  # type: ignore[union-attr]
    address, role = urlsplit(admin), f"nasty_{form}"
    quoted = NASTY.replace("'", "''")
    with closing(dbapi.connect(admin, autocommit=True)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{quoted}'")
    database = address.path.removeprefix("/")
    if form == "uri":
        given = _connection(
            uri=f"postgres://{role}:{quote(NASTY, safe='')}@{address.hostname}:{address.port}/{database}"
        )
    else:
        given = _connection(
            conn_type="postgres", host=address.hostname, port=address.port, schema=database, login=role, password=NASTY
        )
    with closing(dbapi.connect(airflow.uri_of(given))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user::text")
        assert cursor.fetchone() == (role,)
    wrong = _connection(conn_type="postgres", host=address.hostname, port=address.port, login=role, password="wrong")
    with pytest.raises(dbapi.OperationalError, match="password"):
        dbapi.connect(airflow.uri_of(wrong)).close()


@pytest.mark.parametrize(
    ("values", "uri"),
    [
        ({"uri": "mongo://u:p@m:27017/etl?replicaSet=rs0"}, "mongodb://u:p@m:27017/etl?replicaSet=rs0"),
        ({"uri": "mongodb+srv://u:p@cluster.example/etl"}, "mongodb+srv://u:p@cluster.example/etl"),
        ({"conn_type": "mongo", "host": "c.example", "extra": {"srv": True}}, "mongodb+srv://c.example/"),
        (
            {"conn_type": "mongo", "host": "a:27017,b:27017", "extra": {"authSource": "admin", "tls": True}},
            "mongodb://a:27017,b:27017/?authSource=admin&tls=true",
        ),
        ({"uri": "http://u:p@ch:8123/default"}, "http://u:p@ch:8123/default"),
        ({"uri": "https://u:p@ch:8443"}, "https://u:p@ch:8443/"),
        ({"uri": "clickhouses://u:p@ch:9440/etl"}, "https://u:p@ch:9440/etl"),
        ({"conn_type": "clickhouse", "host": "ch", "extra": {"secure": True}}, "https://ch/"),
        ({"conn_type": "http", "host": "ch", "port": 9000, "extra": {"secure": "1"}}, "https://ch:9000/"),
        ({"conn_type": "http", "host": "ch", "extra": {"secure": False}}, "http://ch/"),
        ({"conn_type": "https", "host": "ch", "extra": {"secure": True}}, "https://ch/"),
        ({"conn_type": "http", "host": "ch", "schema": "https"}, "https://ch/"),
        ({"conn_type": "postgres", "host": "::1", "port": 5432}, "postgresql://[::1]:5432/"),
    ],
)
def test_each_type_becomes_its_drivers_uri(values: dict[str, Any], uri: str) -> None:
    assert airflow.uri_of(_connection(**values)) == uri


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"conn_type": "mysql", "host": "x", "password": "secret"}, "etl_x.*mysql"),
        ({"conn_type": "postgres"}, "no host"),
        ({"conn_type": "http", "host": "ch", "password": "secret", "extra": {"secure": "si"}}, "etl_x is 'si'"),
        ({"conn_type": "https", "host": "ch", "password": "secret", "extra": {"secure": False}}, "agree with"),
    ],
)
def test_a_connection_of_no_use_is_named_without_its_password(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        airflow.uri_of(_connection(**values))
    assert "secret" not in str(caught.value)
