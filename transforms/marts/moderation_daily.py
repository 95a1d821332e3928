"""How the moderation of reviews keeps up, and how it decides, by day and stars."""

import polars as pl

from contracts.marts.moderation_daily import MART, STATUSES
from transforms.marts._calendar import is_over
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import percent


def moderation_daily(review_facts: pl.LazyFrame, *, context: Context) -> pl.LazyFrame:
    """Count the reviews of each day and number of stars by what became of them.

    Args:
        review_facts: The mart of that name: one row per review.
        context: Tells which day is running, and since when versions are kept.

    Returns:
        One row per day and number of stars, as ``contracts.marts.moderation_daily`` describes it.
    """
    status, decided, took = pl.col("moderation_status"), pl.col("decided_count"), pl.col("decision_s").drop_nulls()
    overturned, is_known = pl.col("decision_change_count") > 0, pl.col("decision_change_count").is_not_null().any()
    days = (
        review_facts.group_by("submitted_on", "rating")
        .agg(
            *((status == one).cast(pl.Int64).sum().alias(f"{one}_count") for one in STATUSES),
            submitted_count=pl.len().cast(pl.Int64),
            other_count=(~status.is_in(STATUSES)).cast(pl.Int64).sum(),
            flagged_count=(pl.col("flags_count") > 0).cast(pl.Int64).sum(),
            decided_count=pl.col("is_decided").cast(pl.Int64).sum(),
            oldest_pending_at=pl.when(status == "pending").then("submitted_at").min(),
            overturned_count=pl.when(is_known).then(overturned.cast(pl.Int64).sum()),
            observed_decision_count=pl.col("decided_at").count().cast(pl.Int64),
            p50_decision_s=took.quantile(0.5, interpolation="linear"),
            p95_decision_s=took.quantile(0.95, interpolation="linear"),
        )
        .with_columns(
            decided_pct=percent(decided, pl.col("submitted_count")),
            reject_pct=percent(pl.col("rejected_count"), decided),
            observed_since=pl.lit(context.observed_since.get("moderation_queue"), pl.Datetime("us", "UTC")),
            is_complete=is_over(pl.col("submitted_on"), context),
        )
    )
    return conform(days, MART, context)
