"""Compute the marts from the replica.

Runs by itself when `replicate` has published what the marts read. All marts are computed at the replica's one moment,
in the order in which they read each other, checked against their contracts, and published together to both stores:
therefore one task. Running it again gives the same.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, AssetAlias, ExceptionRetryPolicy, Param, RetryAction, RetryRule, dag, task

LASTING = [f"pipeline.errors.{name}" for name in ("UsageError", "DataError")]
READ = ["moderation_queue", "search_queries", "support_tickets", "user_sessions"]  # as the marts' transforms declare
MARTS = AssetAlias("marts")


@dag(
    schedule=[Asset(name=table, uri=f"etl://replica/{table}") for table in READ],
    doc_md=__doc__,
    tags=["etl"],
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(seconds=20),
        # A SnapshotError is passing here: the replica was published anew meanwhile.
        "retry_policy": ExceptionRetryPolicy([RetryRule(LASTING, action=RetryAction.FAIL)]),
    },
    params={"marts": Param([], type="array", items={"type": "string"}, description="Names; none means all.")},
)
def marts() -> None:
    """Compute the marts."""

    @task(outlets=[MARTS])
    def build(params: dict[str, Any], *, outlet_events: Any) -> None:
        """Compute, check and publish the marts, and tell the Assets."""
        from pipeline.airflow import connected, mart_line, mart_news
        from pipeline.marts import build

        with connected() as connections:
            for mart, extra in mart_news(build(connections, params["marts"], progress=mart_line)).items():
                outlet_events[MARTS].add(Asset(name=mart, uri=f"etl://marts/{mart}"), extra=extra)

    build()


marts()
