"""What came of each list of recommendations."""

from datetime import timedelta

import polars as pl

from contracts.marts.recommendation_facts import HIT_DAYS, MART, TOP
from transforms.marts._calendar import local_date
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._past import lists

LIST = ["user_id", "listed_at"]


def recommendation_facts(
    user_recommendations: pl.LazyFrame,
    user_recommendations_versions: pl.LazyFrame,
    user_sessions: pl.LazyFrame,
    user_sessions_actions: pl.LazyFrame,
    moderation_queue: pl.LazyFrame,
    *,
    context: Context,
) -> pl.LazyFrame:
    """Tell of each list whether its user came afterwards, and acted on it.

    Args:
        user_recommendations: One row per user.
        user_recommendations_versions: One row per version of a user's document.
        user_sessions: One row per session.
        user_sessions_actions: One row per action; its target may be a product.
        moderation_queue: One row per review.
        context: Has the reporting zone and the moment.

    Returns:
        One row per list, as ``contracts.marts.recommendation_facts`` describes it.
    """
    week_over = pl.col("listed_at") + pl.lit(timedelta(days=HIT_DAYS))
    known = (
        lists(user_recommendations, user_recommendations_versions)
        .rename({"valid_from": "listed_at"})
        .with_columns(
            product_count=pl.col("recommended_products").list.len().cast(pl.Int64),
            top=pl.col("recommended_products").list.head(TOP),
            week_over=week_over,
            until=pl.min_horizontal(week_over, "valid_to"),
        )
    )
    came, acted = _came(known, user_sessions), _acted(known, user_sessions, user_sessions_actions)
    is_due = (pl.col("product_count") > 0) & (pl.col("week_over") <= pl.lit(context.as_of))
    facts = (
        known.join(came, on=LIST, how="left")
        .join(acted, on=LIST, how="left")
        .join(_reviewed(known, moderation_queue), on=LIST, how="left")
        .with_columns(
            listed_on=local_date(pl.col("listed_at"), context), is_eligible=is_due & pl.col("came").fill_null(False)
        )
        .with_columns(
            is_hit=pl.when("is_eligible").then(pl.any_horizontal(pl.col("acted", "reviewed").fill_null(False)))
        )
    )
    return conform(facts, MART, context)


def _came(known: pl.LazyFrame, sessions: pl.LazyFrame) -> pl.LazyFrame:
    """Return the lists whose users began a session while they counted: who came later could not use them any more."""
    start = pl.col("start_time")
    after = sessions.select("user_id", "start_time").join(known, on="user_id")
    came = after.filter((start >= pl.col("listed_at")) & (start < pl.col("until")))
    return came.select(*LIST, came=True).unique()


def _acted(known: pl.LazyFrame, sessions: pl.LazyFrame, actions: pl.LazyFrame) -> pl.LazyFrame:
    """Return of the lists whose users acted while they counted on what, and whether that was one of their products."""
    overlaps = (pl.col("start_time") < pl.col("until")) & (pl.col("end_time") > pl.col("listed_at")).fill_null(True)
    visits = sessions.select("_id", "user_id", "start_time", "end_time").join(
        known.select(*LIST, "until", "top"), on="user_id"
    )
    acted = actions.select("_id", "at", product="target").join(visits.filter(overlaps), on="_id")
    target = pl.col("product").sort_by("is_top", "at", "product").last()
    told = acted.filter(_is_in_time()).with_columns(is_top=_is_top())
    return told.group_by(LIST).agg(acted=pl.col("is_top").any(), acted_target=target)


def _reviewed(known: pl.LazyFrame, reviews: pl.LazyFrame) -> pl.LazyFrame:
    """Return the lists of which a product was reviewed while they counted."""
    reviewed = reviews.select("user_id", at="submitted_at", product="product_id").join(
        known.select(*LIST, "until", "top"), on="user_id"
    )
    return reviewed.filter(_is_in_time() & _is_top()).select(*LIST, reviewed=True).unique()


def _is_in_time() -> pl.Expr:
    return (pl.col("at") > pl.col("listed_at")) & (pl.col("at") < pl.col("until"))


def _is_top() -> pl.Expr:
    return pl.col("top").list.contains(pl.col("product"))
