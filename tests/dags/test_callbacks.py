"""Alerts of runs tell the truth, once: small DAGs with our defaults are run, and a real webhook takes what is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# What each of the DAGs below does is chosen by the conf of its run.
FILE = """
from datetime import timedelta
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException
from pipeline.airflow.defaults import defaults
from pipeline.errors import DataError

PARAMS = {"fails": [], "says": "partition {} is broken", "skip": False}

def work(params, number):
    if params["skip"]:
        raise AirflowSkipException("nothing to do")
    if number in params["fails"]:
        raise DataError(params["says"].format(number))

def made(name, loads, **chosen):
    @dag(name, schedule=None, params=PARAMS, **defaults(task_takes_at_most=timedelta(hours=1), **chosen))
    def made():
        @task
        def load(params, number):
            work(params, number)

        @task
        def after(params):
            work(params, -1)

        load.expand(number=list(range(loads))) >> after()
    return made()

plain = made("plain", 4, late_after=timedelta(hours=1))
often = made("often", 1, late_after=timedelta(hours=1), often=True)
"""


@pytest.fixture
def play(
    callbacks_reach_airflow: None,
    load_dags: Callable[[], Any],
    webhook: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., list[str]]:
    """Return a function that runs a DAG and returns what people were told meanwhile."""
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("AIRFLOW_CONN_ETL_ALERTS", webhook.url)
    (tmp_path / "made.py").write_text(FILE)
    bundle = {"classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {"path": str(tmp_path)}}
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([{"name": "made", **bundle}]))

    def play(name: str, **conf: Any) -> list[str]:
        before = len(webhook.bodies(0))
        run = DagBag(dag_folder=str(tmp_path)).dags[name].test(run_conf=conf)
        assert run.state == ("failed" if "fails" in conf else "success")
        told = webhook.bodies(0)[before:]
        assert all(one["run_id"] == run.run_id for one in told)
        return [one["text"].partition("\nrun ")[0] for one in told]

    return play


def test_many_failed_loads_are_one_alert(play: Callable[..., list[str]]) -> None:
    (told,) = play("plain", fails=[3, 0, 1])  # Airflow runs mapped tasks in no fixed order
    assert told in {
        f"[etl] plain load {one} failed: partition {one} is broken\nthe first of 3 tasks that failed"
        for one in (0, 1, 3)
    }
    assert play("plain", fails=[-1]) == ["[etl] plain after failed: partition -1 is broken"]
    assert play("plain") == []


def test_what_fails_again_and_again_is_told_when_it_changes_and_when_it_is_over(play: Callable[..., list[str]]) -> None:
    assert play("often") == []
    assert play("often", fails=[-1], says="12 of 100 are refused") == [
        "[etl] often after failed: 12 of 100 are refused"
    ]
    assert play("often", fails=[-1], says="13 of 120 are refused") == []
    assert play("often", skip=True) == []
    assert play("often", fails=[-1], says="Tickets was dropped") == ["[etl] often after failed: Tickets was dropped"]
    assert play("often") == ["[etl] often has recovered: it has succeeded again"]
    assert play("often") == []


def test_an_alert_that_nobody_took_is_told_again(
    play: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, webhook: Any
) -> None:
    with monkeypatch.context() as broken:
        broken.setenv("AIRFLOW_CONN_ETL_ALERTS", "http://127.0.0.1:1/hooks")
        assert play("often", fails=[-1], says="it is broken") == []
    assert play("often", fails=[-1], says="it is broken") == ["[etl] often after failed: it is broken"]


def test_reasons_that_take_turns_are_told_once_each(play: Callable[..., list[str]]) -> None:
    """Of two marts that are broken now the one and now the other is the first to fail."""
    play("often")
    for number in range(3):
        for says in ("it is broken", "it is gone"):
            told = play("often", fails=[-1], says=says)
            assert told == ([] if number else [f"[etl] often after failed: {says}"])
    assert play("often") == ["[etl] often has recovered: it has succeeded again"]
    assert play("often", fails=[-1], says="it is broken") == ["[etl] often after failed: it is broken"]
