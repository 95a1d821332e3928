"""How far visits get on the way to a purchase, by day."""

import polars as pl

from contracts.marts.funnel_daily import MART, STEPS
from transforms.marts._calendar import is_over
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import milliseconds, percent, seconds

# When session_facts says that each step was reached.
REACHED_AT = dict(zip(STEPS, ("viewed_at", "added_to_cart_at", "purchased_at"), strict=True))


def funnel_daily(session_facts: pl.LazyFrame, *, context: Context) -> pl.LazyFrame:
    """Count the sessions of each day that reached each step.

    Args:
        session_facts: The mart of that name: one row per session.
        context: Tells which day is running.

    Returns:
        One row per day and step, as ``contracts.marts.funnel_daily`` describes it.
    """
    entered = session_facts.filter(pl.col("viewed_at").is_not_null()).with_columns(entered_on="started_on")
    steps = pl.concat([_step(entered, number, step) for number, step in enumerate(STEPS, 1)])
    counted = steps.with_columns(
        conversion_pct=percent(pl.col("reached_count"), pl.col("entered_count")),
        conversion_from_previous_pct=percent(pl.col("reached_count"), pl.col("previous_count")),
        is_complete=is_over(pl.col("entered_on"), context) & ~pl.col("any_open"),
    )
    return conform(counted, MART, context)


def _step(entered: pl.LazyFrame, number: int, step: str) -> pl.LazyFrame:
    reached_at, before = pl.col(REACHED_AT[step]), pl.col(REACHED_AT[STEPS[max(number - 2, 0)]])
    took = seconds(milliseconds(pl.col("viewed_at"), reached_at)).drop_nulls()
    return entered.group_by("entered_on").agg(
        step=pl.lit(step),
        step_number=pl.lit(number, pl.Int64),
        entered_count=pl.len().cast(pl.Int64),
        reached_count=reached_at.count().cast(pl.Int64),
        previous_count=before.count().cast(pl.Int64),
        median_time_to_step_s=took.quantile(0.5, interpolation="linear"),
        any_open=(pl.col("state") == "open").any(),
    )
