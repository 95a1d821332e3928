"""Whether users come back, by the week in which they came first."""

import polars as pl

from contracts.marts.user_retention_weekly import MART
from transforms.marts._calendar import WEEK, is_over, week_of
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import percent

COHORT, ON = "cohort_on", "week_on"


def user_retention_weekly(user_activity_daily: pl.LazyFrame, *, context: Context) -> pl.LazyFrame:
    """Count the users of each cohort, week by week.

    Args:
        user_activity_daily: The mart of that name: one row per user and day.
        context: Tells which week is running.

    Returns:
        One row per cohort and week, as ``contracts.marts.user_retention_weekly`` describes it.
    """
    first, week, previous = (week_of(pl.col(name)) for name in ("first_active_on", "activity_on", "previous_active_on"))
    retained = (
        user_activity_daily.select(first.alias(COHORT), week.alias(ON), previous=previous)
        .filter(pl.col("previous").ne_missing(pl.col(ON)))  # a user counts once a week
        .group_by(COHORT, ON)
        .agg(retained_user_count=pl.len().cast(pl.Int64))
    )
    size, over = pl.col("cohort_user_count"), pl.col("is_complete")
    cohorts = retained.filter(pl.col(COHORT) == pl.col(ON)).select(COHORT, cohort_user_count="retained_user_count")
    counted = (
        _weeks(retained, context)
        .join(cohorts, on=COHORT)
        .join(retained, on=[COHORT, ON], how="left")
        .with_columns(
            week_number=(pl.col(ON) - pl.col(COHORT)).dt.total_days() // 7,
            retained_user_count=pl.col("retained_user_count").fill_null(0),
            is_complete=is_over(pl.col(ON), context, WEEK),
        )
        .with_columns(eligible_user_count=pl.when(over).then(size).otherwise(0))
        .with_columns(
            retention_pct=pl.when(over).then(percent(pl.col("retained_user_count"), pl.col("eligible_user_count")))
        )
    )
    return conform(counted, MART, context)


def _weeks(retained: pl.LazyFrame, context: Context) -> pl.LazyFrame:
    """Return the weeks of each cohort up to the running one, and those after it with data."""
    running = week_of(pl.lit(context.today))
    cohorts = retained.select(COHORT).unique().filter(pl.col(COHORT) <= running)
    filled = cohorts.with_columns(pl.date_ranges(pl.col(COHORT), running, "1w").alias(ON)).explode(ON)
    return pl.concat([filled, retained.select(COHORT, ON)]).unique()
