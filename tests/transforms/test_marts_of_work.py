"""The marts of support, search and shop on frames written by hand, and what must add up whatever the rows are."""

import random
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from tests.transforms.mart_frames import MARTS, at, compute_from

DAY = timedelta(days=1)
Rows = list[tuple[Any, ...]]


# --- Support


def ticket(
    key: str, opened: str, solved: str | None = None, issue: str = "billing", messages: int = 0
) -> tuple[Any, ...]:
    status = "open" if solved is None else "closed"
    return (key, f"t{key}", "u", status, issue, messages, at(opened), at(solved or opened))


@pytest.mark.parametrize(
    ("messages", "waiting_since"),
    [
        ([], "12:00"),  # the opening itself
        ([("user", "12:05")], "12:00"),
        ([("agent", "11:00"), ("user", "12:05")], "12:00"),  # written before the opening: no answer
        ([("agent", "12:05")], None),
        ([("user", "12:01"), ("agent", "12:05"), ("user", "12:07"), ("user", "12:09")], "12:07"),
        ([("agent", "12:05"), ("user", "12:05")], "12:05"),  # of one moment, the later in the array was written later
        ([("user", "12:05"), ("agent", "12:05")], None),
        ([("agent", "12:00")], None),  # an agent opened it
        ([("agent", "12:00"), ("user", "12:05")], "12:05"),
    ],
)
def test_an_unresolved_ticket_waits_since_the_first_message_after_the_last_answer(
    messages: list[tuple[str, str]], waiting_since: str | None
) -> None:
    sent = [("1", sender, at(f"2024-05-01 {when}:00"), place) for place, (sender, when) in enumerate(messages)]
    opened = "2024-05-01 12:00:00"
    replica: dict[str, Rows] = {
        "support_tickets": [ticket("1", opened, messages=len(sent))],
        "support_tickets_messages": sent,
    }
    (found,) = compute_from(replica, as_of="2024-05-01 13:00:00")["ticket_resolution"].to_dicts()
    assert found["waiting_since"] == (waiting_since and at(f"2024-05-01 {waiting_since}:00"))
    assert (found["age_s"], found["resolution_basis"], found["reopen_count"]) == (3600.0, None, None)
    replica["support_tickets"] = [ticket("1", opened, "2024-05-01 12:30:00", messages=len(sent))]
    (solved,) = compute_from(replica)["ticket_resolution"].to_dicts()
    assert (solved["waiting_since"], solved["age_s"], solved["resolution_basis"]) == (None, None, "proxy")


def test_the_backlog_is_what_is_open_at_a_days_end_by_its_age() -> None:
    tickets = [
        ticket("1", "2024-05-01", "2024-05-01 23:59:59.999"),  # never open at a day's end
        ticket("2", "2024-05-01", "2024-05-02 00:00:00"),
        ticket("3", "2024-05-01"),
        ticket("4", "2024-05-04", "2024-05-09"),
    ]
    days = compute_from({"support_tickets": tickets}, as_of="2024-05-09 12:00:00")["support_efficiency_daily"]
    ages = [f"backlog_{name}_count" for name in ("under_1d", "1d_to_3d", "3d_to_7d", "over_7d")]
    assert days.select("created_count", "solved_count", "backlog_count", *ages).rows() == [
        (3, 1, 2, 2, 0, 0, 0),
        (0, 1, 1, 0, 1, 0, 0),
        (0, 0, 1, 0, 1, 0, 0),
        (1, 0, 2, 1, 0, 1, 0),
        (0, 0, 2, 0, 1, 1, 0),
        (0, 0, 2, 0, 1, 1, 0),
        (0, 0, 2, 0, 0, 2, 0),
        (0, 0, 2, 0, 0, 1, 1),
        (0, 1, 1, 0, 0, 0, 1),
    ]
    assert days["is_complete"].to_list() == [True] * 8 + [False]
    assert days["answered_pct"].to_list()[:2] == [0.0, None]


