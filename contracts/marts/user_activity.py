"""What each user has done in all."""

import polars as pl

from contracts.schema.fields import category, identifier, integer, number, rule, timestamp
from contracts.schema.mart import DAILY, Mart, as_of

# Who came within so many days is neither slipping nor dormant, however many came later still.
RECENT_DAYS = 7
# From r_score, f_score and e_score, the first that fits.
SEGMENTS = ("champions", "loyal", "promising", "attention", "slipping", "dormant")

MART = Mart(
    name="user_activity",
    description="One user who ever began a session, searched, opened a ticket or submitted a review.",
    key=("user_id",),
    fields=(
        identifier("user_id", "The user."),
        timestamp("first_activity_at", "First start of a session, search, ticket or review."),
        timestamp("last_activity_at", "Last start of a session, search, ticket or review."),
        integer("active_day_count", "Days with any activity.", minimum=1),
        integer("session_count", "Sessions.", minimum=0),
        integer("ongoing_session_count", "Those of them that have no end yet.", minimum=0),
        number("session_duration_s", "Seconds from start to end of the ended sessions, summed.", minimum=0),
        number(
            "mean_session_duration_s",
            "Mean seconds of the ended sessions; null if none has ended.",
            nullable=True,
            minimum=0,
        ),
        integer("page_view_count", "Pages visited in the sessions, repeated visits included.", minimum=0),
        number(
            "mean_page_view_count",
            "Mean number of pages of a session; null if there is none.",
            nullable=True,
            minimum=0,
        ),
        integer("action_count", "Actions of any type in the sessions.", minimum=0),
        integer("add_to_cart_count", "Actions of the type add_to_cart.", minimum=0),
        integer("purchase_count", "Actions of the type purchase.", minimum=0),
        integer("purchase_session_count", "Sessions with at least one purchase.", minimum=0),
        number(
            "conversion_pct",
            "Sessions with at least one purchase, of all sessions; null if there is none.",
            nullable=True,
            minimum=0,
            maximum=100,
        ),
        integer("search_count", "Searches.", minimum=0),
        integer("zero_result_search_count", "Those of them that found nothing.", minimum=0),
        number(
            "zero_result_search_pct",
            "Searches that found nothing, of all searches; null if there is none.",
            nullable=True,
            minimum=0,
            maximum=100,
        ),
        integer("ticket_count", "Support tickets opened.", minimum=0),
        integer("review_count", "Product reviews submitted, whatever a moderator decided.", minimum=0),
        category(
            "favourite_device_type",
            "Class of device of most sessions, of equally many the first by code point; null without a session.",
            nullable=True,
        ),
        integer(
            "recency_days",
            "Days from the last one with activity to that of as_of; negative if the source is ahead of the clock.",
        ),
        integer("frequency_28d", "Days with activity among the 28 that end with as_of.", minimum=0, maximum=28),
        integer("sessions_28d", "Sessions begun on these 28 days.", minimum=0),
        integer("intensity_28d", "Actions in these sessions.", minimum=0),
        integer("r_score", "Score of recency_days: see user_score_cuts.", minimum=1, maximum=5),
        integer("f_score", "Score of frequency_28d.", minimum=1, maximum=5),
        integer("e_score", "Score of the engagement, intensity_28d.", minimum=1, maximum=5),
        category(
            "segment",
            "The first that fits. champions: r, f and e of at least 4. loyal: r of at least 3, f of at least 4. "
            "promising: r of at least 4. attention: r of 3, or recency_days below 7. slipping: r of 2. dormant: r "
            "of 1.",
            *SEGMENTS,
            closed=True,
        ),
        as_of(),
    ),
    rules=(
        rule(
            "first_before_last",
            pl.col("first_activity_at") <= pl.col("last_activity_at"),
            "The first activity does not follow the last.",
        ),
        rule(
            "active_days_have_activity",
            pl.col("active_day_count")
            <= pl.sum_horizontal("session_count", "search_count", "ticket_count", "review_count"),
            "Each active day has a session, search, ticket or review.",
        ),
        rule(
            "device_of_a_session",
            pl.col("favourite_device_type").is_not_null() == (pl.col("session_count") > 0),
            "Who had a session has a favourite class of device, and nobody else.",
        ),
        rule(
            "mean_of_ended_sessions",
            pl.col("mean_session_duration_s").is_not_null()
            == (pl.col("session_count") > pl.col("ongoing_session_count")),
            "There is a mean duration if and only if a session has ended.",
        ),
    ),
    indexes=("last_activity_at",),
    by=pl.col("user_id"),
    ages=DAILY,
    whole=("user_score_cuts",),
    question="Whom to win back, whom to help, whom to thank? (CRM, support)",
    definition=(
        "R-F-E: recency, frequency, engagement, from percentile ranks with equal scores for equal values. It is not "
        "RFM: there are no orders, so there is no monetary value."
    ),
    limits=("Scores compare users with each other: they move when others move. The values stand beside them.",),
)
