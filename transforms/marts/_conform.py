"""The last step of every mart: the shape that its contract promises."""

import polars as pl

from contracts.schema.mart import AS_OF, DAILY, Mart
from transforms.marts._context import Context


def conform(frame: pl.LazyFrame, mart: Mart, context: Context) -> pl.LazyFrame:
    """Return the contract's columns in its order and dtypes, the rows sorted by its key.

    Each bears the moment or, of a mart whose contract has it tell them, those that the clock may still change.
    """
    schema, moment = mart.table.frame_schema, pl.col(AS_OF)
    tells = mart.ages if mart.tells_ages and mart.ages is not DAILY else None
    return (
        frame.with_columns(pl.lit(context.as_of).alias(AS_OF))
        .with_columns(moment if tells is None else pl.when(tells).then(moment))
        .select(pl.col(name).cast(dtype) for name, dtype in schema.items())
        .sort(mart.key)
    )