def test_who_waits_past_a_target_is_a_breach_and_who_is_too_young_is_not_counted() -> None:
    opened = (("1", "08", 0), ("2", "09", 1), ("3", "15", 2))
    tickets = [ticket(key, f"2024-05-01 {hour}:00:00", messages=sent) for key, hour, sent in opened]
    tickets.append(ticket("4", "2024-05-01 15:30:00", issue="refund"))
    answers = [("2", "agent", at("2024-05-01 10:00:00"))]
    answers += [("3", who, at("2024-05-01 15:00:00")) for who in ("user", "agent")]
    replica = {"support_tickets": tickets, "support_tickets_messages": answers}
    found = compute_from(replica, as_of="2024-05-01 16:00:00", support_sla={"": 7200.0, "refund": 60.0})
    columns = ["eligible_1h_count", "replied_within_1h_count", "eligible_8h_count", "replied_within_8h_count"]
    columns += ["sla_target_s", "sla_eligible_count", "sla_met_count", "sla_met_pct"]
    assert found["support_efficiency_daily"].select(columns).rows() == [
        (3, 2, 1, 0, 7200.0, 2, 1, 50.0),
        (0, 0, 0, 0, 60.0, 1, 0, 0.0),
    ]


# --- Searches


def search(key: str, text: str, after_s: float, user: str = "u", results: int = 1) -> tuple[Any, ...]:
    return (user, at("2024-05-01") + timedelta(seconds=after_s), results, text, key)


def test_what_is_typed_on_counts_once_and_what_is_searched_next_refines() -> None:
    queries = [
        search("1", "sh", 0),
        search("2", "shoe", 30),  # typed on: 30 seconds are within it
        search("3", "SHOES", 60.001),  # and this is not
        search("4", "boots", 360.001),  # 5 minutes later: refined
        search("5", "hat", 660.002),
        search("6", " Hat ", 661),  # the same term
        search("7", "boots", 0, user="v"),
    ]
    facts = compute_from({"search_queries": queries})["search_facts"]
    assert facts.select("_id", "search_term", "is_final", "is_refined", "next_term").rows() == [
        ("1", "sh", False, None, None),
        ("2", "shoe", True, True, "shoes"),
        ("3", "shoes", True, True, "boots"),
        ("4", "boots", True, False, None),
        ("5", "hat", True, False, None),
        ("6", "hat", True, False, None),
        ("7", "boots", True, False, None),
    ]


@pytest.mark.parametrize(
    ("typed", "term"),
    [
        ("  \N{FULLWIDTH LATIN CAPITAL LETTER S}hoe \t box\n", "shoe box"),
        ("STRASSE", "strasse"),
        ("straße", "strasse"),
        ("ΟΔΟΣ", "οδοσ"),
        ("οδος", "οδοσ"),
        ("ﬁx", "fix"),
        ("\u0390", "\u0390"),
        (" \u00a0 ", ""),
        ("é" * 601, "é" * 600),
    ],
)
def test_a_term_is_folded_as_unicode_says(typed: str, term: str) -> None:
    facts = compute_from({"search_queries": [search("1", typed, 0)]})["search_facts"]
    assert facts["search_term"].to_list() == [term]


def test_of_equally_many_next_terms_the_first_by_code_point_is_shown() -> None:
    texts = ["a", "ä", "a", "Z", "a", "z"]
    queries = [search(f"{n}", text, 60 * n, results=n % 2) for n, text in enumerate(texts)]
    found = compute_from({"search_queries": queries}, as_of="2024-05-01 12:00:00")
    terms = found["search_terms"].select(
        "search_term", "search_count", "zero_result_pct", "top_next_term", "top_next_count"
    )
    assert terms.rows() == [
        ("a", 3, 100.0, "z", 2),
        ("z", 2, 0.0, "a", 1),
        ("ä", 1, 0.0, "a", 1),
    ]
    (day,) = found["search_quality_daily"].drop("as_of").rows()
    assert day == (date(2024, 5, 1), 6, 0, 1, 3, 50.0, 5, 500 / 6, False)


# --- Reviews


