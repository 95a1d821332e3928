"""Settings from Airflow's Connections: whatever the password, the driver gets the one that was written down."""

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import hypothesis
import pytest
from adbc_driver_postgresql import dbapi
from hypothesis import given
from hypothesis import strategies as st

from pipeline.airflow import connections as airflow
from pipeline.connections import connect
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
        ({"conn_type": "postgres", "host": "a,[::1],c:1", "port": 5433}, "postgresql://a:5433,[::1]:5433,c:1/"),
        ({"conn_type": "postgres", "host": "/run/pg", "port": 5433}, "postgresql://%2Frun%2Fpg:5433/"),
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
        ({"conn_type": "mongo", "host": "m", "extra": {"allow_insecure": "si"}}, "allow_insecure .*etl_x is 'si'"),
        ({"conn_type": "mongo", "host": "m", "extra": {"ssl": "si", "allow_insecure": True}}, "ssl .*etl_x is 'si'"),
        ({"conn_type": "mongo", "host": "m", "extra": {"compressors": ["secret"]}}, "compressors .*no simple value"),
        ({"conn_type": "postgres", "host": "pg", "extra": {"iam": True}}, "etl_x has the extra iam"),
        ({"conn_type": "clickhouse", "host": "ch", "extra": {"client_kwargs": "secret"}}, "client_kwargs .*no object"),
        ({"conn_type": "clickhouse", "host": "ch", "extra": {"session_settings": [1]}}, "session_settings .*no object"),
    ],
)
def test_a_connection_of_no_use_is_named_without_its_password(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        airflow.uri_of(_connection(**values))
    assert "secret" not in str(caught.value)


def test_a_connection_that_airflow_can_not_read_is_told_and_is_not_taken_for_none(
    load_dags: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow looks for the next one then, and in the end finds none: the settings would name another server."""
    uri = "mongodb://u:p%40ss@h1:27017,h2:27017,h3:27017/shop?replicaSet=rs0"
    monkeypatch.setenv("ETL_MONGO_URI", uri)
    monkeypatch.setenv("ETL_MONGO_DATABASE", "shop")
    monkeypatch.setenv("AIRFLOW_CONN_ETL_MONGO", "")  # as docker/own-data.yml leaves it
    found = airflow.settings()
    assert found.mongo_uri is not None
    assert (found.mongo_uri.get_secret_value(), found.mongo_database) == (uri, "shop")
    monkeypatch.setenv("AIRFLOW_CONN_ETL_MONGO", uri)
    with pytest.raises(UsageError, match=r"AIRFLOW_CONN_ETL_MONGO .* one host .* ETL_MONGO_URI with") as caught:
        airflow.settings()
    assert "p%40ss" not in str(caught.value)
    monkeypatch.delenv("AIRFLOW_CONN_ETL_MONGO")
    monkeypatch.setenv("AIRFLOW_CONN_ETL_CLICKHOUSE", "https://u:p@h1:8443,h2:8443/default")
    with pytest.raises(UsageError, match=r"AIRFLOW_CONN_ETL_CLICKHOUSE .* ETL_CLICKHOUSE_URI with"):
        airflow.settings()


# What may be filled into the forms of Airflow's UI besides host, port, login, password and schema: the fields of the
# provider's own and the extras that its hook knows, and what the driver is told.
FORMS: dict[str, list[tuple[dict[str, Any], str]]] = {
    "mongo": [
        ({"srv": None, "ssl": None, "allow_insecure": None}, "mongodb://h/"),
        ({"srv": False, "ssl": False, "allow_insecure": True}, "mongodb://h/?ssl=false"),
        ({"srv": False, "ssl": True, "allow_insecure": False}, "mongodb://h/?ssl=true"),
        ({"ssl": True, "allow_insecure": True}, "mongodb://h/?ssl=true&tlsAllowInvalidCertificates=true"),
        ({"tls": "true", "allow_insecure": "true"}, "mongodb://h/?tls=true&tlsAllowInvalidCertificates=true"),
        ({"srv": True, "replicaSet": "rs0"}, "mongodb+srv://h/?replicaSet=rs0"),
    ],
    "postgres": [
        ({"sslmode": "verify-full", "connect_timeout": 5}, "postgresql://h/?sslmode=verify-full&connect_timeout=5"),
        ({"options": "-c search_path=a"}, "postgresql://h/?options=-c%20search_path%3Da"),
        ({"cursor": "dictcursor", "sqlalchemy_query": {"a": "b"}, "sqlalchemy_scheme": "x"}, "postgresql://h/"),
        ({"iam": False, "redshift": False, "aws_conn_id": "x", "azure_conn_id": "x"}, "postgresql://h/"),
    ],
    "clickhouse": [
        ({"secure": None, "verify": None, "connect_timeout": None, "send_receive_timeout": None}, "http://h/"),
        ({"compress": None, "client_name": None, "session_settings": None, "client_kwargs": None}, "http://h/"),
        ({"secure": True, "verify": False}, "https://h/?verify=false"),
        ({"connect_timeout": 5, "send_receive_timeout": 9}, "http://h/?connect_timeout=5&send_receive_timeout=9"),
        ({"compress": True, "client_name": "a b"}, "http://h/?compress=true&client_name=a%20b"),
        ({"session_settings": {"max_threads": 4, "x": None}}, "http://h/?ch_max_threads=4"),
        ({"session_settings": '{"join_use_nulls": true}'}, "http://h/?ch_join_use_nulls=true"),
        ({"client_kwargs": {"http_proxy": "http://p:1", "host": "x"}}, "http://h/?http_proxy=http%3A%2F%2Fp%3A1"),
        ({"client_kwargs": '{"compress": false}', "compress": True}, "http://h/?compress=true"),
    ],
}


@pytest.mark.parametrize(("conn_type", "extra", "uri"), [(kind, *one) for kind, all_ in FORMS.items() for one in all_])
def test_what_a_form_offers_reaches_the_driver(conn_type: str, extra: dict[str, Any], uri: str) -> None:
    assert airflow.uri_of(_connection(conn_type=conn_type, host="h", extra=extra)) == uri


def test_airflow_offers_a_form_of_each_type_and_each_of_its_fields_is_tried_here() -> None:
    from airflow.providers_manager import ProvidersManager

    offered: dict[str, Any] = {}
    for provider in ProvidersManager().providers.values():
        offered |= {one["connection-type"]: one for one in provider.data.get("connection-types", ())}
    for kind, tried in FORMS.items():
        assert set(offered[kind].get("conn-fields", {})) <= {name for extra, _ in tried for name in extra}


def test_airflows_hooks_and_the_pipeline_reach_the_same_servers_by_one_connection(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.clickhousedb.hooks.clickhouse import ClickHouseHook
    from airflow.providers.mongo.hooks.mongo import MongoHook
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    extras: dict[str, dict[str, Any]] = {
        "mongo": {"srv": False, "ssl": False, "allow_insecure": False, "directConnection": True},
        "postgres": {"application_name": "a form+", "options": "-c work_mem=5MB"},
        "clickhouse": {"secure": False, "verify": True, "compress": False, "connect_timeout": 7}
        | {"client_name": "a form", "session_settings": {"max_threads": 3}, "client_kwargs": {}},
    }
    for kind, extra in extras.items():
        parts = urlsplit(getattr(settings, f"{kind}_uri").get_secret_value())
        values = {"conn_type": kind, "host": parts.hostname, "port": parts.port, "extra": extra}
        values |= {"login": unquote(parts.username or ""), "password": unquote(parts.password or "")}
        values["schema"] = settings.mongo_database if kind == "mongo" else parts.path.removeprefix("/")
        if kind == "mongo":
            values["extra"] = extra | dict(one.split("=") for one in parts.query.split("&") if one)
        monkeypatch.setenv(f"AIRFLOW_CONN_ETL_{kind.upper()}", json.dumps(values))
    assert PostgresHook("etl_postgres").test_connection() == (True, "Connection successfully tested")
    assert ClickHouseHook("etl_clickhouse").test_connection() == (True, "Connection successfully tested")
    with MongoHook("etl_mongo") as hook:
        assert hook.get_conn().admin.command("ping")["ok"] == 1
    found = airflow.settings()
    assert found.mongo_database == settings.mongo_database
    with connect(found) as opened:
        shown = opened.postgres.rows("SELECT current_setting('application_name'), current_setting('work_mem')")
        assert shown == [("a form+", "5MB")]
        assert opened.clickhouse.client.query("SELECT getSetting('max_threads')").result_rows == [(3,)]
