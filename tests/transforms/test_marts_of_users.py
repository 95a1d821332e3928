"""The marts of users on frames written by hand: sessions, active users, lifecycle, retention, the funnel and scores."""

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from tests.transforms.mart_frames import at, compute_from

DAY = timedelta(days=1)


def visit(
    key: str, user: str, start: str, took_s: float | None = None, pages: int = 1, actions: int = 0
) -> tuple[Any, ...]:
    end = None if took_s is None else at(start) + timedelta(seconds=took_s)
    return (key, user, at(start), end, pages, actions, "tv", f"s{key}")


def action(key: str, kind: str, when: str, place: int = 0) -> tuple[Any, ...]:
    return (key, kind, at(when), place)


def searches(*days: tuple[str, str]) -> dict[str, list[tuple[Any, ...]]]:
    """Return a replica in which users search at some moments, and do nothing else."""
    return {"search_queries": [(user, at(moment), 1) for user, moment in days]}


# --- Sessions


@pytest.mark.parametrize(
    ("took_s", "pages", "kinds", "state", "engaged", "bounce"),
    [
        (10, 1, (), "closed", False, True),  # more than 10 seconds, not 10
        (10.001, 1, (), "closed", True, False),
        (0, 2, (), "closed", True, False),
        (0, 0, ("purchase",), "closed", True, False),
        (0, 0, ("scroll",), "closed", False, True),
        (-1, 1, (), "invalid", None, None),
        (-1, 2, (), "invalid", True, None),
        (None, 1, (), "open", None, None),  # may still become engaged
        (None, 2, (), "open", True, None),
    ],
)
def test_a_session_is_engaged_or_a_bounce(
    took_s: float | None, pages: int, kinds: tuple[str, ...], state: str, engaged: bool | None, bounce: bool | None
) -> None:
    start = "2024-05-01 12:00:00"
    replica = {
        "user_sessions": [visit("1", "u", start, took_s, pages, len(kinds))],
        "user_sessions_actions": [action("1", kind, start) for kind in kinds],
    }
    (found,) = compute_from(replica, as_of="2024-05-01 12:30:00")["session_facts"].to_dicts()
    assert (found["state"], found["is_engaged"], found["is_bounce"]) == (state, engaged, bounce)
    assert found["duration_s"] == (took_s if state == "closed" else None)


@pytest.mark.parametrize(
    ("as_of", "state", "engaged"), [("12:35:00", "open", None), ("12:35:00.001", "timed_out", True)]
)
def test_a_session_without_an_end_times_out_half_an_hour_after_its_last_action(
    as_of: str, state: str, engaged: bool | None
) -> None:
    replica = {
        "user_sessions": [visit("1", "u", "2024-05-01 12:00:00")],
        "user_sessions_actions": [action("1", "scroll", "2024-05-01 12:05:00")],
    }
    (found,) = compute_from(replica, as_of=f"2024-05-01 {as_of}")["session_facts"].to_dicts()
    assert (found["state"], found["is_engaged"], found["span_s"], found["duration_s"]) == (state, engaged, 300.0, None)


def test_sessions_of_a_user_are_numbered_by_start_and_business_key() -> None:
    visits = [
        visit("c", "u", "2024-05-02"),
        visit("b", "u", "2024-05-01"),
        visit("a", "u", "2024-05-02"),
        visit("d", "v", "2024-05-03"),
    ]
    facts = compute_from({"user_sessions": visits})["session_facts"]
    assert facts.select("_id", "session_number", "gap_prev_s").rows() == [
        ("a", 2, 86_400.0),
        ("b", 1, None),
        ("c", 3, 0.0),
        ("d", 1, None),
    ]


def test_steps_within_a_millisecond_are_in_the_order_of_the_array() -> None:
    moment = "2024-05-01 12:00:00"
    actions = [
        *(action("1", kind, moment, place) for place, kind in enumerate(["view", "add_to_cart", "purchase"])),
        *(action("2", kind, moment, place) for place, kind in enumerate(["purchase", "add_to_cart", "view"])),
        *(action("3", kind, moment, place) for place, kind in enumerate(["add_to_cart", "view", "purchase"])),
    ]
    replica = {"user_sessions": [visit(key, "u", moment, 5, 1, 3) for key in "123"], "user_sessions_actions": actions}
    funnel = compute_from(replica)["funnel_daily"]
    columns = ["step", "entered_count", "reached_count", "previous_count", "conversion_from_previous_pct"]
    assert funnel.select(columns).sort("step").rows() == [
        ("add_to_cart", 3, 1, 3, 100 / 3),
        ("purchase", 3, 1, 1, 100.0),
        ("view", 3, 3, 3, 100.0),
    ]
    assert funnel.sort("step_number")["median_time_to_step_s"].to_list() == [0.0, 0.0, 0.0]


