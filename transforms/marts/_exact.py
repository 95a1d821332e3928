"""Expressions whose doubles equal those of SQL to the last bit.

All sums are sums of integers (milliseconds, items), which no order of adding changes, and each result is one division
of two integers, which IEEE 754 rounds in one way only. Both operands must be columns: Polars divides by a *constant* by
multiplying with its reciprocal, which for seconds out of milliseconds is off by one bit in 14 values of 100.
"""

import polars as pl

MS_PER_S = 1000


def milliseconds(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    """Return the whole milliseconds from one moment to another (Int64), null if either is."""
    return (end - start).dt.total_milliseconds()


def seconds(ms: pl.Expr) -> pl.Expr:
    """Return milliseconds (Int64) as seconds (Float64)."""
    # The divisor as a column of the same length, not as a constant.
    return ms / (ms * 0 + MS_PER_S)


def mean(total: pl.Expr, count: pl.Expr) -> pl.Expr:
    """Return ``total / count`` of two integers, null if nothing was counted."""
    return pl.when(count > 0).then(total.cast(pl.Int64) / count.cast(pl.Int64))


def mean_seconds(total_ms: pl.Expr, count: pl.Expr) -> pl.Expr:
    """Return the mean seconds of ``count`` durations of ``total_ms`` together, null if there is none."""
    return mean(total_ms, count.cast(pl.Int64) * MS_PER_S)


def percent(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """Return which percentage ``part`` is of ``whole``, two integers; null if the whole is nothing."""
    return mean(part.cast(pl.Int64) * 100, whole)


def cents(amount: pl.Expr) -> pl.Expr:
    """Return an amount of money of two digits after the point as hundredths (Int64)."""
    return (amount * pl.lit(100, pl.Decimal(14, 2))).cast(pl.Int64)
