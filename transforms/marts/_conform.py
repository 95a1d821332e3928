"""The last step of every mart: the shape that its contract promises."""

import polars as pl

from contracts.schema.mart import AS_OF, Mart
from transforms.marts._context import Context


def conform(frame: pl.LazyFrame, mart: Mart, context: Context) -> pl.LazyFrame:
    """Return the contract's columns in its order and dtypes, the rows sorted by its key; each bears the moment."""
    schema = mart.table.frame_schema
    return (
        frame.with_columns(pl.lit(context.as_of).alias(AS_OF))
        .select(pl.col(name).cast(dtype) for name, dtype in schema.items())
        .sort(mart.key)
    )
