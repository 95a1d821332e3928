"""How each ticket was answered and resolved."""

import polars as pl

from contracts.marts.ticket_resolution import MART, RESOLVED_STATUSES
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import milliseconds, seconds


def ticket_resolution(
    support_tickets: pl.LazyFrame,
    support_tickets_messages: pl.LazyFrame,
    ticket_changes: pl.LazyFrame,
    *,
    context: Context,
) -> pl.LazyFrame:
    """Tell for each ticket when it was first answered and when it was resolved.

    Args:
        support_tickets: One row per ticket.
        support_tickets_messages: One row per message, in any order.
        ticket_changes: The mart of that name: one row per time at which a ticket was created, solved or reopened.
        context: Has the moment up to which ages count.

    Returns:
        One row per ticket, as ``contracts.marts.ticket_resolution`` describes it.
    """
    created_at, resolved_at = pl.col("created_at"), pl.col("resolved_at")
    first_response_at, is_resolved = pl.col("first_response_at"), pl.col("status").is_in(RESOLVED_STATUSES)
    tickets = (
        # By _id: two tickets may share their business key, and each has messages of its own.
        support_tickets.join(_conversations(support_tickets, support_tickets_messages), on="_id", how="left")
        .join(_past(ticket_changes), on="_id", how="left")
        .with_columns(
            pl.col("user_message_count", "agent_message_count").fill_null(0),
            message_count="messages_count",
            is_answered=first_response_at.is_not_null(),
            is_resolved=is_resolved,
            resolved_at=pl.when(is_resolved).then("resolved_at"),
            resolution_basis=pl.when(is_resolved).then("resolution_basis"),
            waiting_since=pl.when(~is_resolved).then(_waiting_since()),
        )
        .with_columns(
            first_response_s=seconds(milliseconds(created_at, first_response_at)),
            resolution_s=seconds(milliseconds(created_at, resolved_at)),
            age_s=pl.when(~is_resolved).then(seconds(milliseconds(created_at, pl.lit(context.as_of)))),
            is_first_contact_resolved=pl.col("is_resolved") & (pl.col("agent_message_count") == 1),
        )
    )
    return conform(tickets, MART, context)


def _past(changes: pl.LazyFrame) -> pl.LazyFrame:
    """Return when each ticket was solved last, how that is known, and how often it was reopened, if that is known."""
    last_solved = pl.when(pl.col("change") == "solved").then("number").max()
    is_last_solved = pl.col("number") == last_solved
    reopened = (pl.col("change") == "reopened").cast(pl.Int64).sum()
    return changes.group_by("_id").agg(
        pl.col("observed_since").min(),
        resolved_at=pl.col("changed_at").filter(is_last_solved).first(),
        resolution_basis=pl.col("basis").filter(is_last_solved).first(),
        reopen_count=pl.when(pl.col("observed_since").min().is_not_null()).then(reopened),
    )


def _waiting_since() -> pl.Expr:
    """Return the first message after an agent's last answer; before any, the opening itself."""
    return pl.when(pl.col("first_response_at").is_null()).then("created_at").otherwise("asked_again_at")


def _conversations(tickets: pl.LazyFrame, messages: pl.LazyFrame) -> pl.LazyFrame:
    by_agent, sent_at = pl.col("sender") == "agent", pl.col("sent_at")
    # A message may bear an earlier time than its ticket; it is no response to it.
    is_response = by_agent & (sent_at >= pl.col("created_at"))
    by_user, last_response_at = pl.col("sender") == "user", pl.when(is_response).then("order").max()
    return (
        messages.select("_id", "_position", "sender", "sent_at")
        .join(tickets.select("_id", "created_at"), on="_id")
        .sort("_id", "sent_at", "_position")
        .with_row_index("order")  # of two messages of one millisecond, the one further behind was written later
        .group_by("_id")
        .agg(
            user_message_count=by_user.cast(pl.Int64).sum(),
            agent_message_count=by_agent.cast(pl.Int64).sum(),
            first_response_at=pl.when(is_response).then(sent_at).min(),
            asked_again_at=pl.when(by_user & (pl.col("order") > last_response_at)).then(sent_at).min(),
        )
    )
