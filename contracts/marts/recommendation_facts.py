"""What came of each list of recommendations."""

from datetime import timedelta

import polars as pl

from contracts.schema.fields import boolean, date, identifier, integer, rule, text, timestamp
from contracts.schema.mart import AS_OF, Mart, as_of

HIT_DAYS, TOP = 7, 10

MART = Mart(
    name="recommendation_facts",
    description=(
        "One list of recommendations to a user that a copy showed; of those that were written at one moment, the one "
        "that was shown last."
    ),
    key=("user_id", "listed_at"),
    fields=(
        identifier("user_id", "The user."),
        timestamp("listed_at", "When the list was written."),
        date("listed_on", "The day of that."),
        timestamp(
            "valid_to",
            "When the next known one was written, or a copy showed that it was gone; null if it is valid still.",
            nullable=True,
        ),
        integer("product_count", "Products in it.", minimum=0),
        boolean(
            "is_eligible",
            "Whether it has products, 7 days (of 24 hours) after it were over at as_of, and the user began a session "
            "in them, before the next list was written.",
        ),
        boolean(
            "is_hit",
            "Whether the user acted on, or reviewed, one of its first 10 products in that time; null unless it is "
            "eligible.",
            nullable=True,
        ),
        text(
            "acted_target",
            "What the user's last action in that time was done to, or the last one on one of these products if there "
            "is any; null without an action. It tells whether actions name products: see recommendation_reach_daily.",
            nullable=True,
        ),
        as_of(ages=True),
    ),
    rules=(
        rule(
            "hit_if_eligible",
            (pl.col("is_hit").is_not_null() == pl.col("is_eligible"))
            & (~pl.col("is_eligible") | (pl.col("product_count") > 0)),
            "A list hits or misses if and only if it is eligible, and has products then.",
        ),
    ),
    indexes=("listed_on",),
    by=pl.col("user_id"),
    ages=pl.col("listed_at") + pl.lit(timedelta(days=HIT_DAYS)) > pl.col(AS_OF),
    optional=("user_recommendations_versions",),
    question="Did this user use what was recommended? (ML, merchandising)",
    definition="Evidently's hit rate at 10, in the 7 days after the list: what was done before it is no hit.",
    limits=(
        "A list is overwritten by the next: lists are known that a copy showed, so one that was written and "
        "overwritten between two copies is not; where no copies are kept, the present one alone.",
        "An action counts with its session: of one that ended before the list, or began after these days, none does.",
        "No impressions and no clicks: what was seen is not known, nor what would have been bought anyway.",
    ),
)
