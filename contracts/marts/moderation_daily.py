"""How the moderation of reviews keeps up, and how it decides, by day and stars."""

import polars as pl

from contracts.schema.fields import boolean, date, integer, number, rule, timestamp
from contracts.schema.mart import DAILY, Mart, as_of

STATUSES = ("approved", "rejected", "pending")

MART = Mart(
    name="moderation_daily",
    description="The reviews with one number of stars that were submitted on one day, as they stand at as_of.",
    key=("submitted_on", "rating"),
    fields=(
        date("submitted_on", "The day."),
        integer("rating", "Stars, 1 to 5."),
        integer("submitted_count", "Reviews.", minimum=1),
        *(integer(f"{status}_count", f"Reviews in the state {status}.", minimum=0) for status in STATUSES),
        integer("other_count", "Reviews in any other state.", minimum=0),
        integer("flagged_count", "Reviews in which something was found.", minimum=0),
        integer("decided_count", "Reviews that are approved or rejected.", minimum=0),
        number(
            "decided_pct", "decided_count of submitted_count: young days are not decided yet.", minimum=0, maximum=100
        ),
        number(
            "reject_pct", "rejected_count of decided_count; null if that is 0.", nullable=True, minimum=0, maximum=100
        ),
        timestamp("oldest_pending_at", "When the oldest pending one was submitted; null if none is.", nullable=True),
        integer(
            "overturned_count",
            "Reviews of which copies showed one decision and later another; null if no copies of any are kept.",
            nullable=True,
            minimum=0,
        ),
        integer(
            "observed_decision_count",
            "Decided reviews that copies showed before and after the decision: those have a time.",
            minimum=0,
        ),
        number(
            "p50_decision_s",
            "Half of the observed decisions took no longer, from the submission; null if none was observed.",
            nullable=True,
            minimum=0,
        ),
        number(
            "p95_decision_s", "19 of 20 took no longer, likewise; null if none was observed.", nullable=True, minimum=0
        ),
        timestamp("observed_since", "Since when copies of reviews are kept; null if none are.", nullable=True),
        boolean("is_complete", "Whether the day was over at as_of."),
        as_of(),
    ),
    rules=(
        rule(
            "states_add_up",
            pl.col("submitted_count") == pl.sum_horizontal(*(f"{one}_count" for one in (*STATUSES, "other"))),
            "Every review is counted in one state.",
        ),
        rule(
            "decided_are_approved_or_rejected",
            pl.col("decided_count") == pl.col("approved_count") + pl.col("rejected_count"),
            "A decided review is approved or rejected.",
        ),
        rule(
            "times_if_observed",
            (pl.col("p50_decision_s").is_not_null() == (pl.col("observed_decision_count") > 0))
            & (pl.col("p95_decision_s").is_not_null() == (pl.col("observed_decision_count") > 0)),
            "There are times if and only if a decision was observed.",
        ),
    ),
    indexes=("rating",),
    by=pl.col("rating"),
    ages=DAILY,
    question="Is the queue of reviews fast, and fair to all stars? (trust and safety)",
    definition=(
        "Rejections of the decided, with the share that is decided beside it; by stars, since guidelines (Bazaarvoice) "
        "forbid to hold low ones back. Median and tail of the time to a decision."
    ),
    limits=(
        "A review doesn't tell when it was decided: a time is that of the first copy that showed a decision, so it "
        "is late by up to the time between two copies; of what was decided when it was first copied it is null.",
        "Moderators, appeals and what was seen before a rejection are not in the source.",
    ),
)
