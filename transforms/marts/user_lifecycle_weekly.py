"""Who came, stayed, came back and went, by week."""

import polars as pl

from contracts.marts.user_lifecycle_weekly import MART, STATUSES
from transforms.marts._calendar import WEEK, is_over, plus, spine, week_of
from transforms.marts._conform import conform
from transforms.marts._context import Context

ON = "week_on"


def user_lifecycle_weekly(user_activity_daily: pl.LazyFrame, *, context: Context) -> pl.LazyFrame:
    """Count the users of each week by their status.

    Args:
        user_activity_daily: The mart of that name: one row per user and day.
        context: Tells which week is running.

    Returns:
        One row per week and status, as ``contracts.marts.user_lifecycle_weekly`` describes it.
    """
    active = (
        _active(user_activity_daily)
        .group_by(ON)
        .agg((pl.col("status") == one).sum().alias(one) for one in STATUSES[:3])
    )
    week, before = pl.col(ON), active.select(plus(pl.col(ON), 7).alias(ON), before=pl.sum_horizontal(STATUSES[:3]))
    counted = (
        spine(active.select(ON), ON, context, period="1w")
        .join(active, on=ON, how="left")
        .join(before, on=ON, how="left")
        .with_columns(pl.col("before", *STATUSES[:3]).fill_null(0).cast(pl.Int64))
        # Who was active in the week before is returning or dormant.
        .with_columns(
            dormant=pl.col("before") - pl.col("returning"),
            is_complete=is_over(week, context, WEEK),
            is_left_censored=week == week.min(),
        )
        .unpivot(
            STATUSES, index=[ON, "is_complete", "is_left_censored"], variable_name="status", value_name="user_count"
        )
    )
    return conform(counted, MART, context)


def _active(days: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row per user and week with activity: by its first day in it, whose day before tells the status."""
    week, previous = week_of(pl.col("activity_on")), week_of(pl.col("previous_active_on"))
    status = (
        pl.when(pl.col("previous").is_null())
        .then(pl.lit("new"))
        .when(plus(pl.col("previous"), 7) == pl.col(ON))
        .then(pl.lit("returning"))
        .otherwise(pl.lit("resurrecting"))
    )
    weeks = days.select(week.alias(ON), previous=previous).filter(pl.col("previous").ne_missing(pl.col(ON)))
    return weeks.with_columns(status=status)
