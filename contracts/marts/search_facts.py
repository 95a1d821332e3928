"""What came of each search."""

import polars as pl

from contracts.schema.entity import TEXT_KEY_CHARACTERS, Field
from contracts.schema.fields import boolean, date, identifier, integer, rule, text, timestamp
from contracts.schema.kinds import OBJECT_ID
from contracts.schema.mart import NEVER, Mart, as_of

# A next search within so many seconds that extends or shortens the text is the same one, typed on.
TYPING_S = 30
# A next search within so many seconds for something else refines this one.
REFINING_S = 5 * 60

MART = Mart(
    name="search_facts",
    description="One search, with what it looked for, what was found, and what the user searched for next.",
    key=("_id",),
    fields=(
        Field("_id", OBJECT_ID, "Identity of the search's document in MongoDB."),
        identifier("query_id", "Business key of the search; two documents may share it."),
        identifier("user_id", "The user."),
        timestamp("searched_at", "When it was typed."),
        date("searched_on", "The day of that."),
        text(
            "search_term",
            "What was typed, in Unicode's form NFKC, case folded, without blanks at the ends and with single ones "
            f"between; its first {TEXT_KEY_CHARACTERS} characters.",
            max_length=TEXT_KEY_CHARACTERS,
        ),
        integer("results_count", "How many products were found.", minimum=0),
        boolean("is_zero_result", "Whether nothing was found."),
        boolean(
            "is_final",
            "false if the user's next search came within 30 seconds, and extends or shortens the term: typed on.",
        ),
        boolean(
            "is_refined",
            "Whether the user's next final search came within 5 minutes, for another term; null of one that is not "
            "final itself.",
            nullable=True,
        ),
        text("next_term", "The term of that next search; null unless it is refined.", nullable=True),
        as_of(ages=True),
    ),
    rules=(
        rule(
            "zero_is_no_result",
            pl.col("is_zero_result") == (pl.col("results_count") == 0),
            "A search without a result found 0.",
        ),
        rule(
            "refined_by_another_term",
            pl.col("next_term").is_not_null() == pl.col("is_refined").fill_null(False),
            "A search is refined by another term.",
        ),
        rule(
            "final_or_not",
            pl.col("is_refined").is_not_null() == pl.col("is_final"),
            "What is typed on is not refined.",
        ),
    ),
    indexes=("user_id", "searched_on"),
    by=pl.col("user_id"),
    ages=NEVER,
    question="What came of each search? (search, catalog)",
    definition="Algolia's 30 seconds for searches as you type; refinement as SearchStax's, within 5 minutes.",
    limits=(
        "There are no clicks, positions and lists of results: no click-through rate and no MRR.",
        "Robots are not told apart.",
    ),
)
