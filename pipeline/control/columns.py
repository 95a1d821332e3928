"""Which columns of the published tables are ours: those that a contract made, and nobody else."""

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipeline.stores.postgres.session import Session

if TYPE_CHECKING:
    from contracts.schema.entity import Table


def record_columns(postgres: Session, target: str, schema: str, tables: Iterable["Table"]) -> None:
    """Enter the columns of tables that are published now, in the place of those that they had.

    Args:
        postgres: Where the books are.
        target: Name of the target.
        schema: ``replica`` or ``marts``.
        tables: All tables of some collections, or marts.
    """
    tables = tuple(tables)
    postgres.execute(
        "DELETE FROM etl.columns WHERE target = $1::text AND schema_name = $2::text AND root = ANY ($3::text[])",
        parameters=(target, schema, [table.name for table in tables if table.parent is None]),
    )
    rows = [(table.root, table.name, column) for table in tables for column in table.names]
    roots, names, columns = ([row[place] for row in rows] for place in range(3))
    postgres.execute(
        "INSERT INTO etl.columns SELECT $1::text, $2::text, c.* FROM unnest($3::text[], $4::text[], $5::text[]) c",
        parameters=(target, schema, roots, names, columns),
    )


def columns_added(postgres: Session, target: str, schema: str) -> dict[str, frozenset[str]]:
    """Return the columns that contracts have made, by table; books of an older version know of none.

    Args:
        postgres: Where the books are.
        target: Name of the target.
        schema: ``replica`` or ``marts``.
    """
    query = "SELECT table_name, column_name FROM etl.columns WHERE target = $1::text AND schema_name = $2::text"
    found: dict[str, set[str]] = defaultdict(set)
    for table, column in postgres.rows(query, target, schema):
        found[table].add(column)
    return {table: frozenset(columns) for table, columns in found.items()}
