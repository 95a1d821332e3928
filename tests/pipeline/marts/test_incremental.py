"""Marts that are computed in part, after random changes, against all of them computed anew: cell by cell."""

import os
import random
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bson import Decimal128

from contracts.schema.registry import marts as known_marts
from pipeline.connections import TARGETS
from pipeline.errors import BooksOpenError
from pipeline.marts import basis, publishing
from pipeline.marts import build as marts
from pipeline.marts.inputs import Inputs
from pipeline.marts.run import Plan
from pipeline.marts.sources import with_their_marts
from pipeline.marts.trace import Trace
from pipeline.replication import replicate
from pipeline.replication.history import forget
from pipeline.replication.sync import sync
from pipeline.runs.lifecycle import abandon
from pipeline.runs.recovery import recover
from tests.pipeline.lab import Lab
from tests.pipeline.marts.test_marts import FIRST_DAY, SOURCES, _world

ROUNDS = int(os.environ.get("TEST_ROUNDS", "3"))
IN_PART = {
    *("session_facts", "user_activity_daily", "user_recency", "user_activity", "search_facts"),
    *("ticket_changes", "ticket_resolution", "review_facts", "recommendation_facts", "price_drops"),
}
# Where any row may change at any moment, something is always computed.
NEVER_STILL = {"session_facts", "ticket_resolution", "support_efficiency_daily", "funnel_daily"}
NEVER_STILL |= {"recommendation_facts", "recommendation_reach_daily"}
BUILT = tuple(sorted(known_marts()))
USERS = 120


def _documents(seed: int, size: int) -> dict[str, list[dict[str, Any]]]:
    """Return documents at the edges of what marts compute, of so many users that few changes touch few of them."""
    draw, found = random.Random(seed), _world(seed, size)
    for one in (one for some in found.values() for one in some if "user_id" in one):
        one["user_id"] = f"u{draw.randrange(USERS)}"
    # What ages is computed at each moment: of that there is to be little.
    for ticket in found["SupportTickets"]:
        ticket["status"] = draw.choice([ticket["status"], "closed", "closed"])
    for some in found["UserRecommendations"]:
        some["last_updated"] = draw.choice([some["last_updated"], *(FIRST_DAY + timedelta(n) for n in range(5))])
    return found


@pytest.fixture(scope="module")
def world(lab: Lab) -> Lab:
    for name, some in _documents(7, 300).items():
        lab.collection(name).drop()
        lab.collection(name).insert_many(some)
    replicate.replicate(lab.connections)
    marts.build(lab.connections, BUILT)
    return lab


def _computed(lab: Lab) -> dict[str, pl.DataFrame]:
    """Return all marts as they are computed whole, and publish nothing."""
    run = marts.open_run(lab.connections, BUILT, full=True)
    wanted = with_their_marts(lab.connections, BUILT)
    with ExitStack() as stack:
        inputs = Inputs(lab.connections, run, wanted, stack, Trace())
        found = {mart.name: pl.concat(piece.rows for piece in inputs.computed(mart)) for mart in wanted}
    abandon(lab.connections, run.id, run.targets, "it was but looked at")
    return found


def _assert_as_if_whole(lab: Lab) -> None:
    for name, wanted in _computed(lab).items():
        mart = known_marts()[name]
        expected = wanted.sort(mart.key)
        for target in TARGETS:
            found = lab.stored(target, mart.table, "marts")
            assert found.height == expected.height, (target, name)
            for column in expected.columns:
                wrong = found[column].ne_missing(expected[column])
                assert not wrong.any(), (target, name, column, found.filter(wrong), expected.filter(wrong))


def _changed(lab: Lab, draw: random.Random, number: int) -> None:
    """Let some documents come, go, and become others: their users, their days and their parts as well."""
    fresh = _documents(1_000 + number, 40)
    for name in draw.sample(SOURCES, draw.randint(1, 4)):
        collection = lab.collection(name)
        ids = [one["_id"] for one in collection.find({}, {"_id": 1})]
        for new in draw.sample(fresh[name], draw.randint(0, 3)):
            collection.insert_one(new)
        for one in draw.sample(ids, draw.randint(0, 2)):
            collection.delete_one({"_id": one})
        for one in draw.sample(ids, draw.randint(0, 3)):
            other = draw.choice(fresh[name]) | {"_id": one}
            collection.replace_one({"_id": one}, other)


# Where each round but the first is killed before it is done, by kill -9, and where once more: what was killed before
# the commit is begun anew, so the second kill finds as much to do.
KILLED = (("prepared", "after the commit"), ("before the commit", "a mart half applied"))


