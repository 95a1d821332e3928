"""The first rows of a mart, to look at."""

from typing import Any

from contracts.schema.ddl import quoted, quoted_names
from contracts.schema.mart import Mart
from pipeline.runs.published import MARTS
from pipeline.stores.postgres.store import Postgres


def top(postgres: Postgres, mart: Mart, rows: int = 5) -> list[dict[str, Any]]:
    """Return the rows of a published mart that have the most of what it counts first.

    Args:
        postgres: Where it is read.
        mart: Its contract.
        rows: How many at most.
    """
    counted = [column.name for column in mart.table.columns if column.name.endswith("_count")][:1]
    order = ", ".join([*(f"{quoted(name)} DESC" for name in counted), quoted_names(mart.key)])
    names = mart.table.names
    query = f"SELECT {quoted_names(names)} FROM {MARTS}.{quoted(mart.name)} ORDER BY {order} LIMIT {rows:d}"
    return [dict(zip(names, row, strict=True)) for row in postgres.rows(query)]
