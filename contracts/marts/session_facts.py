"""What came of each session."""

import polars as pl

from contracts.schema.entity import Field
from contracts.schema.fields import boolean, category, date, identifier, integer, number, rule, timestamp
from contracts.schema.kinds import OBJECT_ID
from contracts.schema.mart import Mart, as_of

# A session without an end is over when nothing was seen of it for so long.
TIMEOUT_S = 30 * 60
# What makes a session engaged: so many pages, one of these actions, or more seconds than these.
ENGAGED_PAGES, ENGAGED_ACTIONS, ENGAGED_S = 2, ("add_to_cart", "purchase"), 10
STATES = ("closed", "open", "timed_out", "invalid")

MART = Mart(
    name="session_facts",
    description="One session: how it stands, how long it was, what was seen and done in it.",
    key=("_id",),
    fields=(
        Field("_id", OBJECT_ID, "Identity of the session's document in MongoDB."),
        identifier("session_id", "Business key of the session; two documents may share it."),
        identifier("user_id", "The user."),
        category("device_type", "Class of the device."),
        timestamp("started_at", "When it began."),
        date("started_on", "The day on which it began; it counts there with all that was done in it."),
        category(
            "state",
            "closed: it has an end. open: it has none, and something was seen of it within 30 minutes before as_of. "
            "timed_out: it has none, and nothing was. invalid: its end lies before its start.",
            *STATES,
            closed=True,
        ),
        timestamp("last_seen_at", "The last of its start, its end and its actions."),
        number("span_s", "Seconds from its start to last_seen_at; 0 if only its start is known.", minimum=0),
        number("duration_s", "Seconds from start to end; null unless it is closed.", nullable=True, minimum=0),
        integer("page_count", "Pages visited, repeated visits included.", minimum=0),
        integer("action_count", "Actions of any type.", minimum=0),
        boolean(
            "is_engaged",
            "At least 2 pages, or something put into the cart or bought, or more than 10 seconds (duration_s, of a "
            "timed_out one span_s); null of an open one that may still become so, and of an invalid one.",
            nullable=True,
        ),
        boolean("is_bounce", "Whether a session that is over was not engaged; null of others.", nullable=True),
        integer("session_number", "Number among the user's sessions, by start and session_id, from 1.", minimum=1),
        number(
            "gap_prev_s",
            "Seconds since the start of the user's session before; null for the first.",
            nullable=True,
            minimum=0,
        ),
        timestamp("viewed_at", "Its first action of the type view; null if there is none.", nullable=True),
        timestamp(
            "added_to_cart_at",
            "The first add_to_cart after that view, by time and, of one millisecond, by place; null if none.",
            nullable=True,
        ),
        timestamp("purchased_at", "The first purchase after that add_to_cart, likewise; null if none.", nullable=True),
        as_of(ages=True),
    ),
    rules=(
        rule(
            "duration_if_closed",
            pl.col("duration_s").is_not_null() == (pl.col("state") == "closed"),
            "A session has a duration if and only if it is closed.",
        ),
        rule(
            "bounce_if_not_engaged",
            pl.col("is_bounce").is_null() | (pl.col("is_bounce") != pl.col("is_engaged")),
            "A session is engaged or a bounce.",
        ),
        rule(
            "first_has_no_gap",
            pl.col("gap_prev_s").is_null() == (pl.col("session_number") == 1),
            "Only the first session of a user has none before it.",
        ),
        rule(
            "steps_in_order",
            (pl.col("viewed_at").is_not_null() | pl.col("added_to_cart_at").is_null())
            & (pl.col("added_to_cart_at").is_not_null() | pl.col("purchased_at").is_null())
            & (pl.col("viewed_at") <= pl.col("added_to_cart_at")).fill_null(True)
            & (pl.col("added_to_cart_at") <= pl.col("purchased_at")).fill_null(True),
            "Each step follows the one before it.",
        ),
    ),
    indexes=("user_id", "started_on"),
    by=pl.col("user_id"),
    ages=pl.col("state") == "open",
    question="Are visits healthy, on which devices, and how far do they get? (product, UX)",
    definition=(
        "Engaged: GA4's engaged session, with wall-clock time. Timeout of 30 minutes: GA4 and ra_data_warehouse. "
        "last_seen_at and span_s: Snowplow's minimum and maximum of event times."
    ),
    limits=(
        "Wall-clock time, not time in the foreground; pages bear no time, so there is no time per page.",
        "No source of traffic, no country, no test for robots.",
    ),
)
