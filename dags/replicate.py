"""Copy MongoDB into PostgreSQL and ClickHouse, all at one moment.

`snapshot` chooses a MongoDB cluster time and `plan` cuts the collections into partitions; each `load` copies one of
them into staging. `prove` holds source = loaded + quarantined, `publish` shows all tables at once, and `verify`
compares every value in the stores with MongoDB.

Any task can be retried or cleared: what is loaded is left alone, and publishing twice does nothing. When the cluster
time has left MongoDB's history window, or the books are open, clear from `snapshot`: that is a new run.

Each published table updates the Asset of its name, whose extra tells its rows, cluster time and books.
"""

from airflow.sdk import dag

from pipeline.airflow.defaults import (
    ALLOW_MISSING,
    ALLOW_SHRINK,
    LIMIT,
    NEW_SOURCE,
    UNDECLARED,
    WITHOUT_SNAPSHOT,
    about,
    choice,
    defaults,
)
from pipeline.airflow.groups.replicate import replicate_tasks
from pipeline.airflow.limits import schedule


@dag(
    schedule=schedule("replicate", None),
    **about(__doc__, "replica"),
    params=choice()
    | {
        "max_quarantined": LIMIT,
        "allow_shrink": ALLOW_SHRINK,
        "new_source": NEW_SOURCE,
        "allow_missing": ALLOW_MISSING,
        "undeclared": UNDECLARED,
        "without_snapshot": WITHOUT_SNAPSHOT,
    },
    **defaults(),  # late after an hour, when MongoDB may have forgotten the run's moment
)
def replicate() -> None:
    """Copy MongoDB into PostgreSQL and ClickHouse."""
    replicate_tasks()


replicate()
