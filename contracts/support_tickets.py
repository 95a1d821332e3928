"""Questions and complaints of users, with the conversation."""

import polars as pl

from contracts.schema.entity import Entity
from contracts.schema.fields import category, documents, identifier, rule, text, timestamp

ENTITY = Entity(
    collection="SupportTickets",
    description="One request for support, with all its messages.",
    key="ticket_id",
    fields=(
        identifier("ticket_id", "Business key of the ticket."),
        identifier("user_id", "User who asked."),
        category("status", "State of the ticket.", "open", "in_progress", "waiting", "resolved", "closed"),
        category("issue_type", "What it is about.", "billing", "delivery", "technical", "account", "refund", "other"),
        documents(
            "messages",
            "The conversation, in order.",
            category("sender", "Who wrote: the user or an agent.", "user", "agent", closed=True),
            text("text", "What was written."),
            timestamp("sent_at", "When it was sent."),
        ),
        timestamp("created_at", "When the ticket was opened."),
        timestamp("updated_at", "When the ticket last changed."),
    ),
    rules=(
        rule("updated_after_created", pl.col("updated_at") >= pl.col("created_at"), "No change precedes the opening."),
    ),
    indexes=("ticket_id", "user_id", "created_at"),
    history=True,
)
