"""Distinct users of windows of days, counted by adding.

A day with activity keeps its user in a window for so many days. From ``previous_active_on`` it follows on which of
these days the user was counted already, so that nobody has to remember who was there, however many users there are.
"""

import polars as pl

from transforms.marts._calendar import plus, stays


def in_window(days: int) -> tuple[pl.Expr, pl.Expr]:
    """Return from which date a row of user_activity_daily adds its user to a window of so many days, and up to when."""
    on, previous = pl.col("activity_on"), pl.col("previous_active_on")
    return pl.max_horizontal(on, plus(previous, days)), plus(on, days)


def window(active: pl.LazyFrame, count: str, days: int, name: str) -> list[pl.LazyFrame]:
    """Return what rows of user_activity_daily change in the number of users of a window, as ``stays`` does."""
    return stays(active, count, name, *in_window(days))
