"""What came of each session: its state, what was seen and done in it, and its number among the user's."""

from datetime import timedelta

import polars as pl

from contracts.marts.session_facts import ENGAGED_ACTIONS, ENGAGED_PAGES, ENGAGED_S, MART, TIMEOUT_S
from transforms.marts._calendar import local_date
from transforms.marts._conform import conform
from transforms.marts._context import Context
from transforms.marts._exact import MS_PER_S, milliseconds, seconds
from transforms.marts._neighbours import row_before

STEPS = {"view": "viewed_at", "add_to_cart": "added_to_cart_at", "purchase": "purchased_at"}


def session_facts(
    user_sessions: pl.LazyFrame, user_sessions_actions: pl.LazyFrame, *, context: Context
) -> pl.LazyFrame:
    """Tell what came of each session.

    Args:
        user_sessions: One row per session.
        user_sessions_actions: One row per action, in any order.
        context: Tells which sessions are still open.

    Returns:
        One row per session, as ``contracts.marts.session_facts`` describes it.
    """
    started, ended = pl.col("start_time"), pl.col("end_time")
    sessions = (
        user_sessions.join(_actions(user_sessions_actions), on="_id", how="left")
        .join(_steps(user_sessions_actions), on="_id", how="left")
        .with_columns(
            started_at=started,
            started_on=local_date(started, context),
            page_count="pages_visited_count",
            action_count="actions_count",
            last_seen_at=pl.max_horizontal(started, ended, "last_action_at"),
        )
        .with_columns(state=_state(context), span_ms=milliseconds(started, pl.col("last_seen_at")))
        .with_columns(duration_ms=pl.when(pl.col("state") == "closed").then(milliseconds(started, ended)))
        .with_columns(is_engaged=_is_engaged())
        .with_columns(
            is_bounce=pl.when(pl.col("state").is_in(["closed", "timed_out"])).then(~pl.col("is_engaged")),
            span_s=seconds(pl.col("span_ms")),
            duration_s=seconds(pl.col("duration_ms")),
        )
    )
    return conform(_numbered(sessions), MART, context)


def _actions(actions: pl.LazyFrame) -> pl.LazyFrame:
    return actions.group_by("_id").agg(
        last_action_at=pl.col("at").max(), did_key_action=pl.col("type").is_in(ENGAGED_ACTIONS).any()
    )


def _steps(actions: pl.LazyFrame) -> pl.LazyFrame:
    """Return when each step was reached: ordered by time and, within a millisecond, by place."""
    shopping = actions.filter(pl.col("type").is_in(list(STEPS))).sort("_id", "at", "_position")
    reached = pl.lit(True)
    for kind, name in STEPS.items():
        is_step = reached & (pl.col("type") == kind)
        shopping = shopping.with_columns(is_step.alias(name)).with_columns(
            pl.col(name).cum_max().over("_id").alias(f"past_{name}")
        )
        reached = pl.col(f"past_{name}")
    return shopping.group_by("_id").agg(pl.when(name).then("at").min().alias(name) for name in STEPS.values())


def _state(context: Context) -> pl.Expr:
    started, ended = pl.col("start_time"), pl.col("end_time")
    seen_lately = pl.col("last_seen_at") >= pl.lit(context.as_of - timedelta(seconds=TIMEOUT_S))
    return (
        pl.when(ended < started)
        .then(pl.lit("invalid"))
        .when(ended.is_not_null())
        .then(pl.lit("closed"))
        .when(seen_lately)
        .then(pl.lit("open"))
        .otherwise(pl.lit("timed_out"))
    )


def _is_engaged() -> pl.Expr:
    state, did = pl.col("state"), pl.col("did_key_action").fill_null(False)
    took = pl.when(state == "timed_out").then("span_ms").otherwise("duration_ms")
    is_surely = (pl.col("page_count") >= ENGAGED_PAGES) | did | (took > ENGAGED_S * MS_PER_S).fill_null(False)
    return pl.when(is_surely).then(True).when(state.is_in(["closed", "timed_out"])).then(False)


def _numbered(sessions: pl.LazyFrame) -> pl.LazyFrame:
    return sessions.sort("user_id", "started_at", "session_id", "_id").with_columns(
        session_number=pl.int_range(1, pl.len() + 1).over("user_id"),
        gap_prev_s=seconds(milliseconds(row_before("started_at", "user_id"), pl.col("started_at"))),
    )
