"""How support did, by the day on which tickets were opened and by what they are about."""

from datetime import timedelta

import polars as pl

from contracts.marts.support_efficiency_daily import AGES, MART, REPLIED_H, STATUSES
from contracts.marts.ticket_changes import CHANGES
from contracts.schema.entity import TEXT_KEY_CHARACTERS
from transforms.marts._calendar import is_over, local_date, plus, spine, standing, stays
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import mean, mean_seconds, milliseconds, percent
from transforms.marts._neighbours import row_after
from transforms.marts._past import OBSERVED, PROXY

# Whose times are summed up: name of the seconds in ticket_resolution without _s, and the moment they end at.
TIMED = {"first_response": "first_response_at", "resolution": "resolved_at"}
ON, ISSUE = "created_on", "issue_type"


def support_efficiency_daily(
    ticket_resolution: pl.LazyFrame, ticket_changes: pl.LazyFrame, *, context: Context
) -> pl.LazyFrame:
    """Sum up the tickets of each day and type of issue, and tell what was open at its end.

    Args:
        ticket_resolution: The mart of that name: one row per ticket.
        ticket_changes: The mart of that name: one row per time at which a ticket came into the backlog or left it.
        context: Has the reporting zone, since when versions are kept, the moment up to which ages count, and the
            promised times.

    Returns:
        One row per day and type of issue, as ``contracts.marts.support_efficiency_daily`` describes it.
    """
    # Part of the key, but of any length in the source: PostgreSQL indexes no more than this of it.
    issue = pl.col(ISSUE).str.head(TEXT_KEY_CHARACTERS)
    tickets = ticket_resolution.with_columns(issue, created_on=local_date(pl.col("created_at"), context))
    changes = ticket_changes.with_columns(issue)
    opened, turned = _opened(tickets.with_columns(sla_target_s=_target(context)), context), _turned(changes)
    rows = spine(turned.select(ISSUE, ON), ON, context, by=[ISSUE])
    since = context.observed_since.get("support_tickets")
    is_observed = pl.lit(False) if since is None else pl.col(ON) >= pl.lit(context.observed_on("support_tickets"))
    days = (
        _backlog(changes, rows)
        .join(opened, on=[ISSUE, ON], how="left")
        .join(turned, on=[ISSUE, ON], how="left")
        .with_columns(sla_target_s=_target(context), observed_since=pl.lit(since, pl.Datetime("us", "UTC")))
        .with_columns(pl.col("^(.*_count|.*_ms)$").fill_null(0))
        .with_columns(
            pl.when(is_observed).then(pl.col("reopened_count", "deleted_count")),
            gone_count=pl.col("created_count") - pl.col("ticket_count"),
            backlog_count=pl.sum_horizontal(f"backlog_{name}_count" for name, *_ in AGES),
            backlog_basis=pl.when(is_observed).then(pl.lit(OBSERVED)).otherwise(pl.lit(PROXY)),
            is_complete=is_over(pl.col(ON), context),
            **_ratios(),
        )
    )
    return conform(days, MART, context)


def _target(context: Context) -> pl.Expr:
    targets = {name: seconds for name, seconds in context.support_sla.items() if name}
    default = context.support_sla.get("", Context().support_sla[""])
    return pl.col(ISSUE).replace_strict(targets, default=default, return_dtype=pl.Float64())


def _opened(tickets: pl.LazyFrame, context: Context) -> pl.LazyFrame:
    """Sum up the tickets by the day of their opening."""
    return tickets.group_by(ISSUE, ON).agg(*_counts(), *_replies(context), *_times())


def _turned(changes: pl.LazyFrame) -> pl.LazyFrame:
    """Count what came into the backlog and left it by the day of that."""
    return changes.group_by(ISSUE, pl.col("changed_on").alias(ON)).agg(
        (pl.col("change") == change).cast(pl.Int64).sum().alias(f"{change}_count") for change in CHANGES
    )


def _backlog(changes: pl.LazyFrame, rows: pl.LazyFrame) -> pl.LazyFrame:
    """Count what is open at each day's end by its age: it stands from its coming to its leaving, at one age a day."""
    stayed = changes.sort("_id", "number").with_columns(left_on=row_after("changed_on", "_id"))
    came = stayed.filter(pl.col("change").is_in(["created", "reopened"]))
    counted = []
    for name, low, high in AGES:
        first = pl.max_horizontal("changed_on", plus(pl.col("opened_on"), low))
        after = pl.min_horizontal("left_on", plus(pl.col("opened_on"), high)) if high else pl.col("left_on")
        counted += stays(came, f"backlog_{name}_count", ON, first, after, by=[ISSUE])
    return standing(counted, rows, ON, by=[ISSUE])


def _counts() -> list[pl.Expr]:
    status = pl.col("status")
    counted = {
        **{f"status_{one}_count": status == one for one in STATUSES},
        "status_other_count": ~status.is_in(STATUSES),
        "answered_count": pl.col("is_answered"),
        "unanswered_count": ~pl.col("is_answered"),
        "resolved_count": pl.col("is_resolved"),
        "first_contact_resolved_count": pl.col("is_first_contact_resolved"),
    }
    return [
        pl.len().cast(pl.Int64).alias("ticket_count"),
        *(condition.cast(pl.Int64).sum().alias(name) for name, condition in counted.items()),
        pl.col("message_count", "agent_message_count").sum(),
    ]


def _replies(context: Context) -> list[pl.Expr]:
    """Count the tickets that are old enough to tell whether they were answered in time, and those that were.

    Those that agents opened are neither: nobody asked for an answer then.
    """
    age, is_asked = pl.lit(context.as_of) - pl.col("created_at"), ~pl.col("is_opened_by_agent")
    took, target = pl.col("first_response_s"), pl.col("sla_target_s")
    is_due = is_asked & (age >= pl.duration(milliseconds=(target * 1000).cast(pl.Int64)))
    counted = {"sla_eligible_count": is_due, "sla_met_count": is_due & (took <= target).fill_null(False)}
    for hours in REPLIED_H:
        is_old = is_asked & (age >= pl.lit(timedelta(hours=hours)))
        counted[f"eligible_{hours}h_count"] = is_old
        counted[f"replied_within_{hours}h_count"] = is_old & (took <= hours * 3600).fill_null(False)
    return [condition.cast(pl.Int64).sum().alias(name) for name, condition in counted.items()]


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


def _ratios() -> dict[str, pl.Expr]:
    tickets, answered, resolved = pl.col("ticket_count"), pl.col("answered_count"), pl.col("resolved_count")
    return {
        "answered_pct": percent(answered, tickets),
        "resolution_pct": percent(resolved, tickets),
        "first_contact_resolution_pct": percent(pl.col("first_contact_resolved_count"), resolved),
        "sla_met_pct": percent(pl.col("sla_met_count"), pl.col("sla_eligible_count")),
        "mean_first_response_s": mean_seconds(pl.col("first_response_ms"), answered),
        "mean_resolution_s": mean_seconds(pl.col("resolution_ms"), resolved),
        "mean_message_count": mean(pl.col("message_count"), tickets),
    }
