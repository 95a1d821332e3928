"""The tasks of our DAGs, wired: for the DAGs in ``dags/`` and, as task groups, for people's own.

Each task takes what it is told from the call that made the group, else from the DAG's params.
"""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import TaskGroup

from pipeline.airflow.defaults import task_defaults


def group(group_id: str, about: str, default_args: Mapping[str, Any] | None) -> TaskGroup:
    """Return a group whose tasks have our options, with which a DAG need not agree.

    Args:
        group_id: Its name.
        about: What people read of it.
        default_args: Options that go before ours.
    """
    options: Any = task_defaults(default_args)
    return TaskGroup(group_id, default_args=options, tooltip=about)
