"""What versions tell that documents have overwritten, on frames written by hand, and what must add up."""

import random
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from tests.transforms.mart_frames import at, compute_from

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SINCE = "2024-05-01"  # the first copy
Rows = list[tuple[Any, ...]]
Seen = tuple[str, str, str]  # of a ticket: when a copy first showed it, its status, its own last change


def tickets(*seen: Seen, key: str = "1", opened: str = "2024-04-30", gone: str | None = None) -> dict[str, Rows]:
    """Return a ticket and its versions; ``gone`` is when a copy found it deleted."""
    ends = [*(when for when, *_ in seen[1:]), gone]
    versions = [
        (
            key,
            at(when),
            end and at(end),
            status,
            at(changed),
            end is not None and end == gone,
            at(opened),
            "t",
            "billing",
        )
        for (when, status, changed), end in zip(seen, ends, strict=True)
    ]
    _, status, changed = seen[-1]
    present = [] if gone else [(key, "t", "u", status, "billing", 0, at(opened), at(changed))]
    return {"support_tickets": present, "support_tickets_versions": versions}


def together(*some: dict[str, Rows]) -> dict[str, Rows]:
    return {name: [row for one in some for row in one.get(name, [])] for name in {name for one in some for name in one}}


def computed(replica: dict[str, Rows], as_of: str = "2024-05-09 12:00:00", **settings: Any) -> dict[str, pl.DataFrame]:
    tables = ("support_tickets", "moderation_queue", "user_recommendations")
    return compute_from(replica, as_of, observed_since=dict.fromkeys(tables, at(SINCE)), **settings)


# --- Tickets

OPEN, SOLVED = ("2024-05-01", "open", "2024-04-30"), ("2024-05-03 12:00:00", "resolved", "2024-05-03 09:00:00")


@pytest.mark.parametrize(
    ("seen", "resolved_at", "basis", "reopened"),
    [
        ([OPEN], None, None, 0),
        ([OPEN, SOLVED], "2024-05-03 09:00:00", "observed", 0),
        # Closing what is resolved, or editing it, is no other resolution.
        ([OPEN, SOLVED, ("2024-05-05", "closed", "2024-05-04")], "2024-05-03 09:00:00", "observed", 0),
        # Its last change is before the copy that showed it open, so the application does not keep that: the copy tells.
        ([OPEN, ("2024-05-03 12:00:00", "closed", "2024-04-30")], "2024-05-03 12:00:00", "observed", 0),
        ([OPEN, ("2024-05-03 12:00:00", "closed", "2024-05-03 12:00:00.001")], "2024-05-03 12:00:00", "observed", 0),
        ([OPEN, SOLVED, ("2024-05-04", "waiting", "2024-05-03 20:00:00")], None, None, 1),
        (
            [OPEN, SOLVED, ("2024-05-04", "waiting", "2024-05-03 20:00:00"), ("2024-05-06", "closed", "2024-05-05")],
            "2024-05-05",
            "observed",
            1,
        ),
        # As it was first copied, whatever was edited later.
        ([("2024-05-01", "closed", "2024-04-30 18:00:00")], "2024-04-30 18:00:00", "proxy", 0),
        (
            [("2024-05-01", "closed", "2024-04-30 18:00:00"), ("2024-05-04", "resolved", "2024-05-03")],
            "2024-04-30 18:00:00",
            "proxy",
            0,
        ),
        ([("2024-05-01", "closed", "2024-04-30 18:00:00"), ("2024-05-04", "open", "2024-05-03")], None, None, 1),
    ],
)
def test_a_ticket_was_resolved_when_copies_show_it(
    seen: list[Seen], resolved_at: str | None, basis: str | None, reopened: int
) -> None:
    (found,) = computed(tickets(*seen))["ticket_resolution"].to_dicts()
    assert found["resolved_at"] == (resolved_at and at(resolved_at))
    assert (found["resolution_basis"], found["reopen_count"]) == (basis, reopened)
    assert found["observed_since"] == at(SINCE)
    assert (found["waiting_since"] is None) == found["is_resolved"]


def test_without_versions_the_present_ticket_is_all_that_is_known() -> None:
    (found,) = compute_from({"support_tickets": tickets(OPEN, SOLVED)["support_tickets"]})[
        "ticket_resolution"
    ].to_dicts()
    assert found["resolved_at"] == at("2024-05-03 09:00:00")
    assert (found["resolution_basis"], found["reopen_count"], found["observed_since"]) == ("proxy", None, None)


