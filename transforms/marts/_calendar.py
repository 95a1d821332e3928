"""Days and weeks of the reporting zone, which all marts share.

Moments become calendar dates once, in the reporting zone, and are dates from then on: 86,400 seconds are not a day when
the clock is changed. Weeks begin on Monday and bear its date.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta

import polars as pl

from transforms.marts._context import Context

DAY, WEEK = timedelta(days=1), timedelta(days=7)


def local_date(moment: pl.Expr, context: Context) -> pl.Expr:
    """Return the calendar date of a moment in the reporting zone."""
    return moment.dt.convert_time_zone(context.timezone).dt.date()


def week_of(day: pl.Expr) -> pl.Expr:
    """Return the Monday of a date's week."""
    return day.dt.truncate("1w")


def plus(day: pl.Expr, days: int) -> pl.Expr:
    """Return the date so many days later."""
    return day + pl.lit(timedelta(days=days))


def is_over(first_day: pl.Expr, context: Context, period: timedelta = DAY) -> pl.Expr:
    """Return whether a period that begins on a date was over at the moment that the sources show."""
    return first_day + pl.lit(period) <= pl.lit(context.today)


def spine(days: pl.LazyFrame, name: str, context: Context, by: Sequence[str] = (), period: str = "1d") -> pl.LazyFrame:
    """Return every period from the first of a group to the running one, and those after it with data.

    Args:
        days: Dates of the data, as often as they like.
        name: Their column.
        context: Tells which period is running.
        by: What makes a group; each begins on its own first date.
        period: ``1d`` or ``1w``; a week's dates are Mondays.
    """
    today = pl.lit(context.today)
    last = week_of(today) if period == "1w" else today
    bounds = days.group_by(*by).agg(pl.col(name).min()) if by else days.select(pl.col(name).min())
    filled = (
        bounds.filter(pl.col(name) <= last)
        .with_columns(pl.date_ranges(pl.col(name), last, period))
        .explode(name, empty_as_null=False)
    )
    return pl.concat([filled, days.select(*by, name)]).unique()


def stays(
    rows: pl.LazyFrame, count: str, name: str, first: pl.Expr, after: pl.Expr, by: Sequence[str] = ()
) -> list[pl.LazyFrame]:
    """Return what rows change that each stand from one date up to another, as numbers to add.

    Args:
        rows: The rows; one whose dates are in the wrong order, or the same, never stands.
        count: Name of what is counted.
        name: What the column of the dates is to be called.
        first: The first date.
        after: The first date on which it stands no longer; null if it stands still.
        by: What makes a group.
    """
    both = rows.select(*by, first=first, after=after)
    both = both.filter(pl.col("after").is_null() | (pl.col("first") < pl.col("after")))
    return [
        both.drop_nulls(date).group_by(*by, pl.col(date).alias(name)).agg((pl.len().cast(pl.Int64) * step).alias(count))
        for date, step in (("first", 1), ("after", -1))
    ]


def standing(changes: Iterable[pl.LazyFrame], rows: pl.LazyFrame, name: str, by: Sequence[str] = ()) -> pl.LazyFrame:
    """Return how many stand in each period, out of how many came and went.

    Args:
        changes: What is added from which date on, as :func:`stays` returns it.
        rows: The periods to tell it for.
        name: The column of their dates.
        by: What makes a group.
    """
    counts = pl.selectors.integer() - pl.selectors.by_name(*by, require_all=False)
    both = pl.concat([*changes, rows.with_columns(asked=True)], how="diagonal")
    summed = both.group_by(*by, name).agg(counts.sum(), pl.col("asked").any(ignore_nulls=True)).sort(*by, name)
    totals = counts.cum_sum().over(by) if by else counts.cum_sum()
    return summed.with_columns(totals).filter("asked").drop("asked")
