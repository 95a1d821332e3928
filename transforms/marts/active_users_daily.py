"""How many users are active, by day: of each user and day only what it adds to the windows that end later."""

import polars as pl

from contracts.marts.active_users_daily import MART, MONTH_DAYS, WEEK_DAYS
from transforms.marts._active import window
from transforms.marts._calendar import is_over, plus, spine, standing
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import percent

ON = "active_on"


def active_users_daily(user_activity_daily: pl.LazyFrame, *, context: Context) -> pl.LazyFrame:
    """Count the active users of each day, and of the weeks and months that end with it.

    Args:
        user_activity_daily: The mart of that name: one row per user and day.
        context: Tells which day is running.

    Returns:
        One row per day, as ``contracts.marts.active_users_daily`` describes it.
    """
    active = user_activity_daily.select("activity_on", "previous_active_on")
    days = active.group_by(pl.col("activity_on").alias(ON)).agg(
        dau_count=pl.len().cast(pl.Int64), new_user_count=pl.col("previous_active_on").null_count()
    )
    counted = (
        standing(
            [*window(active, "wau_count", WEEK_DAYS, ON), *window(active, "mau_count", MONTH_DAYS, ON)],
            spine(days.select(ON), ON, context),
            ON,
        )
        .join(days, on=ON, how="left")
        .with_columns(
            pl.col("dau_count", "new_user_count").fill_null(0),
            wau_count=_if_full("wau_count", WEEK_DAYS),
            mau_count=_if_full("mau_count", MONTH_DAYS),
            is_complete=is_over(pl.col(ON), context),
        )
        .with_columns(stickiness_pct=percent(pl.col("dau_count"), pl.col("mau_count")))
    )
    return conform(counted, MART, context)


def _if_full(name: str, days: int) -> pl.Expr:
    """Return a count where the data reach back as far as its window."""
    return pl.when(pl.col(ON) >= plus(pl.col(ON).min(), days - 1)).then(name)
