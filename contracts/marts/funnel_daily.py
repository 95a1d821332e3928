"""How far visits get on the way to a purchase, by day."""

import polars as pl

from contracts.schema.fields import boolean, category, date, integer, number, rule
from contracts.schema.mart import DAILY, Mart, as_of

STEPS = ("view", "add_to_cart", "purchase")

MART = Mart(
    name="funnel_daily",
    description=(
        "The sessions that began on one day and have an action of the type view, and how many of them reached one "
        "step: view, then add_to_cart, then purchase, in this order within the session."
    ),
    key=("entered_on", "step"),
    fields=(
        date("entered_on", "The day on which the sessions began."),
        category("step", "The step.", *STEPS, closed=True, max_length=20),
        integer("step_number", "Its number, from 1.", minimum=1, maximum=len(STEPS)),
        integer("entered_count", "Sessions with a view.", minimum=1),
        integer("reached_count", "Those of them that reached the step, having reached those before it.", minimum=0),
        number("conversion_pct", "reached_count of entered_count.", minimum=0, maximum=100),
        integer(
            "previous_count", "Sessions that reached the step before; of the first step, entered_count.", minimum=0
        ),
        number(
            "conversion_from_previous_pct",
            "reached_count of previous_count; null if that is 0.",
            nullable=True,
            minimum=0,
            maximum=100,
        ),
        number(
            "median_time_to_step_s",
            "Half of those that reached the step took no longer, from the first view; null if none did.",
            nullable=True,
            minimum=0,
        ),
        boolean("is_complete", "Whether the day was over at as_of, and none of its sessions with a view open."),
        as_of(),
    ),
    rules=(
        rule(
            "steps_lose",
            (pl.col("reached_count") <= pl.col("previous_count"))
            & (pl.col("previous_count") <= pl.col("entered_count")),
            "No step is reached by more than the step before it.",
        ),
        rule(
            "times_of_some",
            pl.col("median_time_to_step_s").is_not_null() == (pl.col("reached_count") > 0),
            "There is a time if and only if a session reached the step.",
        ),
    ),
    by=pl.col("started_on").alias("entered_on"),
    ages=DAILY,
    question="Where do visits stop? (product, UX)",
    definition=(
        "An ordered funnel within a session, as Amplitude's with the session held constant. Steps in one millisecond "
        "are in the order of the array, and each action is one step."
    ),
    limits=(
        "The entry is the first view: who views, buys and views again enters once.",
        "A purchase is an action of that type; there are no orders and no revenue.",
    ),
)
