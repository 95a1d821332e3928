"""How each support ticket was answered and resolved."""

import polars as pl

from contracts.marts.ticket_changes import BASES
from contracts.schema.entity import Field
from contracts.schema.fields import boolean, category, identifier, integer, number, rule, timestamp
from contracts.schema.kinds import OBJECT_ID
from contracts.schema.mart import Mart, as_of

# The states in which a ticket's last change was its resolution; any other, known or new, leaves it unresolved.
RESOLVED_STATUSES = ("resolved", "closed")
_REPLIES = pl.col("agent_message_count") - pl.col("is_opened_by_agent").cast(pl.Int64)

MART = Mart(
    name="ticket_resolution",
    description="One support ticket with the time that its first response and its resolution took.",
    key=("_id",),
    fields=(
        Field("_id", OBJECT_ID, "Identity of the ticket's document in MongoDB."),
        identifier("ticket_id", "Business key of the ticket; two documents may share it."),
        identifier("user_id", "User who asked."),
        category("status", "State of the ticket."),
        category("issue_type", "What it is about."),
        timestamp("created_at", "When the ticket was opened."),
        timestamp(
            "first_response_at",
            "First message of an agent at or after the opening, by its time, but for one that opens the ticket; null "
            "if there is none.",
            nullable=True,
        ),
        timestamp(
            "resolved_at",
            "When a ticket whose status is resolved or closed became so, the last time if it was reopened; null of "
            "others.",
            nullable=True,
        ),
        number(
            "first_response_s", "Seconds from opening to first response; null without one.", nullable=True, minimum=0
        ),
        number(
            "resolution_s", "Seconds from opening to resolution; null if it is not resolved.", nullable=True, minimum=0
        ),
        integer("message_count", "Messages in the conversation.", minimum=0),
        integer("user_message_count", "Messages of the user.", minimum=0),
        integer("agent_message_count", "Messages of agents, those before the opening included.", minimum=0),
        boolean(
            "is_opened_by_agent",
            "Whether the first message of all is an agent's, of the moment of the opening: it opens the ticket, and is "
            "no response.",
        ),
        boolean("is_answered", "Whether there is a first response."),
        boolean("is_resolved", "Whether the status is resolved or closed."),
        boolean(
            "is_first_contact_resolved",
            "Whether it is resolved and a single message of an agent was enough for that, beside one that opened it.",
        ),
        category(
            "resolution_basis",
            "How resolved_at is known; null if it is null. observed: copies showed the ticket before and after; its "
            "own last change if it lies between the two, else the moment of the copy. proxy: it is the ticket's last "
            "change as it was first copied, or as it is where no copies are kept.",
            *BASES,
            nullable=True,
            closed=True,
        ),
        integer(
            "reopen_count",
            "How often copies showed it as resolved and then open again, since observed_since; null if that is null.",
            nullable=True,
            minimum=0,
        ),
        timestamp(
            "observed_since",
            "Since when copies of the ticket are kept: of what was before, reopen_count knows nothing; null if none "
            "is.",
            nullable=True,
        ),
        timestamp(
            "waiting_since",
            "Since when the user waits, of an unresolved ticket: the first message after the last one of an agent, or "
            "the opening if no agent wrote since; null if an agent wrote last, or if it is resolved.",
            nullable=True,
        ),
        number(
            "age_s", "Seconds from opening to as_of, of an unresolved ticket; null of a resolved one.", nullable=True
        ),
        as_of(ages=True),
    ),
    rules=(
        rule(
            "messages_add_up",
            pl.col("message_count") == pl.col("user_message_count") + pl.col("agent_message_count"),
            "Every message is the user's or an agent's.",
        ),
        rule(
            "response_if_answered",
            (pl.col("first_response_at").is_not_null() == pl.col("is_answered"))
            & (pl.col("first_response_s").is_not_null() == pl.col("is_answered")),
            "Time and seconds of the first response are there if and only if the ticket is answered.",
        ),
        rule(
            "resolution_if_resolved",
            (pl.col("resolved_at").is_not_null() == pl.col("is_resolved"))
            & (pl.col("resolution_s").is_not_null() == pl.col("is_resolved"))
            & (pl.col("resolution_basis").is_not_null() == pl.col("is_resolved"))
            & (pl.col("age_s").is_null() == pl.col("is_resolved")),
            "Time, seconds and basis of the resolution are there if and only if it is resolved, else its age is.",
        ),
        rule(
            "reopened_if_observed",
            pl.col("reopen_count").is_null() == pl.col("observed_since").is_null(),
            "Reopenings are known if and only if copies are kept.",
        ),
        rule(
            "resolved_wait_for_nothing",
            pl.col("waiting_since").is_null() | ~pl.col("is_resolved"),
            "Nobody waits for an answer to a resolved ticket.",
        ),
        rule(
            "answered_by_an_agent",
            ~pl.col("is_answered") | (_REPLIES > 0),
            "An answered ticket has a message of an agent, beside one that opened it.",
        ),
        rule(
            "first_contact_is_resolved",
            ~pl.col("is_first_contact_resolved") | (pl.col("is_resolved") & (_REPLIES == 1)),
            "A ticket resolved at the first contact is resolved and has one message of an agent, beside one that "
            "opened it.",
        ),
    ),
    indexes=("ticket_id", "user_id", "created_at"),
    by=pl.col("_id"),
    ages=~pl.col("is_resolved"),
    question="How well did we serve this customer, and who waits? (support lead)",
    definition=(
        "Zendesk's first reply, final resolution and reopens as dbt_zendesk has them, in calendar time; a reply is an "
        "agent's message at or after the opening, but not the one that opens the ticket."
    ),
    limits=(
        "A status is known by the copies that showed it: what happened between two of them was not seen, and where the "
        "ticket's own last change does not tell, an observed time is late by up to the time between two copies.",
        "A resolution by proxy is too late by any edit after it and before the first copy.",
        "Who answered, handoffs, priority, channel and satisfaction are not in the source.",
        "Calendar time only: there are no business hours.",
    ),
)
