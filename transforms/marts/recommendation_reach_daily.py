"""Whether recommendations reach people, and get used, by day."""

from datetime import date

import polars as pl

from contracts.marts.recommendation_reach_daily import ACTIVE_DAYS, MART
from transforms.marts._active import in_window
from transforms.marts._calendar import is_over, local_date, spine, standing, stays
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import percent
from transforms.marts._neighbours import row_before
from transforms.marts._past import lists

ON, PRODUCT = "reached_on", "product_id"
NEVER, END_OF_TIME = pl.lit(None, pl.Date()), pl.lit(date.max)


def recommendation_reach_daily(
    recommendation_facts: pl.LazyFrame,
    user_recommendations: pl.LazyFrame,
    user_recommendations_versions: pl.LazyFrame,
    user_activity_daily: pl.LazyFrame,
    product_price_history: pl.LazyFrame,
    product_price_history_price_changes: pl.LazyFrame,
    *,
    context: Context,
) -> pl.LazyFrame:
    """Count whom recommendations reach on each day, what they cover, and who acts on them.

    Args:
        recommendation_facts: The mart of that name: one row per list.
        user_recommendations: One row per user, for the products of the lists.
        user_recommendations_versions: One row per version of a user's document, likewise.
        user_activity_daily: The mart of that name: one row per user and day.
        product_price_history: One row per product.
        product_price_history_price_changes: One row per price.
        context: Has the reporting zone, the moment, and since when versions are kept.

    Returns:
        One row per day, as ``contracts.marts.recommendation_reach_daily`` describes it.
    """
    known = _known(recommendation_facts, context)
    firsts, known_on = known.filter("is_first"), pl.col("known_on")
    products = _products(product_price_history, product_price_history_price_changes, context)
    written = lists(user_recommendations, user_recommendations_versions)
    changes = [
        *_reach(user_activity_daily, known),
        *_coverage(written, products, context),
        *stays(firsts, "known_list_count", ON, known_on, NEVER),
    ]
    since = context.observed_since.get("user_recommendations")
    days = (
        standing(changes, spine(known.select(pl.col("listed_on").alias(ON)), ON, context), ON)
        .join(_written(known), on=ON, how="left")
        .join(firsts.select(all_list_count=pl.len().cast(pl.Int64)), how="cross")
        .join(_names_products(recommendation_facts, written, product_price_history), how="cross")
        .with_columns(pl.col("^.*_count$").fill_null(0))
        .with_columns(unknown_list_count=pl.col("all_list_count") - pl.col("known_list_count"))
        .with_columns(
            observed_since=pl.lit(since, pl.Datetime("us", "UTC")),
            is_complete=is_over(pl.col(ON), context),
            **_ratios(),
        )
    )
    return conform(days, MART, context)


def _known(facts: pl.LazyFrame, context: Context) -> pl.LazyFrame:
    """Return the lists with the days at whose ends they were valid, and since when it is known what the user has."""
    observed_on = pl.lit(context.observed_on("user_recommendations"), pl.Date())
    return facts.sort("user_id", "listed_at").with_columns(
        has_products=pl.col("product_count") > 0,
        ended_on=local_date(pl.col("valid_to"), context),
        is_first=row_before("listed_at", "user_id").is_null(),
        known_on=pl.min_horizontal("listed_on", observed_on),
    )


def _written(known: pl.LazyFrame) -> pl.LazyFrame:
    """Count the lists of each day, their users who came afterwards, and those who acted on them."""
    users = {"hit_eligible_user_count": "is_eligible", "hit_user_count": "is_hit"}
    return known.group_by(pl.col("listed_on").alias(ON)).agg(
        pl.col("has_products").cast(pl.Int64).sum().alias("list_count"),
        *(pl.col("user_id").filter(told).n_unique().cast(pl.Int64).alias(name) for name, told in users.items()),
    )


def _names_products(facts: pl.LazyFrame, written: pl.LazyFrame, products: pl.LazyFrame) -> pl.LazyFrame:
    """Return in one row whether any action was done to a product: else actions don't tell what is used."""
    recommended = written.select(pl.col("recommended_products").alias(PRODUCT)).explode(PRODUCT)
    known = pl.concat([recommended, products.select(PRODUCT)]).unique()
    acted = facts.select(pl.col("acted_target").alias(PRODUCT)).join(known, on=PRODUCT, how="semi")
    return acted.select(names_products=pl.len() > 0)


