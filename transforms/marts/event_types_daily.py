"""Whether events arrive as they did, by day and type."""

import polars as pl

from contracts.marts.event_types_daily import MART, TRAINING_DAYS, UNUSUAL_COUNT, UNUSUAL_Z
from contracts.schema.entity import TEXT_KEY_CHARACTERS
from transforms.marts._calendar import is_over, local_date, plus, spine
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import mean, percent

ON, TYPE = "event_on", "event_type"


def event_types_daily(event_logs: pl.LazyFrame, *, context: Context) -> pl.LazyFrame:
    """Count the events of each day and type, and hold each day against the 14 before it.

    Args:
        event_logs: One row per event.
        context: Tells which day is running.

    Returns:
        One row per day and type, as ``contracts.marts.event_types_daily`` describes it.
    """
    on, kind = local_date(pl.col("timestamp"), context), pl.col(TYPE).str.head(TEXT_KEY_CHARACTERS)
    counts = event_logs.group_by(on.alias(ON), kind.alias(TYPE)).agg(event_count=pl.len().cast(pl.Int64))
    over, score = pl.col("is_complete"), pl.col("z_score")
    is_many = pl.max_horizontal("event_count", "mean_14d_count") >= UNUSUAL_COUNT
    days = (
        spine(counts.select(TYPE, ON), ON, context, by=[TYPE])
        .join(counts, on=[TYPE, ON], how="left")
        .with_columns(pl.col("event_count").fill_null(0), is_complete=is_over(pl.col(ON), context))
        .with_columns(all_event_count=pl.col("event_count").sum().over(ON))
        .sort(TYPE, ON)
        .with_columns(**_training())
        .with_columns(
            share_pct=percent(pl.col("event_count"), pl.col("all_event_count")),
            mean_14d_count=mean(pl.col("total"), pl.col("days")),
            z_score=pl.when(over).then(_z_score()),
        )
        .with_columns(is_unusual=pl.when(score.is_not_null()).then((score.abs() >= UNUSUAL_Z) & is_many))
    )
    return conform(days, MART, context)


def _training() -> dict[str, pl.Expr]:
    """Return the sum and the sum of squares of the days before each, where the day so long before is one of them."""
    count = pl.col("event_count")

    def before(values: pl.Expr) -> pl.Expr:
        total = values.cum_sum()
        summed = (total - values) - (total - values).shift(TRAINING_DAYS)
        is_there = pl.col(ON).shift(TRAINING_DAYS) == plus(pl.col(ON), -TRAINING_DAYS)
        return pl.when(is_there).then(summed).over(TYPE)

    return {"total": before(count), "squares": before(count * count), "days": before(pl.lit(1, pl.Int64) + count * 0)}


def _z_score() -> pl.Expr:
    """Return the score from sums of integers, so that it is rounded where SQL rounds it: in the last steps only."""
    count, total, days = pl.col("event_count"), pl.col("total"), pl.col("days")
    off, spread = days * count - total, days * pl.col("squares") - total * total
    return pl.when(spread > 0).then(off / (days * spread / (days - 1)).sqrt())
