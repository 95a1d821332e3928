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
            pl.col("is_opened_by_agent", "has_agent_written").fill_null(False),
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
            is_first_contact_resolved=pl.col("is_resolved") & (_reply_count() == 1),
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


def _reply_count() -> pl.Expr:
    """Return how many messages of agents there are, without one that opens the ticket."""
    return pl.col("agent_message_count") - pl.col("is_opened_by_agent").cast(pl.Int64)


def _waiting_since() -> pl.Expr:
    """Return the first message after an agent's last one; before any, the opening itself."""
    return pl.when("has_agent_written").then("asked_again_at").otherwise("created_at")


def _conversations(tickets: pl.LazyFrame, messages: pl.LazyFrame) -> pl.LazyFrame:
    by_agent, by_user = pl.col("sender") == "agent", pl.col("sender") == "user"
    sent_at, created_at, order = pl.col("sent_at"), pl.col("created_at"), pl.col("order")
    # A message may bear an earlier time than its ticket; it is no answer to it.
    is_answer = by_agent & (sent_at >= created_at)
    is_opening = by_agent & (sent_at == created_at) & (order == order.min())  # by which an agent writes first
    last_answer = pl.when(is_answer).then(order).max()
    return (
        messages.select("_id", "_position", "sender", "sent_at")
        .join(tickets.select("_id", "created_at"), on="_id")
        .sort("_id", "sent_at", "_position")
        .with_row_index("order")  # of two messages of one millisecond, the one further behind was written later
        .group_by("_id")
        .agg(
            user_message_count=by_user.cast(pl.Int64).sum(),
            agent_message_count=by_agent.cast(pl.Int64).sum(),
            is_opened_by_agent=is_opening.any(),
            has_agent_written=is_answer.any(),
            first_response_at=pl.when(is_answer & ~is_opening).then(sent_at).min(),
            asked_again_at=pl.when(by_user & (order > last_answer)).then(sent_at).min(),
        )
    )