def test_reviews_that_are_not_decided_are_in_no_rate_of_rejections() -> None:
    about = [("rejected", 1), ("approved", 0), ("pending", 0), ("new", 2)]
    reviews = [("u", at("2024-05-01"), 5, status, flags, "p") for status, flags in about]
    reviews.append(("u", at("2024-05-01 23:59:59.999"), 1, "pending", None, "p"))
    rows = compute_from({"moderation_queue": reviews})["moderation_daily"].drop("as_of").to_dicts()
    assert [(one["rating"], one["decided_pct"], one["reject_pct"], one["flagged_count"]) for one in rows] == [
        (1, 0.0, None, 0),
        (5, 50.0, 50.0, 2),
    ]
    assert rows[1]["other_count"] == 1
    assert (rows[1]["p50_decision_s"], rows[1]["p95_decision_s"], rows[1]["observed_decision_count"]) == (None, None, 0)


# --- Prices


def prices(*changes: tuple[str, str], key: str = "1", product: str = "p") -> dict[str, Rows]:
    items = [(key, place, at(when), Decimal(price)) for place, (when, price) in enumerate(changes)]
    return {"product_price_history": [(key, product, "EUR")], "product_price_history_price_changes": items}


def test_a_drop_is_held_against_the_lowest_price_of_the_30_days_before_it() -> None:
    changes = [
        ("2024-01-01", "10.00"),
        ("2024-03-01", "8.00"),
        ("2024-03-02", "12.00"),
        ("2024-04-01 10:00:00", "9.00"),
    ]
    columns = ["dropped_on", "price", "prior_price", "lowest_price_30d", "reduction_pct", "is_genuine", "history_days"]
    drops = compute_from(prices(*changes))["price_drops"].select(columns).rows()
    first = (date(2024, 3, 1), Decimal("8.00"), Decimal("10.00"), Decimal("10.00"), 20.0, True, 60)
    # The price of 8 was in force until the day of the drop less 30 began, and not a moment longer.
    assert drops == [first, (date(2024, 4, 1), Decimal("9.00"), Decimal("12.00"), Decimal("12.00"), 25.0, True, 91)]
    changes[2] = ("2024-03-02 00:00:00.001", "12.00")
    (_, second) = compute_from(prices(*changes))["price_drops"].select(columns).rows()
    assert second[3:6] == (Decimal("8.00"), -12.5, False)


def test_the_30_days_begin_at_midnight_of_the_reporting_zone() -> None:
    changes = [("2024-01-01", "8.00"), ("2024-03-01 23:30:00", "12.00"), ("2024-04-01 10:00:00", "9.00")]
    genuine = {
        zone: compute_from(prices(*changes), timezone=zone)["price_drops"]["is_genuine"].to_list()
        for zone in ("UTC", "Europe/Berlin")
    }
    assert genuine == {"UTC": [True], "Europe/Berlin": [False]}  # there it was the 2nd of March already


def test_prices_to_come_prices_of_0_and_equal_neighbours_are_no_drops() -> None:
    changes = [("2024-01-01", "10.00"), ("2024-01-02", "0.00"), ("2024-01-03", "10.00"), ("2024-12-01", "1.00")]
    assert compute_from(prices(*changes))["price_drops"].is_empty()
    changes[1] = ("2024-01-03", "5.00")  # of one moment with the next, which is further behind in the array
    assert compute_from(prices(*changes))["price_drops"].is_empty()


def test_of_documents_that_share_a_product_the_one_with_the_newest_change_counts() -> None:
    old, new = (
        prices(("2024-01-01", "10"), ("2024-01-02", "9")),
        prices(("2024-01-01", "10"), ("2024-01-03", "8"), key="2"),
    )
    both = {name: old[name] + new[name] for name in old}
    assert compute_from(both)["price_drops"]["price"].to_list() == [Decimal("8.00")]


# --- Recommendations


