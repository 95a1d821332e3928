"""The published tables of ClickHouse, as they are read and counted; people read views of the same names."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import polars as pl
import pyarrow as pa

from contracts.schema.ddl import clickhouse_qualified as qualified
from contracts.schema.ddl import clickhouse_quoted as quoted
from contracts.schema.ddl import clickhouse_type
from contracts.schema.entity import ID, Column, Table
from contracts.schema.kinds import UUID
from pipeline.stores.base import TableStats
from pipeline.stores.clickhouse.catalog import Catalog
from pipeline.stores.clickhouse.names import data_name, run_in
from pipeline.stores.clickhouse.session import Session
from pipeline.stores.conditions import Among, Condition, select
from pipeline.stores.staging import Staging


class ClickHouseReader(Session):
    """A session that reads published tables."""

    name = "clickhouse"
    quoted = staticmethod(quoted)

    @property
    def catalog(self) -> Catalog:
        """What the catalog tells."""
        return Catalog(self.rows)

    def read(
        self,
        schema: str,
        table: Table,
        where: Sequence[Condition] = (),
        limit: int | None = None,
        among: Among | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a published table; decimals and JSON as text, timestamps in UTC."""
        given: dict[str, Any] = {}
        told = [*(_condition(one, given) for one in where), *([_among(schema, among)] if among else [])]
        query = select(map(_readable, table.columns), f"{qualified(schema, table.name)} AS t", told, limit)
        with closing(self.batches(query, **given)) as batches:
            for batch in batches:
                yield _as_bytes(batch, table)

    def stats(self, schema: str, tables: Sequence[Table]) -> dict[str, TableStats]:
        """Look at published tables without reading rows; one that is gone, or whose view is, is left out."""
        query = "SELECT name, engine, total_rows FROM system.tables WHERE database = {database:String}"
        found = {name: (engine, rows) for name, engine, rows in self.rows(query, database=schema)}
        stats = {}
        for table in tables:
            view, data = found.get(table.name), found.get(data_name(table))
            if view and data and view[0] == "View" and "MergeTree" in data[0]:
                # All versions of its rows, and such as are deleted and not yet merged away, count here.
                stats[table.name] = TableStats("", None if data[1] is None else int(data[1]))
        return stats

    def is_published(self, schema: str, table: Table) -> bool:
        """Return whether there is a published table, by the catalog alone."""
        return self.catalog.comment(schema, data_name(table)) is not None

    def fits(self, schema: str, table: Table, ours: Collection[str] | None = None) -> bool:
        """Return whether a published table has its contract's columns: these names and types, in any order."""
        found, owned = self.catalog.columns(schema, data_name(table)), table.names if ours is None else ours
        there = {name: kind for name, kind in found.items() if name in owned}
        return there == {column.name: clickhouse_type(column) for column in table.columns}

    def count(self, schema: str, table: Table) -> int:
        """Count the rows of a published table."""
        return self.number(f"SELECT count() FROM {qualified(schema, table.name)}")

    def sizes(self, schema: str, tables: Sequence[Table]) -> dict[str, int]:
        """Count the rows of published tables by name; one that is not there, or not as its contract, is left out."""
        found: dict[str, dict[str, str]] = {}
        query = "SELECT table, name, type FROM system.columns WHERE database = {database:String}"
        for table, name, kind in self.rows(query, database=schema):
            found.setdefault(table, {})[name] = kind
        kinds = {one.name: {column.name: clickhouse_type(column) for column in one.columns} for one in tables}
        whole = {one.name: found.get(data_name(one), {}).items() for one in tables if one.name in found}
        fit = [one for one in tables if one.name in whole and kinds[one.name].items() <= whole[one.name]]
        counts = self.numbers(f"SELECT count() FROM {qualified(schema, one.name)}" for one in fit)
        return dict(zip((one.name for one in fit), counts, strict=True))

    def count_ids(self, schema: str, table: str, ids: Sequence[str]) -> int:
        """Count the rows of a published table without a parent that have one of some ``_id``s, given as texts."""
        condition = f"toString({quoted(ID)}) IN {{ids:Array(String)}}"
        return self.number(f"SELECT count() FROM {qualified(schema, table)} WHERE {condition}", ids=list(ids))

    def count_published(self, schema: str, tables: Sequence[Table], most: int | None = None) -> dict[str, int]:
        """Count the rows of published tables by name, no further than to a number; none where there is no table."""
        upto = "" if most is None else f" LIMIT {most}"
        counted = {table.name: f"FROM (SELECT 1 FROM {self._newest(schema, table)}{upto})" for table in tables}
        return self._counted(schema, tables, counted)

    def count_scope_published(self, staging: Staging, roots: Sequence[Table]) -> dict[str, int]:
        """Count the published documents among those that a staging area speaks for, by root."""
        named = {root.name: f"{quoted(staging.name)}.{staging.documents(root)}" for root in roots}
        counted = {
            root.name: f"FROM {self._newest(staging.schema, root)} WHERE {quoted(ID)} IN {named[root.name]}"
            for root in roots
        }
        return self._counted(staging.schema, roots, counted)

    def _newest(self, schema: str, table: Table) -> str:
        return f"{qualified(schema, data_name(table))} FINAL"

    def _counted(self, schema: str, tables: Sequence[Table], counted: Mapping[str, str]) -> dict[str, int]:
        comments = self.catalog.comments(schema, [data_name(table) for table in tables])
        there = [table.name for table in tables if data_name(table) in comments]
        counts = self.numbers(f"SELECT count() {counted[name]}" for name in there)
        return dict.fromkeys(counted, 0) | dict(zip(there, counts, strict=True))

    # What only ClickHouse does ----------------------------------------------------------------------------------

    def run_of(self, schema: str, table: Table) -> str | None:
        """Return the run that a published table without a parent shows, as it tells itself; None if it is not there."""
        return self.runs_of(schema, [table]).get(table.name)

    def runs_of(self, schema: str, tables: Sequence[Table]) -> dict[str, str]:
        """Return the runs that published tables without a parent show, as they tell themselves, by name."""
        names = {data_name(table): table.name for table in tables}
        found = self.catalog.comments(schema, list(names))
        return {names[name]: run_in(comment) for name, comment in found.items()}


