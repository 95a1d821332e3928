"""Whether users come back, by the week in which they came first."""

import polars as pl

from contracts.schema.fields import boolean, date, integer, number, rule
from contracts.schema.mart import DAILY, Mart, as_of

MART = Mart(
    name="user_retention_weekly",
    description=(
        "The users who were first active in one week, and how many of them were active in the week so many weeks later."
    ),
    key=("cohort_on", "week_number"),
    fields=(
        date("cohort_on", "Monday of the week in which the users were first active."),
        integer("week_number", "Weeks since then; 0 is that week itself, in which all of them were active.", minimum=0),
        integer("cohort_user_count", "Users of the cohort.", minimum=1),
        integer(
            "eligible_user_count",
            "Those of them whose week of this number was over at as_of: all or, of the running week, none.",
            minimum=0,
        ),
        integer("retained_user_count", "Those active in exactly that week; so far, if it is running.", minimum=0),
        number(
            "retention_pct",
            "retained_user_count of eligible_user_count; null if that is 0.",
            nullable=True,
            minimum=0,
            maximum=100,
        ),
        boolean("is_complete", "Whether the week of this number was over at as_of."),
        as_of(),
    ),
    rules=(
        rule(
            "parts_of_the_cohort",
            (pl.col("retained_user_count") <= pl.col("cohort_user_count"))
            & (pl.col("eligible_user_count") == pl.when("is_complete").then("cohort_user_count").otherwise(0)),
            "Nobody is retained who is not of the cohort, and of a week that is over all are eligible.",
        ),
        rule(
            "all_are_there_at_first",
            (pl.col("week_number") > 0) | (pl.col("retained_user_count") == pl.col("cohort_user_count")),
            "All of a cohort are active in its first week.",
        ),
    ),
    ages=DAILY,
    question="Do people come back? (product)",
    definition="N-week retention of Amplitude and PostHog: active in exactly that week, by calendar weeks.",
    limits=(
        "Other tools count in rolling windows of 24 hours from each user's first moment: their numbers differ.",
        "The first cohort of all has whoever was there before the data begin, not new users alone.",
        "The mean over cohorts is the sum of the retained by the sum of the eligible, not a mean of percentages.",
    ),
)
