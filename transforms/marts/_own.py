"""What the function of a user's own mart gives, brought to the shape that the mart's contract promises."""

import polars as pl

from contracts.schema.entity import ContractError
from contracts.schema.mart import AS_OF, Mart
from transforms.marts._conform import conform
from transforms.marts._context import Context


def conform_own(frame: object, mart: Mart, context: Context) -> pl.LazyFrame:
    """Return the contract's columns in its order and dtypes, sorted by the key; the moment is added.

    Args:
        frame: What the function of the mart gave.
        mart: The contract.
        context: Has the moment.

    Raises:
        ContractError: It is no lazy frame, has other columns, or one whose values a change of type would change.
    """
    if not isinstance(frame, pl.LazyFrame):
        raise ContractError(f"the mart {mart.name}: its function gives no LazyFrame, but {type(frame).__name__}")
    given, declared = frame.collect_schema(), mart.table.frame_schema
    if missing := [name for name in declared if name not in given and name != AS_OF]:
        raise ContractError(f"the mart {mart.name}: its function gives no column {missing[0]!r}, which is declared")
    if further := [name for name in given if name not in declared and name != AS_OF]:
        raise ContractError(f"the mart {mart.name}: its function gives a column {further[0]!r}, which is not declared")
    for name in given:
        if name in declared and not _fits(given[name], declared[name]):
            raise ContractError(
                f"the mart {mart.name}: its function gives {name!r} as {given[name]}, where {declared[name]} is "
                "declared; cast or round it as you mean it"
            )
    return conform(frame, mart, context)


def _fits(given: pl.DataType, declared: pl.DataType) -> bool:
    """Return whether a change of type leaves each value what it is; an integer too large fails by itself."""
    if given == declared or given == pl.Null():
        return True
    if given.is_integer():
        return declared.is_numeric()
    if isinstance(given, pl.Categorical | pl.Enum):
        return declared == pl.String()
    if isinstance(given, pl.Decimal) and isinstance(declared, pl.Decimal):
        return given.scale <= declared.scale
    if isinstance(given, pl.Datetime) and isinstance(declared, pl.Datetime):
        return given.time_zone == declared.time_zone
    return given == pl.Float32() and declared == pl.Float64()
