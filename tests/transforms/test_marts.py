"""The marts on frames written by hand, every edge in one of them; the stores' SQL is compared elsewhere."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from contracts.schema.entity import TEXT_KEY_CHARACTERS, ContractError
from contracts.schema.registry import marts
from tests.transforms.mart_frames import READ, at, compute_from
from transforms.marts import function_of, in_order, sources

MARTS = sorted(marts())


def day(user: str, on: date, **counts: Any) -> dict[str, Any]:
    """Return a row of user_activity_daily in which all counts but the given ones are 0."""
    zeros = {name: 0 for name in marts()["user_activity_daily"].table.names if name.endswith(("_count", "_s", "_28d"))}
    return {**zeros, "user_id": user, "activity_on": on, "first_active_on": on, "previous_active_on": None, **counts}


def rows(frame: pl.DataFrame, *without: str) -> list[dict[str, Any]]:
    return frame.drop(*without, "as_of").to_dicts()


# ------------------------------------------------------------------------------------------------ every mart


@pytest.mark.parametrize("name", MARTS)
def test_nothing_gives_an_empty_mart(name: str) -> None:
    assert compute_from({})[name].is_empty()


@pytest.mark.parametrize("name", MARTS)
def test_reads_tables_or_marts_only(name: str) -> None:
    assert set(sources(marts()[name])) <= {*READ, *MARTS} - {name}


def test_marts_follow_what_they_read() -> None:
    some = [marts()[name] for name in ("user_activity", "user_activity_daily")]
    assert in_order(some) == (*reversed(some),)
    assert in_order(some[:1]) == (some[0],)
    assert sorted(mart.name for mart in in_order(marts().values())) == MARTS


def test_a_mart_without_transform_is_named() -> None:
    with pytest.raises(ContractError, match=r"needs a function 'sales' in transforms/marts/sales\.py"):
        function_of(replace(marts()["user_activity"], name="sales"))


# ------------------------------------------------------------------------------------------------ users


def test_a_session_counts_on_the_utc_day_of_its_start() -> None:
    days = compute_from(
        {
            "user_sessions": [
                ("1", "u", at("2024-02-29 23:59:59.999"), at("2024-03-01 00:10:00"), 2, 3, "mobile"),
                ("2", "u", at("2024-03-01 00:00:00"), None, 1, 0, "mobile"),
                ("3", "v", at("1969-12-31 23:59:59.999"), at("1969-12-31 23:59:59.999"), 0, 0, "mobile"),
            ],
            "user_sessions_actions": [("1", "purchase"), ("1", "purchase"), ("1", "teleport")],
        }
    )["user_activity_daily"]
    assert rows(days, "first_activity_at", "last_activity_at") == [
        day(
            "u",
            date(2024, 2, 29),
            session_count=1,
            session_duration_s=600.001,
            page_view_count=2,
            action_count=3,
            purchase_count=2,
            purchase_session_count=1,
        ),
        day(
            "u",
            date(2024, 3, 1),
            session_count=1,
            ongoing_session_count=1,
            page_view_count=1,
            first_active_on=date(2024, 2, 29),
            previous_active_on=date(2024, 2, 29),
        ),
        day("v", date(1969, 12, 31), session_count=1),
    ]


def test_every_kind_of_activity_makes_a_day() -> None:
    days = compute_from(
        {
            "user_sessions": [("1", "a", at("2024-05-01 08:00:00"), None, 0, 0, "tablet")],
            "search_queries": [
                ("b", at("2024-05-02 09:00:00"), 0),
                ("b", at("2024-05-02 07:00:00"), 7),
                ("b", at("2024-05-03"), 1),
            ],
            "support_tickets": [("1", "t", "c", "new", "billing", 0, at("2024-05-04"), at("2024-05-05"))],
            "moderation_queue": [("d", at("2024-05-05 23:59:59.999")), ("a", at("2024-05-01 07:00:00"))],
        },
        as_of="2024-07-01",
    )["user_activity_daily"]
    assert rows(days, "first_activity_at", "last_activity_at") == [
        day("a", date(2024, 5, 1), session_count=1, ongoing_session_count=1, review_count=1),
        day("b", date(2024, 5, 2), search_count=2, zero_result_search_count=1),
        day(
            "b",
            date(2024, 5, 3),
            search_count=1,
            first_active_on=date(2024, 5, 2),
            previous_active_on=date(2024, 5, 2),
        ),
        day("c", date(2024, 5, 4), ticket_count=1),
        day("d", date(2024, 5, 5), review_count=1),
    ]
    assert days.row(0, named=True)["first_activity_at"] == at("2024-05-01 07:00:00")
    assert days.row(0, named=True)["last_activity_at"] == at("2024-05-01 08:00:00")


def test_actions_belong_to_their_document() -> None:
    """Sessions are told apart by ``_id``; the mart doesn't even see their business key."""
    days = compute_from(
        {
            "user_sessions": [
                ("1", "u", at("2024-05-01 08:00:00"), None, 0, 1, "mobile"),
                ("2", "u", at("2024-05-01 08:00:00"), None, 0, 2, "mobile"),
            ],
            "user_sessions_actions": [("1", "add_to_cart"), ("2", "add_to_cart"), ("2", "purchase")],
        }
    )["user_activity_daily"]
    assert days.select("add_to_cart_count", "purchase_count", "purchase_session_count").rows() == [(2, 1, 1)]


