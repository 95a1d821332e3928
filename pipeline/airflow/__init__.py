"""What only Airflow's DAGs need: their defaults, Assets, tasks, log lines and alerts; and parts of people's own.

`replicate_group`, `marts_group`, `report_task` and `sync_task` are parts of DAGs (docs/airflow.md has one). Nothing is
imported before it is asked for, and they import next to nothing: DAG files are read very often. Whatever Airflow does,
it comes in by this package: so this is where its processes are tuned.
"""

from typing import TYPE_CHECKING, Any

from pipeline.runtime.environment import tune_environment

if TYPE_CHECKING:
    from pipeline.airflow.groups.marts import marts_group
    from pipeline.airflow.groups.replicate import replicate_group
    from pipeline.airflow.groups.report import report_task
    from pipeline.airflow.groups.sync import sync_task

tune_environment()

__all__ = ["marts_group", "replicate_group", "report_task", "sync_task"]


def __getattr__(name: str) -> Any:
    """Import a part of DAGs when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.groups.{name.partition('_')[0]}"), name)
