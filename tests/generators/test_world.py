"""Users, products and times: shared, unequal and rhythmic."""

from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from contracts.schema.entity import Entity
from contracts.schema.fields import identifier
from generators import World
from generators.world import END, START, moments

_SCRIPTS = (  # Greek, Cyrillic, Arabic, Kana, Han: first and last letter
    ("\u0370", "\u03ff"),
    ("\u0400", "\u04ff"),
    ("\u0600", "\u06ff"),
    ("\u3040", "\u30ff"),
    ("\u4e00", "\u9fff"),
)
FIRST, LAST = datetime(2026, 1, 1), datetime(2026, 6, 30)


def test_the_same_users_and_products_are_everywhere(made):
    users = {one["user_id"] for one in made["UserRecommendations"]}
    products = {one["product_id"] for one in made["ProductPriceHistory"]}
    for collection in ("UserSessions", "SupportTickets", "SearchQueries", "ModerationQueue"):
        assert {one["user_id"] for one in made[collection]} <= users
    assert {one["details"]["user_id"] for one in made["EventLogs"] if "user_id" in one["details"]} <= users
    assert {one["product_id"] for one in made["ModerationQueue"]} <= products
    assert {one for made_ in made["UserRecommendations"] for one in made_["recommended_products"]} <= products


def test_a_few_users_make_much_of_the_traffic(made):
    visits = sorted(Counter(one["user_id"] for one in made["UserSessions"]).values(), reverse=True)
    assert sum(visits[: len(visits) // 10]) > 0.3 * sum(visits)
    assert visits[len(visits) // 2] < visits[0] / 5


def test_nights_and_weekends_are_quiet(made):
    starts = [one["start_time"] for one in made["UserSessions"]]
    hours, days = Counter(one.hour for one in starts), Counter(one.weekday() for one in starts)
    assert hours[20] > 5 * hours[3]
    assert days[2] > 1.1 * days[5]


def test_everything_happens_in_the_half_year_before_the_end(made):
    assert FIRST <= min(one["start_time"] for one in made["UserSessions"]) < FIRST + timedelta(days=2)
    assert LAST - timedelta(days=1) < max(one["timestamp"] for one in made["EventLogs"]) <= LAST
    for one in made["SupportTickets"]:
        assert FIRST - timedelta(seconds=4) <= one["created_at"] <= one["updated_at"] <= LAST
    for one in made["UserSessions"]:
        assert all(action["at"] <= LAST for action in one["actions"]) and (one["end_time"] or LAST) <= LAST


def test_moments_cover_the_window_without_going_back():
    drawn = moments(np.linspace(0, 1, 1000))
    assert drawn[0] == START and drawn[-1] == END
    assert all(before < after for before, after in pairwise(drawn.tolist()))


@pytest.mark.parametrize(("rows", "users", "products"), [({}, 50, 50), ({"EventLogs": 2000}, 100, 80)])
def test_populations_grow_with_the_volume(contracts, rows, users, products):
    world = World.sized(contracts, rows, 0)
    assert (world.user_count, world.product_count) == (users, products)


def test_a_collection_keyed_by_user_has_enough_users(contracts):
    mine = Entity("UserProfiles", "Profiles.", "user_id", (identifier("user_id", "User."),))
    assert World.sized(contracts | {"UserProfiles": mine}, {"UserProfiles": 900}, 0).user_count == 900
    assert World.sized(contracts, {"ProductPriceHistory": 900}, 0).product_count == 900


def test_a_larger_world_begins_with_the_same_people():
    small, large = World(5, 100, 60), World(5, 1000, 600)
    assert (small.user_locales == large.user_locales[:100]).all()
    assert (small.user_tastes == large.user_tastes[:100]).all()
    assert (small.product_currencies == large.product_currencies[:60]).all()


def test_many_scripts_are_written(made):
    written = "".join(one["query_text"] for one in made["SearchQueries"])
    for first, last in _SCRIPTS:
        assert sum(first <= letter <= last for letter in written) > 20
