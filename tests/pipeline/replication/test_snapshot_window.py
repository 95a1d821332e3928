"""A copy that would outlive MongoDB's memory of the past is told before it begins."""

import logging

import pytest

from pipeline import control
from pipeline.replication import replicate
from pipeline.replication import snapshot_window as history
from pipeline.replication.snapshot_window import outlives_history
from pipeline.stores.mongo.session import SnapshotWindow
from tests.pipeline.lab import Lab


@pytest.fixture(scope="module", autouse=True)
def kept_books(lab: Lab) -> None:
    control.ensure_schema(lab.connections.postgres)


def test_a_copy_within_the_window_is_nothing_to_warn_of(lab: Lab) -> None:
    assert lab.connections.mongo.snapshot_window() == SnapshotWindow(3600)  # as the embedded server is set
    assert outlives_history(lab.connections, 30 * 10**9) is None


def test_a_longer_copy_is_told_with_what_to_set(lab: Lab) -> None:
    warning = outlives_history(lab.connections, 72 * 10**9)
    assert warning is not None
    assert "72.0 GB" in warning and "120 minutes" in warning and "60 minutes" in warning
    assert warning.endswith("minSnapshotHistoryWindowInSeconds=14400")


def test_the_last_copy_tells_how_fast_the_next_will_be(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.fill(SearchQueries=30)
    replicate.replicate(lab.connections, ["SearchQueries"])
    assert control.bytes_per_second(lab.connections.postgres) is None  # too little to tell
    lab.change_postgres("UPDATE etl.ledger SET bytes = 200000000")
    lab.change_postgres("UPDATE etl.runs SET started_at = now() - interval '100 s', finished_at = now()")
    assert control.bytes_per_second(lab.connections.postgres) == pytest.approx(2e6)  # both targets read it once
    assert outlives_history(lab.connections, 8 * 10**9) is not None
    assert outlives_history(lab.connections, 7 * 10**9) is None


def test_a_run_says_so_at_its_start(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(history, "_BYTES_PER_SECOND", 0.001)
    lab.change_postgres("UPDATE etl.ledger SET bytes = 1")
    with caplog.at_level(logging.WARNING):
        run = replicate.open_run(lab.connections, ["SearchQueries"], ["postgres"])
        replicate.plan(lab.connections, run)
    assert "minSnapshotHistoryWindowInSeconds" in caplog.text