def test_a_funnel_with_an_open_session_is_not_complete() -> None:
    replica = {
        "user_sessions": [visit("1", "u", "2024-05-01 23:50:00"), visit("2", "v", "2024-05-02 00:01:00", 1)],
        "user_sessions_actions": [action(key, "view", f"2024-05-02 00:0{key}:00") for key in "12"],
    }
    funnel = compute_from(replica, as_of="2024-05-02 00:10:00")["funnel_daily"]
    assert funnel.filter(step="view").select("entered_on", "is_complete").rows() == [
        (date(2024, 5, 1), False),
        (date(2024, 5, 2), False),
    ]
    later = compute_from(replica, as_of="2024-05-03 00:00:00")["funnel_daily"]
    assert later["is_complete"].all()
    unreached = later.filter(step="purchase").select("reached_count", "median_time_to_step_s").rows()
    assert unreached == [(0, None), (0, None)]


# --- Active users


def test_windows_are_null_until_they_are_full_and_end_after_their_days() -> None:
    days = compute_from(searches(("u", "2024-05-01"), ("u", "2024-05-03")), as_of="2024-06-10")["active_users_daily"]
    found = {row["active_on"]: (row["dau_count"], row["wau_count"], row["mau_count"]) for row in days.to_dicts()}
    assert found[date(2024, 5, 6)] == (0, None, None)
    assert found[date(2024, 5, 7)] == (0, 1, None)
    assert found[date(2024, 5, 10)] == (0, 0, None)  # 7 days from the 4th on
    assert found[date(2024, 5, 28)] == (0, 0, 1)
    assert found[date(2024, 5, 30)] == (0, 0, 1)
    assert found[date(2024, 5, 31)] == (0, 0, 0)
    assert list(found) == [date(2024, 5, 1) + n * DAY for n in range(41)]
    assert days["is_complete"].to_list() == [True] * 40 + [False]
    assert days.filter(active_on=date(2024, 5, 31))["stickiness_pct"].to_list() == [None]


def test_days_are_those_of_the_reporting_zone_also_when_its_clock_is_changed() -> None:
    """On the last Sunday of March a day in Berlin has 23 hours, on that of October 25."""
    moments = ["2024-03-30 22:59:59", "2024-03-30 23:00:00", "2024-03-31 21:59:59", "2024-03-31 22:00:00"]
    moments += ["2024-10-26 22:00:00", "2024-10-27 22:59:59", "2024-10-27 23:00:00"]
    replica = searches(*((f"u{n}", moment) for n, moment in enumerate(moments)))
    found = compute_from(replica, as_of="2024-10-28 12:00:00", timezone="Europe/Berlin")
    days = found["active_users_daily"]
    active = days.filter(days["dau_count"] > 0).select("active_on", "dau_count").rows()
    assert active == [
        (date(2024, 3, 30), 1),
        (date(2024, 3, 31), 2),
        (date(2024, 4, 1), 1),
        (date(2024, 10, 27), 2),
        (date(2024, 10, 28), 1),
    ]
    assert len(days) == (date(2024, 10, 28) - date(2024, 3, 30)).days + 1
    utc = compute_from(replica, as_of="2024-10-28 12:00:00")["active_users_daily"]
    assert utc.filter(utc["dau_count"] > 0)["dau_count"].to_list() == [2, 2, 1, 2]


def test_activity_after_the_clock_has_rows_of_its_own() -> None:
    days = compute_from(searches(("u", "2024-05-01"), ("v", "2030-01-01")), as_of="2024-05-02")["active_users_daily"]
    assert days["active_on"].to_list() == [date(2024, 5, 1), date(2024, 5, 2), date(2030, 1, 1)]
    assert days["is_complete"].to_list() == [True, False, False]


# --- Lifecycle and retention

