"""What each user did lately: the columns that move with the day, apart from what each day was."""

import polars as pl

from contracts.marts.user_recency import MART, WINDOW_DAYS
from transforms.marts._calendar import plus
from transforms.marts._conform import conform
from transforms.marts._context import Context


def user_recency(user_activity_daily: pl.LazyFrame, *, context: Context) -> pl.LazyFrame:
    """Tell of each user how long ago the last activity was, and what was done lately.

    Args:
        user_activity_daily: The mart of that name: one row per user and day.
        context: Has the day from which is counted back.

    Returns:
        One row per user, as ``contracts.marts.user_recency`` describes it.
    """
    on, today = pl.col("activity_on"), pl.lit(context.today)
    is_recent = (on > plus(today, -WINDOW_DAYS)) & (on <= today)
    users = user_activity_daily.group_by("user_id").agg(
        recency_days=(today - on.max()).dt.total_days(),
        frequency_28d=is_recent.cast(pl.Int64).sum(),
        sessions_28d=pl.when(is_recent).then("session_count").sum(),
        intensity_28d=pl.when(is_recent).then("action_count").sum(),
    )
    return conform(users, MART, context)