def test_after_random_changes_each_cell_is_what_it_would_be(world: Lab, cut_short: Callable[..., int]) -> None:
    draw, in_part, still = random.Random(5), set(), set()
    for number in range(ROUNDS):
        _changed(world, draw, number)
        sync(world.connections)
        for moment in KILLED[number % len(KILLED)] if number else ():
            assert cut_short("marts", moment, names=BUILT) == -9
        built = marts.build(world.connections, BUILT)
        in_part |= {one.name for one in built if one.plan.column}
        still |= {one.name for one in built if one.plan.stays}
        _assert_as_if_whole(world)
    assert in_part <= IN_PART and not still & NEVER_STILL
    assert ROUNDS < 20 or (in_part == IN_PART and still == {*BUILT} - NEVER_STILL)  # few rounds don't come to each
    assert world.leftovers() == []
    assert world.postgres("SELECT count(*) FROM etl.changed") == [(0,)]


@pytest.fixture
def one_day() -> None:
    """Wait for the next day, of UTC, rather than have it begin within the test."""
    if (left := 86_400 - time.time() % 86_400) < 60:
        time.sleep(left)


@pytest.mark.usefixtures("one_day")
def test_what_reads_nothing_that_came_out_otherwise_is_not_computed(world: Lab) -> None:
    marts.build(world.connections, BUILT)
    (session,) = world.collection("UserSessions").find({"pages_visited.2": {"$exists": True}}).limit(1)
    world.collection("UserSessions").update_one({"_id": session["_id"]}, {"$push": {"pages_visited": "/one/more"}})
    sync(world.connections)
    trace = Trace()
    built = {one.name: one for one in marts.build(world.connections, BUILT, trace=trace)}
    ahead = {"user_activity_daily", "session_facts", "user_activity"}
    follow = {"user_recency", "user_score_cuts", "active_users_daily", "user_lifecycle_weekly", "user_retention_weekly"}
    follow |= {"funnel_daily", "recommendation_reach_daily"}
    computed = {name for name in BUILT if f"compute {name}" in trace.watch.seconds}
    assert ahead <= computed
    assert computed.isdisjoint(follow)
    assert {name for name, one in built.items() if one.plan.follows} == follow
    assert not any(one.others for one in trace.reads if one.table == "marts.user_activity")
    _assert_as_if_whole(world)


def test_an_area_that_is_lost_is_not_taken_for_one_of_which_nothing_is_to_be_written(world: Lab) -> None:
    marts.build(world.connections, BUILT)
    world.collection("SearchQueries").delete_one({})
    sync(world.connections)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(publishing, "recover", lambda *_: {})
        built = marts.build(world.connections, BUILT)
    assert any(one.plan.stays for one in built)
    world.change_clickhouse(*(f"DROP DATABASE IF EXISTS staging_{run} SYNC" for run in world.leftovers()))
    assert recover(world.connections).keys() == set(BUILT)
    marts.build(world.connections, BUILT, full=True)
    _assert_as_if_whole(world)


def test_rows_that_somebody_takes_away_meanwhile_are_told_and_all_is_computed_as_is_said(world: Lab) -> None:
    marts.build(world.connections, BUILT)
    world.collection("SearchQueries").delete_one({})
    sync(world.connections)
    run = marts.open_run(world.connections, ["search_facts"])
    assert run.plans["search_facts"].base
    marts.load(world.connections, run, ["search_facts"])
    world.change_postgres("DELETE FROM marts.search_facts WHERE _id = (SELECT max(_id) FROM marts.search_facts)")
    with pytest.raises(BooksOpenError, match=r"was to have .* nothing was published; etl marts --full search_facts "):
        marts.publish(world.connections, run)
    marts.build(world.connections, ["search_facts"], full=True)
    marts.build(world.connections, BUILT)
    _assert_as_if_whole(world)


def test_the_docs_tell_of_each_mart_what_becomes_of_it_after_a_sync() -> None:
    told = re.findall(r"^\| `(\w+)` \| (in part|whole)\b", Path("docs/architecture.md").read_text(), re.MULTILINE)
    house = {name for name, mart in known_marts().items() if mart.home is None}
    assert {name for name, _ in told} == house
    assert {name for name, how in told if how == "in part"} == IN_PART


def _why(lab: Lab, **options: Any) -> str:
    """Build a mart, and return why it was computed and written whole; nothing if it was not."""
    (built,) = marts.build(lab.connections, ["search_facts"], **options)
    return "" if built.plan.base else built.plan.why


