"""The task of the DAG ``report``: a page in a folder that keeps the last ones, and a link in the note of the run."""

import logging
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.airflow.connections import AIRFLOW_DATABASE, settings
from pipeline.airflow.sessions import complete_settings
from pipeline.lake.lake import Lake
from pipeline.report.report import make_report
from pipeline.runtime.files import check_writable, write_whole
from pipeline.settings import Settings
from pipeline.text.redaction import redacted, remember

KEPT = 30
_OURS = re.compile(r"report-\d{8}T\d{6}Z\.html")

log = logging.getLogger(__name__)


def report(language: str, dag_id: str, run_id: str) -> dict[str, Any]:
    """Write the report, remove those that are too many, and link the new one in the note of the run.

    Args:
        language: ``en`` or ``ru``.
        dag_id: The DAG that is running.
        run_id: Its run.

    Returns:
        Where the report is, and how large.
    """
    chosen = settings()
    folder = (chosen.reports or chosen.home / "reports").absolute()
    to = folder / f"report-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.html"
    check_writable(to)
    with complete_settings() as complete, Lake(complete) as lake:
        made = make_report(lake, complete.timezone, language)
    size = write_whole(to, made.html)
    _keep_last(folder)
    link = _link(to, chosen)
    log.info("the report of %s is %s: %s bytes", made.as_of, link, f"{size:,}")
    _note(dag_id, run_id, f"[{to.name}]({link})")
    return {"path": str(to), "url": link, "bytes": size}


def _keep_last(folder: Path) -> None:
    """Remove all reports but the last ones; what others put there stays."""
    ours = sorted(file for file in folder.iterdir() if _OURS.fullmatch(file.name))
    for file in ours[:-KEPT]:
        file.unlink(missing_ok=True)


def _link(to: Path, chosen: Settings) -> str:
    return f"{chosen.reports_url.rstrip('/')}/{quote(to.name)}" if chosen.reports_url else to.as_uri()


def _note(dag_id: str, run_id: str, text: str) -> None:
    """Write the note of a run, which no task may do otherwise: by Airflow's own database, where it is named."""
    from airflow.sdk.log import mask_secret
    from sqlalchemy import create_engine
    from sqlalchemy import text as sql
    from sqlalchemy.exc import SQLAlchemyError

    if not (uri := os.environ.get(AIRFLOW_DATABASE)):
        log.info("%s does not name Airflow's own database, so the run has no note", AIRFLOW_DATABASE)
        return
    remember(uri)
    mask_secret(uri)
    this = "(SELECT id FROM dag_run WHERE dag_id = :dag_id AND run_id = :run_id)"
    values = {"dag_id": dag_id, "run_id": run_id, "content": text, "at": datetime.now(UTC)}
    try:
        engine = create_engine(uri)
        with engine.begin() as connection:
            connection.execute(sql(f"DELETE FROM dag_run_note WHERE dag_run_id = {this}"), values)
            connection.execute(
                sql(
                    "INSERT INTO dag_run_note (dag_run_id, content, created_at, updated_at) "
                    "SELECT id, :content, :at, :at FROM dag_run WHERE dag_id = :dag_id AND run_id = :run_id"
                ),
                values,
            )
        engine.dispose()
    except SQLAlchemyError as error:  # the report is there all the same
        log.warning("the run has no note: %s", redacted(str(error)).splitlines()[0])
