"""Remove, every night, what the books have kept for long enough.

Details of runs (plan, accounts, drift, times), runs, and documents of the quarantine that are not refused any more are
kept for as many days as `ETL_KEEP_DETAILS_DAYS` (30), `ETL_KEEP_RUNS_DAYS` (365) and `ETL_KEEP_RESOLVED_DAYS` (30) say.
What tables show and what is refused stays, however old. It is safe beside everything else, and done twice it removes
nothing more.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from pipeline.airflow.defaults import defaults


@dag(
    schedule="33 2 * * *",
    doc_md=__doc__,
    params={"dry_run": Param(False, type="boolean", description="Only log what would be removed.")},
    **defaults(late_after=timedelta(hours=1), task_takes_at_most=timedelta(hours=2)),
)
def maintenance() -> None:
    """Keep the books from growing without end."""

    @task
    def prune(params: dict[str, Any]) -> None:
        """Remove what is old from the books."""
        from pipeline.airflow.maintenance import prune

        prune(dry_run=params["dry_run"])

    prune()


maintenance()
