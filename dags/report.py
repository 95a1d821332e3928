"""Write marts and books as one HTML page.

Runs by itself when `marts` has published all marts. The page goes into the folder that `ETL_REPORTS` names
(`reports` in `ETL_HOME` if it is not set). The last 30 are kept, and for 90 days the last one of each day. The note of
the run tells where it is: a link where `ETL_REPORTS_URL` says at which address the folder is served, else its path.
Cleared, it writes one more.
"""

from typing import Any

from airflow.sdk import Param, dag

from pipeline.airflow import assets, catalog
from pipeline.airflow.defaults import about, defaults
from pipeline.airflow.groups.report import report_from_params


@dag(
    schedule=[assets.mart(name) for name in catalog.marts()] or None,
    **about(__doc__, "report"),
    params={"language": Param("en", type="string", enum=["en", "ru"], description="In which language it is written.")},
    **defaults(often=True),  # it follows the marts, and so each sync
)
def report() -> Any:
    """Write the report."""
    report_from_params()


report()