def test_lists_reach_the_active_cover_the_catalogue_and_are_acted_on() -> None:
    written = at("2024-05-01 12:00:00")
    acted = [("s1", written + DAY, "p1"), ("s2", written + DAY, "p9"), ("s2", written, "p2")]  # the last one not after
    actions = [(key, "view", when, place, product) for place, (key, when, product) in enumerate(acted)]
    replica: dict[str, Rows] = {
        "user_recommendations": [
            ("1", "hits", ["p1"], written),
            ("2", "misses", ["p2"], written),
            ("3", "late", ["p1"], at("2024-05-02")),
            ("4", "empty", [], written),
            ("5", "away", ["p3"], written),
        ],
        "user_sessions": [
            ("s1", "hits", written + DAY, None, 1, 1, "tv"),
            ("s2", "misses", written, None, 1, 2, "tv"),
            ("s3", "late", at("2024-04-30"), None, 1, 0, "tv"),
            ("s4", "empty", at("2024-04-30"), None, 1, 0, "tv"),
            ("s5", "nobody", at("2024-04-30"), None, 1, 0, "tv"),
        ],
        "user_sessions_actions": actions,
        "product_price_history": [("1", "p1", "EUR"), ("2", "p7", "EUR")],
        "product_price_history_price_changes": [(key, 0, at("2024-01-01"), Decimal(1)) for key in "12"],
    }
    days = compute_from(replica, as_of="2024-05-08 12:00:00")["recommendation_reach_daily"].drop("as_of").to_dicts()
    first, second = days[:2]
    users = ("active_user_count", "listed_user_count", "unknown_user_count", "reach_pct")
    assert [first[name] for name in users] == [4, 1, 1, None]  # a list written tomorrow: what was today is overwritten
    assert [second[name] for name in users] == [5, 3, 0, 60.0]
    assert [second[name] for name in ("known_product_count", "recommended_product_count")] == [2, 1]
    assert (first["catalogue_coverage_pct"], second["catalogue_coverage_pct"]) == (None, 50.0)
    hits = ("list_count", "hit_eligible_user_count", "hit_user_count", "hit_pct")
    assert [first[name] for name in hits] == [3, 2, 1, 50.0]
    assert [second[name] for name in hits] == [1, 0, 0, None]
    younger = compute_from(replica, as_of="2024-05-08 11:59:59")["recommendation_reach_daily"]
    assert younger["hit_eligible_user_count"].sum() == 0  # the 7 days are not over


@pytest.mark.parametrize(
    ("targets", "shown", "hit_pct"),
    [
        (("/cart", "buy"), "buy", None),  # actions name no products: that none was used is not known
        (("/cart", "p9"), "p9", 0.0),  # they do: another one was used
        (("p1", "buy"), "p1", 100.0),
    ],
)
def test_where_actions_name_no_products_no_hits_are_told(
    targets: tuple[str, ...], shown: str, hit_pct: float | None
) -> None:
    written = at("2024-05-01 12:00:00")
    replica: dict[str, Rows] = {
        "user_recommendations": [("1", "u", ["p1"], written)],
        "user_sessions": [("s", "u", written + DAY, None, 1, 2, "tv")],
        "user_sessions_actions": [("s", "view", written + n * DAY, n, one) for n, one in enumerate(targets, 1)],
        "product_price_history": [("1", "p1", "EUR"), ("9", "p9", "EUR")],
        "product_price_history_price_changes": [(key, 0, at("2024-01-01"), Decimal(1)) for key in "19"],
    }
    found = compute_from(replica, as_of="2024-05-10")
    first = found["recommendation_reach_daily"].row(0, named=True)
    assert found["recommendation_facts"]["acted_target"].to_list() == [shown]
    assert (first["hit_eligible_user_count"], first["hit_pct"]) == (1, hit_pct)


# --- Events


def events(*counts: int, kind: str = "login") -> Rows:
    first = datetime(2024, 5, 1)
    return [(at(str(first + n * DAY)), kind) for n, count in enumerate(counts) for _ in range(count)]


def test_a_day_is_unusual_by_the_14_days_before_it() -> None:
    usual = [10, 12] * 7
    rows = events(*usual, 11, 30, 0)
    days = compute_from({"event_logs": rows}, as_of="2024-05-17 12:00:00")["event_types_daily"]
    assert days["z_score"].is_null().to_list() == [True] * 14 + [False, False, True]
    found = days.tail(3).select("event_count", "is_unusual", "is_complete").rows()
    assert found == [(11, False, True), (30, True, True), (0, None, False)]  # the running day is not judged
    (z,) = days.filter(event_count=11)["z_score"]
    assert z == 0.0
    silent = compute_from({"event_logs": rows}, as_of="2024-05-18 12:00:00")["event_types_daily"]
    assert silent.filter(event_on=date(2024, 5, 17)).select("event_count", "share_pct").rows() == [(0, None)]


