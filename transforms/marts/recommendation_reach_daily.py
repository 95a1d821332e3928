"""Whether recommendations reach people, and get used, by day."""

from datetime import timedelta

import polars as pl

from contracts.marts.recommendation_reach_daily import ACTIVE_DAYS, HIT_DAYS, MART, TOP
from transforms.marts._active import in_window, window
from transforms.marts._calendar import is_over, local_date, spine, standing, stays
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import percent
from transforms.marts._past import lists

ON, PRODUCT = "reached_on", "product_id"
NEVER = pl.lit(None, pl.Date())


def recommendation_reach_daily(
    user_recommendations: pl.LazyFrame,
    user_activity_daily: pl.LazyFrame,
    product_price_history: pl.LazyFrame,
    product_price_history_price_changes: pl.LazyFrame,
    user_sessions: pl.LazyFrame,
    user_sessions_actions: pl.LazyFrame,
    moderation_queue: pl.LazyFrame,
    *,
    context: Context,
) -> pl.LazyFrame:
    """Count whom recommendations reach on each day, what they cover, and who acts on them.

    Args:
        user_recommendations: One row per user.
        user_activity_daily: The mart of that name: one row per user and day.
        product_price_history: One row per product.
        product_price_history_price_changes: One row per price.
        user_sessions: One row per session.
        user_sessions_actions: One row per action; its target may be a product.
        moderation_queue: One row per review.
        context: Has the reporting zone and the moment.

    Returns:
        One row per day, as ``contracts.marts.recommendation_reach_daily`` describes it.
    """
    known = _lists(user_recommendations, context)
    listed_on, filled = pl.col("listed_on"), known.filter(pl.col("products").list.len() > 0)
    products = _products(product_price_history, product_price_history_price_changes, context)
    changes = [
        *_reach(user_activity_daily, known),
        *_coverage(filled, products),
        *stays(known, "known_list_count", ON, listed_on, NEVER),
    ]
    hits = _hits(filled, user_sessions, user_sessions_actions, moderation_queue, context)
    days = (
        standing(changes, spine(known.select(listed_on.alias(ON)), ON, context), ON)
        .join(hits, on=ON, how="left")
        .join(known.select(all_list_count=pl.len().cast(pl.Int64)), how="cross")
        .with_columns(pl.col("^.*_count$").fill_null(0))
        .with_columns(unknown_list_count=pl.col("all_list_count") - pl.col("known_list_count"))
        .with_columns(is_complete=is_over(pl.col(ON), context), **_ratios())
    )
    return conform(days, MART, context)


def _lists(recommendations: pl.LazyFrame, context: Context) -> pl.LazyFrame:
    """Return one list of each user: of documents that share one, the newest, of equally new the last by ``_id``."""
    return (
        lists(recommendations)
        .sort("valid_from", "_id")
        .unique("user_id", keep="last", maintain_order=True)
        .with_columns(
            products=pl.col("recommended_products").list.head(TOP),
            listed_on=local_date(pl.col("valid_from"), context),
            until=pl.min_horizontal(pl.col("valid_from") + pl.lit(timedelta(days=HIT_DAYS)), "valid_to"),
        )
    )


def _reach(days: pl.LazyFrame, known: pl.LazyFrame) -> list[pl.LazyFrame]:
    """Return how the numbers of active users change, of those with a list, and of those whose list is not known."""
    first, after = in_window(ACTIVE_DAYS)
    listed_on, has_products = pl.col("listed_on"), pl.col("products").list.len() > 0
    of_listed = days.select("user_id", "activity_on", "previous_active_on").join(
        known.select("user_id", "listed_on", has_products=has_products), on="user_id"
    )
    return [
        *window(days, "active_user_count", ACTIVE_DAYS, ON),
        *stays(of_listed.filter("has_products"), "listed_user_count", ON, pl.max_horizontal(first, listed_on), after),
        *stays(of_listed, "unknown_user_count", ON, first, pl.min_horizontal(after, listed_on)),
    ]


def _products(products: pl.LazyFrame, changes: pl.LazyFrame, context: Context) -> pl.LazyFrame:
    """Return each product with the day of its first price."""
    first = changes.group_by("_id").agg(pl.col("changed_at").min())
    joined = products.select("_id", PRODUCT).join(first, on="_id")
    return joined.group_by(PRODUCT).agg(priced_on=local_date(pl.col("changed_at").min(), context))


def _coverage(filled: pl.LazyFrame, products: pl.LazyFrame) -> list[pl.LazyFrame]:
    """Return how the numbers of known and of recommended products change."""
    recommended = (
        filled.select("listed_on", pl.col("recommended_products").alias(PRODUCT))
        .explode(PRODUCT)
        .group_by(PRODUCT)
        .agg(pl.col("listed_on").min())
        .join(products, on=PRODUCT)
    )
    since = pl.max_horizontal("listed_on", "priced_on")
    return [
        *stays(products, "known_product_count", ON, pl.col("priced_on"), NEVER),
        *stays(recommended, "recommended_product_count", ON, since, NEVER),
    ]


def _hits(
    filled: pl.LazyFrame,
    sessions: pl.LazyFrame,
    actions: pl.LazyFrame,
    reviews: pl.LazyFrame,
    context: Context,
) -> pl.LazyFrame:
    """Count the lists of each day, their users who came afterwards, and those who acted on them."""
    start, since, until = pl.col("start_time"), pl.col("valid_from"), pl.col("until")
    due = filled.filter(since + pl.lit(timedelta(days=HIT_DAYS)) <= pl.lit(context.as_of))
    after = sessions.select("_id", "user_id", "start_time", "end_time").join(
        due.select("user_id", "valid_from", "until", "products"), on="user_id"
    )
    came = after.filter((start >= since) & (start < since + pl.lit(timedelta(days=HIT_DAYS))))
    overlapping = after.filter((start < until) & (pl.col("end_time") > since).fill_null(True))
    acted = actions.select("_id", "at", product="target").join(overlapping, on="_id")
    reviewed = reviews.select("user_id", at="submitted_at", product="product_id").join(
        due.select("user_id", "valid_from", "until", "products"), on="user_id"
    )
    is_hit = (pl.col("at") > since) & (pl.col("at") < until) & pl.col("products").list.contains(pl.col("product"))
    hit = pl.concat([one.filter(is_hit).select("user_id") for one in (acted, reviewed)]).unique()
    return (
        filled.select("user_id", "listed_on")
        .join(came.select("user_id", is_eligible=True).unique(), on="user_id", how="left")
        .join(hit.with_columns(is_hit=True), on="user_id", how="left")
        .group_by(pl.col("listed_on").alias(ON))
        .agg(
            list_count=pl.len().cast(pl.Int64),
            hit_eligible_user_count=pl.col("is_eligible").count().cast(pl.Int64),
            hit_user_count=(pl.col("is_eligible") & pl.col("is_hit")).fill_null(False).cast(pl.Int64).sum(),
        )
    )


def _ratios() -> dict[str, pl.Expr]:
    reach = percent(pl.col("listed_user_count"), pl.col("active_user_count"))
    coverage = percent(pl.col("recommended_product_count"), pl.col("known_product_count"))
    return {
        "reach_pct": pl.when(pl.col("unknown_user_count") == 0).then(reach),
        "catalogue_coverage_pct": pl.when(pl.col("unknown_list_count") == 0).then(coverage),
        "hit_pct": percent(pl.col("hit_user_count"), pl.col("hit_eligible_user_count")),
    }
