"""The task that follows MongoDB."""

from collections.abc import Sequence
from typing import Any

from airflow.sdk import task

from pipeline.airflow import assets
from pipeline.airflow.defaults import task_defaults
from pipeline.airflow.limits import COPY, reading_mongo
from pipeline.airflow.params import given_or


@task(outlets=[assets.REPLICA])
def sync(params: dict[str, Any], given: dict[str, Any] | None, *, ti: Any = None, outlet_events: Any = None) -> None:
    """Take over what was changed since the last copy or sync."""
    from pipeline.airflow.sync import skip_if_busy, sync

    chosen = given_or(params, given)
    skip_if_busy(ti.get_dr_count, ti.dag_id)
    shrink, limit = chosen["allow_shrink"], chosen["max_quarantined"]
    news = sync(chosen["collections"], limit, allow_shrink=shrink, again=ti.try_number > 1)
    for table, extra in news.items():
        outlet_events[assets.REPLICA].add(assets.replica(table), extra=extra)


def sync_from_params() -> Any:
    """Make the task that follows MongoDB as the DAG's params say."""
    return reading_mongo(sync, COPY)(given=None)


def sync_task(
    task_id: str = "sync",
    *,
    collections: Sequence[str] = (),
    max_quarantined: int | str | None = None,
    allow_shrink: bool = False,
    **options: Any,
) -> Any:
    """Bring what is published to the present moment; as part of a DAG of yours.

    It is skipped as long as nothing is replicated, and while the DAGs `replicate`, `marts` or `verify` are running; it
    fails when that goes on for longer than `ETL_SYNC_WAITS_AT_MOST`.

    Args:
        task_id: Name of the task.
        collections: Names of the collections; all that are published if none is named.
        max_quarantined: How many refused documents are tolerated: a number, or ``"0.5%"``; None for any number.
        allow_shrink: Whether to take away more of what is published than ``ETL_MAX_SHRINK`` allows.
        **options: What goes before our own options of the task, such as ``retries``.

    Returns:
        The task, to be set before or after others.
    """
    given = {"collections": list(collections), "max_quarantined": max_quarantined, "allow_shrink": allow_shrink}
    return reading_mongo(sync, COPY).override(task_id=task_id, **task_defaults(options))(given=given)
