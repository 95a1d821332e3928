"""The guard against slowness: its ratios follow from what was measured, and what it says is slower is."""

import pytest

from benchmarks import quick
from benchmarks.contenders import CONTENDERS
from benchmarks.targets import TARGETS

COSTS = {"UserSessions": dict.fromkeys((quick.YARDSTICK, *quick.OURS), 1.0), "EventLogs": {"verify": 0.5}}


def test_costs_are_told_by_what_reading_costs() -> None:
    rounds = [{quick.YARDSTICK: 4.0, "verify": 6.0}, {quick.YARDSTICK: 6.0, "verify": 9.0}]
    assert quick.by_yardstick(rounds) == {quick.YARDSTICK: 1.0, "verify": 1.5}


def test_ratios_of_a_million_follow_what_has_changed_and_others_stay_as_they_were() -> None:
    now = {"UserSessions": COSTS["UserSessions"] | {"verify": 1.1, "postgres": 2.0}}
    then = {"UserSessions": {"verify / first copy": 1.2, "ingestr / ours, PostgreSQL": 2.4}}
    (found,) = quick.estimates(now, COSTS, then).values()
    assert found == pytest.approx({"verify / first copy": 1.32, "ingestr / ours, PostgreSQL": 1.2})
    assert quick.estimates(now, {}, then) == then, "nothing was recorded"


def test_what_a_million_took_is_known_of_every_target() -> None:
    assert {(name, text) for name, of in quick.meant().items() for text in of} == {
        (one.collection, one.text) for one in TARGETS
    }


def test_ours_that_takes_a_fifth_more_is_named() -> None:
    now = {
        "UserSessions": COSTS["UserSessions"] | {"postgres": 1.19, "both_first": 1.5},
        "EventLogs": {"verify": 0.7, "both_first": 7.0},  # the latter was not recorded
    }
    assert quick.slower(now, COSTS) == [
        "etl replicate, both stores, first, UserSessions: 50% slower than recorded (1.50 against 1.00 of what only "
        "reading takes)",
        "etl verify, both stores, EventLogs: 40% slower than recorded (0.70 against 0.50 of what only reading takes)",
    ]
    assert quick.slower(COSTS, COSTS) == []


def test_all_that_are_measured_quickly_are_contenders() -> None:
    assert {quick.YARDSTICK, *quick.OURS, *quick.TIMES} <= CONTENDERS.keys()
