"""Runs: opened, alive, failed."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from bson import Timestamp

from pipeline.books.moments import as_number
from pipeline.stores.postgres import Postgres

_LOCK_OF_RUN = "hashtextextended($1::text, 0)"


def open_run(
    postgres: Postgres, kind: str, cluster_time: Timestamp, targets: Sequence[str], *, single_process: bool
) -> str:
    """Open a run and return its id, which sorts by time.

    Args:
        postgres: Where the books are.
        kind: ``replicate``, ``marts``, ``replay`` or ``repair``.
        cluster_time: The moment that it reads.
        targets: Where it loads.
        single_process: Whether the process that opens it does all of it; if that process dies, so does the run.
    """
    run_id = f"{datetime.now(UTC):%Y%m%dt%H%M%S}_{secrets.token_hex(3)}"
    postgres.execute(
        "INSERT INTO etl.runs (run_id, kind, status, cluster_time, cluster_time_at, targets, single_process) VALUES "
        "($1::text, $2::text, 'running', $3::bigint, to_timestamp($4::bigint), "
        "string_to_array($5::text, ','), $6::bool)",
        parameters=(run_id, kind, as_number(cluster_time), cluster_time.time, ",".join(targets), single_process),
    )
    if single_process:  # held by the session: it falls when the process does
        postgres.rows(f"SELECT pg_advisory_lock({_LOCK_OF_RUN})::text", run_id)
    return run_id


def fail(postgres: Postgres, run_id: str, message: str) -> None:
    """Enter that a run failed, and why."""
    postgres.execute("DELETE FROM etl.refused WHERE run_id = $1::text", parameters=(run_id,))
    postgres.execute(
        "UPDATE etl.runs SET status = 'failed', finished_at = now(), message = $2::text "
        "WHERE run_id = $1::text AND status = 'running'",
        parameters=(run_id, message[:2000]),
    )


def statuses(postgres: Postgres) -> dict[str, str]:
    """Return every run with its status: running, published or failed."""
    return dict(postgres.rows("SELECT run_id, status FROM etl.runs ORDER BY started_at"))


def is_alive(postgres: Postgres, run_id: str) -> bool:
    """Tell whether a run may still go on.

    A run of one process lives as long as that process holds the run's lock. A run whose partitions are loaded by
    many processes is given a day: no history window lasts longer.
    """
    query = (
        "SELECT single_process, started_at > now() - interval '1 day' FROM etl.runs "
        "WHERE run_id = $1::text AND status = 'running'"
    )
    found = postgres.rows(query, run_id)
    if not found:
        return False
    single_process, recent = found[0]
    if not single_process:
        return bool(recent)
    if postgres.rows(f"SELECT pg_try_advisory_lock({_LOCK_OF_RUN})", run_id)[0][0]:
        postgres.rows(f"SELECT pg_advisory_unlock({_LOCK_OF_RUN})", run_id)
        return False
    return True


def is_published(postgres: Postgres, run_id: str) -> bool:
    """Tell whether a run is published already."""
    return bool(postgres.rows("SELECT status = 'published' FROM etl.runs WHERE run_id = $1::text", run_id)[0][0])


def kind_of(postgres: Postgres, run_id: str) -> str:
    """Return what a run does: ``replicate``, ``marts``, ``replay`` or ``repair``."""
    return str(postgres.rows("SELECT kind FROM etl.runs WHERE run_id = $1::text", run_id)[0][0])
