"""Which prices fell, and whether they really did."""

from datetime import timedelta

import polars as pl

from contracts.marts.price_drops import MART, WINDOW_DAYS
from transforms.marts._calendar import local_date, plus
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import cents, percent
from transforms.marts._neighbours import row_after, row_before


def price_drops(
    product_price_history: pl.LazyFrame, product_price_history_price_changes: pl.LazyFrame, *, context: Context
) -> pl.LazyFrame:
    """Find the drops of each product's price, and hold each against the 30 days before it.

    Args:
        product_price_history: One row per product.
        product_price_history_price_changes: One row per price, in any order.
        context: Has the reporting zone, and the moment after which changes are still to come.

    Returns:
        One row per drop, as ``contracts.marts.price_drops`` describes it.
    """
    changes = product_price_history_price_changes.filter(
        (pl.col("changed_at") <= pl.lit(context.as_of)) & (pl.col("price") > 0)
    )
    periods = _periods(_newest(product_price_history, changes), changes)
    day = local_date(pl.col("dropped_at"), context)
    drops = (
        periods.filter(pl.col("price") < pl.col("prior_price"))
        .rename({"valid_from": "dropped_at"})
        .drop("valid_to")
        .with_columns(dropped_on=day)
    )
    lowest, price, prior = (cents(pl.col(name)) for name in ("lowest_price_30d", "price", "prior_price"))
    judged = (
        drops.join(_lowest(drops, periods, context), on=["product_id", "dropped_at"])
        .with_columns(
            reduction_pct=percent(lowest - price, lowest),
            reduction_vs_prior_pct=percent(prior - price, prior),
            is_genuine=price < lowest,
            history_days=(pl.col("dropped_on") - local_date(pl.col("first_at"), context)).dt.total_days(),
        )
        .with_columns(is_new_arrival=pl.col("history_days") < WINDOW_DAYS)
    )
    return conform(judged, MART, context)


def _newest(products: pl.LazyFrame, changes: pl.LazyFrame) -> pl.LazyFrame:
    """Return one document of each product: that with the newest change, of equally new ones the last by ``_id``."""
    changed = changes.group_by("_id").agg(first_at=pl.col("changed_at").min(), last_at=pl.col("changed_at").max())
    return (
        products.select("_id", "product_id", "currency")
        .join(changed, on="_id")
        .sort("last_at", "_id")
        .unique("product_id", keep="last", maintain_order=True)
    )


def _periods(products: pl.LazyFrame, changes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the prices with the times they were in force, equal neighbours as one, each with the one before it."""
    prior = row_before("price", "product_id")
    return (
        changes.join(products, on="_id")
        .sort("product_id", "changed_at", "_position")
        .unique(["product_id", "changed_at"], keep="last", maintain_order=True)
        .with_columns(prior_price=prior)
        .filter(pl.col("price").ne_missing(pl.col("prior_price")))
        .with_columns(valid_from="changed_at", valid_to=row_after("changed_at", "product_id"))
        .select("product_id", "currency", "price", "prior_price", "valid_from", "valid_to", "first_at")
    )


def _lowest(drops: pl.LazyFrame, periods: pl.LazyFrame, context: Context) -> pl.LazyFrame:
    """Return the lowest price of each drop's window: of all that ended in it, the last of them with the drop."""
    last_day = local_date(pl.col("valid_to") - pl.lit(timedelta(milliseconds=1)), context)
    before = periods.select("product_id", "valid_to", last_day=last_day, lowest_price_30d="price")
    return (
        drops.select("product_id", "dropped_at", "dropped_on")
        .join(before, on="product_id")
        .filter(
            (pl.col("valid_to") <= pl.col("dropped_at"))
            & (pl.col("last_day") >= plus(pl.col("dropped_on"), -WINDOW_DAYS))
        )
        .group_by("product_id", "dropped_at")
        .agg(pl.col("lowest_price_30d").min())
    )
