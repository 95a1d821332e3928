"""Runs: opened, alive, failed."""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import orjson
from bson import Timestamp

from pipeline.control.cluster_time import as_number
from pipeline.control.locks import lock_publishing
from pipeline.errors import EtlError
from pipeline.stores.postgres.session import Session
from pipeline.text.printable import visible
from pipeline.text.redaction import redacted

_LOCK_OF_RUN = "hashtextextended($1::text, 0)"
_HELD = (
    "FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted AND pid = pg_backend_pid() "
    f"AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = {_LOCK_OF_RUN}"
)


def open_run(
    postgres: Session, kind: str, cluster_time: Timestamp, targets: Sequence[str], *, single_process: bool
) -> str:
    """Open a run and return its id, which sorts by time.

    Args:
        postgres: Where the books are.
        kind: ``replicate``, ``sync``, ``marts``, ``replay`` or ``repair``.
        cluster_time: The moment that it reads.
        targets: Where it loads.
        single_process: Whether the process that opens it does all of it, or has others do it that end with it; if that
            process dies, so does the run. It holds the run's lock until :func:`release_run`.
    """
    run_id = f"{datetime.now(UTC):%Y%m%dt%H%M%S}_{secrets.token_hex(3)}"
    postgres.execute(
        "INSERT INTO etl.runs (run_id, kind, status, cluster_time, cluster_time_at, targets, single_process) VALUES "
        "($1::text, $2::text, 'running', $3::bigint, to_timestamp($4::bigint), "
        "string_to_array($5::text, ','), $6::bool)",
        parameters=(run_id, kind, as_number(cluster_time), cluster_time.time, ",".join(targets), single_process),
    )
    if single_process:  # as in hold_run_lock; nobody can see the run before the lock is held
        postgres.rows(f"SELECT pg_advisory_lock_shared({_LOCK_OF_RUN})::text", run_id)
    return run_id


def rejoin_run(postgres: Session, run_id: str) -> None:
    """Take the lock of a run again that went with a lost session, if the run ends with one process.

    Raises:
        EtlError: Another command has given the run up meanwhile.
    """
    with postgres.transaction():
        if _is_ours(postgres, run_id):
            return
        # Whoever clears away what dead runs left holds this one: from here on nobody does so.
        lock_publishing(postgres)
        if not _is_ours(postgres, run_id):
            postgres.rows(f"SELECT pg_advisory_lock_shared({_LOCK_OF_RUN})::text", run_id)


def _is_ours(postgres: Session, run_id: str) -> bool:
    """Return whether this session holds the lock of a run, or several processes are at it."""
    query = f"SELECT single_process, status <> 'failed', EXISTS (SELECT {_HELD}) FROM etl.runs WHERE run_id = $1::text"
    found = postgres.rows(query, run_id)
    if not found or not found[0][1]:
        raise EtlError(
            f"run {run_id} was given up by another command while its connection to PostgreSQL was lost; nothing of it "
            "was published; run the command again"
        )
    return not found[0][0] or bool(found[0][2])


def targets_of(postgres: Session, run_id: str) -> list[str]:
    """Return the names of the stores that a run loads."""
    with postgres.transaction():
        query = "SELECT unnest(targets) FROM etl.runs WHERE run_id = $1::text"
        return [name for (name,) in postgres.rows(query, run_id)]


def release_run(postgres: Session, run_id: str) -> None:
    """Let go of a run that this process has opened and done all of; twice does no harm."""
    with suppress(EtlError), postgres.transaction():  # a server that is gone has let go of it already
        postgres.rows(f"SELECT pg_advisory_unlock_shared({_LOCK_OF_RUN}) {_HELD}", run_id)


@contextmanager
def hold_run_lock(postgres: Session, run_id: str) -> Iterator[None]:
    """Show that this process is at work on a run, which several may be, for as long as the context or the session."""
    # Held by the session: it falls when the process does. A server has room for some ten thousand locks in all.
    postgres.rows(f"SELECT pg_advisory_lock_shared({_LOCK_OF_RUN})::text", run_id)
    try:
        yield
    except BaseException:
        postgres.undo()  # in a transaction that has failed the lock could not be let go of
        raise
    finally:
        with suppress(EtlError), postgres.transaction():
            postgres.rows(f"SELECT pg_advisory_unlock_shared({_LOCK_OF_RUN})", run_id)


