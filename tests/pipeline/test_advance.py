"""The made-up world goes on in a real MongoDB: the same from the same state, also if it is cut short and done again."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument

from pipeline import advance as module
from pipeline.advance import Advanced, advance
from pipeline.errors import UsageError
from pipeline.generate import MARKS, generate
from tests.pipeline.lab import Lab

WEEK = 7 * 86_400
RAW = bson.CodecOptions(document_class=RawBSONDocument)


@pytest.fixture
def begin(lab: Lab) -> Callable[..., None]:
    """Return a function that makes the world anew."""

    def begin(scale: float = 0.02, **more: Any) -> None:
        generate(lab.connections.mongo.database, lab.connections.entities, scale=scale, seed=5, replace=True, **more)

    return begin


def go_on(lab: Lab, seconds: float = WEEK) -> Advanced:
    return advance(lab.connections.mongo.database, lab.connections.entities, seconds)


def content(lab: Lab) -> dict[str, str]:
    """Return a hash of all bytes of each collection, in the order of the ids."""
    found = {}
    for name in lab.connections.entities:
        documents = lab.connections.mongo.database[name].with_options(codec_options=RAW).find().sort("_id")
        found[name] = hashlib.sha256(b"".join(bytes(one.raw) for one in documents)).hexdigest()
    return found


def test_a_week_and_another_week_are_the_same_each_time(lab: Lab, begin: Callable[..., None]) -> None:
    runs = []
    for _ in range(2):
        begin()
        before = {name: lab.collection(name).count_documents({}) for name in lab.connections.entities}
        first = go_on(lab)
        for one in first.collections:
            there = lab.collection(one.collection).count_documents({})
            assert there == before[one.collection] + one.inserted - one.deleted
        second = go_on(lab)
        runs.append((content(lab), [(one.inserted, one.changed, one.deleted) for one in second.collections]))
    assert runs[0] == runs[1]
    assert (first.since, first.until, second.until) == (
        datetime(2026, 6, 30, tzinfo=UTC),
        datetime(2026, 7, 7, tzinfo=UTC),
        datetime(2026, 7, 14, tzinfo=UTC),
    )
    of_a_day = {"$expr": {"$gt": ["$end_time", {"$add": ["$start_time", 86_400_000]}]}}
    assert lab.collection("UserSessions").count_documents(of_a_day) == 0  # lost ends do not come after weeks
    changed = {one.collection for one in first.collections if one.changed}
    assert changed >= {"SupportTickets", "ModerationQueue", "UserRecommendations", "ProductPriceHistory"}


@pytest.mark.parametrize("moment", ["_delete", "_change", "_insert", "note"])
def test_what_was_cut_short_is_ended_and_no_more(
    lab: Lab, begin: Callable[..., None], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Cut short after the fourth collection was deleted from, changed, filled, or marked."""
    begin()
    go_on(lab)
    whole = content(lab)
    begin()
    calls = 0
    place = module._Mark if moment == "note" else module
    honest = getattr(place, moment)

    def cut(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        found = honest(*arguments, **more)
        if calls == (11 if moment == "note" else 4):
            raise KeyboardInterrupt
        return found

    with monkeypatch.context() as patched:
        patched.setattr(place, moment, cut)
        with pytest.raises(KeyboardInterrupt):
            go_on(lab)
    assert content(lab) != whole
    assert go_on(lab).until == datetime(2026, 7, 7, tzinfo=UTC)
    assert content(lab) == whole


def test_the_world_begins_and_goes_on_where_one_says(lab: Lab, begin: Callable[..., None]) -> None:
    begin(until=date(2031, 3, 10))
    sent = [one["timestamp"] for one in lab.collection("EventLogs").find()]
    assert datetime(2030, 9, 11) <= min(sent).replace(tzinfo=None) < max(sent).replace(tzinfo=None)
    assert max(sent).replace(tzinfo=None) <= datetime(2031, 3, 10)
    assert go_on(lab).until == datetime(2031, 3, 17, tzinfo=UTC)
    assert lab.collection("EventLogs").count_documents({"timestamp": {"$gt": datetime(2031, 3, 10)}}) > 0


def test_broken_documents_are_no_hindrance(lab: Lab, begin: Callable[..., None]) -> None:
    begin(0.05, defects=0.5)
    assert sum(one.inserted for one in go_on(lab).collections) > 0


def test_only_what_was_generated_goes_on(lab: Lab, begin: Callable[..., None]) -> None:
    begin()
    lab.collection("SupportTickets").drop()
    lab.collection("SupportTickets").insert_one({"mine": 1})
    begun = content(lab)
    assert "SupportTickets" not in {one.collection for one in go_on(lab, 3 * WEEK).collections}
    assert content(lab)["SupportTickets"] == begun["SupportTickets"]


@pytest.mark.parametrize(("seconds", "sentence"), [(0, "1 second to 366 days"), (1e9, "366 days"), (WEEK, "nothing")])
def test_what_makes_no_sense_is_told(lab: Lab, seconds: float, sentence: str) -> None:
    lab.connections.mongo.database.drop_collection(MARKS)
    with pytest.raises(UsageError, match=sentence):
        go_on(lab, seconds)


def test_the_command_says_what_to_do_and_does_it(lab: Lab, etl: Callable[..., tuple[int, str, str]]) -> None:
    lab.connections.mongo.database.drop_collection(MARKS)
    code, _, said = etl("generate", "--advance", "7d")
    assert code == 2
    assert "run etl generate" in said
    assert etl("generate", "--scale", "0.002", "--replace")[0] == 0
    code, _, said = etl("generate", "--advance", "7d", "--seed", "3")
    assert code == 2
    assert "give it alone" in said
    assert "a time such as 7d or 12h, not '7 weeks'" in " ".join(etl("generate", "--advance", "7 weeks")[2].split())
    code, told, _ = etl("generate", "--advance", "1d", "--json")
    assert code == 0
    assert json.loads(told)["until"] == "2026-07-01T00:00:00+00:00"
    assert etl("generate", "--advance", "12h")[0] == 0
