"""Where the scores of users are cut: what all users together have to tell of each."""

import polars as pl

from contracts.marts.user_score_cuts import MART, SCORES
from transforms.marts._conform import conform
from transforms.marts._context import Context


def user_score_cuts(user_recency: pl.LazyFrame, *, context: Context) -> pl.LazyFrame:
    """Rank the values that users have, and cut them into scores.

    Args:
        user_recency: The mart of that name: one row per user.
        context: Has the moment.

    Returns:
        One row per thing that is scored and value, as ``contracts.marts.user_score_cuts`` describes it.
    """
    values = user_recency.select(recency="recency_days", frequency="frequency_28d", engagement="intensity_28d")
    axis, value, users = pl.col("axis"), pl.col("value"), pl.col("user_count")
    better = pl.when(axis == "recency").then(-value).otherwise(value)
    # In halves of users: of those with the same value one half is counted with the worse ones.
    rank = 2 * pl.col("worse_user_count") + users
    cuts = (
        values.unpivot(variable_name="axis", value_name="value")
        .group_by("axis", "value")
        .agg(user_count=pl.len().cast(pl.Int64))
        .with_columns(better=better)
        .sort("axis", "better")
        .with_columns(worse_user_count=(users.cum_sum() - users).over("axis"), all_users=users.sum().over("axis"))
        .with_columns(score=1 + SCORES * rank // (2 * pl.col("all_users")))
    )
    return conform(cuts, MART, context)
