"""Results are replaced by what is measured anew, and by nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import memory, plots, record, report

RUN = {"exit_code": 0, "wall_s": 2.0, "cpu_s": 1.0, "servers_cpu_s": 1.0, "peak_rss_mib": 100.0, "round": 1}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(report, "NOTES", tmp_path / "notes.md")
    monkeypatch.setattr(plots, "IMAGES", tmp_path / "images")
    return tmp_path


def _surroundings(commit: str) -> dict[str, Any]:
    machine = {"date": "2026-01-01", "cores": 2, "memory_gib": 4, "load_before": 0.1, "versions": {"Python": "3"}}
    return machine | {"commit": commit, "documents": 1000, "bson_bytes": 1_000_000}


def _session(commit: str, *names: str, failed: tuple[str, ...] = ()) -> dict[str, Any]:
    about = {"settings": "", "versions": ""}
    runs = {name: [RUN | {"documents": 1000, "exit_code": int(name in failed)}] for name in names}
    contenders = {name: about | {"title": name, "runs": runs[name]} for name in names}
    return _surroundings(commit) | {"contenders": contenders}


def _commits(sessions: list[dict[str, Any]]) -> list[str]:
    return [one["commit"] for one in sessions]


def test_a_session_replaces_those_whose_contenders_it_has_all_measured_anew() -> None:
    first, some = _session("a", "floor", "postgres", "ingestr"), _session("b", "floor", "postgres")
    kept = record.and_then([first], some)
    assert _commits(kept) == ["a", "b"]
    assert _commits(record.and_then(kept, _session("c", "floor", "postgres"))) == ["a", "c"]
    assert _commits(record.and_then(kept, _session("c", "floor", "postgres", "ingestr", "sling"))) == ["c"]
    assert _commits(record.and_then(kept, _session("c", "floor", "postgres", "ingestr", failed=("ingestr",)))) == [
        "a",
        "c",
    ]


def test_a_session_of_more_rounds_stays_beside_one_of_fewer() -> None:
    thrice, once = _session("a", "floor"), _session("b", "floor", "postgres")
    thrice["contenders"]["floor"]["runs"] *= 3
    assert _commits(record.and_then([thrice], once)) == ["a", "b"]
    assert _commits(record.and_then([once], thrice)) == ["b", "a"]


def test_other_collections_and_sizes_stay() -> None:
    record.save_speed(1000, "EventLogs", [_session("a", "floor", "postgres")])
    record.save_speed(500, "EventLogs", [_session("b", "floor")])
    record.save_speed(1000, "UserSessions", [_session("c", "floor", "postgres")])
    record.save_speed(1000, "EventLogs", [_session("d", "floor", "postgres")])
    shown = [
        (one["rows"], {name: _commits(sessions) for name, sessions in one["collections"].items()})
        for one in record.speeds()
    ]
    assert shown == [(1000, {"EventLogs": ["d"], "UserSessions": ["c"]}), (500, {"EventLogs": ["b"]})]


def test_the_report_names_the_commit_of_each_section_and_draws_the_most_complete(folder: Path) -> None:
    full, some = _session("aaa", "floor", "postgres", "ingestr"), _session("bbb", "postgres")
    record.save_speed(1000, "EventLogs", [full, some])
    step = RUN | {"others_cpu_s": 0.0}
    sizes = [
        _surroundings("ccc") | {"steps": {"both_first": step}},
        _surroundings("ddd") | {"documents": 2000, "steps": dict.fromkeys(memory.STEPS, step)},
    ]
    record.save("memory", {"memory": memory.MEMORY, "collection": memory.COLLECTION, "sizes": sizes})
    report.write()
    page = (folder / "page.md").read_text()
    assert [page.count(f"`{commit}`") > 0 for commit in ("aaa", "bbb", "ccc", "ddd")] == [True] * 4
    assert page.index("commit `aaa`") < page.index("speed-eventlogs-dark") < page.index("commit `bbb`")
    assert "| 1,000 | 1 | 100 MiB in 2 s | - | - | - |" in page
    assert "ingestr" in (folder / "images" / "speed-eventlogs-light.svg").read_text()
    assert (folder / "images" / "memory-dark.svg").exists()


def test_the_kept_results_can_be_read() -> None:
    """Those of the repository, each with what the report needs."""
    for path in (Path(record.__file__).with_name("results")).glob("speed-*.json"):
        for sessions in json.loads(path.read_text())["collections"].values():
            assert all(record.contenders(one) and one["commit"] and one["cores"] for one in sessions)
