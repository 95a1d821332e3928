"""What became of each review, and how long that took."""

import polars as pl

from contracts.marts.review_facts import DECIDED, MART
from transforms.marts._calendar import local_date
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import milliseconds, seconds
from transforms.marts._past import decisions


def review_facts(
    moderation_queue: pl.LazyFrame, moderation_queue_versions: pl.LazyFrame, *, context: Context
) -> pl.LazyFrame:
    """Tell of each review when it was decided, and how often that was overturned.

    Args:
        moderation_queue: One row per review.
        moderation_queue_versions: One row per version of a review.
        context: Has the reporting zone.

    Returns:
        One row per review, as ``contracts.marts.review_facts`` describes it.
    """
    is_decided, took = pl.col("moderation_status").is_in(DECIDED), milliseconds(pl.col("submitted_at"), pl.col("at"))
    reviews = (
        moderation_queue.join(decisions(moderation_queue, moderation_queue_versions, DECIDED), on="_id", how="left")
        .with_columns(at=pl.when(is_decided).then("decided_at"))
        .with_columns(
            is_decided=is_decided,
            decided_at="at",
            decision_s=seconds(pl.max_horizontal(took, pl.when(took.is_not_null()).then(0))),
            submitted_on=local_date(pl.col("submitted_at"), context),
        )
    )
    return conform(reviews, MART, context)
