"""What whoever operates Airflow sets by the environment or by a Variable: pools, timeouts and schedules."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pipeline.airflow import limits
from pipeline.errors import UsageError


def _options(dag: Any, name: str) -> dict[str, Any]:
    return {task.task_id: (task.partial_kwargs if task.is_mapped else vars(task)).get(name) for task in dag.tasks}


def test_tasks_use_pools_where_their_sizes_are_set_and_the_default_elsewhere(
    load_dags: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {one for dag in load_dags().values() for one in _options(dag, "pool").values()} == {"default_pool"}
    monkeypatch.setenv("ETL_MONGO_SLOTS", "3")
    monkeypatch.setenv("ETL_POSTGRES_SLOTS", "2")
    pools = {dag_id: _options(dag, "pool") for dag_id, dag in load_dags().items()}
    in_stores = {
        ("replicate", "publish"),
        *((name, one) for name in ("marts", "report", "maintenance") for one in pools[name]),
    }
    for dag_id, found in pools.items():
        for task_id, pool in found.items():
            assert pool == ("etl_postgres" if (dag_id, task_id) in in_stores else "etl_mongo"), (dag_id, task_id)
    assert {name: size for name, (size, _) in limits.slots().items()} == {"etl_mongo": 3, "etl_postgres": 2}


def test_what_publishes_goes_before_everything_that_waits(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        assert set(_options(dag, "weight_rule").values()) == {"absolute"}
        for task_id, weight in _options(dag, "priority_weight").items():
            assert (weight or 1) == (100 if task_id == "publish" else 1)


def test_timeouts_go_by_what_a_task_works_at_and_by_a_factor(
    load_dags: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _options(load_dags()["replicate"], "execution_timeout")
    assert before["snapshot"] < before["load"] < before["prove"] < before["verify"]
    monkeypatch.setenv("ETL_TIMEOUT_FACTOR", "2.5")
    assert _options(load_dags()["replicate"], "execution_timeout") == {name: 2.5 * one for name, one in before.items()}


@pytest.mark.parametrize("factor", ["0", "-1", "nan", "inf", "long"])
def test_a_factor_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, factor: str) -> None:
    monkeypatch.setenv("ETL_TIMEOUT_FACTOR", factor)
    with pytest.raises(UsageError, match=f"ETL_TIMEOUT_FACTOR is '{factor}'; it must be a number above zero"):
        limits.at_most(timedelta(hours=1))


@pytest.mark.parametrize("slots", ["0", "-1", "1.5", "many", "²"])
def test_a_size_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, slots: str) -> None:
    monkeypatch.setenv("ETL_POSTGRES_SLOTS", slots)
    with pytest.raises(UsageError, match=r"ETL_POSTGRES_SLOTS is .*; it must be a whole number above zero"):
        limits.slots()


@pytest.mark.parametrize("way", ["environment", "variable"])
def test_schedules_are_set_by_the_environment_or_a_variable(
    load_dags: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    prefix = "" if way == "environment" else "AIRFLOW_VAR_"
    assert {name: load_dags()[name].schedule for name in ("replicate", "sync")} == {
        "replicate": None,
        "sync": "*/5 * * * *",
    }
    monkeypatch.setenv(f"{prefix}ETL_REPLICATE_SCHEDULE", "@daily")
    monkeypatch.setenv(f"{prefix}ETL_SYNC_SCHEDULE", "none")
    assert {name: load_dags()[name].schedule for name in ("replicate", "sync")} == {"replicate": "@daily", "sync": None}


@pytest.mark.parametrize("given", ["often", "* * *", "@once in a while", "61 * * * *"])
@pytest.mark.parametrize(
    ("variable", "named"),
    [("ETL_SYNC_SCHEDULE", "ETL_SYNC_SCHEDULE"), ("AIRFLOW_VAR_ETL_SYNC_SCHEDULE", "the Variable etl_sync_schedule")],
)
def test_a_schedule_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, given: str, variable: str, named: str
) -> None:
    monkeypatch.setenv(variable, given)
    with pytest.raises(
        UsageError, match=rf"^{named} is .*; it must be a cron expression, a preset such as @hourly, or"
    ):
        limits.schedule("sync", None)
