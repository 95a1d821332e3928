"""The tasks of the DAG ``maintenance``: what would grow without end is removed when it was kept for long enough."""

import logging
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.airflow.connections import AIRFLOW_DATABASE, settings
from pipeline.airflow.sessions import connected, skip
from pipeline.errors import ServerError
from pipeline.runs import prune as use_case
from pipeline.text.redaction import redacted, remember

_SAID = 300  # characters of a command's last word

log = logging.getLogger(__name__)


def prune(*, dry_run: bool = False) -> None:
    """Remove what the books have kept for long enough, and log how much it was.

    Args:
        dry_run: Only count what would be removed.
    """
    with connected() as connections:
        found = use_case.prune(connections, dry_run=dry_run)
    for one in found:
        log.info("%s, %s: %s rows%s", one.table, one.what, f"{one.rows:,}", " would be removed" if dry_run else "")


def prune_airflow(*, dry_run: bool = False) -> None:
    """Remove old runs and all that belongs to them from Airflow's own database, by ``airflow db clean``.

    Args:
        dry_run: Only count what would be removed.

    Raises:
        ServerError: It does not succeed.
    """
    from airflow.sdk.log import mask_secret

    uri = os.environ.get(AIRFLOW_DATABASE)
    if not uri:
        skip(f"{AIRFLOW_DATABASE} does not name Airflow's own database, so nothing is removed from it")
    remember(uri)
    mask_secret(uri)
    before = (datetime.now(UTC) - _kept_for()).isoformat(timespec="seconds")
    how = ["--dry-run"] if dry_run else ["--skip-archive", "--yes", "--error-on-cleanup-failure"]
    command = [sys.executable, "-m", "airflow", "db", "clean", "--clean-before-timestamp", before, *how]
    hidden = ("_AIRFLOW", "__AIRFLOW")  # by these it would know that it runs in a task
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    environment |= {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": uri, "COLUMNS": "250"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = [line.strip() for line in redacted(f"{done.stdout}\n{done.stderr}").splitlines() if line.strip()]
    if done.returncode:
        raise ServerError(f"airflow db clean ended with {done.returncode}: {(said or ['it said nothing'])[-1][:_SAID]}")
    removed = sum(int(line.split()[1]) for line in said if line.startswith("Found ") and line.split()[1].isdigit())
    log.info("Airflow's database: %s rows from before %s%s", f"{removed:,}", before, _would(dry_run))


def prune_logs(*, dry_run: bool = False) -> None:
    """Remove Airflow's log files that nobody wrote to for long, and the folders that they leave empty.

    Args:
        dry_run: Only count what would be removed.
    """
    from airflow.sdk.configuration import conf

    folder = Path(conf.get("logging", "base_log_folder"))
    oldest, files, size = time.time() - _kept_for().total_seconds(), 0, 0
    emptied: set[Path] = set()  # they are as young as what was removed from them
    for parent in (Path(parent) for parent, _, _ in os.walk(folder, topdown=False)):
        is_old = parent in emptied or parent.lstat().st_mtime < oldest
        for file in (file for file in parent.iterdir() if not file.is_dir() and file.lstat().st_mtime < oldest):
            files, size = files + 1, size + file.lstat().st_size
            if not dry_run:
                file.unlink()
                is_old = True
        if is_old and not dry_run and parent != folder and not any(parent.iterdir()):
            parent.rmdir()
            emptied.add(parent.parent)
    log.info("%s: %s files, %s bytes%s", folder, f"{files:,}", f"{size:,}", _would(dry_run))


def _kept_for() -> timedelta:
    return timedelta(days=settings().keep_airflow_days)


def _would(dry_run: bool) -> str:
    return " would be removed" if dry_run else " removed"
