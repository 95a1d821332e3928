"""A user of PostgreSQL with just the rights of docs/permissions.md does all of the work; a missing one is told."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from adbc_driver_postgresql import dbapi
from pydantic import SecretStr

from pipeline.connections import connect
from pipeline.control.quarantine import size
from pipeline.doctor.finding import State
from pipeline.doctor.postgres import examine_postgres
from pipeline.errors import EtlError, ServerError
from pipeline.generate import generate
from pipeline.marts.build import build
from pipeline.replication.replicate import replicate
from pipeline.replication.sync import sync
from pipeline.replication.verify import verify
from pipeline.settings import Settings
from pipeline.stores.postgres.store import Postgres

DOCS = (Path(__file__).parents[1] / "docs/permissions.md").read_text()
RIGHTS = re.findall(r"```sql\n(.*?)```", DOCS, re.DOTALL)[0].split(";")

# Of both kinds of tables, with a history and without; with all of them nothing else is asked of a user's rights.
COLLECTIONS, MARTS = ("SupportTickets", "UserSessions", "ProductPriceHistory"), ("ticket_resolution", "session_facts")


def _as_root(uri: str, *statements: str) -> None:
    with closing(dbapi.connect(uri, autocommit=True)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture(scope="module")
def limited(settings: Settings) -> Iterator[tuple[str, str]]:
    """Make the documented user, and return the URIs of the database's owner and of that user."""
    assert settings.postgres_uri is not None
    root = settings.postgres_uri.get_secret_value()
    where = urlsplit(root)
    names = {"warehouse": where.path.removeprefix("/"), "etl": "etl_limited", "...": "secret"}
    rights = [re.sub(r"\bwarehouse\b|\betl\b|\.\.\.", lambda found: names[found[0]], one) for one in RIGHTS]
    _as_root(root, *filter(str.strip, rights), f'REVOKE ALL ON DATABASE "{names["warehouse"]}" FROM PUBLIC')
    yield root, urlunsplit(where._replace(netloc=f"etl_limited:secret@{where.hostname}:{where.port}"))
    _as_root(root, "DROP OWNED BY etl_limited CASCADE", "DROP ROLE etl_limited")


def test_the_documented_rights_are_enough_for_all_of_the_work(settings: Settings, limited: tuple[str, str]) -> None:
    root, uri = limited
    with connect(settings.model_copy(update={"postgres_uri": SecretStr(uri)})) as connections:
        generate(connections.mongo.database, connections.entities, scale=0.01, defects=0.02)
        for _ in range(2):
            replicate(connections, COLLECTIONS)
            build(connections, MARTS)
        connections.mongo.database.UserSessions.delete_one({})
        sync(connections, COLLECTIONS)
        assert all(one.proven for one in verify(connections, COLLECTIONS))
        assert size(connections.postgres, "UserSessions") > 0
    _as_root(
        root,
        "REVOKE USAGE, CREATE ON SCHEMA replica FROM etl_limited",
        "REVOKE SELECT ON ALL TABLES IN SCHEMA etl FROM etl_limited",
    )
    with (
        connect(settings.model_copy(update={"postgres_uri": SecretStr(uri)})) as connections,
        pytest.raises(ServerError, match=r"lacks a right \(SELECT on the table \w+\): permission denied for table"),
    ):
        sync(connections, COLLECTIONS)


def test_the_doctor_names_the_right_that_lacks_and_it_is_enough(settings: Settings, limited: tuple[str, str]) -> None:
    root, uri = limited
    with closing(Postgres(uri)) as postgres:

        def lacking() -> list[str]:
            found = examine_postgres(postgres, uri)
            return [one.advice for one in found if one.state is State.FAIL]

        assert lacking() == []
        database = urlsplit(root).path.removeprefix("/")
        _as_root(root, f'REVOKE CREATE ON DATABASE "{database}" FROM etl_limited', "CREATE SCHEMA IF NOT EXISTS marts")
        owner = urlsplit(root).username
        _as_root(root, f"ALTER SCHEMA marts OWNER TO {owner}")
        assert lacking() == [
            f"GRANT CREATE ON DATABASE {database} TO etl_limited",
            "ALTER SCHEMA marts OWNER TO etl_limited",
        ]
        _as_root(root, *lacking())
        assert lacking() == []


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("INSERT INTO told.things VALUES (1)", r'unique constraint "things_pkey" \(Key \(a\)=\(1\) already exists\)$'),
        ("ALTER TABLE told.things DROP COLUMN b", r"\(view told.seen depends on .*\) \(Use DROP \.\.\. CASCADE.*\)$"),
        ("SELECT nope FROM told.things", r'column "nope" does not exist$'),
        ("SET ROLE etl_told; CREATE SCHEMA mine", r"lacks a right \(CREATE on the database .*docs/permissions\.md"),
        ("SET ROLE etl_told; SELECT 1 FROM told.things", r"lacks a right \(USAGE on the schema told\)"),
        ("SET ROLE etl_told; CREATE TABLE told.x ()", r"lacks a right \(CREATE on the schema told\)"),
        ("SET ROLE etl_told; DELETE FROM open.things", r"lacks a right \(DELETE on the table things\)"),
        (
            "SET ROLE etl_told; WITH gone AS (DELETE FROM open.things RETURNING 1) SELECT count(*) FROM gone",
            r"lacks a right \(DELETE on the table things\)",
        ),
        ("SET ROLE etl_told; WITH all_of AS (SELECT FROM open.things) TABLE all_of", r"\(SELECT on the table things\)"),
        ("SET ROLE etl_told; DROP TABLE open.things", r"lacks a right: must be owner of table things"),
    ],
)
def test_an_error_says_what_and_keeps_the_statement_to_itself(settings: Settings, statement: str, told: str) -> None:
    assert settings.postgres_uri is not None
    with closing(Postgres(settings.postgres_uri.get_secret_value())) as postgres:
        postgres.execute(
            "CREATE SCHEMA told",
            "CREATE TABLE told.things (a int PRIMARY KEY, b int)",
            "CREATE VIEW told.seen AS SELECT b FROM told.things",
            "INSERT INTO told.things VALUES (1)",
            "CREATE SCHEMA open",
            "CREATE TABLE open.things ()",
            "CREATE ROLE etl_told",
            "GRANT USAGE ON SCHEMA open TO etl_told",
        )
        with pytest.raises(EtlError, match=told) as error:
            postgres.execute(*statement.split("; "))
        assert statement not in str(error.value) and "\n" not in str(error.value) and "libpq" not in str(error.value)