def test_the_days_of_a_ticket_that_is_reopened_and_one_that_is_deleted() -> None:
    again = ("2024-05-05 12:00:00", "open", "2024-05-05 10:00:00")
    closed = ("2024-05-07 12:00:00", "closed", "2024-05-07 10:00:00")
    replica = together(
        tickets(OPEN, SOLVED, again, closed, opened="2024-04-29"),
        tickets(
            ("2024-05-02 06:00:00", "open", "2024-05-02"), key="2", opened="2024-05-02", gone="2024-05-06 01:00:00"
        ),
        tickets(SOLVED, key="3", opened="2024-05-03", gone="2024-05-04"),  # gone, but it was solved before
    )
    found = computed(replica)
    assert found["ticket_resolution"]["_id"].to_list() == ["1"]
    days = found["support_efficiency_daily"]
    columns = ["created_count", "gone_count", "solved_count", "reopened_count", "deleted_count", "backlog_count"]
    assert days.select("created_on", *columns, "backlog_basis").rows() == [
        (date(2024, 4, 29), 1, 0, 0, None, None, 1, "proxy"),
        (date(2024, 4, 30), 0, 0, 0, None, None, 1, "proxy"),
        (date(2024, 5, 1), 0, 0, 0, 0, 0, 1, "observed"),
        (date(2024, 5, 2), 1, 1, 0, 0, 0, 2, "observed"),
        (date(2024, 5, 3), 1, 1, 2, 0, 0, 1, "observed"),
        (date(2024, 5, 4), 0, 0, 0, 0, 0, 1, "observed"),
        (date(2024, 5, 5), 0, 0, 0, 1, 0, 2, "observed"),
        (date(2024, 5, 6), 0, 0, 0, 0, 1, 1, "observed"),
        (date(2024, 5, 7), 0, 0, 1, 0, 0, 0, "observed"),
        (date(2024, 5, 8), 0, 0, 0, 0, 0, 0, "observed"),
        (date(2024, 5, 9), 0, 0, 0, 0, 0, 0, "observed"),
    ]
    ages = days.filter(created_on=date(2024, 5, 5)).select("backlog_3d_to_7d_count", "backlog_over_7d_count").row(0)
    assert ages == (2, 0)  # opened again it is as old as it is since its opening: 6 days, and the other one 3
    changes = found["ticket_changes"].filter(_id="1").select("number", "change", "basis").rows()
    assert changes == [
        (1, "created", None),
        *((n, change, "observed") for n, change in enumerate(("solved", "reopened", "solved"), start=2)),
    ]


def test_a_ticket_that_was_gone_for_a_time_was_never_gone() -> None:
    replica = tickets(OPEN, ("2024-05-05", "open", "2024-04-30"))
    first, second = replica["support_tickets_versions"]
    replica["support_tickets_versions"] = [(*first[:2], at("2024-05-03"), *first[3:5], True, *first[6:]), second]
    days = computed(replica)["support_efficiency_daily"]
    assert (days["backlog_count"].unique().to_list(), days["deleted_count"].sum()) == ([1], 0)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize("seed", range(2))
def test_past_days_stay_and_their_books_balance(seed: int, zone: str) -> None:
    """Each day a copy: what it tells of the days that were over by then is what the last one tells of them."""
    draw = random.Random(seed)
    first, copies, lives = at(SINCE), 14, list[dict[str, Any]]()
    frozen: dict[date, pl.DataFrame] = {}
    for copy in range(copies):
        now = first + copy * DAY + 6 * HOUR
        for life in lives:
            if life["gone"] is None and draw.random() < 0.3:
                _goes_on(life, now, draw)
        opened = [now - draw.random() * (20 if copy == 0 else 1) * DAY for _ in range(draw.randrange(1, 6))]
        lives += [
            {"key": f"{copy}.{n}", "opened": f"{one:%F %T}", "gone": None, "seen": [_seen(now, "open", one)]}
            for n, one in enumerate(opened)
        ]
        of_lives = [tickets(*one["seen"], key=one["key"], opened=one["opened"], gone=one["gone"]) for one in lives]
        found = computed(together(*of_lives), f"{now:%F %T}", timezone=zone)
        days = found["support_efficiency_daily"]
        reopened = days["reopened_count"].sum()
        assert reopened == found["ticket_changes"].filter(change="reopened").height
        _check_balance(days)
        for day, known in frozen.items():
            stays = days.filter(created_on=day).select(known.columns)
            assert stays.equals(known), (day, stays, known)
        frozen |= {
            one["created_on"].item(): one.select("created_count", "solved_count", "reopened_count", "backlog_count")
            for one in days.filter((pl.col("backlog_basis") == "observed") & pl.col("is_complete")).iter_slices(1)
        }
    assert len(frozen) >= copies - 2
    assert sum(one["reopened_count"].item() for one in frozen.values()) > 0


