"""How the moderation of reviews keeps up, and how it decides, by day and stars."""

import polars as pl

from contracts.marts.moderation_daily import MART, STATUSES
from transforms.marts._calendar import is_over, local_date
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import milliseconds, percent, seconds
from transforms.marts._past import decisions


def moderation_daily(moderation_queue: pl.LazyFrame, *, context: Context) -> pl.LazyFrame:
    """Count the reviews of each day and number of stars by what became of them.

    Args:
        moderation_queue: One row per review.
        context: Tells which day is running.

    Returns:
        One row per day and number of stars, as ``contracts.marts.moderation_daily`` describes it.
    """
    submitted_at, status, decided = pl.col("submitted_at"), pl.col("moderation_status"), pl.col("decided_count")
    took = seconds(milliseconds(submitted_at, pl.col("decided_at"))).drop_nulls()
    days = (
        decisions(moderation_queue)
        .group_by(local_date(submitted_at, context).alias("submitted_on"), "rating")
        .agg(
            *((status == one).cast(pl.Int64).sum().alias(f"{one}_count") for one in STATUSES),
            submitted_count=pl.len().cast(pl.Int64),
            other_count=(~status.is_in(STATUSES)).cast(pl.Int64).sum(),
            flagged_count=(pl.col("flags_count") > 0).cast(pl.Int64).sum(),
            oldest_pending_at=pl.when(status == "pending").then(submitted_at).min(),
            observed_decision_count=pl.col("decided_at").count().cast(pl.Int64),
            p50_decision_s=took.quantile(0.5, interpolation="linear"),
            p95_decision_s=took.quantile(0.95, interpolation="linear"),
        )
        .with_columns(decided_count=pl.col("approved_count") + pl.col("rejected_count"))
        .with_columns(
            decided_pct=percent(decided, pl.col("submitted_count")),
            reject_pct=percent(pl.col("rejected_count"), decided),
            is_complete=is_over(pl.col("submitted_on"), context),
        )
    )
    return conform(days, MART, context)
