"""Prove, every night, that PostgreSQL and ClickHouse hold exactly what MongoDB held at the published moment.

Every value is compared, MongoDB being read by another decoder than the copy's. Documents that were changed since are
counted and not compared when MongoDB no longer knows how they were. What differs is logged and fails the run: `etl
verify --repair` or the DAG `replicate` mends it.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from pipeline.airflow.defaults import SAMPLE, about, choice, defaults
from pipeline.airflow.limits import PROOF, reading_mongo


# `sync` starts at multiples of five minutes, and then waits for this to end.
@dag(
    schedule="3 3 * * *",
    **about(__doc__, "replica", "proof"),
    params=choice() | {"sample": SAMPLE},
    **defaults(late_after=timedelta(hours=6)),
)
def verify() -> None:
    """Prove that the stores are exact copies."""

    @task
    def verify(params: dict[str, Any]) -> None:
        """Compare every value in the stores with MongoDB."""
        from pipeline.airflow.verify import verify

        verify(params["collections"], params["targets"], params["sample"])

    reading_mongo(verify, PROOF)()


verify()
