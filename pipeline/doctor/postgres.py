"""PostgreSQL, as a target and as the keeper of the books."""

from collections.abc import Iterator

from contracts.schema.history import HISTORY
from pipeline.doctor.common import clock, encryption, version
from pipeline.doctor.finding import Finding, judged
from pipeline.runs.published import MARTS, REPLICA
from pipeline.stores.postgres.session import Session

ABOUT = "PostgreSQL"
_LEAST = (15,)  # since then there is MERGE
_FEW = 5  # connections that a run may need


def examine_postgres(postgres: Session, uri: str) -> Iterator[Finding]:
    """Yield what is to be said of a server that is connected.

    Args:
        postgres: An open session.
        uri: Its URI.
    """
    yield judged(ABOUT, "reachable", "yes")
    ((shown, now, encrypted),) = postgres.rows(
        "SELECT current_setting('server_version'), clock_timestamp(), "
        "coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)"
    )
    yield version(ABOUT, shown, _LEAST)
    yield clock(ABOUT, now)
    yield encryption(ABOUT, uri, encrypted=encrypted, how="sslmode=verify-full in ETL_POSTGRES_URI")
    yield _right_to_create(postgres)
    yield _owners(postgres)
    yield _connections_left(postgres)


def _right_to_create(postgres: Session) -> Finding:
    ((user, database, granted),) = postgres.rows(
        "SELECT quote_ident(current_user), quote_ident(current_database()), "
        "has_database_privilege(current_database(), 'CREATE')"
    )
    if granted:
        return judged(ABOUT, "right to create", f"given on {database}")
    return judged(ABOUT, "right to create", "lacking", fail=f"GRANT CREATE ON DATABASE {database} TO {user}")


def _owners(postgres: Session) -> Finding:
    """Judge whether schemas that are there already are ours: only a table's owner can change its columns."""
    others = postgres.rows(
        "SELECT quote_ident(nspname), quote_ident(current_user), quote_ident(rolname) FROM pg_namespace "
        "JOIN pg_roles ON pg_roles.oid = nspowner WHERE nspname IN ('etl', $1::text, $2::text, $3::text) "
        "AND NOT pg_has_role(current_user, nspowner, 'USAGE') ORDER BY 1",
        REPLICA,
        MARTS,
        HISTORY,
    )
    if not others:
        return judged(ABOUT, "schemas", "those that are there are ours")
    says = "; ".join(f"{schema} belongs to {owner}" for schema, _, owner in others)
    advice = "; ".join(f"ALTER SCHEMA {schema} OWNER TO {user}" for schema, user, _ in others)
    return judged(ABOUT, "schemas", says, fail=advice)


def _connections_left(postgres: Session) -> Finding:
    ((left, most),) = postgres.rows(
        "SELECT current_setting('max_connections')::int - count(*)::int, current_setting('max_connections')::int "
        "FROM pg_stat_activity WHERE backend_type = 'client backend'"
    )
    advice = "raise max_connections, or end sessions that are not needed" if left < _FEW else ""
    return judged(ABOUT, "connections", f"{left} of {most} are free", warn=advice)