def _seen(now: datetime, status: str, changed: datetime) -> Seen:
    return f"{now:%F %T}", status, f"{changed:%F %T}"


def _goes_on(life: dict[str, Any], now: datetime, draw: random.Random) -> None:
    """Let a ticket be deleted, or its status change at some time of the day before the copy."""
    if draw.random() < 0.15:
        life["gone"] = f"{now:%F %T}"
    else:
        status = draw.choice(["open", "resolved", "closed", "waiting"])
        life["seen"].append(_seen(now, status, now - draw.random() * DAY))


def _check_balance(days: pl.DataFrame) -> None:
    before = 0
    for day in days.sort("created_on").to_dicts():
        came = day["created_count"] + (day["reopened_count"] or 0)
        left = day["solved_count"] + (day["deleted_count"] or 0)
        assert day["backlog_count"] == before + came - left
        assert day["created_count"] == day["answered_count"] + day["unanswered_count"] + day["gone_count"]
        before = day["backlog_count"]


# --- Reviews


def test_decisions_are_timed_by_the_copies_that_showed_them() -> None:
    def seen(key: str, *shown: tuple[str, str]) -> Rows:
        ends = [*(at(when) for when, _ in shown[1:]), None]
        return [(key, at(when), end, status, False) for (when, status), end in zip(shown, ends, strict=True)]

    shown = {
        "soon": [("2024-05-01", "pending"), ("2024-05-02", "approved")],
        "late": [("2024-05-01", "pending"), ("2024-05-03", "rejected"), ("2024-05-04", "approved")],
        "before": [("2024-05-01", "approved")],
        "open": [("2024-05-01", "pending"), ("2024-05-02", "rejected"), ("2024-05-03", "pending")],
        "again": [("2024-05-01", "approved"), ("2024-05-02", "pending"), ("2024-05-03", "rejected")],
    }
    reviews = [("u", at("2024-05-01"), 5, status[-1][1], 0, "p", key, "r") for key, status in shown.items()]
    versions = [row for key, some in shown.items() for row in seen(key, *some)]
    found = computed({"moderation_queue": reviews, "moderation_queue_versions": versions})
    facts = {one["_id"]: one for one in found["review_facts"].to_dicts()}
    assert {key: (one["decision_s"], one["decision_change_count"]) for key, one in facts.items()} == {
        "soon": (86_400.0, 0),
        "late": (172_800.0, 1),
        "before": (None, 0),
        "open": (None, 0),
        "again": (None, 1),  # when it was decided first nobody saw
    }
    (day,) = found["moderation_daily"].to_dicts()
    assert (day["observed_decision_count"], day["overturned_count"]) == (2, 2)
    assert (day["p50_decision_s"], day["p95_decision_s"]) == (129_600.0, 168_480.0)
    assert day["observed_since"] == at(SINCE)


# --- Recommendations


def test_a_hit_is_one_of_the_list_that_was_valid_then() -> None:
    """The product of the second list was seen while the first one was valid: that is no hit of either."""
    first, second = at("2024-05-01 06:00:00"), at("2024-05-04 06:00:00")
    versions = [
        ("1", at("2024-05-01 12:00:00"), at("2024-05-04 12:00:00"), "u", ["p1"], first),
        ("1", at("2024-05-04 12:00:00"), at("2024-05-06 12:00:00"), "u", ["p2"], second, True),
    ]
    actions = [("2024-05-02", "p2"), ("2024-05-05", "p1"), ("2024-05-05", "p3")]
    replica: dict[str, Rows] = {
        "user_recommendations_versions": versions,
        "user_sessions": [(f"{n}", "u", at(when), None, 1, 1, "tv") for n, (when, _) in enumerate(actions)],
        "user_sessions_actions": [(f"{n}", "view", at(when), 0, item) for n, (when, item) in enumerate(actions)],
        "product_price_history": [(key, key, "EUR") for key in ("p1", "p2")],
        "product_price_history_price_changes": [(key, 0, at("2024-01-01"), 1) for key in ("p1", "p2")],
    }
    found = computed(replica, "2024-05-20")
    facts = found["recommendation_facts"].select("listed_at", "valid_to", "is_eligible", "is_hit").rows()
    assert facts == [(first, second, True, False), (second, at("2024-05-06 12:00:00"), True, False)]
    replica["user_sessions_actions"].append(("0", "view", at("2024-05-02"), 1, "p1"))
    days = computed(replica, "2024-05-20")["recommendation_reach_daily"].head(7)
    assert days["hit_user_count"].to_list() == [1, 0, 0, 0, 0, 0, 0]
    assert days["recommended_product_count"].to_list() == [1, 1, 1, 1, 1, 0, 0]
    assert days["listed_user_count"].to_list() == [0, 1, 1, 1, 1, 0, 0]
    assert days["unknown_user_count"].sum() == 0


