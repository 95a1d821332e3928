"""The task of the DAG ``report``: a page in a folder that keeps some of them, and the note of the run tells where."""

import logging
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from pipeline.airflow.connections import AIRFLOW_DATABASE, settings
from pipeline.airflow.sessions import complete_settings
from pipeline.lake.lake import Lake
from pipeline.report.report import make_report
from pipeline.runtime.files import check_writable, write_whole
from pipeline.settings import Settings
from pipeline.text.redaction import redacted, remember

KEPT = 30  # the last ones; where each sync is followed by one they are of some hours
KEPT_DAYS = 90  # and for so long the last one of each day
_NAME = "report-%Y%m%dT%H%M%SZ.html"
_OURS = re.compile(r"report-\d{8}T\d{6}Z\.html")

log = logging.getLogger(__name__)


def report(language: str, dag_id: str, run_id: str) -> dict[str, Any]:
    """Write the report, remove those that were kept for long enough, and tell in the note of the run where it is.

    Args:
        language: ``en`` or ``ru``.
        dag_id: The DAG that is running.
        run_id: Its run.

    Returns:
        Where the report is, here and for people, and how large.
    """
    chosen, now = settings(), datetime.now(UTC)
    folder = (chosen.reports or chosen.home / "reports").absolute()
    to = folder / now.strftime(_NAME)
    check_writable(to)
    with complete_settings() as complete, Lake(complete) as lake:
        made = make_report(lake, complete.timezone, language)
    size = write_whole(to, made.html)
    ours = [file for file in folder.iterdir() if _OURS.fullmatch(file.name)]
    for file in outdated(ours, now, ZoneInfo(chosen.timezone)):
        file.unlink(missing_ok=True)
    where = _where(to, chosen)
    log.info("the report of %s is %s: %s bytes", made.as_of, where, f"{size:,}")
    _note(dag_id, run_id, f"[{to.name}]({where})" if _is_address(where) else f"`{where}`")
    return {"path": str(to), "where": where, "bytes": size}


def outdated(reports: Iterable[Path], now: datetime, zone: ZoneInfo) -> list[Path]:
    """Return which reports are to go: neither among the last ones, nor the last one of one of the last days.

    Args:
        reports: The reports, by their names.
        now: The present moment.
        zone: Whose days are meant.
    """
    ours = sorted(reports)
    last_of_days: dict[object, Path] = {}
    for file in ours:
        if (moment := _moment_of(file)) and now - moment < timedelta(days=KEPT_DAYS):
            last_of_days[moment.astimezone(zone).date()] = file
    kept = {*ours[-KEPT:], *last_of_days.values()}
    return [file for file in ours if file not in kept]


def _moment_of(report: Path) -> datetime | None:
    try:
        return datetime.strptime(report.name, _NAME).replace(tzinfo=UTC)
    except ValueError:  # digits that are no moment
        return None


def _where(to: Path, chosen: Settings) -> str:
    """Return where people find a report: at an address or in a folder as the settings call it, else by its path."""
    if not (place := chosen.reports_url.rstrip("/")):
        return str(to)
    return f"{place}/{quote(to.name)}" if _is_address(place) else f"{place}/{to.name}"


def _is_address(where: str) -> bool:
    """Return whether it can be a link: Airflow's pages have none to files, nor would a browser follow them."""
    return where.startswith(("http://", "https://"))


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