@pytest.mark.parametrize(("usual", "last", "is_unusual"), [(0, 9, False), (0, 10, True), (9, 0, False), (10, 0, True)])
def test_few_events_are_never_unusual(usual: int, last: int, is_unusual: bool) -> None:
    """One of the 14 days before has one event more than the others, so that any other number is far off."""
    rows = events(usual + 1, *[usual] * 13, last)
    days = compute_from({"event_logs": rows}, as_of="2024-05-16")["event_types_daily"]
    (day,) = days.filter(event_on=date(2024, 5, 15)).to_dicts()
    assert abs(day["z_score"]) > 3 and day["is_unusual"] is is_unusual


def test_days_that_are_all_equal_have_no_score() -> None:
    days = compute_from({"event_logs": events(*[5] * 14, 9)}, as_of="2024-05-16")["event_types_daily"]
    assert days.filter(event_on=date(2024, 5, 15)).select("mean_14d_count", "z_score", "is_unusual").rows() == [
        (5.0, None, None)
    ]


# --- What must add up


@pytest.mark.parametrize("seed", range(3))
def test_the_books_of_users_and_tickets_balance(seed: int) -> None:
    draw = random.Random(seed)

    def moment() -> datetime:
        return at("2024-04-01") + timedelta(minutes=draw.randrange(60 * 24 * 60))

    tickets = []
    for n in range(200):
        opened = moment()
        status, issue = draw.choice(["open", "closed", "resolved"]), draw.choice(["billing", "refund"])
        tickets.append((f"{n}", f"t{n}", "u", status, issue, n % 2, opened, opened + draw.random() * 20 * DAY))
    found = compute_from(
        {
            "search_queries": [(f"u{draw.randrange(40)}", moment(), 1) for _ in range(400)],
            "support_tickets": tickets,
            "support_tickets_messages": [(f"{n}", "agent", moment()) for n in range(1, 200, 2)],
        },
        as_of="2024-05-20 12:00:00",
    )
    found = {name: found[name] for name in MARTS}  # what must hold of any rows is checked of all of them
    _check_lifecycle(found)
    _check_backlog(found["support_efficiency_daily"])


def _check_lifecycle(found: dict[str, pl.DataFrame]) -> None:
    weekly = found["user_activity_daily"].select("user_id", week_on=pl.col("activity_on").dt.truncate("1w")).unique()
    active = dict(weekly.group_by("week_on").len().rows())
    users = found["user_lifecycle_weekly"].pivot("status", index="week_on", values="user_count").sort("week_on")
    for week in users.to_dicts():
        assert week["new"] + week["returning"] + week["resurrecting"] == active.get(week["week_on"], 0)
        assert week["returning"] + week["dormant"] == active.get(week["week_on"] - 7 * DAY, 0)
    cohorts = found["user_retention_weekly"]
    assert cohorts.filter(week_number=0)["cohort_user_count"].sum() == weekly["user_id"].n_unique()
    assert cohorts["retained_user_count"].sum() == len(weekly)
    days = found["active_users_daily"]
    assert days["new_user_count"].sum() == weekly["user_id"].n_unique()
    assert days["dau_count"].sum() == len(found["user_activity_daily"])


def _check_backlog(days: pl.DataFrame) -> None:
    """Every day: backlog = the day's before + created + reopened - solved; and replied + unreplied = created."""
    before: dict[str, int] = {}
    for day in days.sort("created_on").to_dicts():
        change = day["created_count"] + (day["reopened_count"] or 0) - day["solved_count"]
        assert day["backlog_count"] == before.get(day["issue_type"], 0) + change
        assert day["answered_count"] + day["unanswered_count"] == day["created_count"]
        before[day["issue_type"]] = day["backlog_count"]