def test_what_is_not_known_is_computed_whole(world: Lab) -> None:
    marts.build(world.connections, ["search_facts"])
    assert _why(world) == ""
    assert _why(world, full=True) == "that was asked for"
    replicate.replicate(world.connections)
    assert "what was changed of SearchQueries is not known" in _why(world)
    assert "the reporting zone" in _why(Lab(replace(world.connections, timezone="Europe/Berlin"), world.settings))
    assert "the reporting zone" in _why(world)
    world.change_clickhouse("TRUNCATE TABLE marts.search_facts__data")
    assert "in clickhouse it has other rows than were published" in _why(world)
    marts.build(world.connections, ["search_facts"], ["postgres"])
    assert "by one run in each store" in _why(world)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(basis, "fingerprint", lambda _: "other")
        assert "code of marts was changed" in _why(world)
    assert "code of marts was changed" in _why(world)
    world.collection("SearchQueries").update_many({}, {"$set": {"user_id": "one"}})
    sync(world.connections)
    assert "rows depend on what was changed" in _why(world)
    assert _why(world) == ""


def test_a_day_that_begins_may_change_rows_that_no_document_does(world: Lab) -> None:
    names = ["user_activity", "search_facts"]
    built = [one.name for one in marts.build(world.connections, names)]
    earlier = (
        f"UPDATE etl.published SET cluster_time = cluster_time - ({2 * 86_400}::bigint << 32) WHERE collection IN "
    )
    world.change_postgres(f"{earlier} ({', '.join(map(repr, built))})")
    plans = {one.name: one.plan for one in marts.build(world.connections, names)}
    assert plans["search_facts"].stays
    assert plans["user_recency"].why == "a day has begun since, which may change any of its rows"
    assert plans["user_activity"].why.startswith("a day has begun")


def test_a_price_that_was_dated_ahead_comes_to_count_though_no_document_was_changed(world: Lab) -> None:
    prices = world.collection("ProductPriceHistory")
    drops = "SELECT price FROM marts.price_drops WHERE product_id = 'x'"

    def build() -> Plan:
        return next(one.plan for one in marts.build(world.connections, ["price_drops"]))

    def pass_by(hours: int, *names: str) -> None:
        """Let the clock of MongoDB be another one."""
        told = ", ".join(map(repr, names))
        later = f"UPDATE etl.published SET cluster_time = cluster_time + ({hours * 3_600}::bigint << 32)"
        world.change_postgres(f"{later} WHERE collection IN ({told})")

    build()
    now = datetime.now(UTC)
    ahead = now + timedelta(hours=1)
    asked = [(datetime(2024, 1, 1, tzinfo=UTC), "9.00"), (ahead, "7.00")]
    changes = [{"changed_at": at, "price": Decimal128(price)} for at, price in asked]
    about = {"product_id": "x", "current_price": Decimal128("9.00"), "currency": "EUR"}
    prices.insert_one(about | {"price_changes": changes})
    sync(world.connections)
    assert build().column == "product_id"
    assert world.postgres(drops) == []
    assert build().stays
    pass_by(2, *SOURCES)
    plan = build()
    # The world has prices that are asked from tomorrow on: shortly before midnight theirs come to count as well.
    soon = {"$elemMatch": {"changed_at": {"$gt": now, "$lte": now + timedelta(hours=2)}}}
    assert (plan.column, plan.keys) == ("product_id", len(prices.distinct("product_id", {"price_changes": soon})))
    assert world.postgres(drops) == [("7.00",)]
    assert build().stays
    pass_by(-2, *SOURCES, "price_drops")
    prices.delete_one({"product_id": "x"})
    sync(world.connections)
    assert build().column == "product_id"
    assert world.postgres(drops) == []


def test_who_is_to_be_forgotten_is_in_no_note_of_what_was_changed(world: Lab) -> None:
    marts.build(world.connections, BUILT)
    (ticket,) = world.collection("SupportTickets").find({"_id": {"$type": "objectId"}}).limit(1)
    world.collection("SupportTickets").update_one({"_id": ticket["_id"]}, {"$set": {"user_id": "another"}})
    sync(world.connections)
    assert world.postgres("SELECT count(*) FROM etl.changed WHERE former IS NOT NULL") == [(1,)]
    forget(world.connections, "SupportTickets", [str(ticket["_id"])])
    assert world.postgres("SELECT count(*) FROM etl.changed") == [(0,)]
    assert _why(world) == "what it was computed from is not known any more"
    assert _why(world) == ""
