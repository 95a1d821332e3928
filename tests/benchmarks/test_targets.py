from typing import Any

import pytest

from benchmarks import targets
from benchmarks.measure import measure
from benchmarks.speed import CPU, ratios
from benchmarks.targets import Target, outcomes


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold what is tried here against bounds of its own: ours change with what we aim at."""
    bounds = ("both_first", "floor"), ("both_again", "both_first")
    ours = tuple(Target("", "UserSessions", measured, to, most=1.5) for measured, to in bounds)
    monkeypatch.setattr(targets, "TARGETS", ours)


def _contender(documents: int, *seconds: float) -> dict[str, Any]:
    runs = [
        {"round": number, "documents": documents, "wall_s": wall, "cpu_s": wall, "servers_cpu_s": 1.0, "exit_code": 0}
        for number, wall in enumerate(seconds, start=1)
    ]
    return {"title": "", "runs": runs}


def _result(**contenders: dict[str, Any]) -> dict[str, Any]:
    return {"documents": 1000, "commit": "abc", "contenders": contenders}


def test_ratios_are_paired_by_round_and_a_failed_run_is_left_out() -> None:
    result = _result(ingestr=_contender(1000, 4.0, 9.0, 10.0), postgres=_contender(1000, 2.0, 3.0, 2.0))
    result["contenders"]["postgres"]["runs"][2]["exit_code"] = 1
    assert ratios(result, "ingestr", "postgres") == [2.0, 3.0]
    assert ratios(result, "ingestr", "postgres", CPU) == [5 / 3, 10 / 4]


def test_one_that_copied_fewer_documents_is_compared_per_document() -> None:
    result = _result(dlt_objects=_contender(100, 4.0), postgres=_contender(1000, 2.0))
    assert ratios(result, "dlt_objects", "postgres") == [20.0]


def test_a_target_is_met_or_missed_by_a_factor_and_what_was_not_measured_is_left_out() -> None:
    first = _result(floor=_contender(1000, 2.0), both_first=_contender(1000, 4.0), both_again=_contender(1000, 4.0))
    found = outcomes({"UserSessions": [first]})
    assert [(one.met, one.margin) for one in found] == [(False, 0.75), (True, 1.5)]


def test_of_several_sessions_the_last_that_has_both_sides_counts_and_none_are_mixed() -> None:
    first = _result(floor=_contender(1000, 2.0), both_first=_contender(1000, 4.0), both_again=_contender(1000, 4.0))
    later = _result(floor=_contender(1000, 1.0), both_first=_contender(1000, 1.0)) | {"commit": "def"}
    last = _result(both_again=_contender(1000, 9.0))
    found = outcomes({"UserSessions": [first, later, last]})
    assert [(one.commit, one.margin) for one in found] == [("def", 1.5), ("abc", 1.5)]


def test_a_whole_process_is_measured_with_the_memory_of_its_children(tmp_path: Any) -> None:
    grow = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = b\"x\" * 150_000_000'])"
    measured, said = measure(["python3", "-c", grow + "; print('done')"], {}, tmp_path)
    assert (measured.exit_code, said) == (0, "done\n")
    assert measured.peak_rss_mib == pytest.approx(155, abs=25)
    assert measured.wall_s >= measured.cpu_s / 4 > 0