def test_a_user_in_all() -> None:
    users = compute_from(
        {
            "user_sessions": [
                ("1", "u", at("2024-05-01 08:00:00"), at("2024-05-01 08:00:01"), 4, 1, "tablet"),
                ("2", "u", at("2024-05-01 09:00:00"), at("2024-05-01 09:00:00.001"), 0, 0, "mobile"),
                ("3", "u", at("2024-05-03 10:00:00"), None, 1, 0, "mobile"),
            ],
            "user_sessions_actions": [("1", "purchase")],
            "search_queries": [("u", at("2024-05-02"), 0), ("u", at("2024-05-02"), 3), ("u", at("2024-05-02"), 3)],
        }
    )["user_activity"]
    assert rows(users) == [
        {
            "user_id": "u",
            "first_activity_at": at("2024-05-01 08:00:00"),
            "last_activity_at": at("2024-05-03 10:00:00"),
            "active_day_count": 3,
            "session_count": 3,
            "ongoing_session_count": 1,
            "session_duration_s": 1.001,
            "mean_session_duration_s": 0.5005,
            "page_view_count": 5,
            "mean_page_view_count": 5 / 3,
            "action_count": 1,
            "add_to_cart_count": 0,
            "purchase_count": 1,
            "purchase_session_count": 1,
            "conversion_pct": 100 / 3,
            "search_count": 3,
            "zero_result_search_count": 1,
            "zero_result_search_pct": 100 / 3,
            "ticket_count": 0,
            "review_count": 0,
            "favourite_device_type": "mobile",
            "recency_days": 29,
            "frequency_28d": 0,
            "sessions_28d": 0,
            "intensity_28d": 0,
            "r_score": 3,
            "f_score": 3,
            "e_score": 3,
            "segment": "attention",
        }
    ]


def test_what_a_user_never_did_is_null_or_0() -> None:
    users = compute_from(
        {
            "search_queries": [("searcher", at("2024-05-02"), 1)],
            "moderation_queue": [("reviewer", at("2024-05-02"))],
            "user_sessions": [("1", "visitor", at("2024-05-02"), None, 0, 0, "tv")],
        }
    )["user_activity"]
    ratios = ["mean_session_duration_s", "mean_page_view_count", "conversion_pct", "zero_result_search_pct"]
    columns = ["user_id", "session_count", "session_duration_s", *ratios, "favourite_device_type"]
    assert users.select(columns).rows() == [
        ("reviewer", 0, 0.0, None, None, None, None, None),
        ("searcher", 0, 0.0, None, None, None, 0.0, None),
        ("visitor", 1, 0.0, None, 0.0, 0.0, None, "tv"),
    ]


