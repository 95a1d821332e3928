"""Copy MongoDB into PostgreSQL and ClickHouse, all at one moment.

`snapshot` chooses a MongoDB cluster time and `plan` cuts the collections into partitions; each `load` copies one of
them into staging. `prove` holds source = loaded + quarantined, `publish` shows all tables at once, and `verify`
compares every value in the stores with MongoDB.

Any task can be retried or cleared: what is loaded is left alone, and publishing twice does nothing. When the cluster
time has left MongoDB's history window, or the books are open, clear from `snapshot`: that is a new run.

Each published table updates the Asset of its name, whose extra tells its rows, cluster time and books.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import AssetAlias, dag, task

from pipeline.airflow import assets
from pipeline.airflow.defaults import ALLOW_MISSING, ALLOW_SHRINK, LIMIT, NEW_SOURCE, about, choice, defaults

REPLICA = AssetAlias("replica")  # which tables a run publishes, only the run knows


@dag(
    schedule=None,
    **about(__doc__, "replica"),
    params=choice()
    | {
        "max_quarantined": LIMIT,
        "allow_shrink": ALLOW_SHRINK,
        "new_source": NEW_SOURCE,
        "allow_missing": ALLOW_MISSING,
    },
    # Late when MongoDB may have forgotten the run's moment; of 10 TB, keys alone take hours.
    **defaults(late_after=timedelta(hours=1), task_takes_at_most=timedelta(hours=12)),
)
def replicate() -> None:
    """Copy MongoDB into PostgreSQL and ClickHouse."""

    @task
    def snapshot(params: dict[str, Any]) -> dict[str, Any]:
        """Choose the moment and open a run."""
        from pipeline.airflow.replicate import open_run

        flags = {name: params[name] for name in ("allow_shrink", "new_source", "allow_missing")}
        return open_run(params["collections"], params["targets"], **flags)

    @task
    def plan(run: dict[str, Any]) -> list[dict[str, Any]]:
        """Cut the collections into partitions, once."""
        from pipeline.airflow.replicate import plan

        return plan(run)

    @task(
        map_index_template="{{ task.op_kwargs['partition']['label'] }}",
        doc_md="Copy one partition into staging; one that is loaded is left alone.",
    )
    def load(run: dict[str, Any], partition: dict[str, Any]) -> None:
        from pipeline.airflow.replicate import load

        load(run, partition)

    @task
    def prove(run: dict[str, Any], params: dict[str, Any]) -> None:
        """Hold source = loaded + quarantined, and the limit of the quarantine."""
        from pipeline.airflow.replicate import prove

        prove(run, params["max_quarantined"])

    @task(outlets=[REPLICA])
    def publish(run: dict[str, Any], params: dict[str, Any], *, outlet_events: Any) -> None:
        """Show all tables at once; done again, it does nothing."""
        from pipeline.airflow.replicate import publish

        for table, extra in publish(run, params["max_quarantined"]).items():
            outlet_events[REPLICA].add(assets.replica(table), extra=extra)

    @task
    def verify(run: dict[str, Any]) -> None:
        """Compare every value in the stores with MongoDB."""
        from pipeline.airflow.verify import verify

        verify(run["uuids"], run["targets"])

    run = snapshot()
    load.partial(run=run).expand(partition=plan(run)) >> prove(run) >> publish(run) >> verify(run)


replicate()