def _reach(days: pl.LazyFrame, known: pl.LazyFrame) -> list[pl.LazyFrame]:
    """Return how the numbers of active users change, of those with a list, and of those whose list is not known."""
    first, after = in_window(ACTIVE_DAYS)
    about = ("listed_on", "ended_on", "known_on", "has_products", "is_first")
    spans = (
        days.select("user_id", first=first, after=after)
        .join(known.select("user_id", *about), on="user_id", how="left", maintain_order="left")
        # Users are forgotten here: what is left are combinations of dates, however many users there are.
        .group_by("first", "after", *about)
        .agg(users=pl.len().cast(pl.Int64))
    )
    is_once, first, after = pl.col("is_first").fill_null(True), pl.col("first"), pl.col("after")
    since = pl.when("has_products").then(pl.max_horizontal(first, "listed_on"))
    until = pl.min_horizontal(after, "ended_on")
    before = pl.min_horizontal(after, "known_on")
    counted = {
        "active_user_count": (pl.when(is_once).then(first), after),
        "listed_user_count": (since, until),
        "unknown_user_count": (pl.when("is_first").then(first), before),
    }
    # All of them in one table, so that the days are read once.
    stretches = [
        pl.struct(what=pl.lit(what), first=first, after=after, users="users")
        for what, (first, after) in counted.items()
    ]
    stretched = (
        spans.select(pl.concat_list(stretches).alias("all"))
        .explode("all")
        .unnest("all")
        .filter(pl.col("first") < pl.col("after"))
    )
    return [
        stretched.group_by(pl.col(date).alias(ON)).agg(
            (pl.when(pl.col("what") == what).then("users").sum() * step).alias(what) for what in counted
        )
        for date, step in (("first", 1), ("after", -1))
    ]


def _products(products: pl.LazyFrame, changes: pl.LazyFrame, context: Context) -> pl.LazyFrame:
    """Return each product with the day of its first price."""
    first = changes.group_by("_id").agg(pl.col("changed_at").min())
    joined = products.select("_id", PRODUCT).join(first, on="_id")
    return joined.group_by(PRODUCT).agg(priced_on=local_date(pl.col("changed_at").min(), context))


def _coverage(valid: pl.LazyFrame, products: pl.LazyFrame, context: Context) -> list[pl.LazyFrame]:
    """Return how the numbers of known and of recommended products change."""
    recommended = (
        valid.select(
            pl.col("recommended_products").alias(PRODUCT),
            first=local_date(pl.col("valid_from"), context),
            after=local_date(pl.col("valid_to"), context).fill_null(END_OF_TIME),
        )
        .explode(PRODUCT)
        .filter(pl.col("first") < pl.col("after"))
        .unique()
        .join(products, on=PRODUCT)
        .with_columns(first=pl.max_horizontal("first", "priced_on"))
    )
    return [
        *stays(products, "known_product_count", ON, pl.col("priced_on"), NEVER),
        *stays(_merged(recommended), "recommended_product_count", ON, pl.col("first"), pl.col("after")),
    ]


def _merged(spans: pl.LazyFrame) -> pl.LazyFrame:
    """Return the spans of each product with those that overlap or touch as one: several lists may recommend it."""
    ended = pl.col("after").cum_max().shift().over(PRODUCT)
    return (
        spans.sort(PRODUCT, "first")
        .with_columns(span=(pl.col("first") > ended).fill_null(True).cum_sum())
        .group_by(PRODUCT, "span")
        .agg(pl.col("first").min(), pl.col("after").max())
    )


def _ratios() -> dict[str, pl.Expr]:
    reach = percent(pl.col("listed_user_count"), pl.col("active_user_count"))
    coverage = percent(pl.col("recommended_product_count"), pl.col("known_product_count"))
    hit = percent(pl.col("hit_user_count"), pl.col("hit_eligible_user_count"))
    return {
        "reach_pct": pl.when(pl.col("unknown_user_count") == 0).then(reach),
        "catalogue_coverage_pct": pl.when(pl.col("unknown_list_count") == 0).then(coverage),
        "hit_pct": pl.when("names_products").then(hit),
    }
