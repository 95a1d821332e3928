"""HOW the marts are computed: one module per mart, with one pure function of the mart's name.

The function's parameters are the names of the tables that it reads, each a lazy frame with the columns of that table's
contract: replicated tables (``user_sessions``, ``support_tickets_messages``), the views of all versions of those that
have a history (``support_tickets_versions``), or other marts. What it returns is lazy
too, so that whoever collects it reads from the tables only the columns that it needs. A parameter after ``*`` that is
called ``context`` is given the moment that the tables show, the reporting zone and the settings.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from graphlib import TopologicalSorter
from importlib import import_module
from importlib.util import find_spec

import polars as pl

from contracts.schema.entity import ContractError, Entity
from contracts.schema.history import versions_of
from contracts.schema.mart import Mart
from contracts.schema.registry import marts
from transforms.marts._context import Context

__all__ = ["Context", "compute", "in_order", "marts_of", "settings", "sources"]


def compute(name: str) -> Callable[..., pl.LazyFrame]:
    """Return the function that computes a mart from the tables that it reads.

    Args:
        name: Name of the mart, of its contract's module and of its transform's.

    Raises:
        ContractError: There is no such module, or no such function in it.
    """
    module = f"{__name__}.{name}"
    if find_spec(module) is None or not hasattr(import_module(module), name):
        raise ContractError(f"the mart {name!r} needs a function {name!r} in transforms/marts/{name}.py")
    function: Callable[..., pl.LazyFrame] = getattr(import_module(module), name)
    return function


def sources(name: str) -> tuple[str, ...]:
    """Return the names of the tables that a mart reads, in the order of its function's parameters."""
    return tuple(one.name for one in _parameters(name) if one.kind is not one.KEYWORD_ONLY)


def settings(name: str, context: Context) -> Mapping[str, Context]:
    """Return what the function of a mart is given beside the tables: the context, if it asks for it."""
    return {one.name: context for one in _parameters(name) if one.kind is one.KEYWORD_ONLY}


def _parameters(name: str) -> list[inspect.Parameter]:
    return list(inspect.signature(compute(name)).parameters.values())


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return marts in an order in which each follows those of them that it reads."""
    wanted = sorted(names)
    graph = {name: [source for source in sources(name) if source in wanted] for name in wanted}
    return tuple(TopologicalSorter(graph).static_order())


def marts_of(entities: Iterable[Entity]) -> dict[str, Mart]:
    """Return the marts that can be computed from what some contracts declare, by name, each after those it reads.

    A mart follows its sources: without the contracts of all of them it is not there.
    """
    known, found = marts(), dict[str, Mart]()
    declared = tuple(entities)
    tables = {table.name for entity in declared for table in (*entity.tables, *versions_of(entity))}
    for name in in_order(known):
        if name not in tables and tables.union(found).issuperset(sources(name)):
            found[name] = known[name]
    return found
