"""The last step of every mart: the shape that its contract promises."""

import polars as pl

from contracts.schema.mart import Mart


def conform(frame: pl.LazyFrame, mart: Mart) -> pl.LazyFrame:
    """Return the contract's columns in its order and dtypes, the rows sorted by its key."""
    schema = mart.table.frame_schema
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items()).sort(mart.key)
