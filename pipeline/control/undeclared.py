"""Collections that are copied without a contract: what their tables are called, and what their ``_id``s are."""

from dataclasses import dataclass

from pipeline.stores.postgres.session import Session

_READABLE = (
    "SELECT has_schema_privilege(relnamespace, 'USAGE') AND has_table_privilege(pg_class.oid, 'SELECT') "
    "FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
    "WHERE nspname = 'etl' AND relname = 'undeclared'"
)


@dataclass(frozen=True)
class Undeclared:
    """A collection that is copied without a contract.

    Attributes:
        collection: Its name.
        stem: Name of its table.
        id_kind: Name of the kind of its ``_id``s.
    """

    collection: str
    stem: str
    id_kind: str


def record_undeclared(postgres: Session, one: Undeclared) -> None:
    """Enter how a collection is copied that no contract declares."""
    postgres.execute(
        "INSERT INTO etl.undeclared VALUES ($1::text, $2::text, $3::text) ON CONFLICT (collection) DO NOTHING",
        parameters=(one.collection, one.stem, one.id_kind),
    )


def undeclared(postgres: Session) -> list[Undeclared]:
    """Return the collections that are copied without a contract.

    Books of an older version know of none; whoever may not read them is told by the command that needs them.
    """
    if postgres.rows(_READABLE) != [(True,)]:
        return []
    return [
        Undeclared(*row) for row in postgres.rows("SELECT collection, stem, id_kind FROM etl.undeclared ORDER BY 1")
    ]
