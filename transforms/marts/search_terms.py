"""What people search for, and what they try next."""

import polars as pl

from contracts.marts.search_terms import MART
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import percent

TERM = "search_term"


def search_terms(search_facts: pl.LazyFrame, *, context: Context) -> pl.LazyFrame:
    """Count the searches for each term.

    Args:
        search_facts: The mart of that name: one row per search.
        context: Has the moment.

    Returns:
        One row per term, as ``contracts.marts.search_terms`` describes it.
    """
    final, searches = search_facts.filter("is_final"), pl.col("search_count")
    terms = (
        final.group_by(TERM)
        .agg(
            search_count=pl.len().cast(pl.Int64),
            user_count=pl.col("user_id").n_unique(),
            first_searched_at=pl.col("searched_at").min(),
            last_searched_at=pl.col("searched_at").max(),
            zero_result_count=pl.col("is_zero_result").cast(pl.Int64).sum(),
            refined_count=pl.col("is_refined").cast(pl.Int64).sum(),
        )
        .join(_next_terms(final), on=TERM, how="left")
        .with_columns(
            pl.col("top_next_count").fill_null(0),
            zero_result_pct=percent(pl.col("zero_result_count"), searches),
            refined_pct=percent(pl.col("refined_count"), searches),
        )
    )
    return conform(terms, MART, context)


def _next_terms(searches: pl.LazyFrame) -> pl.LazyFrame:
    """Return what each term was followed by most often."""
    pairs = searches.drop_nulls("next_term").group_by(TERM, "next_term").agg(count=pl.len().cast(pl.Int64))
    first = pl.col("next_term").sort_by("count", "next_term", descending=[True, False]).first()
    return pairs.group_by(TERM).agg(top_next_term=first, top_next_count=pl.col("count").max())
