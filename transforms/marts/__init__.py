"""HOW the marts are computed: one module per mart, with one pure function of the mart's name.

The function's parameters are the names of the tables that it reads, each a lazy frame with the columns of that table's
contract: replicated tables (``user_sessions``, ``support_tickets_messages``), the views of all versions of those that
have a history (``support_tickets_versions``; empty where none is kept, if the mart's contract calls it optional), or
other marts. What it returns is lazy
too, so that whoever collects it reads from the tables only the columns that it needs. A parameter after ``*`` that is
called ``context`` is given the moment that the tables show, the reporting zone and the settings.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from contracts.schema.entity import ContractError, Entity
from contracts.schema.history import versions_of
from contracts.schema.loading import load
from contracts.schema.mart import Mart
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._own import conform_own

__all__ = ["Context", "compute", "function_of", "in_order", "marts_of", "refreshed", "refreshes", "sources", "unmet"]


def compute(mart: Mart, tables: Mapping[str, pl.LazyFrame], context: Context) -> pl.LazyFrame:
    """Return the rows of a mart, lazily.

    Args:
        mart: Its contract.
        tables: What it reads, by name.
        context: The moment and the settings.

    Raises:
        ContractError: The function of a user's own mart gives something else than its contract declares.
    """
    asked = {one.name: context for one in _parameters(mart) if one.kind is one.KEYWORD_ONLY}
    frame = function_of(mart)(**tables, **asked)
    return frame if mart.home is None else conform_own(frame, mart, context)


def refreshes(mart: Mart) -> bool:
    """Return whether rows of a mart that were computed before can be brought to what its whole sources say now."""
    return _refresher(mart) is not None


def refreshed(mart: Mart, rows: pl.LazyFrame, tables: Mapping[str, pl.LazyFrame], context: Context) -> pl.LazyFrame:
    """Bring rows of a mart that were computed before to what its whole sources say now, lazily.

    Args:
        mart: Its contract; its module has a function ``refreshed``.
        rows: The rows.
        tables: The whole sources, by name.
        context: The moment and the settings.
    """
    function = _refresher(mart)
    assert function is not None
    return conform(function(rows, *(tables[name] for name in mart.whole)), mart, context)


@cache
def _refresher(mart: Mart) -> Callable[..., pl.LazyFrame] | None:
    """Return the function that brings a mart's rows to what its whole sources say; it takes the rows, then these."""
    found: Callable[..., pl.LazyFrame] | None = getattr(_module(mart, Path(_path(mart))), "refreshed", None)
    return found


def _path(mart: Mart) -> str:
    return f"transforms/marts/{mart.name}.py" if mart.home is None else str(mart.home / f"{mart.name}.py")


@cache  # each mart that is read from its files anew is an object of its own
def function_of(mart: Mart) -> Callable[..., pl.LazyFrame]:
    """Return the function that computes a mart from the tables that it reads.

    Args:
        mart: Its contract.

    Raises:
        ContractError: There is no such module, or no such function in it.
    """
    path = _path(mart)
    module = _module(mart, Path(path))
    function: Callable[..., pl.LazyFrame] | None = getattr(module, mart.name, None)
    if not callable(function):
        raise ContractError(f"the mart {mart.name!r} needs a function {mart.name!r} in {path}")
    _check_parameters(mart, path, function)
    return function


def _module(mart: Mart, path: Path) -> object:
    """Return the module that computes a mart; None if there is none."""
    if mart.home is not None:
        return load(path) if path.is_file() else None
    name = f"{__name__}.{mart.name}"
    return import_module(name) if find_spec(name) else None


def _check_parameters(mart: Mart, path: str, function: Callable[..., pl.LazyFrame]) -> None:
    """Refuse parameters that are neither tables nor the context."""
    parameters = inspect.signature(function).parameters.values()
    tables = [one for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    known = {(inspect.Parameter.KEYWORD_ONLY, "context")}
    others = [one.name for one in parameters if one not in tables and (one.kind, one.name) not in known]
    if others or not tables:
        what = f"has a parameter {others[0]!r}" if others else "reads no table"
        raise ContractError(
            f"{path}: the function {mart.name} {what}; its parameters are the tables that it reads, by name, and "
            "after * it may have context"
        )


def sources(mart: Mart) -> tuple[str, ...]:
    """Return the names of the tables that a mart reads, in the order of its function's parameters."""
    return tuple(one.name for one in _parameters(mart) if one.kind is not one.KEYWORD_ONLY)


@cache
def _parameters(mart: Mart) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(function_of(mart)).parameters.values())


def in_order(marts: Iterable[Mart]) -> tuple[Mart, ...]:
    """Return marts in an order in which each follows those of them that it reads.

    Raises:
        ContractError: Some read each other.
    """
    wanted = {mart.name: mart for mart in sorted(marts, key=lambda mart: mart.name)}
    graph = {name: [source for source in sources(mart) if source in wanted] for name, mart in wanted.items()}
    try:
        return tuple(wanted[name] for name in TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ContractError(f"marts read each other: {' <- '.join(error.args[1])}; none can be the first") from None


def marts_of(entities: Iterable[Entity], known: Mapping[str, Mart]) -> dict[str, Mart]:
    """Return the marts that can be computed from what some contracts declare, by name, each after those it reads.

    A mart follows its sources: without the contracts of all of them it is not there.

    Args:
        entities: The contracts of collections.
        known: All marts, by name.
    """
    lacking = unmet(entities, known)
    return {mart.name: mart for mart in in_order(known.values()) if mart.name not in lacking}


def unmet(entities: Iterable[Entity], known: Mapping[str, Mart]) -> dict[str, str]:
    """Return of marts that can't be computed from what some contracts declare why not, in a sentence, by name."""
    declared = tuple(entities)
    tables = {table.name for entity in declared for table in (*entity.tables, *versions_of(entity))}
    found: dict[str, str] = {}
    for mart in in_order(known.values()):
        if reasons := [*_reasons(mart, tables, known, found)]:
            found[mart.name] = reasons[0]
    return found


def _reasons(mart: Mart, tables: set[str], known: Mapping[str, Mart], lacking: Mapping[str, str]) -> Iterator[str]:
    if mart.name in tables:
        yield f"a collection has a table of the name {mart.name}"
    if missing := [name for name in sources(mart) if name not in (*tables, *known, *mart.optional)]:
        yield f"it reads {', '.join(missing)}, which no contract declares"
    if further := [name for name in sources(mart) if name in lacking and name not in tables]:
        yield f"it reads {', '.join(further)}, and {lacking[further[0]].replace('it reads', 'that reads')}"
