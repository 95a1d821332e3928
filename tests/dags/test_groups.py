"""Parts for people's own DAGs: the DAG of docs/airflow.md is run, and others that are made of the parts."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.connections import connect
from pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
OTHERS = """
from airflow.sdk import dag
from pipeline.airflow import marts_group, replicate_group, report_task, sync_task

@dag(schedule=None)
def mine():
    copied = replicate_group("copy", collections=["SupportTickets"], default_args={"retries": 7})
    built = marts_group(marts=["ticket_resolution"])
    copied >> built >> sync_task("follow", retries=1)
    built >> report_task("page", language="ru", retries=4)

mine()
"""


@pytest.fixture
def load(
    load_dags: Callable[[], dict[str, Any]], airflow_connections: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], Any]:
    """Return a function that reads the one DAG of a file, as somebody's own Airflow does."""
    from airflow.dag_processing.dagbag import DagBag

    bundle = {"classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {"path": str(tmp_path)}}
    bundles = json.dumps([{"name": "mine", **bundle}])

    def load(file: Path) -> Any:
        monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", bundles)
        bag = DagBag(dag_folder=str(file))
        assert bag.import_errors == {}
        (dag,) = bag.dags.values()
        return dag

    return load


def test_the_dag_of_the_docs_copies_two_collections_and_runs_its_sql(
    run: Callable[..., Any], load: Callable[[Path], Any], settings: Settings, tmp_path: Path
) -> None:
    assert run("generate_data", scale=0.02, seed=7).state == "success"
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs/airflow.md").read_text(), re.DOTALL)
    (example,) = [one for one in examples if "replicate_group(" in one]
    file = tmp_path / "open_tickets.py"
    file.write_text(example)
    done = load(file).test()
    states = {one.task_id: one.state for one in done.get_task_instances()}
    assert set(states) == {
        *(f"replicate.{name}" for name in ("snapshot", "plan", "load", "prove", "publish", "verify")),
        "count_open_tickets",
    }
    assert set(states.values()) == {"success"}
    with connect(settings) as connections:
        tickets = connections.mongo.database["SupportTickets"]
        expected = {
            one: tickets.count_documents({"status": "open", "issue_type": one})
            for one in tickets.distinct("issue_type")
        }
        found = connections.postgres.rows("SELECT issue_type, tickets FROM team.open_tickets")
        assert dict(found) == {name: count for name, count in expected.items() if count}
        shown = connections.postgres.rows("SELECT DISTINCT collection FROM etl.published")
        assert {name for (name,) in shown} == {"SupportTickets", "UserSessions"}


def test_parts_have_our_options_unless_their_dag_says_otherwise(load: Callable[[Path], Any], tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OTHERS)
    dag = load(file)
    options = {task.task_id: task.partial_kwargs if task.is_mapped else vars(task) for task in dag.tasks}
    assert set(options) == {
        *(f"copy.{name}" for name in ("snapshot", "plan", "load", "prove", "publish", "verify")),
        *(f"marts.{name}" for name in ("open_run", "load.ticket_changes", "load.ticket_resolution", "publish")),
        "follow",
        "page",
    }
    retries = {"copy": 7, "marts": 2, "follow": 1, "page": 4}
    for name, given in options.items():
        assert given["retries"] == retries[name.partition(".")[0]]
        assert given["retry_policy"] is not None and given["weight_rule"] == "absolute"
    assert dag.get_task("marts.open_run").upstream_task_ids == {"copy.verify"}
    assert dag.get_task("follow").upstream_task_ids == {"marts.publish"}
    assert dag.get_task("page").upstream_task_ids == {"marts.publish"}
