"""How each support ticket was answered and resolved."""

import polars as pl

from contracts.schema.entity import Field
from contracts.schema.fields import boolean, category, identifier, integer, number, rule, timestamp
from contracts.schema.kinds import OBJECT_ID
from contracts.schema.mart import Mart

# The states in which a ticket's last change was its resolution; any other, known or new, leaves it unresolved.
RESOLVED_STATUSES = ("resolved", "closed")

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
            "First message of an agent at or after the opening, by its time; null if there is none.",
            nullable=True,
        ),
        timestamp(
            "resolved_at", "Last change of a ticket whose status is resolved or closed; else null.", nullable=True
        ),
        number("first_response_s", "Seconds from opening to first response.", nullable=True, minimum=0),
        number("resolution_s", "Seconds from opening to resolution.", nullable=True, minimum=0),
        integer("message_count", "Messages in the conversation.", minimum=0),
        integer("user_message_count", "Messages of the user.", minimum=0),
        integer("agent_message_count", "Messages of agents, those before the opening included.", minimum=0),
        boolean("is_answered", "Whether there is a first response."),
        boolean("is_resolved", "Whether the status is resolved or closed."),
        boolean(
            "is_first_contact_resolved", "Whether it is resolved and a single message of an agent was enough for that."
        ),
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
            & (pl.col("resolution_s").is_not_null() == pl.col("is_resolved")),
            "Time and seconds of the resolution are there if and only if the ticket is resolved.",
        ),
        rule(
            "answered_by_an_agent",
            ~pl.col("is_answered") | (pl.col("agent_message_count") > 0),
            "An answered ticket has a message of an agent.",
        ),
        rule(
            "first_contact_is_resolved",
            ~pl.col("is_first_contact_resolved") | (pl.col("is_resolved") & (pl.col("agent_message_count") == 1)),
            "A ticket resolved at the first contact is resolved and has one message of an agent.",
        ),
    ),
    indexes=("ticket_id", "user_id", "created_at"),
    by=pl.col("_id"),
)
