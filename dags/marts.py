"""Compute the marts from the replica.

Runs by itself when `replicate` has published what the marts read. `open_run` chooses the replica's one moment, each
`load` computes one mart, holds it against its contract and stages it, and `publish` shows all marts together in both
stores. A mart that is computed from another one computes that for itself, so the tasks need no order.

Any task can be retried or cleared: a mart that is loaded is left alone, and publishing twice does nothing. When the
replica shows another moment meanwhile this run is given up; the publish that did it has started the next one.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import AssetAlias, dag, task

from pipeline.airflow import assets, params
from pipeline.airflow.defaults import about, defaults, names

READ = ["moderation_queue", "search_queries", "support_tickets", "user_sessions"]  # as the marts' transforms declare
MARTS = AssetAlias("marts")


@dag(
    schedule=[assets.replica(table) for table in READ],
    **about(__doc__, "marts"),
    params={"marts": names(params.marts(), "Marts; none chosen means all.")},
    **defaults(late_after=timedelta(hours=1), task_takes_at_most=timedelta(hours=6)),
)
def marts() -> None:
    """Compute the marts."""

    @task
    def open_run(params: dict[str, Any]) -> dict[str, Any]:
        """Choose the one moment that the replica shows and open a run."""
        from pipeline.airflow.marts import open_run

        return open_run(params["marts"])

    @task
    def plan(run: dict[str, Any]) -> list[str]:
        """Name the marts to compute."""
        return run["marts"]  # Airflow maps over a whole result only

    @task(
        map_index_template="{{ task.op_kwargs['mart'] }}",
        doc_md="Compute one mart, check it and stage it; one that is loaded is left alone.",
    )
    def load(run: dict[str, Any], mart: str) -> None:
        from pipeline.airflow.marts import load

        load(run, mart)

    @task(outlets=[MARTS])
    def publish(run: dict[str, Any], *, outlet_events: Any) -> None:
        """Show all marts together; done again, it does nothing."""
        from pipeline.airflow.marts import publish

        for mart, extra in publish(run).items():
            outlet_events[MARTS].add(assets.mart(mart), extra=extra)

    run = open_run()
    load.partial(run=run).expand(mart=plan(run)) >> publish(run)


marts()
