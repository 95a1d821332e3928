"""What MongoDB has overwritten: the one place that says how marts know it.

MongoDB keeps the present of a document only. What was before is seen by whoever keeps the versions that were copied;
until there are such tables, each function here tells what the present document lets one know, by which basis, and null
of the rest. A source of versions becomes a further parameter of the marts that call them, and nothing else of those
marts changes.
"""

from collections.abc import Collection

import polars as pl

BASIS = "proxy"  # how the past is known as yet; what versions tell is "observed"


def resolutions(tickets: pl.LazyFrame, resolved: Collection[str]) -> pl.LazyFrame:
    """Return when and how tickets were resolved.

    Args:
        tickets: One row per ticket.
        resolved: The statuses of a resolved ticket.

    Returns:
        ``_id``, ``resolved_at`` (a proxy: the last change), ``resolution_basis`` and ``reopen_count`` (not known).
    """
    is_resolved = pl.col("status").is_in(resolved)
    return tickets.select(
        "_id",
        resolved_at=pl.when(is_resolved).then("updated_at"),
        resolution_basis=pl.when(is_resolved).then(pl.lit(BASIS)),
        reopen_count=pl.lit(None, pl.Int64),
    )


def decisions(reviews: pl.LazyFrame) -> pl.LazyFrame:
    """Return when moderators decided: nothing of a review tells, so ``decided_at`` is null.

    Args:
        reviews: One row per review.
    """
    return reviews.with_columns(decided_at=pl.lit(None, pl.Datetime("ms", "UTC")))


def lists(recommendations: pl.LazyFrame) -> pl.LazyFrame:
    """Return the recommended lists with the times for which they were valid: of each user the present one alone.

    Of documents that share a user it is the newest, of equally new ones the last by ``_id``.

    Args:
        recommendations: One row per user.

    Returns:
        ``user_id``, ``recommended_products``, ``valid_from`` and ``valid_to`` (null: still valid).
    """
    newest = recommendations.sort("last_updated", "_id").unique("user_id", keep="last", maintain_order=True)
    return newest.select(
        "user_id",
        "recommended_products",
        valid_from="last_updated",
        valid_to=pl.lit(None, pl.Datetime("ms", "UTC")),
    )
