"""What each user did lately."""

import polars as pl

from contracts.schema.fields import identifier, integer, rule
from contracts.schema.mart import DAILY, Mart, as_of

WINDOW_DAYS = 28

MART = Mart(
    name="user_recency",
    description="One user who ever did anything: how long ago it was, and what was done on the last 28 days.",
    key=("user_id",),
    fields=(
        identifier("user_id", "The user."),
        integer(
            "recency_days",
            "Days from the last one with activity to that of as_of; negative if the source is ahead of the clock.",
        ),
        integer(
            "frequency_28d",
            "Days with activity among the 28 that end with as_of.",
            minimum=0,
            maximum=WINDOW_DAYS,
        ),
        integer("sessions_28d", "Sessions begun on these 28 days.", minimum=0),
        integer("intensity_28d", "Actions in these sessions.", minimum=0),
        as_of(),
    ),
    rules=(
        rule(
            "sessions_on_days",
            (pl.col("frequency_28d") > 0) | (pl.col("sessions_28d") == 0),
            "Who began a session lately was active on a day.",
        ),
    ),
    by=pl.col("user_id"),
    ages=DAILY,
    question="Who was here lately, and how much? (CRM)",
    definition="The raw values of R-F-E, beside its scores: 28 days are whole weeks.",
    limits=("It changes for all users whenever a day begins; then it is computed whole.",),
)
