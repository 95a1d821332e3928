"""What users did lately, which is what they are scored by."""

import polars as pl

from contracts.marts.user_score_cuts import WINDOW_DAYS
from transforms.marts._calendar import plus
from transforms.marts._context import Context


def recent(user_activity_daily: pl.LazyFrame, context: Context) -> pl.LazyFrame:
    """Return per user the days since the last activity, and what happened on the 28 days that end with as_of."""
    on, today = pl.col("activity_on"), pl.lit(context.today)
    is_recent = (on > plus(today, -WINDOW_DAYS)) & (on <= today)
    return user_activity_daily.group_by("user_id").agg(
        recency_days=(today - on.max()).dt.total_days(),
        frequency_28d=is_recent.cast(pl.Int64).sum(),
        sessions_28d=pl.when(is_recent).then("session_count").sum(),
        intensity_28d=pl.when(is_recent).then("action_count").sum(),
    )
