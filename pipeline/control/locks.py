"""Locks between commands: who waits for another one's says so, for a bounded time, and can be interrupted meanwhile."""

import logging
import time
from collections.abc import Iterator

from pipeline.stores.postgres.errors import LockedError
from pipeline.stores.postgres.session import Session

LOCK = 7_305_101_001  # an arbitrary number that stands for the books among PostgreSQL's advisory locks
SAID_AFTER_S = 3.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.25
_KEY = "(l.classid::bigint << 32 | l.objid::bigint)"
_ADVISORY = "l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
_HOLDER = (
    "SELECT l.pid, to_char(a.xact_start, 'YYYY-MM-DD HH24:MI:SS') FROM pg_locks l LEFT JOIN pg_stat_activity a "
    f"USING (pid) WHERE {_ADVISORY} AND l.pid <> pg_backend_pid() AND {_KEY} = $1::bigint "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1"
)
# Whoever is at work on a run holds the run's lock, too.
_RUN_OF = (
    f"SELECT run_id FROM pg_locks l JOIN etl.runs ON {_KEY} = hashtextextended(run_id, 0) "
    f"WHERE {_ADVISORY} AND l.pid = $1::bigint ORDER BY started_at DESC LIMIT 1"
)
log = logging.getLogger(__name__)


def lock_publishing(postgres: Session) -> None:
    """Let one publish at a time pass, until the transaction ends.

    Raises:
        LockedError: Another command had not let go of it by the time that is waited for.
    """
    lock(postgres, LOCK, "publishing")


def lock(postgres: Session, key: int | str, doing: str) -> None:
    """Take an advisory lock until the transaction ends.

    PostgreSQL is asked again and again: while it waits itself it can't tell for whom, and Python can't be interrupted.

    Args:
        postgres: Where the lock is; its ``wait`` is how many seconds another command is waited for.
        key: The lock's number, or a name of which PostgreSQL makes one.
        doing: What its holder is at, as in "run ... is publishing".

    Raises:
        LockedError: Somebody else holds it for longer.
    """
    began, is_said = time.monotonic(), False
    number = key if isinstance(key, int) else postgres.rows("SELECT hashtextextended($1::text, 0)", key)[0][0]
    for pause in _pauses():
        if postgres.rows("SELECT pg_try_advisory_xact_lock($1::bigint)", number)[0][0]:
            return
        waited = time.monotonic() - began
        if waited >= postgres.wait:
            raise LockedError(
                f"{_holder(postgres, number, doing)}; gave up after {span(postgres.wait)} (--wait, ETL_WAIT), and "
                "nothing was changed; run the command again when that one has finished"
            )
        if waited >= SAID_AFTER_S and not is_said:
            is_said = True
            log.warning("%s; waiting for it, at most %s", _holder(postgres, number, doing), span(postgres.wait))
        time.sleep(min(pause, postgres.wait - waited))


def span(seconds: float) -> str:
    """Return a time as people write it."""
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE_S
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _holder(postgres: Session, number: int, doing: str) -> str:
    """Return who holds a lock, at what, and since when, as far as we are told."""
    found = postgres.rows(_HOLDER, number)
    if not found:  # it has let go just now
        return f"another command is {doing}"
    ((pid, since),) = found
    has_runs = postgres.rows("SELECT to_regclass('etl.runs') IS NOT NULL")[0][0]
    runs = postgres.rows(_RUN_OF, pid) if has_runs else []
    who = f"run {runs[0][0]}" if runs else "another command"
    return f"{who} is {doing}{f' since {since} UTC' if since else ''} (process {pid} of PostgreSQL)"
