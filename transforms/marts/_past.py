"""What MongoDB has overwritten: the one place that says how marts know it.

MongoDB keeps the present of a document only. What was before is seen by whoever keeps the versions that were copied:
a version tells what the copy showed from ``_valid_from`` to ``_valid_to``, two cluster times of the copy, so a change
is known to within the time between two copies. Where no versions are kept, the present document is the only one, and
what it lets one know of the past is a proxy, or null.
"""

from collections.abc import Collection

import polars as pl

from contracts.schema.history import REMOVED, VALID_FROM, VALID_TO
from transforms.marts._neighbours import row_after, row_before

OBSERVED, PROXY = "observed", "proxy"
MOMENT, STEP = pl.Datetime("ms", "UTC"), "step"


def states(
    present: pl.LazyFrame, versions: pl.LazyFrame, columns: Collection[str], validity: Collection[str] = ()
) -> pl.LazyFrame:
    """Return all that is known of documents, each document's versions in the order in which they were shown.

    Args:
        present: One row per document.
        versions: One row per version; a document of which no version is kept has its present row alone.
        columns: What is wanted of them.
        validity: What is wanted of the versions alone, beside ``_valid_from``: null if none is kept.

    Returns:
        ``_id``, the columns, ``_valid_from``, what else is wanted, and ``step``: the number of the version, from 1.
    """
    alone = present.select("_id", *columns).join(versions.select("_id"), on="_id", how="anti")
    kept = versions.select("_id", *columns, VALID_FROM, *validity)
    # Of a version from before a column's time nothing can be told.
    in_order = pl.concat([kept, alone], how="diagonal").drop_nulls(columns).sort("_id", VALID_FROM)
    return in_order.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64()).over("_id").alias(STEP))


def last_known(present: pl.LazyFrame, versions: pl.LazyFrame, columns: Collection[str]) -> pl.LazyFrame:
    """Return what is known last of each document, of those that are gone as well.

    Args:
        present: One row per document.
        versions: One row per version.
        columns: What is wanted of them.

    Returns:
        ``_id``, the columns, and ``observed_since``: when the first version that is kept began; null if none is.
    """
    return (
        states(present, versions, columns)
        .group_by("_id")
        .agg(pl.col(columns).sort_by(STEP).last(), observed_since=_ms(VALID_FROM).min())
    )


def changed_at(itself: pl.Expr | None = None) -> pl.Expr:
    """Return when a version replaced the one before it: when a copy first showed it, or as the document itself says.

    Args:
        itself: When the document says it was changed last. It is believed if it lies between the copies that first
            showed the two versions; so the moment is exact however seldom copies are made, unless another change
            followed before the copy.
    """
    shown, earlier = _ms(VALID_FROM), row_before(_ms(VALID_FROM), "_id")
    return shown if itself is None else pl.when(itself.is_between(earlier, shown)).then(itself).otherwise(shown)


def turns(tickets: pl.LazyFrame, versions: pl.LazyFrame, resolved: Collection[str]) -> pl.LazyFrame:
    """Return each time at which a ticket came into the backlog or left it, in order.

    A ticket that is gone and comes back was never gone.

    Args:
        tickets: One row per ticket.
        versions: One row per version of a ticket.
        resolved: The statuses of a resolved ticket.

    Returns:
        ``_id``, ``step``, ``change`` (created, solved, reopened or deleted), ``changed_at`` and ``basis``.
    """
    past = states(tickets, versions, ["status", "created_at", "updated_at"], [VALID_TO, REMOVED]).with_columns(
        is_solved=pl.col("status").is_in(resolved).fill_null(False)
    )
    was_solved, is_solved = row_before("is_solved", "_id"), pl.col("is_solved")
    is_first, updated_at = was_solved.is_null(), pl.col("updated_at")
    turned = past.with_columns(
        # Of a ticket that was resolved when it was first shown, its last change then is the only hint.
        changed_at=pl.when(is_first).then(updated_at).otherwise(changed_at(updated_at)),
        basis=pl.when(is_first).then(pl.lit(PROXY)).otherwise(pl.lit(OBSERVED)),
        change=pl.when(is_solved).then(pl.lit("solved")).otherwise(pl.lit("reopened")),
        turned=is_solved != was_solved.fill_null(False),
    ).filter("turned")
    last = past.group_by("_id").agg(pl.all().sort_by(STEP).last())
    created = last.select("_id", pl.lit(0, pl.Int64).alias(STEP), change=pl.lit("created"), changed_at="created_at")
    deleted = last.filter(pl.col(REMOVED) & ~is_solved).select(
        "_id", pl.col(STEP) + 1, change=pl.lit("deleted"), changed_at=_ms(VALID_TO), basis=pl.lit(OBSERVED)
    )
    columns = ("_id", STEP, "change", "changed_at", "basis")
    both = pl.concat([turned.select(columns), created, deleted], how="diagonal").sort("_id", STEP)
    return both.with_columns(pl.col("changed_at").cum_max().over("_id"))  # of two clocks one may be behind


