"""The task that writes marts and books as a page."""

from typing import Any

from airflow.sdk import task

from pipeline.airflow.defaults import task_defaults
from pipeline.airflow.limits import RUN, in_stores
from pipeline.airflow.params import given_or


@task
def report(params: dict[str, Any], given: dict[str, Any] | None, *, ti: Any = None) -> dict[str, Any]:
    """Write the report, and tell in the note of the run where it is."""
    from pipeline.airflow.report import report

    return report(given_or(params, given)["language"], ti.dag_id, ti.run_id)


def report_from_params() -> Any:
    """Make the task that writes the report as the DAG's params say."""
    return in_stores(report, RUN)(given=None)


def report_task(task_id: str = "report", *, language: str = "en", **options: Any) -> Any:
    """Write marts and books as a page; as part of a DAG of yours.

    Args:
        task_id: Name of the task.
        language: ``en`` or ``ru``.
        **options: What goes before our own options of the task, such as ``retries``.

    Returns:
        The task, to be set after the marts.
    """
    return in_stores(report, RUN).override(task_id=task_id, **task_defaults(options))(given={"language": language})
