"""The figures for Prometheus: its own parser reads them, and they are those of the books."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.text.prometheus import Metric, Sample, as_text
from tests.pipeline.conftest import Etl
from tests.pipeline.lab import Lab

BOARD = Path(__file__).parents[3] / "docs" / "grafana-board.json"
Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def _read(text: str) -> Figures:
    families = list(text_string_to_metric_families(text))
    assert all(one.documentation and one.type == "gauge" for one in families)
    samples = [sample for one in families for sample in one.samples]
    found = {(one.name, frozenset(one.labels.items())): one.value for one in samples}
    assert len(found) == len(samples)
    return found


def _one(found: Figures, metric: str, /, **labels: str) -> float:
    return found[metric, frozenset(labels.items())]


@pytest.fixture(scope="module")
def copied(lab: Lab) -> Lab:
    lab.fill(defects=0.1, UserSessions=200, SupportTickets=50)
    return lab


def test_they_are_what_the_books_say(copied: Lab, etl: Etl, tmp_path: Path) -> None:
    lab = copied
    assert _read(etl("metrics")[1]) == {("etl_books_present", frozenset()): 0}
    for command in (["replicate", "--allow-missing"], ["marts", "session_facts"], ["verify"]):
        code, _, err = etl(*command)
        assert code == 0, err
    code, out, err = etl("metrics")
    assert code == 0, err
    found = _read(out)
    for target, ask in (("postgres", lab.postgres), ("clickhouse", lab.clickhouse)):
        shows = {"name": "UserSessions", "kind": "collection", "target": target}
        rows = ask("SELECT count(*) FROM replica.user_sessions_actions")[0][0]
        assert _one(found, "etl_rows", **shows, table="user_sessions_actions") == rows
        assert 0 <= _one(found, "etl_lag_seconds", **shows) < 600
        assert _one(found, "etl_books_closed", collection="UserSessions", target=target) == 1
        assert _one(found, "etl_publish_unfinished", **shows) == 0
        mart = {"name": "session_facts", "kind": "mart", "target": target}
        assert _one(found, "etl_shown_timestamp_seconds", **mart) == _one(found, "etl_shown_timestamp_seconds", **shows)
        compared = {"collection": "UserSessions", "target": target, "of": "all"}
        assert _one(found, "etl_verification_proven", **compared) == 1
        assert _one(found, "etl_verification_documents", **compared, found="equal") == len(
            lab.postgres("SELECT 1 FROM replica.user_sessions")
        )
    refused = lab.postgres("SELECT count(*) FROM etl.quarantine WHERE collection = 'UserSessions'")[0][0]
    assert _one(found, "etl_quarantine_documents", collection="UserSessions") == refused > 0
    assert _one(found, "etl_quarantine_documents", collection="SearchQueries") == 0
    reasons = {
        (labels["collection"], labels["reason"]): int(value)
        for (name, pairs), value in found.items()
        if name == "etl_quarantine_reasons" and (labels := dict(pairs))
    }
    counted = lab.postgres(
        "SELECT collection, reason->>'rule', count(DISTINCT _id) FROM etl.quarantine, "
        "jsonb_array_elements(reasons) AS reason GROUP BY 1, 2"
    )
    assert reasons == {(collection, rule): count for collection, rule, count in counted}
    assert _one(found, "etl_run_status", kind="replicate", status="published") == 1
    assert _one(found, "etl_run_duration_seconds", kind="replicate") > 0
    assert _one(found, "etl_run_stage_seconds", kind="replicate", stage="publish") > 0
    assert _names_of_the_board() <= {name for name, _ in found}
    labels = {(name, label) for name, pairs in found for label, _ in pairs}
    assert _labels_of_the_board() <= labels
    told = json.loads(etl("metrics", "--json")[1])["metrics"]
    assert {one["name"] for one in told} == {name for name, _ in found}


def test_a_file_is_replaced_all_at_once(copied: Lab, etl: Etl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "etl.prom"
    file.write_text("old")
    before = file.stat().st_ino
    code, out, err = etl("metrics", "-o", str(file))
    assert (code, out) == (0, ""), err
    assert file.stat().st_ino != before
    assert file.stat().st_mode & 0o777 == 0o644
    assert [*tmp_path.iterdir()] == [file]
    text = file.read_text()
    assert _read(text)
    monkeypatch.setenv("ETL_POSTGRES_URI", "postgresql://etl@127.0.0.1:1/etl")
    assert etl("metrics", "-o", str(file))[0] == 2
    assert file.read_text() == text
    code, _, err = etl("metrics", "-o", str(tmp_path / "no" / "folder"))
    assert code == 2
    monkeypatch.undo()


def test_any_name_comes_through() -> None:
    odd = 'a "b" \\ c\nd {e="f"} \u20ac #'
    text = as_text([Metric("etl_rows", "With \\ and\nlines.", (Sample({"name": odd}, 0.1), Sample({}, 2.0)))])
    assert _read(text) == {("etl_rows", frozenset({("name", odd)})): 0.1, ("etl_rows", frozenset()): 2.0}


def test_no_panel_of_the_board_hides_another() -> None:
    board = json.loads(BOARD.read_text())
    places = [panel["gridPos"] for panel in board["panels"]]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def _names_of_the_board() -> set[str]:
    return {name for query in _questions_of_the_board() for name in re.findall(r"\betl_\w+", query)}


def _labels_of_the_board() -> set[tuple[str, str]]:
    asked = _questions_of_the_board()
    found = {(name, one) for query in asked for name, one in re.findall(r"label_values\((etl_\w+), *(\w+)\)", query)}
    chosen = [pair for query in asked for pair in re.findall(r"\b(etl_\w+)\{([^}]*)\}", query)]
    found |= {(name, label) for name, within in chosen for label in re.findall(r"(\w+) *[=!]", within)}
    assert len(found) > 10
    return found


def _questions_of_the_board() -> list[str]:
    board = json.loads(BOARD.read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += [one["definition"] for one in board["templating"]["list"] if "definition" in one]
    assert len(asked) > 10
    return asked
