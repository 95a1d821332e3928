"""What somebody else has put in the place of tables of ours in ClickHouse, or on them: refused, or told."""

import logging
import re

from contracts.schema.ddl import DELETED, VERSION
from contracts.schema.entity import Table
from pipeline.errors import EtlError
from pipeline.stores.clickhouse.catalog import Catalog
from pipeline.stores.clickhouse.names import data_name, plain, root_in
from pipeline.stores.staging import Staging

_LITERAL = re.compile(r"'(?:[^'\\]|\\.)*'")
_ADDITION = re.compile(r"\b(INDEX|CONSTRAINT|PROJECTION) (`(?:[^`\\]|\\.)*`|\w+)")
log = logging.getLogger(__name__)


def check_place(catalog: Catalog, staging: Staging, table: Table) -> None:
    """Refuse to put a table in the place of what is not ours: it would be gone.

    Raises:
        EtlError: The name of the view or of the table behind it is taken.
    """
    query = (
        "SELECT name, engine, comment FROM system.tables "
        "WHERE database = {database:String} AND name IN ({view:String}, {data:String})"
    )
    found = catalog.rows(query, database=staging.schema, view=table.name, data=data_name(table))
    for name, engine, comment in found:
        of = root_in(comment)
        ours = engine == "View" if name == table.name else "MergeTree" in engine and of == table.root
        if not ours:
            what = f"a {engine} of {of or 'somebody else'}" if "MergeTree" in engine else f"a {engine}"
            raise EtlError(
                f"{staging.schema}.{name} in ClickHouse is {what}, in the place of what {table.name} is to be "
                "published as; rename or drop it, and run the command again"
            )


def tell_what_goes(catalog: Catalog, staging: Staging, table: Table) -> None:
    """Warn of what somebody has put on a table that is going to be exchanged."""
    query = (
        "SELECT create_table_query, arrayMap((d, t) -> concat(d, '.', t), dependencies_database, dependencies_table) "
        "FROM system.tables WHERE database = {database:String} AND name = {name:String}"
    )
    data = data_name(table)
    for create, views in catalog.rows(query, database=staging.schema, name=data):
        known = {*staging.owned(table), *table.names, VERSION, DELETED}
        columns = [f"COLUMN {name}" for name in catalog.columns(staging.schema, data) if name not in known]
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