def fail_run(postgres: Session, run_id: str, message: str) -> None:
    """Enter that a run failed, and why."""
    forget_notes(postgres, run_id)
    postgres.execute(
        "UPDATE etl.runs SET status = 'failed', finished_at = now(), message = $2::text "
        "WHERE run_id = $1::text AND status = 'running'",
        parameters=(run_id, visible(redacted(message))[:2000]),
    )


def forget_notes(postgres: Session, run_id: str) -> None:
    """Drop what a run has refused and found changed so far, since it is over."""
    for table in ("refused", "touched"):
        postgres.execute(f"DELETE FROM etl.{table} WHERE run_id = $1::text", parameters=(run_id,))


def statuses(postgres: Session) -> dict[str, str]:
    """Return every run with its status: running, published or failed."""
    return dict(postgres.rows("SELECT run_id, status FROM etl.runs ORDER BY started_at"))


def open_among(postgres: Session, leftovers: Iterable[str]) -> list[str]:
    """Return the runs that say that they are running, and those of some others that are in the books at all.

    Args:
        postgres: Where the books are.
        leftovers: Names of staging areas.
    """
    named = orjson.dumps(list(leftovers)).decode()
    rows = postgres.rows(
        "SELECT run_id FROM etl.runs WHERE status = 'running' UNION "
        "SELECT run_id FROM etl.runs WHERE run_id IN (SELECT jsonb_array_elements_text($1::text::jsonb)) ORDER BY 1",
        named,
    )
    return [run_id for (run_id,) in rows]


def is_given_up(postgres: Session, run_id: str) -> bool:
    """Return whether a run has failed, or is not in the books."""
    query = "SELECT status IN ('running', 'published') FROM etl.runs WHERE run_id = $1::text"
    found = postgres.rows(query, run_id)
    return not (found and found[0][0])


def why_failed(postgres: Session, run_id: str) -> str:
    """Return why a run was given up; nothing if it was not, or the books do not say."""
    found = postgres.rows("SELECT coalesce(message, '') FROM etl.runs WHERE run_id = $1::text", run_id)
    return str(found[0][0]) if found else ""


def is_alive(postgres: Session, run_id: str) -> bool:
    """Return whether a run may still go on.

    A run lives as long as a process at work on it holds its lock. One of many processes, of which none may be at work
    for a while, is given a day from its last sign of life: that it was opened, or that a partition of it was loaded.
    """
    query = (
        "SELECT NOT single_process AND now() - interval '1 day' < greatest(started_at, "
        "(SELECT max(loaded_at) FROM etl.ledger WHERE ledger.run_id = runs.run_id)) "
        "FROM etl.runs WHERE run_id = $1::text AND status = 'running'"
    )
    found = postgres.rows(query, run_id)
    return bool(found) and (bool(found[0][0]) or _is_attended(postgres, run_id))


def _is_attended(postgres: Session, run_id: str) -> bool:
    """Return whether the session of any other process holds a run's lock."""
    free = f"CASE WHEN pg_try_advisory_lock({_LOCK_OF_RUN}) THEN pg_advisory_unlock({_LOCK_OF_RUN}) ELSE false END"
    return not postgres.rows(f"SELECT {free}", run_id)[0][0]


def is_published(postgres: Session, run_id: str) -> bool:
    """Return whether a run is published already."""
    return bool(postgres.rows("SELECT status = 'published' FROM etl.runs WHERE run_id = $1::text", run_id)[0][0])


def kind_of(postgres: Session, run_id: str) -> str:
    """Return what a run does: ``replicate``, ``sync``, ``marts``, ``replay`` or ``repair``."""
    return str(postgres.rows("SELECT kind FROM etl.runs WHERE run_id = $1::text", run_id)[0][0])


def moment_of(postgres: Session, run_id: str) -> int:
    """Return the cluster time that a run read at, as a number: its rows bear it, whatever is published moves on to."""
    return int(postgres.rows("SELECT cluster_time FROM etl.runs WHERE run_id = $1::text", run_id)[0][0])
