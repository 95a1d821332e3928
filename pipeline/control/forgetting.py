"""Collections leave the books: what they show, what was refused, and what their runs told of them."""

from collections.abc import Iterable

import orjson

from pipeline.stores.postgres.session import Session

_TABLES = (
    "etl.published",
    "etl.quarantine",
    "etl.drift",
    "etl.ledger",
    "etl.undeclared",
    "etl.history",
    "etl.verifications",
    "etl.publishes",
    "etl.changed",
)


def recorded_collections(postgres: Session) -> dict[str, set[str]]:
    """Return the collections that are published or have documents in quarantine, each with the tables it had last."""
    query = (
        "SELECT collection, coalesce(tables, '{}')::text FROM etl.published JOIN etl.runs USING (run_id) "
        "WHERE kind <> 'marts' UNION SELECT collection, '{}' FROM etl.quarantine"
    )
    found: dict[str, set[str]] = {}
    for name, tables in postgres.rows(query):
        found.setdefault(name, set()).update(orjson.loads(tables))
    return found


def recorded_marts(postgres: Session) -> set[str]:
    """Return the marts that are published."""
    query = "SELECT collection FROM etl.published JOIN etl.runs USING (run_id) WHERE kind = 'marts'"
    return {name for (name,) in postgres.rows(query)}


def recorded_tables(postgres: Session, schema: str) -> dict[str, str]:
    """Return the tables of which the books know the columns, each with the root table that it belongs to."""
    query = "SELECT DISTINCT table_name, root FROM etl.columns WHERE schema_name = $1::text"
    return dict(postgres.rows(query, schema))


def forget_collection(postgres: Session, name: str, schema: str, roots: Iterable[str]) -> None:
    """Remove all that the books have of a collection, within the caller's transaction.

    Args:
        postgres: Where the books are.
        name: The collection.
        schema: Where its tables were published.
        roots: The root tables that it was published as.
    """
    for table in _TABLES:
        postgres.execute(f"DELETE FROM {table} WHERE collection = $1::text", parameters=(name,))
    for root in roots:
        postgres.execute(
            "DELETE FROM etl.columns WHERE schema_name = $1::text AND root = $2::text", parameters=(schema, root)
        )


def runs_at_work(postgres: Session, name: str) -> list[str]:
    """Return the runs that say that they are running and have opened accounts of a collection."""
    query = (
        "SELECT DISTINCT run_id FROM etl.runs JOIN etl.ledger USING (run_id) "
        "WHERE status = 'running' AND collection = $1::text ORDER BY 1"
    )
    return [run_id for (run_id,) in postgres.rows(query, name)]
