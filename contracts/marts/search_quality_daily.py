"""How well the search serves, by day."""

import polars as pl

from contracts.schema.fields import boolean, date, integer, number, rule
from contracts.schema.mart import DAILY, Mart, as_of

MART = Mart(
    name="search_quality_daily",
    description="The final searches of one day: what is typed on within 30 seconds counts once, see search_facts.",
    key=("searched_on",),
    fields=(
        date("searched_on", "The day."),
        integer("search_count", "Final searches.", minimum=0),
        integer("typed_count", "Searches typed on, which are no final ones.", minimum=0),
        integer("user_count", "Users who searched.", minimum=1),
        integer("zero_result_count", "Final searches that found nothing.", minimum=0),
        number(
            "zero_result_pct",
            "zero_result_count of search_count; null if that is 0.",
            nullable=True,
            minimum=0,
            maximum=100,
        ),
        integer(
            "refined_count",
            "Final searches that the user followed by one for another term within 5 minutes.",
            minimum=0,
        ),
        number(
            "refined_pct", "refined_count of search_count; null if that is 0.", nullable=True, minimum=0, maximum=100
        ),
        boolean("is_complete", "Whether the day was over at as_of."),
        as_of(),
    ),
    rules=(
        rule(
            "parts_of_the_searches",
            (pl.col("zero_result_count") <= pl.col("search_count"))
            & (pl.col("refined_count") <= pl.col("search_count")),
            "No part is larger than its whole.",
        ),
    ),
    by=pl.col("searched_on"),
    ages=DAILY,
    question="Does the search give people what they want? (search, catalog)",
    definition="Algolia's and SearchStax's rate of searches without results; refinement as SearchStax's.",
    limits=(
        "There are no clicks: no click-through rate, no conversion.",
        "Searches near midnight may be refined on the next day; they count on their own.",
    ),
)