def decisions(reviews: pl.LazyFrame, versions: pl.LazyFrame, decided: Collection[str]) -> pl.LazyFrame:
    """Return when moderators decided, and how often they thought better of it: nothing of a review itself tells.

    Args:
        reviews: One row per review.
        versions: One row per version of a review.
        decided: The statuses of a decided review.

    Returns:
        Of each review of which versions are kept ``_id``, ``observed_since``, ``decided_at`` (when a copy first showed
        a decision, having shown none from its first on; null if none did) and ``decision_change_count``.
    """
    status = pl.col("moderation_status")
    past = states(reviews, versions, ["moderation_status"]).with_columns(is_decided=status.is_in(decided))
    was_decided = row_before("is_decided", "_id")
    verdict = status.filter("is_decided")
    return (
        past.filter(pl.col(VALID_FROM).is_not_null())
        .with_columns(decided_at=pl.when(pl.col("is_decided") & ~was_decided).then(changed_at()))
        .group_by("_id")
        .agg(
            observed_since=_ms(VALID_FROM).min(),
            decided_at=pl.when(~pl.col("is_decided").sort_by(STEP).first()).then(pl.col("decided_at").min()),
            decision_change_count=verdict.sort_by(pl.col(STEP).filter("is_decided")).rle_id().max().cast(pl.Int64),
        )
        .with_columns(pl.col("decision_change_count").fill_null(0))
    )


def lists(recommendations: pl.LazyFrame, versions: pl.LazyFrame) -> pl.LazyFrame:
    """Return the recommended lists with the times for which they were valid, as far as they are known.

    A list is valid until the next one to the same user was written, or until it was gone. Of those that were written
    at one moment it is the one shown last.

    Args:
        recommendations: One row per user.
        versions: One row per version of a user's document.

    Returns:
        ``user_id``, ``recommended_products``, ``valid_from`` and ``valid_to`` (null: still valid).
    """
    past = states(recommendations, versions, ["user_id", "recommended_products", "last_updated"], [VALID_TO, REMOVED])
    written = (
        past.sort("user_id", "last_updated", VALID_FROM, "_id")
        .unique(["user_id", "last_updated"], keep="last", maintain_order=True)
        .with_columns(next_at=row_after("last_updated", "user_id"))
    )
    gone_at = pl.max_horizontal(_ms(VALID_TO), pl.when(pl.col(VALID_TO).is_not_null()).then("last_updated"))
    return written.select(
        "user_id",
        "recommended_products",
        valid_from="last_updated",
        # Where its document was removed it was gone by then, also if another document's was written later.
        valid_to=pl.coalesce(pl.min_horizontal("next_at", pl.when(REMOVED).then(gone_at)), gone_at),
    )


def _ms(name: str) -> pl.Expr:
    """Return a moment of a version in milliseconds, as the moments of documents are."""
    return pl.col(name).dt.cast_time_unit("ms")
