"""What each user did on each day."""

import polars as pl

from contracts.schema.fields import date, identifier, integer, number, rule, timestamp
from contracts.schema.mart import NEVER, Mart, as_of

MART = Mart(
    name="user_activity_daily",
    description=(
        "One user on one day on which the user began a session, searched, opened a ticket or submitted a review. "
        "A session counts, with all that was done in it, on the day of its start."
    ),
    key=("user_id", "activity_on"),
    fields=(
        identifier("user_id", "The user."),
        date("activity_on", "The day."),
        date("first_active_on", "The user's first day with any activity; the user is new from then on."),
        date("previous_active_on", "The user's day with activity before this one; null for the first.", nullable=True),
        timestamp("first_activity_at", "First start of a session, search, ticket or review of the day."),
        timestamp("last_activity_at", "Last start of a session, search, ticket or review of the day."),
        integer("session_count", "Sessions that began on the day.", minimum=0),
        integer("ongoing_session_count", "Those of them that have no end yet.", minimum=0),
        number("session_duration_s", "Seconds from start to end of the ended sessions, summed.", minimum=0),
        integer("page_view_count", "Pages visited in the sessions, repeated visits included.", minimum=0),
        integer("action_count", "Actions of any type in the sessions.", minimum=0),
        integer("add_to_cart_count", "Actions of the type add_to_cart.", minimum=0),
        integer("purchase_count", "Actions of the type purchase.", minimum=0),
        integer("purchase_session_count", "Sessions with at least one purchase.", minimum=0),
        integer("search_count", "Searches made on the day, whether or not in a session.", minimum=0),
        integer("zero_result_search_count", "Those of them that found nothing.", minimum=0),
        integer("ticket_count", "Support tickets opened on the day.", minimum=0),
        integer("review_count", "Product reviews submitted on the day, whatever a moderator decided.", minimum=0),
        as_of(ages=True),
    ),
    rules=(
        rule(
            "something_happened",
            pl.sum_horizontal("session_count", "search_count", "ticket_count", "review_count") > 0,
            "A day without a session, search, ticket or review has no row.",
        ),
        rule(
            "activity_in_order",
            (pl.col("first_activity_at") <= pl.col("last_activity_at"))
            & (pl.col("last_activity_at") - pl.col("first_activity_at") <= pl.duration(hours=26)),
            "The first moment does not follow the last, and no day is longer than 26 hours.",
        ),
        rule(
            "days_in_order",
            (pl.col("first_active_on") <= pl.col("activity_on"))
            & (pl.col("previous_active_on").is_null() == (pl.col("first_active_on") == pl.col("activity_on")))
            & pl.col("previous_active_on").lt(pl.col("activity_on")).fill_null(True),
            "A day has a day before it unless it is the first one.",
        ),
        rule(
            "ongoing_are_sessions",
            pl.col("ongoing_session_count") <= pl.col("session_count"),
            "No more sessions go on than began.",
        ),
        rule(
            "purchases_are_actions",
            pl.col("add_to_cart_count") + pl.col("purchase_count") <= pl.col("action_count"),
            "Purchases and additions to the cart are among the actions.",
        ),
        rule(
            "purchase_sessions_bought",
            (pl.col("purchase_session_count") <= pl.col("session_count"))
            & (pl.col("purchase_session_count") <= pl.col("purchase_count")),
            "A session with a purchase is one of the sessions and has at least one purchase.",
        ),
        rule(
            "zero_results_are_searches",
            pl.col("zero_result_search_count") <= pl.col("search_count"),
            "Searches that found nothing are among the searches.",
        ),
    ),
    indexes=("activity_on",),
    by=pl.col("user_id"),
    ages=NEVER,
    question="What did each user do, day by day? (product)",
    definition=(
        "Active is who began a session, searched, opened a ticket or submitted a review; all marts of users do so. "
        "A session counts whole on the day of its start, as Snowplow's active days do."
    ),
    limits=(
        "There is no table of users: a user who never did anything is not there.",
        "Two devices of somebody who is not signed in are two users.",
    ),
)
