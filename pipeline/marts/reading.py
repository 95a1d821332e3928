"""Which columns of which tables marts are computed from, and their rows in files."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import polars as pl
from polars.io.plugins import register_io_source

from contracts.schema.entity import ID, ContractError, Table
from contracts.schema.history import HISTORY, versions_of
from contracts.schema.kinds import TIMESTAMP
from contracts.schema.mart import Mart
from contracts.schema.registry import all_tables
from pipeline.connections import Connections
from pipeline.marts.run import MartRun, staging_of
from pipeline.marts.sources import versions
from pipeline.marts.spill import has_columns
from pipeline.marts.trace import Trace
from pipeline.runs.published import MARTS, REPLICA
from pipeline.stores.conditions import Among
from transforms.marts import Context, compute, sources


def known_tables(connections: Connections, wanted: Iterable[Mart]) -> dict[str, Table]:
    """Return the tables that some marts may read, by name: those of collections, all their versions, and the marts."""
    replicated = all_tables(connections.entities.values())
    return versions(connections) | replicated | {mart.name: mart.table for mart in wanted}


def read_of(wanted: Iterable[Mart], known: Mapping[str, Table]) -> dict[str, Table]:
    """Return the tables that marts read, with just the columns that they read, of those that are known by name."""
    read: dict[str, set[str]] = defaultdict(set)
    for mart in wanted:
        for name, columns in columns_read(mart, known).items():
            read[name] |= columns
    return {name: known[name].only(columns) for name, columns in read.items()}


def columns_read(mart: Mart, known: Mapping[str, Table]) -> dict[str, set[str]]:
    """Return the columns that a mart reads of each table, of those that are known by name."""
    read: dict[str, set[str]] = defaultdict(set)
    tables = [known[name] for name in sources(mart)]
    _check_awaits(mart, {table.name: table for table in tables})
    for table, columns in (*_columns_computed_from(mart, tables), *_columns_cut_by(mart, tables, known)):
        read[table.name] |= columns
    return dict(read)


def _check_awaits(mart: Mart, read: Mapping[str, Table]) -> None:
    for name, column in mart.awaits:
        if name not in read or read[name].frame_schema.get(column) != TIMESTAMP.frame:
            raise ContractError(f"{mart.name}: it awaits {name}.{column}, which is no timestamp that it reads")


def _columns_computed_from(mart: Mart, tables: Iterable[Table]) -> list[tuple[Table, set[str]]]:
    """Find out which columns a mart is computed from, by computing it from nothing and looking on."""
    read: list[tuple[Table, set[str]]] = []

    def nothing(table: Table) -> pl.LazyFrame:
        def rows(columns: list[str] | None, predicate: pl.Expr | None, *_rest: object) -> Iterator[pl.DataFrame]:
            names = table.names if columns is None else columns
            # What rows are chosen by alone is not among the columns: choosing is left to the source.
            chosen_by = () if predicate is None else predicate.meta.root_names()
            read.append((table, {*names, *chosen_by}))
            yield table.frame_schema.to_frame().select(names)

        return register_io_source(rows, schema=table.frame_schema)

    frames = {table.name: nothing(table) for table in tables}
    compute(mart, frames, Context()).collect()
    asked = {table.name for table, _ in read}
    # A join with nothing may end before it has asked for its other side: that is read with all columns then.
    return read + [(table, set(table.names)) for table in tables if table.name not in asked]


def _columns_cut_by(
    mart: Mart, tables: Iterable[Table], known: Mapping[str, Table]
) -> Iterator[tuple[Table, set[str]]]:
    """Yield the columns that tell which piece of a mart a row is for: its own or, for a child, its parent's."""
    if mart.by is None:
        return
    columns = set(mart.by.meta.root_names())
    for table in (table for table in tables if table.name not in mart.whole):
        if has_columns(table.names, mart.by):
            yield table, columns
        elif has_columns(known[table.root].names, mart.by):
            yield table, {ID}
            yield known[table.root], {ID, *columns}
        else:
            raise ContractError(
                f"{mart.name}: it is computed apart by {mart.by}, for which {table.name} has not the columns"
            )


def documents(
    connections: Connections, run: MartRun, table: Table, column: str = "", trace: Trace | None = None
) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table of the replica, or of all versions: none where they are not kept.

    Args:
        connections: The open connections.
        run: The run.
        table: The table, with the columns that are wanted.
        column: By whose values rows are chosen, as those depend on them; all rows if there is none.
        trace: Is told what is read.
    """
    past, entities = versions(connections), connections.entities.values()
    if table.name not in past:
        schema = REPLICA
    elif any(
        table.name == view.name for one in entities if one.table in run.observed_since for view in versions_of(one)
    ):
        schema = HISTORY
    else:
        return
    yield from _rows(connections, run, schema, table, _among(connections, run, table, column), trace)


def published(
    connections: Connections,
    run: MartRun,
    table: Table,
    column: str = "",
    trace: Trace | None = None,
    *,
    outside: bool = False,
) -> Iterator[pl.DataFrame]:
    """Yield the published rows of a mart.

    Args:
        connections: The open connections.
        run: The run.
        table: The mart's table, with the columns that are wanted.
        column: By whose values rows are chosen; all rows if there is none.
        trace: Is told what is read.
        outside: Whether the rows are wanted that have other values than are computed anew.
    """
    among = Among(staging_of(connections, run), column, column, outside=outside) if column else None
    yield from _rows(connections, run, MARTS, table, among, trace)


def _among(connections: Connections, run: MartRun, table: Table, column: str) -> Among | None:
    if not column:
        return None
    known = versions(connections).get(table.name) or table
    root = None if column in known.names or table.parent is None else table.root
    return Among(staging_of(connections, run), column, column, root)


def _rows(
    connections: Connections,
    run: MartRun,
    schema: str,
    table: Table,
    among: Among | None,
    trace: Trace | None,
) -> Iterator[pl.DataFrame]:
    # All stores that are written to show the same rows of marts, and of these ClickHouse is the quickest to read.
    source = connections.targets([run.source] if schema != MARTS else run.targets)[-1]
    by, others = (among.column, among.outside) if among else ("", False)
    batches = source.read(schema, table, among=among)
    for rows in (trace or Trace()).reading(schema, table, by, batches, others=others):
        yield pl.DataFrame(pl.from_arrow(rows)).cast(table.frame_schema)