@pytest.mark.parametrize(
    ("devices", "favourite"),
    [
        (["tablet", "mobile"], "mobile"),
        (["tablet", "mobile", "tablet"], "tablet"),
        (["ärm", "watch"], "watch"),  # by code point, not as a dictionary would
        (["mobile", "Mobile"], "Mobile"),
    ],
)
def test_ties_of_the_favourite_device_are_broken_by_code_point(devices: list[str], favourite: str) -> None:
    visits = [(str(n), "u", at("2024-05-01"), None, 0, 0, device) for n, device in enumerate(devices)]
    for order in (visits, visits[::-1]):
        assert compute_from({"user_sessions": order})["user_activity"]["favourite_device_type"].to_list() == [favourite]


def test_seconds_are_exact() -> None:
    """Polars divides by a constant less exactly than IEEE 754 and SQL do: wrong for every seventh of these."""
    durations = range(1, 5000)
    start = at("2024-05-01")
    visits = [(str(ms), f"{ms:04}", start, start + timedelta(milliseconds=ms), 0, 0, "tv") for ms in durations]
    found = compute_from({"user_sessions": visits})
    for seconds in (
        found["user_activity_daily"]["session_duration_s"],
        found["user_activity"]["session_duration_s"],
        found["user_activity"]["mean_session_duration_s"],
    ):
        assert seconds.to_list() == [ms / 1000 for ms in durations]


# ------------------------------------------------------------------------------------------------ tickets

OPENED = at("2024-05-01 12:00:00")


def ticket(key: str, status: str = "open", messages: int = 0, took_s: float = 3600, **other: Any) -> tuple[Any, ...]:
    opened = other.get("created_at", OPENED)
    issue_type, ticket_id = other.get("issue_type", "billing"), other.get("ticket_id", f"t{key}")
    return (key, ticket_id, "u", status, issue_type, messages, opened, opened + timedelta(seconds=took_s))


def message(key: str, sender: str, after_s: float) -> tuple[Any, ...]:
    return (key, sender, OPENED + timedelta(seconds=after_s))


def test_a_ticket_answered_and_resolved() -> None:
    tickets = compute_from(
        {
            "support_tickets": [ticket("1", "closed", messages=3, took_s=86400.5)],
            "support_tickets_messages": [message("1", "user", 0), message("1", "agent", 90), message("1", "agent", 60)],
        }
    )["ticket_resolution"]
    assert rows(tickets) == [
        {
            "_id": "1",
            "ticket_id": "t1",
            "user_id": "u",
            "status": "closed",
            "issue_type": "billing",
            "created_at": OPENED,
            "first_response_at": at("2024-05-01 12:01:00"),
            "resolved_at": at("2024-05-02 12:00:00.500"),
            "resolution_basis": "proxy",
            "reopen_count": None,
            "observed_since": None,
            "waiting_since": None,
            "age_s": None,
            "first_response_s": 60.0,
            "resolution_s": 86400.5,
            "message_count": 3,
            "user_message_count": 1,
            "agent_message_count": 2,
            "is_opened_by_agent": False,
            "is_answered": True,
            "is_resolved": True,
            "is_first_contact_resolved": False,
        }
    ]


@pytest.mark.parametrize(
    ("messages", "first_response_s"),
    [
        ([], None),
        ([("user", 5)], None),
        ([("agent", -1)], None),  # written before the ticket was opened: no response to it
        ([("agent", -1), ("user", 5), ("agent", 30)], 30.0),
        ([("user", 0), ("agent", 0)], 0.0),
        ([("agent", 0)], None),  # by which an agent opens it
        ([("agent", 0), ("user", 0), ("agent", 40)], 40.0),
        ([("agent", 0), ("agent", 0)], 0.0),
        ([("agent", 7.003), ("agent", 7.004)], 7.003),
    ],
)
def test_first_response(messages: list[tuple[str, float]], first_response_s: float | None) -> None:
    found = compute_from(
        {
            "support_tickets": [ticket("1", messages=len(messages))],
            "support_tickets_messages": [message("1", sender, after_s) for sender, after_s in messages],
        }
    )["ticket_resolution"].row(0, named=True)
    assert found["first_response_s"] == first_response_s
    assert found["is_answered"] == (first_response_s is not None)
    assert found["agent_message_count"] == sum(sender == "agent" for sender, _ in messages)