def _condition(condition: Condition, given: dict[str, Any]) -> str:
    """Return a condition in SQL, and add its values to the parameters."""
    # Of the table, not of what is selected: there a decimal is a text.
    column, kind = f"t.{quoted(condition.column.name)}", condition.column.kind
    places = []
    for value in condition.values:
        given[name := f"value{len(given)}"] = value
        places.append(f"{{{name}:{'String' if kind.frame == pl.String() else kind.clickhouse}}}")
    if condition.operator == "IN":
        return f"{column} IN ({', '.join(places)})"
    return " ".join((column, condition.operator, *places))


def _among(schema: str, among: Among) -> str:
    """Return in SQL that rows, called t, have one of some keys."""
    column, keys = quoted(among.column), f"{quoted(among.area.name)}.{among.area.keys(among.keys)}"
    found = f"t.{column} IN {keys}"
    if among.root:
        root = qualified(schema, among.root)
        found = f"t.{quoted(ID)} IN (SELECT {quoted(ID)} FROM {root} WHERE {column} IN {keys})"
    return f"NOT ({found})" if among.outside else found


def _readable(column: Column) -> str:
    name = quoted(column.name)
    if column.kind.clickhouse.startswith("Decimal"):
        return f"toString({name}) AS {name}"
    if column.kind.item is not None and column.kind.item.clickhouse.startswith("Decimal"):
        return f"arrayMap(one -> toString(one), {name}) AS {name}"
    if column.kind is UUID:
        return f"toString({name}) AS {name}"
    return f"hex({name}) AS {name}" if column.kind.frame == pl.Binary() else name


def _as_bytes(batch: pa.RecordBatch, table: Table) -> pa.RecordBatch:
    """Return rows with binary data as bytes: in a column of texts, whose type Arrow knows, they come as digits."""
    for place, column in enumerate(table.columns):
        if column.kind.frame == pl.Binary():
            digits = pl.Series(pl.from_arrow(batch.column(place)))
            batch = batch.set_column(place, column.name, digits.str.decode("hex").to_arrow())
    return batch
