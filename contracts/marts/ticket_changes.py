"""When each support ticket came into the backlog, and when it left it."""

import polars as pl

from contracts.schema.entity import Field
from contracts.schema.fields import category, date, identifier, integer, rule, timestamp
from contracts.schema.kinds import OBJECT_ID
from contracts.schema.mart import NEVER, Mart, as_of

CHANGES = ("created", "solved", "reopened", "deleted")
BASES = ("observed", "proxy")

MART = Mart(
    name="ticket_changes",
    description="One time at which a support ticket, a deleted one as well, came into the backlog or left it.",
    key=("_id", "number"),
    fields=(
        Field("_id", OBJECT_ID, "Identity of the ticket's document in MongoDB."),
        integer("number", "Which of the ticket's changes it is, from 1.", minimum=1),
        identifier("ticket_id", "Business key of the ticket; two documents may share it."),
        category("issue_type", "What the ticket is about, as it was shown last."),
        date("opened_on", "The day on which the ticket was opened."),
        category(
            "change",
            "created and reopened bring the ticket into the backlog; solved, and deleted while it was open, end that.",
            *CHANGES,
            closed=True,
        ),
        timestamp("changed_at", "When: see basis; never before the ticket's change before it."),
        date("changed_on", "The day of that."),
        category(
            "basis",
            "How that is known; null of created, which the ticket tells itself. observed: a copy showed the ticket "
            "before and after; the ticket's own last change if it lies between the two, else the moment of the copy. "
            "proxy: the first copy showed it as resolved, and its last change then is taken for that.",
            *BASES,
            nullable=True,
            closed=True,
        ),
        timestamp(
            "observed_since",
            "Since when copies of the ticket are kept; null if none is, as changes are.",
            nullable=True,
        ),
        as_of(ages=True),
    ),
    rules=(
        rule(
            "created_first",
            (pl.col("change") == "created") == (pl.col("number") == 1),
            "A ticket's first change is its opening, and no other one is.",
        ),
        rule(
            "only_the_opening_is_told",
            pl.col("basis").is_null() == (pl.col("change") == "created"),
            "All but the opening have a basis.",
        ),
    ),
    indexes=("changed_on",),
    by=pl.col("_id"),
    ages=NEVER,
    optional=("support_tickets_versions",),
    question="When was this ticket solved, and when opened again? (support lead)",
    definition="A ticket is solved while its status is resolved or closed, as in dbt_zendesk; the rest is the backlog.",
    limits=(
        "What happened between two copies is not seen: a ticket solved and reopened in between was neither.",
        "What was before observed_since is known by proxy; a ticket that is gone and comes back was never gone.",
        "What etl history prune and forget removed is not known any more, and moves what was observed by it.",
        "A ticket whose issue_type was changed has it with all of its changes.",
    ),
)
