"""The made-up world goes on lawfully, and the same state and seed decide how."""

from copy import deepcopy
from datetime import datetime
from itertools import pairwise

import numpy as np
import pytest

from contracts.schema.registry import entities
from generators import World, generate
from generators.later import SOLVED, UNSOLVED, Step, changed, deleted, may_change
from generators.world import DAY, END, HOUR, Window, moments

WEEK = Window(END, END + 7 * DAY)
SINCE, UNTIL = datetime(2026, 6, 30), datetime(2026, 7, 7)
CHANGING = sorted(name for name, entity in entities().items() if entity.history or name == "UserSessions")


def applied(document, update):
    """Return a document as MongoDB would change it."""
    found = deepcopy(document) | update.get("$set", {})
    for name, item in update.get("$push", {}).items():
        found[name] = [*found[name], item]
    return found


@pytest.fixture(scope="module")
def went_on(contracts, world, made):
    """What may change of each collection, each with what becomes of it."""
    ends = {"UserSessions": lambda one: one["end_time"] is None}
    steps = {name: Step(contracts[name], world.at(WEEK.end), WEEK) for name in CHANGING}
    return {
        name: [
            (one, applied(one, update))
            for one in made[name]
            if ends.get(name, bool)(one) and (update := changed(step, one)) is not None
        ]
        for name, step in steps.items()
    }


@pytest.mark.parametrize("collection", CHANGING)
def test_what_was_changed_is_lawful_and_is_changed_in_the_window(contracts, went_on, problems, collection):
    assert went_on[collection]
    for old, new in went_on[collection]:
        assert not problems(contracts[collection], new)
        assert new["_id"] == old["_id"]
        times = [new.get(name) for name in ("end_time", "updated_at", "last_updated")]
        times += [items[-1][name] for items, name in ((new.get("price_changes"), "changed_at"),) if items]
        assert all(SINCE < at <= UNTIL for at in times if at is not None)


def test_a_tickets_status_follows_from_its_messages(went_on):
    turns = {(old["status"] in SOLVED, new["status"] in SOLVED) for old, new in went_on["SupportTickets"]}
    assert turns == {(False, True), (False, False), (True, True), (True, False)}
    for old, new in went_on["SupportTickets"]:
        assert new["messages"][: len(old["messages"])] == old["messages"]
        assert all(before["sent_at"] <= after["sent_at"] for before, after in pairwise(new["messages"]))
        if new["status"] in UNSOLVED:
            assert new["messages"][-1]["sender"] == ("agent" if new["status"] == "waiting" else "user")


def test_decisions_are_made_and_overturned_and_prices_move_on(went_on):
    turns = {(old["moderation_status"], new["moderation_status"]) for old, new in went_on["ModerationQueue"]}
    assert {("pending", "approved"), ("pending", "rejected"), ("approved", "rejected")} <= turns
    for _, new in went_on["ProductPriceHistory"]:
        assert new["price_changes"][-1]["price"] == new["current_price"]


def test_done_again_each_document_has_the_same_fate(contracts, world, made):
    step = Step(contracts["ModerationQueue"], world.at(WEEK.end), WEEK)
    for one in made["ModerationQueue"]:
        update = changed(step, one)
        if update is not None:
            again = changed(step, applied(one, update))
            assert again is None or again == update


@pytest.mark.parametrize("collection", sorted(entities()))
def test_new_documents_are_lawful_new_and_of_the_window(contracts, world, made, problems, collection):
    entity, before = contracts[collection], len(made[collection])
    rows = world.grown(entity, before, WEEK.end) - before
    batches = generate(entity, rows, world=world.at(WEEK.end), window=WEEK, before=before)
    new = [one for batch in batches for one in batch.documents]
    assert len(new) == rows
    assert not [problem for one in new for problem in problems(entity, one)]
    keys = {one[entity.key] for one in made[collection]}
    assert not keys & {one[entity.key] for one in new}
    for one in new:
        times = [at for at in one.values() if isinstance(at, datetime)]
        assert all(SINCE.timestamp() - 4 <= at.timestamp() <= UNTIL.timestamp() for at in times)


def test_as_much_is_new_as_was_in_the_last_week_before(contracts, world):
    entity, rows = contracts["EventLogs"], 10_000
    before = int((moments(np.linspace(0, 1, rows)) >= END - 7 * DAY).sum())
    assert world.grown(entity, rows, WEEK.end) - rows == pytest.approx(before, rel=0.02)
    days = [world.grown(entity, rows, END + day * DAY) for day in range(8)]
    assert days[0] == rows and len({after - one for one, after in pairwise(days)}) > 4  # each weekday has its own
    night, noon = (world.grown(entity, rows, END + hour * HOUR) - rows for hour in (4, 12))
    assert night < (noon - night) / 5


def test_prices_move_as_often_as_they_did_before(contracts, world):
    rows, month = 4_000, Window(END, END + 28 * DAY)
    entity, large = contracts["ProductPriceHistory"], World(world.seed, 50, 4_000)
    made = [one for batch in generate(entity, rows, world=large) for one in batch.documents]
    before = sum(
        change["changed_at"] > datetime(2026, 6, 2) for one in made for change in one["price_changes"][1:]
    )  # the 28 days
    of_weeks = sum(
        changed(Step(entity, large, Window(END + week * 7 * DAY, END + (week + 1) * 7 * DAY)), one) is not None
        for one in made
        for week in range(4)
    )
    rows_later = large.grown(entity, rows, month.end) - rows
    new = [
        one
        for batch in generate(entity, rows_later, world=large.at(month.end), window=month, before=rows)
        for one in batch.documents
    ]
    assert of_weeks == pytest.approx(before, rel=0.15)
    assert 0 < sum(len(one["price_changes"]) - 1 for one in new) < 0.1 * before


def test_what_happens_in_a_week_happens_in_its_days_or_hours_as_well(contracts, world):
    entity = contracts["SupportTickets"]

    def chance(span):
        return Step(entity, world, Window(END, END + span)).chance(0.35)

    assert chance(7 * DAY) == pytest.approx(0.35)
    assert 1 - (1 - chance(DAY)) ** 7 == pytest.approx(1 - (1 - chance(HOUR)) ** 168) == pytest.approx(0.35)


def test_some_are_deleted_whoever_asks_in_whichever_order(contracts, world, made):
    step = Step(contracts["EventLogs"], world.at(WEEK.end), WEEK)
    ids = [one["_id"] for one in made["EventLogs"]]
    gone = deleted(step, ids)
    assert 0.005 < len(gone) / len(ids) < 0.02
    assert deleted(step, reversed(ids)) == gone[::-1]


def test_events_and_searches_never_change(contracts, world):
    assert {may_change(Step(contracts[name], world, WEEK)) is None for name in ("EventLogs", "SearchQueries")} == {True}