def test_a_list_that_was_gone_is_none_until_the_next_one() -> None:
    first, second, gone = at("2024-05-01"), at("2024-05-10"), at("2024-05-03 12:00:00")
    versions = [
        ("1", at("2024-05-01 12:00:00"), gone, "u", ["p"], first, True),
        ("2", at("2024-05-10 12:00:00"), None, "u", ["p"], second),
    ]
    when = [at("2024-05-02"), at("2024-05-05")]
    replica: dict[str, Rows] = {
        "user_recommendations_versions": versions,
        "user_sessions": [(f"{n}", "u", one, None, 1, 1, "tv") for n, one in enumerate(when)],
        "user_sessions_actions": [("1", "view", when[1], 0, "p")],
    }
    found = computed(replica, "2024-05-20")
    facts = found["recommendation_facts"].select("listed_at", "valid_to", "is_eligible", "is_hit").rows()
    assert facts == [(first, gone, True, False), (second, None, False, None)]
    days = found["recommendation_reach_daily"].select("reached_on", "listed_user_count", "reach_pct").rows()
    assert days[1:4] == [(date(2024, 5, 2), 1, 100.0), (date(2024, 5, 3), 0, 0.0), (date(2024, 5, 4), 0, 0.0)]
    assert days[9] == (date(2024, 5, 10), 1, 100.0)


def test_a_list_that_nobody_came_to_before_the_next_is_in_no_rate_and_users_count_once_a_day() -> None:
    written = [at(f"2024-05-0{day}") for day in range(1, 8)] + [at("2024-05-07 06:00:00"), at("2024-05-07 18:00:00")]
    shown = [one + timedelta(minutes=5) for one in written]
    ends = [*shown[1:], None]
    versions = [("1", since, until, "u", ["p"], one) for since, until, one in zip(shown, ends, written, strict=True)]
    when = [at("2024-05-07 07:00:00"), at("2024-05-07 20:00:00")]
    replica: dict[str, Rows] = {
        "user_recommendations_versions": versions,
        "user_sessions": [(f"{n}", "u", one, None, 1, 1, "tv") for n, one in enumerate(when)],
        "user_sessions_actions": [(f"{n}", "view", one, 0, "p") for n, one in enumerate(when)],
    }
    found = computed(replica, "2024-05-20")
    assert found["recommendation_facts"]["is_eligible"].to_list() == [False] * 7 + [True, True]
    hits = ("list_count", "hit_eligible_user_count", "hit_user_count", "hit_pct")
    days = found["recommendation_reach_daily"].select("reached_on", *hits).rows()
    assert days[5:7] == [(date(2024, 5, 6), 1, 0, 0, None), (date(2024, 5, 7), 3, 1, 1, 100.0)]


def test_what_users_had_before_copies_were_kept_is_not_known_and_later_it_is() -> None:
    """A user who is new has no list until it is written; of one from before, the older list is overwritten."""
    versions = [
        ("1", at("2024-05-01"), None, "old", ["p"], at("2024-04-30")),
        ("2", at("2024-05-04"), None, "new", ["p"], at("2024-05-03")),
    ]
    sessions = [(name, name, at("2024-04-29"), None, 1, 0, "tv") for name in ("old", "new")]
    replica = {"user_recommendations_versions": versions, "user_sessions": sessions}
    found = computed(replica, "2024-05-05")
    days = found["recommendation_reach_daily"].select("reached_on", "unknown_user_count", "reach_pct").rows()
    assert days[:4] == [
        (date(2024, 4, 30), 1, None),
        (date(2024, 5, 1), 0, 50.0),
        (date(2024, 5, 2), 0, 50.0),
        (date(2024, 5, 3), 0, 100.0),
    ]
