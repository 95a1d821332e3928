"""Whether recommendations reach people, and get used, by day."""

import polars as pl

from contracts.schema.fields import boolean, date, integer, number, rule, timestamp
from contracts.schema.mart import DAILY, Mart, as_of

ACTIVE_DAYS = 28

MART = Mart(
    name="recommendation_reach_daily",
    description=(
        "One day, from the first on which a known list of recommendations was written to the one that is running, and "
        "any later one on which a list was written, as by clocks that are ahead."
    ),
    key=("reached_on",),
    fields=(
        date("reached_on", "The day."),
        integer(
            "active_user_count", "Users active in the 28 days that end with it: see active_users_daily.", minimum=0
        ),
        integer(
            "listed_user_count", "Those of them who are known to have had a list with products at its end.", minimum=0
        ),
        integer(
            "unknown_user_count",
            "Those of them whose first known list was written later, on days before copies of lists were kept: "
            "whether and what they had at the day's end is overwritten.",
            minimum=0,
        ),
        number(
            "reach_pct",
            "listed_user_count of active_user_count; null if that is 0, or if unknown_user_count is not.",
            nullable=True,
            minimum=0,
            maximum=100,
        ),
        integer("known_product_count", "Products with a price on or before the day.", minimum=0),
        integer("recommended_product_count", "Those of them in a list known to be valid at its end.", minimum=0),
        integer("unknown_list_count", "Users, active or not, of whom likewise nothing is known.", minimum=0),
        number(
            "catalogue_coverage_pct",
            "recommended_product_count of known_product_count; null if that is 0, or if unknown_list_count is not.",
            nullable=True,
            minimum=0,
            maximum=100,
        ),
        integer("list_count", "Lists with products that were written on the day.", minimum=0),
        integer(
            "hit_eligible_user_count",
            "Their users, each once, with a session begun in the 7 days after one of them and before the next list, "
            "if the 7 days are over: see recommendation_facts.",
            minimum=0,
        ),
        integer(
            "hit_user_count",
            "Those of them who acted on, or reviewed, one of such a list's first 10 products in that time.",
            minimum=0,
        ),
        number(
            "hit_pct",
            "hit_user_count of hit_eligible_user_count; null if that is 0, or if no acted_target of "
            "recommendation_facts is a product: what users act on then tells nothing of products.",
            nullable=True,
            minimum=0,
            maximum=100,
        ),
        timestamp("observed_since", "Since when copies of lists are kept; null if none are.", nullable=True),
        boolean("is_complete", "Whether the day was over at as_of."),
        as_of(),
    ),
    rules=(
        rule(
            "parts_of_the_active",
            pl.col("listed_user_count") + pl.col("unknown_user_count") <= pl.col("active_user_count"),
            "Who has a list that day, or may have had one, is active.",
        ),
        rule(
            "parts_of_the_lists",
            (pl.col("hit_user_count") <= pl.col("hit_eligible_user_count"))
            & (pl.col("hit_eligible_user_count") <= pl.col("list_count")),
            "Who hits is eligible, and who is eligible has a list.",
        ),
    ),
    optional=("user_recommendations_versions",),
    ages=DAILY,
    question="Do recommendations reach people, and get used? (ML, merchandising)",
    definition="Evidently's hit rate at 10 and catalogue coverage; reach is availability, not exposure.",
    limits=(
        "A list is overwritten by the next: of days before observed_since only lists are known that were valid still "
        "when they were first copied, and of later days those that a copy showed.",
        "No impressions and no clicks: what was seen is not known, nor what would have been bought anyway.",
        "It is computed in one piece, which holds the lists and the products.",
    ),
)
