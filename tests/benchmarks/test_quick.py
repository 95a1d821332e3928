"""The guard against slowness: what it says is slower is, and nothing else."""

import pytest

from benchmarks import quick
from benchmarks.contenders import CONTENDERS


def test_what_a_million_costs_follows_from_few_and_many() -> None:
    start, each = 0.8, 20e-6
    few, many = (start + each * number for number in (quick.FEW, quick.MANY))
    assert quick.extrapolated(few, many) == pytest.approx(start + each * quick.MEANT)


def test_ours_that_takes_a_fifth_more_is_named() -> None:
    recorded = {"UserSessions": dict.fromkeys(quick.WHO, 1.0), "EventLogs": {"verify": 0.5}}
    now = {
        "UserSessions": dict.fromkeys(quick.WHO, 1.0) | {"postgres": 1.19, "both_first": 1.5, "ingestr": 9.0},
        "EventLogs": {"verify": 0.7, "both_first": 7.0},  # the latter was not recorded
    }
    assert quick.slower(now, recorded) == [
        "etl replicate, both stores, first, UserSessions: 50% slower than recorded (1.50 against 1.00 of what "
        "hand-written COPY takes)",
        "etl verify, both stores, EventLogs: 40% slower than recorded (0.70 against 0.50 of what hand-written COPY "
        "takes)",
    ]
    assert quick.slower(recorded, recorded) == []


def test_all_that_are_measured_quickly_are_contenders() -> None:
    assert set(quick.WHO) <= CONTENDERS.keys()
    assert quick.ratios({quick.YARDSTICK: 4.0, "verify": 6.0}) == {quick.YARDSTICK: 1.0, "verify": 1.5}