@pytest.mark.parametrize(
    ("status", "resolution_s"),
    [
        ("resolved", 1.5),
        ("closed", 1.5),
        ("open", None),
        ("waiting", None),
        ("Closed", None),
        ("escalated", None),
        ("", None),
    ],
)
def test_resolution(status: str, resolution_s: float | None) -> None:
    found = compute_from({"support_tickets": [ticket("1", status, took_s=1.5)]})
    assert found["ticket_resolution"]["resolution_s"].to_list() == [resolution_s]
    assert found["ticket_resolution"]["is_resolved"].to_list() == [resolution_s is not None]


def test_what_opens_a_ticket_is_no_reply_and_nobody_waits_for_one() -> None:
    sent = {
        "1": [("agent", 0)],
        "2": [("agent", 0), ("user", 60), ("agent", 90)],
        "3": [("agent", 0), ("user", 60)],
        "4": [("agent", 1)],
        "5": [("user", -1), ("agent", 0)],  # it answers what was written before
    }
    replica = {
        "support_tickets": [ticket(key, "closed", len(some), took_s=100) for key, some in sent.items()],
        "support_tickets_messages": [message(key, who, at) for key, some in sent.items() for who, at in some],
    }
    found = compute_from(replica, as_of="2024-05-01 23:00:00", support_sla={"": 3_600.0})
    columns = ["is_opened_by_agent", "first_response_s", "is_first_contact_resolved"]
    assert found["ticket_resolution"].select(columns).rows() == [
        (True, None, False),
        (True, 90.0, True),
        (True, None, False),
        (False, 1.0, True),
        (False, 0.0, True),
    ]
    (support,) = found["support_efficiency_daily"].to_dicts()
    counts = ("eligible_1h_count", "replied_within_1h_count", "sla_eligible_count", "sla_met_count", "answered_count")
    assert [support[name] for name in counts] == [2, 2, 2, 2, 3]
    assert support["first_contact_resolved_count"] == 3
    replica["support_tickets"] = [ticket(key, messages=len(some)) for key, some in sent.items()]
    waiting = compute_from(replica, as_of="2024-05-01 23:00:00")["ticket_resolution"]["waiting_since"].to_list()
    assert waiting == [None, None, OPENED + timedelta(seconds=60), None, None]


def test_two_documents_with_one_ticket_id_are_two_tickets() -> None:
    tickets = compute_from(
        {
            "support_tickets": [ticket("2", "closed", 1, ticket_id="t"), ticket("1", "closed", 2, ticket_id="t")],
            "support_tickets_messages": [message("1", "agent", 1), message("1", "agent", 2), message("2", "agent", 3)],
        }
    )["ticket_resolution"]
    columns = ["_id", "ticket_id", "first_response_s", "message_count", "is_first_contact_resolved"]
    assert tickets.select(columns).rows() == [("1", "t", 1.0, 2, False), ("2", "t", 3.0, 1, True)]


def test_a_lost_message_breaks_the_contract() -> None:
    """The parent's own count and the child rows are two witnesses, and the contract hears both."""
    with pytest.raises(Exception, match="messages_add_up"):
        compute_from(
            {"support_tickets": [ticket("1", messages=2)], "support_tickets_messages": [message("1", "user", 1)]}
        )["ticket_resolution"]


