"""The last step of every mart: the shape that its contract promises."""

import polars as pl

from contracts.schema.mart import AS_OF, Mart
from transforms.marts._context import Context


def conform(frame: pl.LazyFrame, mart: Mart, context: Context) -> pl.LazyFrame:
    """Return the contract's columns in its order and dtypes, the rows sorted by its key.

    Each bears the moment or, of a mart that says which rows the clock may change, those do.
    """
    schema, moment = mart.table.frame_schema, pl.lit(context.as_of)
    return (
        frame.with_columns((moment if mart.ages is None else pl.when(mart.ages).then(moment)).alias(AS_OF))
        .select(pl.col(name).cast(dtype) for name, dtype in schema.items())
        .sort(mart.key)
    )
