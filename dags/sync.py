"""Follow MongoDB: every five minutes the stores come to the present moment, by what was changed since.

It begins where the last `replicate` or `sync` ended; only documents that were changed are read, all at one cluster
time, and published together. Nothing is lost when a run is skipped or fails: the next one takes over its changes too.

A run is skipped as long as nothing is replicated, and while `replicate`, `marts` or `verify` is running: they need the
stores to stay at one moment. When MongoDB no longer knows the changes, or a collection was dropped or renamed, it
fails, and `replicate` has to be run.

If anything was changed, the Assets of all collections that were followed are updated, for all show the new moment; so
`marts` follows.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import AssetAlias, dag, task

from pipeline.airflow import assets
from pipeline.airflow.defaults import ALLOW_SHRINK, LIMIT, about, choice, defaults

REPLICA = AssetAlias("replica")  # what is published, only the books know


@dag(
    schedule="*/5 * * * *",
    **about(__doc__, "replica"),
    params={"collections": choice()["collections"], "max_quarantined": LIMIT, "allow_shrink": ALLOW_SHRINK},
    **defaults(late_after=timedelta(hours=1), task_takes_at_most=timedelta(hours=6), often=True),
)
def sync() -> None:
    """Follow the changes of MongoDB."""

    @task(outlets=[REPLICA])
    def sync(params: dict[str, Any], *, ti: Any, outlet_events: Any) -> None:
        """Take over what was changed since the last copy or sync."""
        from pipeline.airflow.sync import give_way, sync

        give_way(ti.get_dr_count)
        shrink = params["allow_shrink"]
        news = sync(params["collections"], params["max_quarantined"], allow_shrink=shrink, again=ti.try_number > 1)
        for table, extra in news.items():
            outlet_events[REPLICA].add(assets.replica(table), extra=extra)

    sync()


sync()