MONDAYS = [date(2024, 4, 29) + n * 7 * DAY for n in range(6)]


def test_a_user_is_new_returns_is_dormant_and_resurrects() -> None:
    replica = searches(
        ("u", "2024-04-29"),
        ("u", "2024-05-05 23:59:59.999"),
        ("u", "2024-05-06"),
        ("u", "2024-05-20"),
        ("v", "2024-05-06"),
    )
    weeks = compute_from(replica, as_of="2024-05-23")["user_lifecycle_weekly"]
    found = {status: weeks.filter(status=status)["user_count"].to_list() for status in weeks["status"].unique()}
    assert found == {
        "new": [1, 1, 0, 0],
        "returning": [0, 1, 0, 0],
        "resurrecting": [0, 0, 0, 1],
        "dormant": [0, 0, 2, 0],
    }
    new = weeks.filter(status="new")
    assert new["week_on"].to_list() == MONDAYS[:4]
    assert new["is_complete"].to_list() == [True, True, True, False]
    assert new["is_left_censored"].to_list() == [True, False, False, False]


def test_a_cohort_of_one_user() -> None:
    replica = searches(("u", "2024-05-05"), ("u", "2024-05-06"), ("u", "2024-05-12"), ("u", "2024-05-20"))
    cells = compute_from(replica, as_of="2024-05-26 23:59:59")["user_retention_weekly"]
    assert cells.drop("as_of").rows() == [
        (MONDAYS[0], 0, 1, 1, 1, 100.0, True),
        (MONDAYS[0], 1, 1, 1, 1, 100.0, True),
        (MONDAYS[0], 2, 1, 1, 0, 0.0, True),
        (MONDAYS[0], 3, 1, 0, 1, None, False),
    ]


# --- Scores


def test_equal_values_have_equal_scores() -> None:
    users = [(f"u{n}", f"2024-05-{20 if n < 6 else 20 + n}") for n in range(10)]
    found = compute_from(searches(*users), as_of="2024-05-31")
    scores = dict(found["user_activity"].select("user_id", "r_score").rows())
    assert [scores[f"u{n}"] for n in range(10)] == [2] * 6 + [4, 4, 5, 5]
    assert found["user_activity"]["e_score"].to_list() == [3] * 10
    cuts = found["user_score_cuts"].filter(axis="recency").select("value", "user_count", "worse_user_count", "score")
    assert cuts.rows() == [(2, 1, 9, 5), (3, 1, 8, 5), (4, 1, 7, 4), (5, 1, 6, 4), (11, 6, 0, 2)]


@pytest.mark.parametrize("away", range(10))
def test_who_came_today_is_not_dormant_however_many_did(away: int) -> None:
    """The best value of all is the middle of those who have it: nobody with it is below 3."""
    users = [(f"u{n}", "2024-05-01" if n < away else "2024-05-31") for n in range(10)]
    found = compute_from(searches(*users), as_of="2024-05-31 12:00:00")["user_activity"]
    today = found.filter(recency_days=0)
    assert today["r_score"].min() >= 3  # type: ignore[operator]
    assert set(today["segment"]) <= {"champions", "loyal", "promising", "attention"}


def test_who_came_within_a_week_is_not_dormant_where_most_came_later_still() -> None:
    users = [(f"u{n}", f"2024-05-{31 if n > 1 else 25 - n}") for n in range(20)]
    found = compute_from(searches(*users), as_of="2024-05-31 12:00:00")["user_activity"]
    assert found.filter(pl.col("recency_days") > 0).select("recency_days", "r_score", "segment").rows() == [
        (6, 1, "attention"),
        (7, 1, "dormant"),
    ]


def test_scores_of_users_who_all_differ_are_fifths() -> None:
    users = [(f"u{n}", f"2024-05-{10 + n}") for n in range(10)]
    found = compute_from(searches(*users), as_of="2024-05-31")["user_activity"]
    assert found["r_score"].to_list() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_the_last_28_days_include_today_and_not_the_day_before_them() -> None:
    replica = searches(*((("u", f"2024-05-{day}")) for day in ("01", "02", "28")), ("u", "2024-05-29"))
    (user,) = compute_from(replica, as_of="2024-05-29 12:00:00")["user_activity"].to_dicts()
    assert (user["recency_days"], user["frequency_28d"], user["active_day_count"]) == (0, 3, 4)
