"""When each ticket came into the backlog, and when it left it."""

import polars as pl

from contracts.marts.ticket_changes import MART
from contracts.marts.ticket_resolution import RESOLVED_STATUSES
from transforms.marts._calendar import local_date
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._past import last_known, turns


def ticket_changes(
    support_tickets: pl.LazyFrame, support_tickets_versions: pl.LazyFrame, *, context: Context
) -> pl.LazyFrame:
    """Tell of each ticket when it was created, solved, reopened and deleted.

    Args:
        support_tickets: One row per ticket.
        support_tickets_versions: One row per version of a ticket.
        context: Has the reporting zone.

    Returns:
        One row per change, as ``contracts.marts.ticket_changes`` describes it.
    """
    about = last_known(support_tickets, support_tickets_versions, ["ticket_id", "issue_type", "created_at"])
    changes = (
        turns(support_tickets, support_tickets_versions, RESOLVED_STATUSES)
        .join(about, on="_id")
        .sort("_id", "step")
        .with_columns(
            number=pl.int_range(1, pl.len() + 1, dtype=pl.Int64()).over("_id"),
            opened_on=local_date(pl.col("created_at"), context),
            changed_on=local_date(pl.col("changed_at"), context),
        )
    )
    return conform(changes, MART, context)
