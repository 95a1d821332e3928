"""The state of the targets between two runs: whoever comes next begins with the same."""

from contextlib import closing

import clickhouse_connect

from pipeline.engines.embedded import Uris
from pipeline.stores.postgres.store import Postgres

OURS = ("etl", "replica", "marts")
STAGING = "staging_"


def forget_ours(uris: Uris) -> None:
    """Drop the copies, what is left of staging, and the books: the next copy is a first one."""
    with closing(Postgres(uris.postgres)) as postgres:
        schemas = [str(name) for (name,) in postgres.rows("SELECT nspname FROM pg_namespace")]
        _drop(postgres, [name for name in schemas if name in OURS or name.startswith(STAGING)])
    with closing(clickhouse_connect.get_client(dsn=uris.clickhouse)) as client:
        for (name,) in client.query("SELECT name FROM system.databases").result_rows:
            if name in OURS or name.startswith(STAGING):
                client.command(f"DROP DATABASE `{name}` SYNC")
    settle(uris)


def empty_schema(uris: Uris, schema: str) -> None:
    """Make a schema of PostgreSQL anew."""
    drop_schema(uris, schema)
    with closing(Postgres(uris.postgres)) as postgres, postgres.transaction():
        postgres.execute(f'CREATE SCHEMA "{schema}"')
    settle(uris)


def drop_schema(uris: Uris, schema: str) -> None:
    """Drop a schema of PostgreSQL and what tools keep beside it."""
    with closing(Postgres(uris.postgres)) as postgres:
        _drop(postgres, [schema, f"{schema}_staging"])


def settle(uris: Uris) -> None:
    """Let PostgreSQL write now what it would else write during the next run, at the next one's cost."""
    with closing(Postgres(uris.postgres)) as postgres:
        postgres.connection.adbc_connection.set_autocommit(True)
        with postgres.connection.cursor() as cursor:
            cursor.execute("CHECKPOINT")


def _drop(postgres: Postgres, schemas: list[str]) -> None:
    with postgres.transaction():
        for name in schemas:
            postgres.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
