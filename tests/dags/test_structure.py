"""What the DAGs are, without running them: they come up clean and fast, and are wired as their documentation says."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.schema.registry import entities, marts
from transforms.marts import sources

ROOT = Path(__file__).parents[2]
HEAVY = ("polars", "pandas", "pyarrow", "pandera", "pymongo", "pymongoarrow", "adbc_driver_postgresql", "chdb", "numpy")
HEAVY += ("clickhouse_connect", "faker", "pipeline.replicate", "contracts", "transforms", "generators")
LOOK = f"""
import json, sys
import airflow.sdk
from airflow.dag_processing.dagbag import DagBag
before = set(sys.modules)
bag = DagBag(dag_folder={str(ROOT / "dags")!r})
print(json.dumps({{
    "errors": bag.import_errors,
    "seconds": {{stat.file: stat.duration.total_seconds() for stat in bag.dagbag_stats}},
    "heavy": sorted(set({HEAVY!r}) & (set(sys.modules) - before)),
}}))
"""


def test_dag_files_import_without_errors_or_heavy_modules_in_under_a_second() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, cwd=ROOT, check=True)
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["errors"] == {}
    assert {Path(file).stem for file in seen["seconds"]} == {path.stem for path in (ROOT / "dags").glob("*.py")}
    assert max(seen["seconds"].values()) < 1
    assert seen["heavy"] == []


def test_each_file_holds_one_dag_of_its_name_and_explains_it(dags: dict[str, Any]) -> None:
    assert set(dags) == {path.stem for path in (ROOT / "dags").glob("*.py")}
    for name, dag in dags.items():
        assert Path(dag.fileloc).stem == name
        assert len(dag.doc_md) > 200
        assert dag.is_paused_upon_creation is False


def test_tasks_are_wired_in_order(dags: dict[str, Any]) -> None:
    replicate = dags["replicate"]
    followers = {task.task_id: task.downstream_task_ids for task in replicate.tasks}
    assert followers == {
        "snapshot": {"partitions", "load", "publish"},
        "partitions": {"load"},
        "load": {"publish"},
        "publish": set(),
    }
    assert replicate.get_task("load").is_mapped
    assert [task.task_id for task in dags["marts"].tasks] == ["build"]
    assert [task.task_id for task in dags["generate_data"].tasks] == ["generate"]


def test_marts_follow_the_tables_that_they_read(dags: dict[str, Any]) -> None:
    from airflow.sdk import AssetAll

    owners = {table.name: entity.table for entity in entities().values() for table in entity.tables}
    read = {owners[source] for mart in marts() for source in sources(mart) if source in owners}
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
        ("replicate", {"targets": []}),
        ("replicate", {"targets": ["mysql"]}),
        ("replicate", {"collections": "UserSessions"}),
        ("marts", {"marts": [1]}),
    ],
)
def test_params_are_validated(load_dags: Callable[[], dict[str, Any]], dag_id: str, params: dict[str, Any]) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError, match=next(iter(params))):
        load_dags()[dag_id].test(run_conf=params)
