"""What each user did on each day: sessions, searches, tickets and reviews in one stream, counted by user and day."""

import polars as pl

from contracts.marts.user_activity_daily import MART
from transforms.marts._calendar import local_date
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import milliseconds, seconds
from transforms.marts._neighbours import row_before

ONE = pl.lit(1, pl.Int64)


def user_activity_daily(
    user_sessions: pl.LazyFrame,
    user_sessions_actions: pl.LazyFrame,
    search_queries: pl.LazyFrame,
    support_tickets: pl.LazyFrame,
    moderation_queue: pl.LazyFrame,
    *,
    context: Context,
) -> pl.LazyFrame:
    """Count what each user did on each day.

    Args:
        user_sessions: One row per session; a session counts on the day of its ``start_time``.
        user_sessions_actions: One row per action; it counts on the day of its session.
        search_queries: One row per search, on the day of its ``timestamp``.
        support_tickets: One row per ticket, on the day of its ``created_at``.
        moderation_queue: One row per review, on the day of its ``submitted_at``.
        context: Has the reporting zone.

    Returns:
        One row per user and day with any of these, as ``contracts.marts.user_activity_daily`` describes it.
    """
    happened = pl.concat(
        [
            _sessions(user_sessions, user_sessions_actions),
            _searches(search_queries),
            support_tickets.select("user_id", at="created_at", ticket_count=ONE),
            moderation_queue.select("user_id", at="submitted_at", review_count=ONE),
        ],
        how="diagonal",  # a count that a row doesn't have is null, and adds nothing to the sum
    )
    at, counted = pl.col("at"), pl.all().exclude("user_id", "activity_on", "at")
    days = (
        happened.with_columns(activity_on=local_date(at, context))
        .group_by("user_id", "activity_on")
        .agg(counted.sum(), first_activity_at=at.min(), last_activity_at=at.max())
        .sort("user_id", "activity_on")
        .with_columns(
            session_duration_s=seconds(pl.col("session_duration_ms")),
            first_active_on=pl.col("activity_on").min().over("user_id"),
            previous_active_on=row_before("activity_on", "user_id"),
        )
    )
    return conform(days, MART, context)


def _sessions(sessions: pl.LazyFrame, actions: pl.LazyFrame) -> pl.LazyFrame:
    bought = pl.col("purchase_count") > 0
    return sessions.join(_shopping(actions), on="_id", how="left").select(
        "user_id",
        "add_to_cart_count",
        "purchase_count",
        at="start_time",
        session_count=ONE,
        ongoing_session_count=pl.col("end_time").is_null().cast(pl.Int64),
        session_duration_ms=milliseconds(pl.col("start_time"), pl.col("end_time")),
        page_view_count="pages_visited_count",
        action_count="actions_count",
        purchase_session_count=bought.cast(pl.Int64),
    )


def _shopping(actions: pl.LazyFrame) -> pl.LazyFrame:
    """Count per session, by its ``_id``: two sessions may share their business key."""
    kind = pl.col("type")
    return (
        actions.filter(kind.is_in(["add_to_cart", "purchase"]))
        .group_by("_id")
        .agg(
            add_to_cart_count=(kind == "add_to_cart").cast(pl.Int64).sum(),
            purchase_count=(kind == "purchase").cast(pl.Int64).sum(),
        )
    )


def _searches(searches: pl.LazyFrame) -> pl.LazyFrame:
    found_nothing = pl.col("results_count") == 0
    return searches.select(
        "user_id", at="timestamp", search_count=ONE, zero_result_search_count=found_nothing.cast(pl.Int64)
    )
