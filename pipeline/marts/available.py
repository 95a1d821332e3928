"""Which marts can be computed from the contracts at hand, and why the others can't."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

import transforms.marts
from contracts.schema.entity import ContractError, Entity, Table
from contracts.schema.history import versions_table
from contracts.schema.mart import Mart
from contracts.schema.mistakes import sentence
from pipeline.connections import Connections
from pipeline.errors import DataError
from transforms.marts import Context, compute, in_order, sources, unmet

_SAID = 300  # characters of what a library says


def tables_of(entity: Entity) -> tuple[Table, ...]:
    """Return what marts may read of a collection: its tables, and all their versions (none where none are kept)."""
    return (*map(versions_table, entity.tables), *entity.tables)


def reasons(entities: Iterable[Entity], known: Mapping[str, Mart]) -> dict[str, str]:
    """Return of marts that can't be computed why not, in a sentence, by name.

    Beside what no contract declares this finds what is wrong in a function, by computing each mart from nothing.

    Args:
        entities: The contracts of collections.
        known: All marts, by name.
    """
    declared = tuple(entities)
    found, tables = unmet(declared, known), {table.name: table for one in declared for table in tables_of(one)}
    for mart in in_order(known.values()):
        if mart.name not in found and (says := _mistake(mart, tables)):
            found[mart.name] = says
            for name, more in unmet(declared, {one: known[one] for one in known if one not in found}).items():
                found.setdefault(name, more)
        tables.setdefault(mart.name, mart.table)
    return found


def _mistake(mart: Mart, tables: Mapping[str, Table]) -> str:
    """Return what is wrong with a mart's function, if anything is."""
    nothing = {name: tables[name].frame_schema.to_frame().lazy() for name in sources(mart)}
    try:
        schema = compute(mart, nothing, Context()).collect_schema()
    except Exception as error:  # whatever a user's own function may raise
        return why_failed(mart, error)
    return "" if schema == mart.table.frame_schema else "its columns are not those of its contract"


def why_failed(mart: Mart, error: Exception) -> str:
    """Return in a sentence why a mart could not be computed.

    Args:
        mart: Its contract.
        error: What came up.
    """
    if isinstance(error, ContractError | DataError):
        return str(error).removesuffix("; nothing was published")
    if isinstance(error, pl.exceptions.PolarsError):
        return f"the mart {mart.name} can't be computed: {' '.join(str(error).split())[:_SAID]}"
    return sentence(error, file_of(mart), {})


def file_of(mart: Mart) -> Path:
    """Return the file of a mart's function."""
    return (mart.home or Path(transforms.marts.__path__[0])) / f"{mart.name}.py"


def left_out(connections: Connections) -> dict[str, str]:
    """Return of a user's own marts that can't be computed why not, in a sentence, by name."""
    known = connections.known_marts
    own = {name for name, mart in known.items() if mart.home is not None}
    found = reasons(connections.entities.values(), known) if own else {}
    return {name: says for name, says in found.items() if name in own}
