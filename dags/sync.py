"""Follow MongoDB: every five minutes the stores come to the present moment, by what was changed since.

It begins where the last `replicate` or `sync` ended; only documents that were changed are read, all at one cluster
time, and published together. Nothing is lost when a run is skipped or fails: the next one takes over its changes too.

A run is skipped as long as nothing is replicated, and while `replicate`, `marts` or `verify` is running: they need the
stores to stay at one moment. After six hours of that (`ETL_SYNC_WAITS_AT_MOST`) it fails instead if what is published
is as old, for a run of a DAG that was paused would hold it up for ever. When MongoDB no longer knows the changes, or a
collection was dropped or renamed, it fails, and `replicate` has to be run.

If anything was changed, the Assets of all collections that were followed are updated, for all show the new moment; so
`marts` follows.
"""

from airflow.sdk import dag

from pipeline.airflow.defaults import ALLOW_SHRINK, LIMIT, about, choice, defaults
from pipeline.airflow.groups.sync import sync_from_params
from pipeline.airflow.limits import schedule


@dag(
    schedule=schedule("sync", "*/5 * * * *"),
    **about(__doc__, "replica"),
    params={"collections": choice()["collections"], "max_quarantined": LIMIT, "allow_shrink": ALLOW_SHRINK},
    **defaults(often=True),
)
def sync() -> None:
    """Follow the changes of MongoDB."""
    sync_from_params()


sync()
