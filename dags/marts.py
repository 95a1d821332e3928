"""Compute the marts from the replica.

Runs by itself when `replicate` or `sync` has published what the marts read. `open_run` chooses the replica's one
moment, each task of the group `load` computes the mart of its name, holds it against its contract and stages it, after
the marts that it reads, and `publish` shows all marts together in both stores. Marts that are not chosen are skipped.

Any task can be retried or cleared: a mart that is loaded is left alone, and publishing twice does nothing. When the
replica shows another moment meanwhile this run is given up; the publish that did it has started the next one.
"""

from airflow.sdk import Param, dag

from pipeline.airflow import assets, catalog
from pipeline.airflow.defaults import OF_NO_SNAPSHOT, about, defaults, names
from pipeline.airflow.groups.marts import marts_tasks


@dag(
    schedule=[assets.replica(table) for table in catalog.tables_read()] or None,
    **about(__doc__, "marts"),
    params={
        "marts": names(catalog.marts(), "Marts; none chosen means all."),
        "full": Param(False, type="boolean", description="Compute all rows, not those alone that may have changed."),
        "without_snapshot": OF_NO_SNAPSHOT,
    },
    **defaults(often=True),  # it follows each sync
)
def marts() -> None:
    """Compute the marts."""
    marts_tasks()


marts()
