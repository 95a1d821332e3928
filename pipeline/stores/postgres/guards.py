"""What ends a publish to PostgreSQL before it has begun: what somebody else has put in the place of tables of ours."""

from collections.abc import Mapping

from contracts.schema.entity import Table
from pipeline.errors import EtlError
from pipeline.stores.postgres.catalog import TABLES, Catalog
from pipeline.stores.postgres.evolution import MADE
from pipeline.stores.staging import Staging

_INDEX = "i"
_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence", "c": "a type"}


def check_places(catalog: Catalog, staging: Staging) -> None:
    """Refuse to publish tables where something stands that is no table.

    Raises:
        EtlError: With what it is.
    """
    for name, kind in catalog.kinds(staging.schema, [table.name for table in staging.tables]).items():
        if kind not in (*TABLES, _INDEX):  # an index gives way
            raise EtlError(
                f"{staging.schema}.{name} in PostgreSQL is no table, but {_KINDS.get(kind, 'something else')}, in "
                "the place of what is to be published; rename or drop it, and run the command again"
            )


def check_columns(catalog: Catalog, staging: Staging) -> None:
    """Refuse columns of somebody's own with which rows could not be added, or that a contract names now.

    Raises:
        EtlError: With the first of them.
    """
    demanded = catalog.demanded(staging.schema, [table.name for table in staging.tables])
    for table in staging.tables:
        _check_columns(staging, table, demanded[table.name])


def _check_columns(staging: Staging, table: Table, demanded: Mapping[str, bool]) -> None:
    place = f"{staging.schema}.{table.name}"
    for name, is_demanded in demanded.items():
        if name in staging.owned(table) or name.startswith(MADE):
            continue
        if name in table.names:
            raise EtlError(
                f"{place} in PostgreSQL has a column {name!r} that no contract made, and its contract declares one "
                "now; rename or drop it, and run the command again"
            )
        if is_demanded:
            raise EtlError(
                f"{place} in PostgreSQL has a column {name!r} that its contract does not declare, and that "
                "must not be null and has no default, so no row could be added; give it a default, or let it be "
                "null, or drop it, and run the command again"
            )
