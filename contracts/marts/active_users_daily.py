"""How many users are active, by day."""

import polars as pl

from contracts.schema.fields import boolean, date, integer, number, rule
from contracts.schema.mart import DAILY, Mart, as_of

WEEK_DAYS, MONTH_DAYS = 7, 28

MART = Mart(
    name="active_users_daily",
    description=(
        "One day, from the first with any activity to the one that is running, and any later one with activity, as "
        "of clocks that are ahead; active is who has a row of that day in user_activity_daily."
    ),
    key=("active_on",),
    fields=(
        date("active_on", "The day."),
        integer("dau_count", "Users active on the day.", minimum=0),
        integer("new_user_count", "Those of them that were never active before.", minimum=0),
        integer(
            "wau_count",
            "Users active in the 7 days that end with it; null before there are 7 days of data.",
            nullable=True,
            minimum=0,
        ),
        integer(
            "mau_count",
            "Users active in the 28 days that end with it; null before there are 28 days of data.",
            nullable=True,
            minimum=0,
        ),
        number(
            "stickiness_pct",
            "dau_count of mau_count; null if mau_count is null or 0.",
            nullable=True,
            minimum=0,
            maximum=100,
        ),
        boolean("is_complete", "Whether the day was over at as_of."),
        as_of(),
    ),
    rules=(
        rule(
            "windows_contain_each_other",
            (pl.col("new_user_count") <= pl.col("dau_count"))
            & (pl.col("dau_count") <= pl.col("wau_count")).fill_null(True)
            & (pl.col("wau_count") <= pl.col("mau_count")).fill_null(True),
            "Who is active on a day is active in the weeks around it.",
        ),
    ),
    ages=DAILY,
    question="How many people use us, and how often? (product, leadership)",
    definition="PostHog's DAU, WAU, MAU and stickiness; a month is 28 days, so that it has four of each weekday.",
    limits=(
        "Distinct users don't add up over days: weeks and months are counted anew, not summed.",
        "Sessions that nobody is known of don't exist in the source: each has a user_id.",
    ),
)
