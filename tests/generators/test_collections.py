"""What the columns of one document promise each other."""

from collections import Counter
from itertools import pairwise

import bson


def test_a_product_ends_at_its_current_price(made):
    for one in made["ProductPriceHistory"]:
        changes = one["price_changes"]
        assert changes[-1]["price"] == one["current_price"]
        assert all(before["changed_at"] < after["changed_at"] for before, after in pairwise(changes))
        assert all(change["price"].to_decimal().as_tuple().exponent == -2 for change in changes)
        assert all(change["price"].to_decimal() > 0 for change in changes)
    assert {one["currency"] for one in made["ProductPriceHistory"]} == {"EUR", "USD", "GBP", "JPY", "PLN", "BRL"}
    assert Counter(len(one["price_changes"]) for one in made["ProductPriceHistory"])[1] > 0


def test_actions_happen_during_the_visit_on_what_was_visited(made):
    for one in made["UserSessions"]:
        times = [action["at"] for action in one["actions"]]
        assert times == sorted(times)
        assert all(at >= one["start_time"] for at in times)
        if one["end_time"] is not None:
            assert one["end_time"] >= max([one["start_time"], *times])
        seen = {*one["pages_visited"], *(page.removeprefix("/product/") for page in one["pages_visited"])}
        assert {action["target"] for action in one["actions"]} <= seen
        assert one["pages_visited"]


def test_visits_differ(made):
    visits = made["UserSessions"]
    assert len({len(one["actions"]) for one in visits}) > 5
    assert {action["type"] for one in visits for action in one["actions"]} == {
        "view",
        "click",
        "scroll",
        "search",
        "add_to_cart",
        "purchase",
    }
    assert 0 < sum(one["end_time"] is None for one in visits) < 0.02 * len(visits)
    devices = {tuple(one["device"].values()) for one in visits}
    assert len(devices) > 10 and ("tablet", "Windows", "Safari") not in devices


def test_a_ticket_is_a_conversation_that_its_status_agrees_with(made):
    for one in made["SupportTickets"]:
        messages = one["messages"]
        senders = [message["sender"] for message in messages]
        times = [message["sent_at"] for message in messages]
        assert senders[0] == "user"
        assert times == sorted(times)
        assert 0 <= (times[0] - one["created_at"]).total_seconds() <= 3
        if one["status"] in ("resolved", "closed"):
            assert "agent" in senders
            assert one["updated_at"] >= times[-1]
        else:
            assert one["updated_at"] == times[-1]
            expected = "open" if "agent" not in senders else "waiting" if senders[-1] == "agent" else "in_progress"
            assert one["status"] == expected


def test_tickets_of_every_status_and_issue_exist(made):
    assert {one["status"] for one in made["SupportTickets"]} == {"open", "in_progress", "waiting", "resolved", "closed"}
    assert len({one["issue_type"] for one in made["SupportTickets"]}) == 6
    assert max(len(one["messages"]) for one in made["SupportTickets"]) > 8


def test_a_user_is_recommended_each_product_once(made):
    lists = [one["recommended_products"] for one in made["UserRecommendations"]]
    assert all(len(set(one)) == len(one) for one in lists)
    assert [] in lists


def test_reviews_are_rated_one_to_five_and_recent_ones_wait(made):
    reviews = made["ModerationQueue"]
    assert {one["rating"] for one in reviews} == {1, 2, 3, 4, 5}
    last_of = {one["moderation_status"]: one["submitted_at"] for one in reviews}
    assert last_of["pending"] > reviews[len(reviews) // 2]["submitted_at"]
    assert all(len(set(one["flags"])) == len(one["flags"]) for one in reviews)


def test_the_details_of_events_differ_in_shape_and_type(made):
    shapes = {one["event_type"]: frozenset(one["details"]) for one in made["EventLogs"]}
    assert len(set(shapes.values())) == 7
    types = {type(value) for one in made["EventLogs"] for value in _leaves(one["details"])}
    assert {str, int, float, bool, type(None), bson.ObjectId} <= types
    codes = {type(one["details"]["code"]) for one in made["EventLogs"] if one["event_type"] == "error"}
    assert {str, int} <= codes


def test_filters_differ_in_shape(made):
    assert len({frozenset(one["filters"]) for one in made["SearchQueries"]}) > 4
    assert {} in [one["filters"] for one in made["SearchQueries"]]


def _leaves(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]
