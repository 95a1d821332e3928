"""Remove, every night, what the books, Airflow's own database and its logs have kept for long enough.

Details of runs (plan, accounts, drift, times), runs, and documents of the quarantine that are not refused any more are
kept for as many days as `ETL_KEEP_DETAILS_DAYS` (30), `ETL_KEEP_RUNS_DAYS` (365) and `ETL_KEEP_RESOLVED_DAYS` (30) say.
What tables show and what is refused stays, however old. Airflow's runs, with all that belongs to them, and log files
are kept for `ETL_KEEP_AIRFLOW_DAYS` (30); of Airflow's database nothing is removed unless `ETL_AIRFLOW_DATABASE` names
it, as `sql_alchemy_conn` does. It is safe beside everything else, and done twice it removes
nothing more.
"""

from typing import Any

from airflow.sdk import Param, dag, task

from pipeline.airflow.defaults import about, defaults
from pipeline.airflow.limits import PARTITION, in_stores


@dag(
    schedule="33 2 * * *",
    **about(__doc__, "housekeeping"),
    params={"dry_run": Param(False, type="boolean", description="Only log what would be removed.")},
    **defaults(),
)
def maintenance() -> None:
    """Keep what is noted of each run from growing without end."""

    @task
    def prune(params: dict[str, Any]) -> None:
        """Remove what is old from the books."""
        from pipeline.airflow.maintenance import prune

        prune(dry_run=params["dry_run"])

    @task
    def prune_airflow(params: dict[str, Any]) -> None:
        """Remove old runs from Airflow's own database."""
        from pipeline.airflow.maintenance import prune_airflow

        prune_airflow(dry_run=params["dry_run"])

    @task
    def prune_logs(params: dict[str, Any]) -> None:
        """Remove old log files of Airflow's."""
        from pipeline.airflow.maintenance import prune_logs

        prune_logs(dry_run=params["dry_run"])

    for removes in (prune, prune_airflow, prune_logs):
        in_stores(removes, PARTITION)()


maintenance()
