"""What people search for."""

import polars as pl

from contracts.schema.entity import TEXT_KEY_CHARACTERS
from contracts.schema.fields import integer, number, rule, text, timestamp
from contracts.schema.mart import NEVER, Mart, as_of

MART = Mart(
    name="search_terms",
    description="One term that was searched for, as typed variants of one text are one: see search_facts.",
    key=("search_term",),
    fields=(
        text(
            "search_term",
            "The term: NFKC, case folded, single blanks; empty if only blanks were typed.",
            max_length=TEXT_KEY_CHARACTERS,
        ),
        integer("search_count", "Final searches for it.", minimum=1),
        integer("user_count", "Users who searched for it.", minimum=1),
        timestamp("first_searched_at", "The first of these searches."),
        timestamp("last_searched_at", "The last of them."),
        integer("zero_result_count", "Those of them that found nothing.", minimum=0),
        number("zero_result_pct", "zero_result_count of search_count.", minimum=0, maximum=100),
        integer("refined_count", "Those that the user followed by another term within 5 minutes.", minimum=0),
        number("refined_pct", "refined_count of search_count.", minimum=0, maximum=100),
        text(
            "top_next_term",
            "The term that most often followed these, of equally many the first by code point; null if none was.",
            nullable=True,
        ),
        integer("top_next_count", "How often; 0 if none was.", minimum=0),
        as_of(),
    ),
    rules=(
        rule(
            "parts_of_the_searches",
            (pl.col("zero_result_count") <= pl.col("search_count"))
            & (pl.col("refined_count") <= pl.col("search_count"))
            & (pl.col("top_next_count") <= pl.col("refined_count"))
            & (pl.col("user_count") <= pl.col("search_count")),
            "No part is larger than its whole.",
        ),
        rule(
            "next_if_refined",
            (pl.col("refined_count") > 0) == pl.col("top_next_term").is_not_null(),
            "There is a next term if and only if a search was refined.",
        ),
    ),
    indexes=("search_count",),
    by=pl.col("search_term"),
    ages=NEVER,
    question="What do people want that we do not give, and what do they call it then? (search, catalog)",
    definition="Algolia's top searches without results; the next term as a candidate for a synonym.",
    limits=(
        "A rare term is easily at 100 %: look at search_count first.",
        "People type private things into search boxes: mind who reads this.",
    ),
)
