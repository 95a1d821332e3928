"""Copy MongoDB into PostgreSQL and ClickHouse, all at one moment.

`snapshot` chooses a MongoDB cluster time and cuts the collections into partitions, each `load` copies one of them into
staging, and `publish` proves the books (source = loaded + quarantined) and shows all tables at once.

Any task can be retried or cleared: what is loaded is left alone, and publishing twice does nothing. When the cluster
time has left MongoDB's history window, or the books are open, clear from `snapshot`: that is a new run.

Each published table updates the Asset of its name, whose extra tells its rows, cluster time and books.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, AssetAlias, ExceptionRetryPolicy, Param, RetryAction, RetryRule, dag, task

LASTING = [f"pipeline.errors.{name}" for name in ("UsageError", "SnapshotError", "DataError")]
TARGETS = ["postgres", "clickhouse"]
REPLICA = AssetAlias("replica")  # which tables a run publishes, only the run knows


@dag(
    schedule=None,
    doc_md=__doc__,
    tags=["etl"],
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(seconds=20),
        "retry_policy": ExceptionRetryPolicy([RetryRule(LASTING, action=RetryAction.FAIL)]),
    },
    params={
        "collections": Param([], type="array", items={"type": "string"}, description="Names; none means all."),
        "targets": Param(TARGETS, type="array", items={"type": "string", "enum": TARGETS}, minItems=1),
    },
)
def replicate() -> None:
    """Copy MongoDB into PostgreSQL and ClickHouse."""

    @task
    def snapshot(params: dict[str, Any]) -> dict[str, Any]:
        """Choose the moment, open a run, and plan its partitions."""
        from pipeline.airflow import connected, opened

        with connected() as connections:
            return opened(connections, params["collections"], params["targets"])

    @task
    def partitions(snapshot: dict[str, Any]) -> list[dict[str, Any]]:
        """List the partitions: Airflow maps over a whole result only."""
        return snapshot["partitions"]

    @task(map_index_template="{{ partition['label'] }}")
    def load(snapshot: dict[str, Any], partition: dict[str, Any]) -> None:
        """Copy one partition into staging; one that is loaded is left alone."""
        from pipeline.airflow import part_of, partition_lines
        from pipeline.replicate import Partition, load

        with part_of(snapshot["run"]) as (connections, run):
            load(connections, run, Partition.from_json(partition), partition_lines())

    @task(outlets=[REPLICA])
    def publish(snapshot: dict[str, Any], *, outlet_events: Any) -> None:
        """Prove the books, show the tables, and tell the Assets."""
        from pipeline.airflow import news, part_of
        from pipeline.replicate import publish

        with part_of(snapshot["run"]) as (connections, run):
            for table, extra in news(connections, run, publish(connections, run)).items():
                outlet_events[REPLICA].add(Asset(name=table, uri=f"etl://replica/{table}"), extra=extra)

    chosen = snapshot()
    load.partial(snapshot=chosen).expand(partition=partitions(chosen)) >> publish(chosen)


replicate()
