"""How well the search serves, by day."""

import polars as pl

from contracts.marts.search_quality_daily import MART
from transforms.marts._calendar import is_over
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import percent


def search_quality_daily(search_facts: pl.LazyFrame, *, context: Context) -> pl.LazyFrame:
    """Count the searches of each day.

    Args:
        search_facts: The mart of that name: one row per search.
        context: Tells which day is running.

    Returns:
        One row per day, as ``contracts.marts.search_quality_daily`` describes it.
    """
    final, searches = pl.col("is_final"), pl.col("search_count")
    counted = {
        "search_count": final,
        "typed_count": ~final,
        "zero_result_count": final & pl.col("is_zero_result"),
        "refined_count": pl.col("is_refined").fill_null(False),
    }
    days = (
        search_facts.group_by("searched_on")
        .agg(
            *(condition.cast(pl.Int64).sum().alias(name) for name, condition in counted.items()),
            user_count=pl.col("user_id").n_unique(),
        )
        .with_columns(
            zero_result_pct=percent(pl.col("zero_result_count"), searches),
            refined_pct=percent(pl.col("refined_count"), searches),
            is_complete=is_over(pl.col("searched_on"), context),
        )
    )
    return conform(days, MART, context)
