"""What became of each review, and how long that took."""

import polars as pl

from contracts.schema.entity import Field
from contracts.schema.fields import boolean, category, date, identifier, integer, number, rule, timestamp
from contracts.schema.kinds import OBJECT_ID
from contracts.schema.mart import NEVER, Mart, as_of

DECIDED = ("approved", "rejected")

MART = Mart(
    name="review_facts",
    description="One product review with what the moderation made of it.",
    key=("_id",),
    fields=(
        Field("_id", OBJECT_ID, "Identity of the review's document in MongoDB."),
        identifier("review_id", "Business key of the review; two documents may share it."),
        identifier("user_id", "User who wrote it."),
        identifier("product_id", "Product it is about."),
        integer("rating", "Stars, 1 to 5."),
        category("moderation_status", "State of the moderation."),
        integer("flags_count", "How much was found in it; null if it has no such array.", nullable=True, minimum=0),
        timestamp("submitted_at", "When it was submitted."),
        date("submitted_on", "The day of that."),
        boolean("is_decided", "Whether it is approved or rejected."),
        timestamp(
            "decided_at",
            "When a copy first showed it as approved or rejected, having shown it as neither; null if none did, if "
            "the first one showed it as decided, or if it is neither now.",
            nullable=True,
        ),
        number(
            "decision_s",
            "Seconds from submission to that; 0 if it was earlier; null if it was not observed.",
            nullable=True,
            minimum=0,
        ),
        integer(
            "decision_change_count",
            "How often copies showed another decision than before; null if observed_since is.",
            nullable=True,
            minimum=0,
        ),
        timestamp("observed_since", "Since when copies of it are kept; null if none is.", nullable=True),
        as_of(ages=True),
    ),
    rules=(
        rule(
            "decided_by_status",
            pl.col("is_decided") == pl.col("moderation_status").is_in(DECIDED),
            "What is approved or rejected is decided.",
        ),
        rule(
            "times_of_the_decided",
            (pl.col("decided_at").is_not_null() == pl.col("decision_s").is_not_null())
            & (pl.col("decided_at").is_null() | pl.col("is_decided")),
            "There are times of decided reviews alone.",
        ),
        rule(
            "changes_if_observed",
            pl.col("decision_change_count").is_null() == pl.col("observed_since").is_null(),
            "Other decisions are known if and only if copies are kept.",
        ),
    ),
    indexes=("product_id", "submitted_on"),
    by=pl.col("_id"),
    ages=NEVER,
    optional=("moderation_queue_versions",),
    question="When was this review decided, and was that overturned? (trust and safety)",
    definition="Time to decision and changes of it from copies of the review alone: the review itself tells no time.",
    limits=(
        "A decision is late by up to the time between two copies; what was decided and undone in between is not seen.",
        "Of a review that was decided when it was first copied, the time is not known.",
    ),
)
