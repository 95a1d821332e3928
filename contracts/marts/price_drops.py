"""Which prices fell, and whether they really did."""

import polars as pl

from contracts.schema.fields import boolean, category, date, identifier, integer, money, number, rule, timestamp
from contracts.schema.mart import NEVER, Mart, as_of

WINDOW_DAYS = 30

MART = Mart(
    name="price_drops",
    description="One moment from which on a product's price was lower than the one just before.",
    key=("product_id", "dropped_at"),
    fields=(
        identifier("product_id", "The product; of documents that share it, the one with the newest change."),
        timestamp("dropped_at", "From when on the lower price was asked."),
        date("dropped_on", "The day of that."),
        category("currency", "ISO 4217 code of the currency, as the product has it now."),
        money("price", "The lower price.", minimum=0),
        money("prior_price", "The price just before.", minimum=0),
        money(
            "lowest_price_30d",
            "The lowest price in force in the 30 days before the day of the drop and on that day up to the drop, the "
            "one that these days began with included.",
            minimum=0,
        ),
        number("reduction_pct", "How much lower than lowest_price_30d; 0 or negative if it is not.", maximum=100),
        number("reduction_vs_prior_pct", "How much lower than prior_price.", minimum=0, maximum=100),
        boolean("is_genuine", "Whether the price is lower than lowest_price_30d."),
        integer("history_days", "Days from the product's first price to the drop.", minimum=0),
        boolean("is_new_arrival", "Whether these are fewer than 30: the lowest price is of a shorter time then."),
        as_of(ages=True),
    ),
    rules=(
        rule("it_dropped", pl.col("price") < pl.col("prior_price"), "A drop is a lower price than the one before."),
        rule(
            "lowest_of_all",
            pl.col("lowest_price_30d") <= pl.col("prior_price"),
            "The price just before is one of those of the 30 days.",
        ),
        rule(
            "genuine_if_reduced",
            pl.col("is_genuine") == (pl.col("price") < pl.col("lowest_price_30d")),
            "A drop is genuine if the price is lower than all of the 30 days.",
        ),
    ),
    indexes=("dropped_on",),
    by=pl.col("product_id"),
    ages=NEVER,
    awaits=(("product_price_history_price_changes", "changed_at"),),
    question="Is this discount real? (pricing, legal, merchandising)",
    definition=(
        "Directive 98/6/EC, Art. 6a: the prior price of an announced reduction is the lowest of the 30 days before it, "
        "and the percentage counts from that (CJEU C-330/23)."
    ),
    limits=(
        "Whether a reduction was announced is not in the source: this is evidence, not a proof in law.",
        "Changes after as_of and prices of 0 are left out; of two changes at one moment the later in the array counts.",
        "Each of several drops in a row is held against the 30 days before it, not before the first of them.",
        "A product has one currency: if it was changed, older prices are in another one.",
    ),
)
