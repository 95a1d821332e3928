"""What somebody else has put in the place of tables of ours in ClickHouse, or on them: refused, or told."""

import logging
import re
from collections.abc import Sequence

from contracts.schema.ddl import DELETED, VERSION
from contracts.schema.entity import Table
from pipeline.errors import EtlError
from pipeline.stores.clickhouse.catalog import Catalog
from pipeline.stores.clickhouse.names import data_name, plain, root_in
from pipeline.stores.staging import Staging

_LITERAL = re.compile(r"'(?:[^'\\]|\\.)*'")
_ADDITION = re.compile(r"\b(INDEX|CONSTRAINT|PROJECTION) (`(?:[^`\\]|\\.)*`|\w+)")
log = logging.getLogger(__name__)


def check_places(catalog: Catalog, staging: Staging, tables: Sequence[Table]) -> dict[str, str]:
    """Refuse to put tables in the place of what is not ours: it would be gone.

    Returns:
        The comments of the views and tables in these places, by name; of what is not there yet there is none.

    Raises:
        EtlError: The name of a view or of the table behind it is taken.
    """
    query = (
        "SELECT name, engine, comment FROM system.tables "
        "WHERE database = {database:String} AND name IN {names:Array(String)}"
    )
    places = {name: table for table in tables for name in (table.name, data_name(table))}
    found = catalog.rows(query, database=staging.schema, names=list(places))
    for name, engine, comment in found:
        table, of = places[name], root_in(comment)
        ours = engine == "View" if name == table.name else "MergeTree" in engine and of == table.root
        if not ours:
            what = f"a {engine} of {of or 'somebody else'}" if "MergeTree" in engine else f"a {engine}"
            raise EtlError(
                f"{staging.schema}.{name} in ClickHouse is {what}, in the place of what {table.name} is to be "
                "published as; rename or drop it, and run the command again"
            )
    return {name: comment for name, _, comment in found}


def tell_what_goes(catalog: Catalog, staging: Staging, tables: Sequence[Table]) -> None:
    """Warn of what somebody has put on tables that are going to be exchanged."""
    query = (
        "SELECT name, create_table_query, "
        "arrayMap((d, t) -> concat(d, '.', t), dependencies_database, dependencies_table) "
        "FROM system.tables WHERE database = {database:String} AND name IN {names:Array(String)}"
    )
    behind = {data_name(table): table for table in tables}
    there = catalog.columns_of(staging.schema, list(behind))
    for data, create, views in catalog.rows(query, database=staging.schema, names=list(behind)):
        table = behind[data]
        known = {*staging.owned(table), *table.names, VERSION, DELETED}
        columns = [f"COLUMN {name}" for name in there[data] if name not in known]
        others = _ADDITION.findall(_LITERAL.sub("''", create))
        goes = [
            *columns,
            *(f"{what} {name}" for what, name in others if plain(name).removeprefix("by_") not in known),
        ]
        if goes:
            log.warning(
                "%s.%s in ClickHouse is exchanged by this publish; what somebody has added to it is gone then: %s",
                *(staging.schema, data, ", ".join(goes)),
            )
        if views:
            log.warning(
                "%s.%s in ClickHouse is exchanged by this publish, which materialized views on it don't see, so "
                "these go stale: %s; refreshable ones on %s.%s read all rows",
                *(staging.schema, data, ", ".join(views), staging.schema, table.name),
            )
