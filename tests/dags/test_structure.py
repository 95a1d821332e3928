"""What the DAGs are, without running them: they come up clean and fast, and are wired as their documentation says."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contracts.schema.registry import entities, marts
from transforms.marts import sources

ROOT = Path(__file__).parents[2]
HEAVY = ("polars", "pandas", "pyarrow", "pandera", "pymongo", "pymongoarrow", "adbc_driver_postgresql", "chdb", "numpy")
HEAVY += (
    "clickhouse_connect",
    "faker",
    "pipeline.replication.replicate",
    "contracts.schema",
    "transforms",
    "generators",
)
LOOK = f"""
import json, sys, time
from pathlib import Path
import airflow.sdk
from airflow.dag_processing.dagbag import DagBag
before, errors, seconds = set(sys.modules), {{}}, {{}}
for file in sorted(Path({str(ROOT / "dags")!r}).glob("*.py")):
    began = time.process_time()
    bag = DagBag(dag_folder=str(file))
    seconds[file.stem] = time.process_time() - began
    errors |= bag.import_errors
    assert len(bag.dags) == 1, file
print(json.dumps({{
    "errors": errors,
    "seconds": seconds,
    "heavy": sorted(set({HEAVY!r}) & (set(sys.modules) - before)),
}}))
"""


def test_dag_files_import_without_errors_or_heavy_modules_in_under_a_second() -> None:
    """Of the processor's time: what else the machine is busy with is nobody's fault.

    It makes that longer, too, by emptying the caches; so whoever is slow may try once more.
    """
    seen = _look()
    assert seen["errors"] == {}
    assert max(seen["seconds"].values()) < 1 or max(_look()["seconds"].values()) < 1
    assert seen["heavy"] == []


def _look() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, cwd=ROOT, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_each_file_holds_one_dag_of_its_name_and_explains_it(dags: dict[str, Any]) -> None:
    assert set(dags) == {path.stem for path in (ROOT / "dags").glob("*.py")}
    for name, dag in dags.items():
        assert Path(dag.fileloc).stem == name
        assert len(dag.doc_md) > 200
        assert dag.is_paused_upon_creation is False
        assert dag.description == dag.doc_md.splitlines()[0] and dag.tags > {"etl"}
        assert all(task.doc_md for task in dag.tasks)


CHAINS = {
    "generate_data": ["generate"],
    "replicate": ["snapshot", "plan", "load", "prove", "publish", "verify"],
    "report": ["report"],
    "sync": ["sync"],
    "verify": ["verify"],
}


def test_what_is_pruned_is_pruned_whatever_becomes_of_the_rest(dags: dict[str, Any]) -> None:
    dag = dags["maintenance"]
    assert {task.task_id for task in dag.tasks} == {"prune", "prune_airflow", "prune_logs"}
    assert not any(task.downstream_task_ids for task in dag.tasks)


def test_each_mart_is_a_task_of_its_name_after_those_that_it_reads(dags: dict[str, Any]) -> None:
    dag = dags["marts"]
    (group,) = [one for name, one in dag.task_group_dict.items() if name]
    assert group.group_id == "load"
    read = {name: {one for one in sources(mart) if one in marts()} for name, mart in marts().items()}
    assert any(read.values())
    before = {
        name: {one.removeprefix("load.") for one in dag.get_task(f"load.{name}").upstream_task_ids} for name in read
    }
    assert before == {name: {"open_run", *others} for name, others in read.items()}
    assert dag.get_task("publish").upstream_task_ids == {"open_run", *(f"load.{name}" for name in read)}
    assert len(dag.tasks) == len(read) + 2


@pytest.mark.parametrize("dag_id", CHAINS)
def test_tasks_are_wired_in_order(dags: dict[str, Any], dag_id: str) -> None:
    dag, chain = dags[dag_id], CHAINS[dag_id]
    assert {task.task_id for task in dag.tasks} == set(chain)
    assert [task.task_id for task in dag.topological_sort()] == chain
    for before, after in pairwise(chain):
        assert after in dag.get_task(before).downstream_task_ids
    assert [name for name in chain if dag.get_task(name).is_mapped] == [name for name in chain if name == "load"]


def test_what_passes_is_retried_and_failures_are_told(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        assert dag.max_active_runs == 1
        for task in dag.tasks:
            options = task.partial_kwargs if task.is_mapped else vars(task)
            assert options["retries"] == 2
            assert timedelta(hours=1) <= options["execution_timeout"] <= timedelta(days=1)
            assert _names(options["on_failure_callback"]) == ["note_failure"]
        # What runs every few minutes, or after what does, would tell of one fault hundreds of times a day.
        often = dag.dag_id in {"sync", "marts", "report"}
        assert often == (dag.schedule is not None and not re.match(r"\d+ \d+ ", str(dag.schedule)))
        assert _names(dag.on_failure_callback) == (["run_failed_anew"] if often else ["run_failed"])
        assert _names(dag.on_success_callback) == (["run_succeeded"] if often else [])


def _names(callbacks: Any) -> list[str]:
    return [one.__name__ for one in (callbacks if isinstance(callbacks, list) else filter(None, [callbacks]))]


def test_following_and_verification_run_by_the_clock_and_begin_at_different_minutes(dags: dict[str, Any]) -> None:
    assert {name: dag.schedule for name, dag in dags.items() if isinstance(dag.schedule, str)} == {
        "maintenance": "33 2 * * *",
        "sync": "*/5 * * * *",
        "verify": "3 3 * * *",
    }


def test_what_is_missed_is_not_made_up_for(dags: dict[str, Any]) -> None:
    assert not any(dag.catchup for dag in dags.values())


def test_what_following_gives_way_to_is_there(dags: dict[str, Any]) -> None:
    from pipeline.airflow.sync import HELD_UP

    assert set(HELD_UP) == set(dags) - {"generate_data", "maintenance", "report", "sync"}


def test_the_report_follows_all_marts(dags: dict[str, Any]) -> None:
    from airflow.sdk import AssetAll

    condition = dags["report"].timetable.asset_condition
    assert isinstance(condition, AssetAll)
    assert {(asset.name, asset.uri) for asset in condition.objects} == {
        (name, f"etl://marts/{name}") for name in marts()
    }


def test_marts_follow_the_tables_that_they_read(dags: dict[str, Any]) -> None:
    from airflow.sdk import AssetAll

    owners = {table.name: entity.table for entity in entities().values() for table in entity.tables}
    read = {owners[source] for mart in marts().values() for source in sources(mart) if source in owners}
    condition = dags["marts"].timetable.asset_condition
    assert isinstance(condition, AssetAll)
    assert {(asset.name, asset.uri) for asset in condition.objects} == {
        (name, f"etl://replica/{name}") for name in read
    }


@pytest.mark.parametrize(
    ("dag_id", "params"),
    [
        ("generate_data", {"scale": -1}),
        ("generate_data", {"defects": 1.5}),
        ("generate_data", {"seed": "seven"}),
        ("generate_data", {"replace": "yes"}),
        ("generate_data", {"scale": 1e9}),
        ("replicate", {"targets": ["mysql"]}),
        ("replicate", {"collections": "UserSessions"}),
        ("replicate", {"max_quarantined": -1}),
        ("replicate", {"max_quarantined": 0.5}),
        ("replicate", {"new_source": "yes"}),
        ("replicate", {"allow_shrink": "yes"}),
        ("sync", {"allow_shrink": "yes"}),
        ("verify", {"targets": ["mysql"]}),
        ("sync", {"collections": "UserSessions"}),
        ("sync", {"max_quarantined": True}),
        ("marts", {"marts": [1]}),
        ("maintenance", {"dry_run": "yes"}),
    ],
)
def test_params_are_validated(run_here: Callable[..., Any], dag_id: str, params: dict[str, Any]) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError, match=next(iter(params))):
        run_here(dag_id, **params)


@pytest.mark.usefixtures("callbacks_reach_airflow")
@pytest.mark.parametrize(
    ("dag_id", "params", "reason"),
    [
        (
            "replicate",
            {"collection": ["UserSessions"]},
            "the DAG replicate has no param 'collection'; it has allow_missing, ",
        ),
        (
            "generate_data",
            {"scael": 1},
            "the DAG generate_data has no param 'scael'; it has advance, defects, replace, scale, ",
        ),
        ("maintenance", {"dryrun": True}, "the DAG maintenance has no param 'dryrun'; it has "),
        (
            "replicate",
            {"max_quarantined": "150%"},
            "a number or a percentage up to 100%, such as 100 or 0.5%, not '150%'",
        ),
        ("sync", {"max_quarantined": "1e3"}, "a number or a percentage up to 100%, such as 100 or 0.5%, not '1e3'"),
        ("marts", {"mart": ["user_activity"]}, "the DAG marts has no param 'mart'; it has full, marts"),
        (
            "verify",
            {"max_quarantined": 1},
            "the DAG verify has no param 'max_quarantined'; it has collections, sample, targets",
        ),
    ],
)
def test_what_a_dag_does_not_know_fails_its_first_task_at_once(
    run_here: Callable[..., Any],
    dag_id: str,
    params: dict[str, Any],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = run_here(dag_id, **params)
    states = {one.task_id: (one.state, one.try_number) for one in run.get_task_instances()}
    assert states[{"marts": "open_run", "maintenance": "prune"}.get(dag_id) or CHAINS[dag_id][0]] == ("failed", 1)
    assert {state for state, _ in states.values()} <= {"failed", "upstream_failed"}
    (alert,) = [said for _, _, said in caplog.record_tuples if said.startswith("[etl]")]
    assert reason in alert


def test_params_come_to_the_tasks_in_one_form(dags: dict[str, Any]) -> None:
    from pipeline.airflow.params import check_params

    given = {"collections": None, "targets": None, "max_quarantined": 100, "new_source": False}
    check_params({"dag": dags["replicate"], "params": given})
    both = ["postgres", "clickhouse"]
    assert given == {"collections": [], "targets": both, "max_quarantined": "100", "new_source": False}


def test_the_form_offers_names_describes_all_and_requires_none(
    load_dags: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "orders.py").write_text("ENTITY = Entity(collection='Orders', description='One order.')\n")
    (tmp_path / "broken.py").write_text("ENTITY = (")
    monkeypatch.setenv("ETL_CONTRACTS", f"{tmp_path}:demo")
    params = {dag_id: dag.params for dag_id, dag in load_dags().items()}
    offered = {name: params["replicate"].get_param(name).schema["examples"] for name in ("collections", "targets")}
    assert offered == {"collections": sorted([*entities(), "Orders"]), "targets": ["postgres", "clickhouse"]}
    assert params["marts"].get_param("marts").schema["examples"] == sorted(marts())
    for param in (known.get_param(name) for known in params.values() for name in known):
        assert param.description
        assert "null" in param.schema["type"] or param.value is not None


def test_an_own_folder_alone_is_all_that_dags_see(
    load_dags: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mart is there if what it reads is: of the demo's, the one that reads the tickets alone."""
    monkeypatch.setenv("ETL_CONTRACTS", str(tmp_path))
    (tmp_path / "orders.py").write_text("ENTITY = Entity(collection='Orders', description='One order.')\n")
    dags = load_dags()
    assert dags["replicate"].params.get_param("collections").schema["examples"] == ["Orders"]
    assert {task.task_id for task in dags["marts"].tasks} == {"open_run", "publish"}
    assert dags["marts"].schedule is None
    (tmp_path / "support_tickets.py").write_text("ENTITY = Entity(collection='SupportTickets', description='One.')\n")
    dag = load_dags()["marts"]
    assert "load.ticket_resolution" in {task.task_id for task in dag.tasks}
    assert "load.user_activity" not in {task.task_id for task in dag.tasks}
    assert {asset.name for asset in dag.timetable.asset_condition.objects} == {"support_tickets"}
