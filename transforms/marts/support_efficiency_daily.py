"""How support did, by the day on which tickets were opened and by what they are about."""

import polars as pl

from contracts.marts.support_efficiency_daily import MART, STATUSES
from contracts.schema.entity import TEXT_KEY_CHARACTERS
from transforms.marts._conform import conform
from transforms.marts._exact import mean, mean_seconds, milliseconds, percent

# Whose times are summed up: name of the seconds in ticket_resolution without _s, and the moment they end at.
TIMED = {"first_response": "first_response_at", "resolution": "resolved_at"}


def support_efficiency_daily(ticket_resolution: pl.LazyFrame) -> pl.LazyFrame:
    """Sum up the tickets of each UTC day and type of issue.

    Args:
        ticket_resolution: The mart of that name: one row per ticket.

    Returns:
        One row per day of opening and type of issue, as ``contracts.marts.support_efficiency_daily`` describes it.
    """
    # The type of issue is part of the key, but of any length in the source: PostgreSQL indexes no more than this of it.
    issue_type, created_on = pl.col("issue_type").str.head(TEXT_KEY_CHARACTERS), pl.col("created_at").dt.date()
    tickets, answered, resolved = pl.col("ticket_count"), pl.col("answered_count"), pl.col("resolved_count")
    days = (
        ticket_resolution.with_columns(issue_type=issue_type, created_on=created_on)
        .group_by("created_on", "issue_type")
        .agg(*_counts(), *_times())
        .with_columns(
            answered_pct=percent(answered, tickets),
            resolution_pct=percent(resolved, tickets),
            first_contact_resolution_pct=percent(pl.col("first_contact_resolved_count"), resolved),
            mean_first_response_s=mean_seconds(pl.col("first_response_ms"), answered),
            mean_resolution_s=mean_seconds(pl.col("resolution_ms"), resolved),
            mean_message_count=mean(pl.col("message_count"), tickets),
        )
    )
    return conform(days, MART)


def _counts() -> list[pl.Expr]:
    status = pl.col("status")
    counted = {
        **{f"status_{one}_count": status == one for one in STATUSES},
        "status_other_count": ~status.is_in(STATUSES),
        "answered_count": pl.col("is_answered"),
        "resolved_count": pl.col("is_resolved"),
        "first_contact_resolved_count": pl.col("is_first_contact_resolved"),
    }
    return [
        pl.len().alias("ticket_count"),
        *(condition.cast(pl.Int64).sum().alias(name) for name, condition in counted.items()),
        pl.col("message_count", "agent_message_count").sum(),
    ]


def _times() -> list[pl.Expr]:
    """Return the sums in milliseconds and the quantiles in seconds; tickets without the time don't count."""
    aggregates = []
    for name, end in TIMED.items():
        # Without the nulls: beside nulls, Polars loses the last bit of the place between two neighbours.
        value = pl.col(f"{name}_s").drop_nulls()
        aggregates += [
            milliseconds(pl.col("created_at"), pl.col(end)).sum().alias(f"{name}_ms"),
            value.quantile(0.5, interpolation="linear").alias(f"median_{name}_s"),
            value.quantile(0.9, interpolation="linear").alias(f"p90_{name}_s"),
        ]
    return aggregates
