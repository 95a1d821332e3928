"""What each user has done in all: the days summed up, and what only the sessions themselves tell."""

import polars as pl

from contracts.marts.user_activity import MART, RECENT_DAYS, SEGMENTS
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import mean, mean_seconds, milliseconds, percent, seconds

# Of which axis of user_score_cuts each value is, and the score's name.
SCORED = {
    "recency_days": ("recency", "r_score"),
    "frequency_28d": ("frequency", "f_score"),
    "intensity_28d": ("engagement", "e_score"),
}


def user_activity(
    user_activity_daily: pl.LazyFrame,
    user_recency: pl.LazyFrame,
    user_sessions: pl.LazyFrame,
    user_score_cuts: pl.LazyFrame,
    *,
    context: Context,
) -> pl.LazyFrame:
    """Sum up what each user did.

    Args:
        user_activity_daily: The mart of that name: one row per user and day.
        user_recency: The mart of that name: one row per user.
        user_sessions: One row per session, for the durations in whole milliseconds and the devices.
        user_score_cuts: The mart of that name: the score of each value.
        context: Has the moment.

    Returns:
        One row per user, as ``contracts.marts.user_activity`` describes it.
    """
    sessions, searches = pl.col("session_count"), pl.col("search_count")
    ended = sessions - pl.col("ongoing_session_count")
    users = (
        _totals(user_activity_daily)
        .join(user_recency.select("user_id", "recency_days", "^.*_28d$"), on="user_id", how="left")
        .join(_sessions(user_sessions), on="user_id", how="left")
        .with_columns(
            session_duration_s=seconds(pl.col("session_duration_ms").fill_null(0)),
            mean_session_duration_s=mean_seconds(pl.col("session_duration_ms"), ended),
            mean_page_view_count=mean(pl.col("page_view_count"), sessions),
            conversion_pct=percent(pl.col("purchase_session_count"), sessions),
            zero_result_search_pct=percent(pl.col("zero_result_search_count"), searches),
        )
    )
    return conform(segmented(users, user_score_cuts), MART, context)


def refreshed(users: pl.LazyFrame, user_score_cuts: pl.LazyFrame) -> pl.LazyFrame:
    """Score users anew of whom nothing else was changed: others moved.

    Args:
        users: Rows of this mart.
        user_score_cuts: The mart of that name.
    """
    scores = [score for _, score in SCORED.values()]
    return segmented(users.drop(*scores, "segment"), user_score_cuts)


def segmented(users: pl.LazyFrame, cuts: pl.LazyFrame) -> pl.LazyFrame:
    """Add the scores and the segment of each user.

    Args:
        users: One row per user, as ``user_recency`` has them.
        cuts: The mart ``user_score_cuts`` of these users.
    """
    for value, (axis, score) in SCORED.items():
        of_axis = cuts.filter(pl.col("axis") == axis).select(pl.col("value").alias(value), pl.col("score").alias(score))
        users = users.join(of_axis, on=value, how="left")
    return users.with_columns(segment=_segment())


def _segment() -> pl.Expr:
    recency, frequency, engagement = pl.col("r_score"), pl.col("f_score"), pl.col("e_score")
    conditions = (
        (recency >= 4) & (frequency >= 4) & (engagement >= 4),
        (recency >= 3) & (frequency >= 4),
        recency >= 4,
        (recency == 3) | (pl.col("recency_days") < RECENT_DAYS),
        recency == 2,
    )
    segment: pl.Expr = pl.lit(SEGMENTS[-1])
    for condition, name in reversed(list(zip(conditions, SEGMENTS, strict=False))):
        segment = pl.when(condition).then(pl.lit(name)).otherwise(segment)
    return segment


def _totals(days: pl.LazyFrame) -> pl.LazyFrame:
    return days.group_by("user_id").agg(
        pl.col("^.*_count$").sum(),
        active_day_count=pl.len(),
        first_activity_at=pl.col("first_activity_at").min(),
        last_activity_at=pl.col("last_activity_at").max(),
    )


def _sessions(sessions: pl.LazyFrame) -> pl.LazyFrame:
    """Return the favourite device and the whole duration of each user who had a session."""
    duration = milliseconds(pl.col("start_time"), pl.col("end_time"))
    by_device = sessions.group_by("user_id", "device_type").agg(
        count=pl.len().cast(pl.Int64), session_duration_ms=duration.sum()
    )
    # Of equally many sessions the first by code point: the same in every engine and locale.
    favourite = pl.col("device_type").sort_by("count", "device_type", descending=[True, False]).first()
    return by_device.group_by("user_id").agg(
        favourite_device_type=favourite, session_duration_ms=pl.col("session_duration_ms").sum()
    )
