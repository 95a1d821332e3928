"""How each ticket was answered and resolved."""

import polars as pl

from contracts.marts.ticket_resolution import MART, RESOLVED_STATUSES
from transforms.marts._conform import conform
from transforms.marts._exact import milliseconds, seconds


def ticket_resolution(support_tickets: pl.LazyFrame, support_tickets_messages: pl.LazyFrame) -> pl.LazyFrame:
    """Tell for each ticket when it was first answered and when it was resolved.

    Args:
        support_tickets: One row per ticket.
        support_tickets_messages: One row per message, in any order.

    Returns:
        One row per ticket, as ``contracts.marts.ticket_resolution`` describes it.
    """
    created_at, resolved_at = pl.col("created_at"), pl.col("resolved_at")
    first_response_at, is_resolved = pl.col("first_response_at"), pl.col("status").is_in(RESOLVED_STATUSES)
    tickets = (
        # By _id: two tickets may share their business key, and each has messages of its own.
        support_tickets.join(_conversations(support_tickets, support_tickets_messages), on="_id", how="left")
        .with_columns(
            pl.col("user_message_count", "agent_message_count").fill_null(0),
            message_count="messages_count",
            is_answered=first_response_at.is_not_null(),
            is_resolved=is_resolved,
            resolved_at=pl.when(is_resolved).then("updated_at"),
        )
        .with_columns(
            first_response_s=seconds(milliseconds(created_at, first_response_at)),
            resolution_s=seconds(milliseconds(created_at, resolved_at)),
            is_first_contact_resolved=pl.col("is_resolved") & (pl.col("agent_message_count") == 1),
        )
    )
    return conform(tickets, MART)


def _conversations(tickets: pl.LazyFrame, messages: pl.LazyFrame) -> pl.LazyFrame:
    by_agent, sent_at = pl.col("sender") == "agent", pl.col("sent_at")
    # A message may bear an earlier time than its ticket; it is no response to it.
    is_response = by_agent & (sent_at >= pl.col("created_at"))
    return (
        messages.select("_id", "sender", "sent_at")
        .join(tickets.select("_id", "created_at"), on="_id")
        .group_by("_id")
        .agg(
            user_message_count=(pl.col("sender") == "user").cast(pl.Int64).sum(),
            agent_message_count=by_agent.cast(pl.Int64).sum(),
            first_response_at=pl.when(is_response).then(sent_at).min(),
        )
    )