def test_a_day_of_support() -> None:
    answers = {"1": 10, "2": 20, "3": 40}
    days = compute_from(
        {
            "support_tickets": [
                ticket("1", "closed", 2, took_s=100),
                ticket("2", "resolved", 1, took_s=200),
                ticket("3", "waiting", 1),
                ticket("4", "escalated", 1),
                ticket("5", "open"),
            ],
            "support_tickets_messages": [
                *(message(key, "agent", after_s) for key, after_s in answers.items()),
                message("1", "agent", 50),
                message("4", "user", 50),
            ],
        },
        as_of="2024-05-01 23:00:00",
    )["support_efficiency_daily"]
    assert rows(days) == [
        {
            "created_on": date(2024, 5, 1),
            "issue_type": "billing",
            "ticket_count": 5,
            "gone_count": 0,
            "created_count": 5,
            "solved_count": 2,
            "reopened_count": None,
            "deleted_count": None,
            "backlog_count": 3,
            "backlog_under_1d_count": 3,
            "backlog_1d_to_3d_count": 0,
            "backlog_3d_to_7d_count": 0,
            "backlog_over_7d_count": 0,
            "backlog_basis": "proxy",
            "observed_since": None,
            "eligible_1h_count": 5,
            "replied_within_1h_count": 3,
            "eligible_8h_count": 5,
            "replied_within_8h_count": 3,
            "eligible_24h_count": 0,
            "replied_within_24h_count": 0,
            "sla_target_s": 86400.0,
            "sla_eligible_count": 0,
            "sla_met_count": 0,
            "sla_met_pct": None,
            "status_open_count": 1,
            "status_in_progress_count": 0,
            "status_waiting_count": 1,
            "status_resolved_count": 1,
            "status_closed_count": 1,
            "status_other_count": 1,
            "answered_count": 3,
            "unanswered_count": 2,
            "answered_pct": 60.0,
            "mean_first_response_s": 70 / 3,
            "median_first_response_s": 20.0,
            "p90_first_response_s": 36.0,
            "resolved_count": 2,
            "resolution_pct": 40.0,
            "mean_resolution_s": 150.0,
            "median_resolution_s": 150.0,
            "p90_resolution_s": 190.0,
            "first_contact_resolved_count": 1,
            "first_contact_resolution_pct": 50.0,
            "message_count": 5,
            "agent_message_count": 4,
            "mean_message_count": 1.0,
            "is_complete": False,
        }
    ]


def test_support_days_are_utc_days_by_issue_type() -> None:
    midnight = at("2024-05-02")
    last = midnight - timedelta(milliseconds=1)
    tickets = [
        ticket("1", created_at=last),
        ticket("2", created_at=midnight),
        ticket("3", created_at=midnight, issue_type="a new one"),
        ticket("4", created_at=midnight, issue_type=""),
    ]
    days = compute_from({"support_tickets": tickets}, as_of="2024-05-01")["support_efficiency_daily"]
    assert days.select("created_on", "issue_type", "ticket_count").rows() == [
        (date(2024, 5, 1), "billing", 1),
        (date(2024, 5, 2), "", 1),
        (date(2024, 5, 2), "a new one", 1),
        (date(2024, 5, 2), "billing", 1),
    ]


def test_without_answers_and_resolutions_there_are_no_times() -> None:
    days = compute_from({"support_tickets": [ticket("1"), ticket("2", "waiting")]})["support_efficiency_daily"]
    timed = [name for name in days.columns if name.endswith(("response_s", "resolution_s"))]
    assert len(timed) == 6
    assert days.select(*timed, "first_contact_resolution_pct").row(0) == (None,) * 7
    assert days.select("answered_pct", "resolution_pct").row(0) == (0.0, 0.0)


def test_quantiles_are_exact_beside_unanswered_tickets() -> None:
    """Polars' quantile of a group loses the last bit if the group has nulls."""
    days = compute_from(
        {
            "support_tickets": [ticket("1", messages=2), ticket("2", messages=1), ticket("3")],
            "support_tickets_messages": [
                *(message("1", who, 0) for who in ("user", "agent")),
                message("2", "agent", 0.001),
            ],
        },
        as_of="2024-05-01 23:00:00",
    )["support_efficiency_daily"]
    assert days["p90_first_response_s"].to_list() == [0.9 * 0.001]
    assert days["median_first_response_s"].to_list() == [0.0005]


def test_issue_types_too_long_for_a_key_are_cut() -> None:
    cut = "é" * TEXT_KEY_CHARACTERS
    tickets = [ticket("1", issue_type=cut + "x"), ticket("2", issue_type=cut + "yz"), ticket("3", issue_type=cut[1:])]
    found = compute_from({"support_tickets": tickets}, as_of="2024-05-01 23:00:00")
    days = found["support_efficiency_daily"]
    assert days.select("issue_type", "ticket_count").rows() == [(cut[1:], 1), (cut, 2)]
    assert found["ticket_resolution"]["issue_type"].to_list() == [cut + "x", cut + "yz", cut[1:]]
