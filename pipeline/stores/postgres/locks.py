"""Published tables are changed when nobody reads them: we wait for that, and let nobody wait for us but a blink."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from pipeline.errors import EtlError
from pipeline.stores.postgres.errors import LockedError
from pipeline.stores.postgres.session import Session

_BLINK = "100ms"  # how long we wait for those who read, for as long others wait behind us
_PAUSE_S, _PATIENCE_S = 0.5, 600.0
_IN_THE_WAY = (
    "a table whose contract has changed was being read for ten minutes on end, so it could not be changed and nothing "
    "was published; end the transactions that read it (pg_stat_activity) and run the command again"
)


def change_at_moments(session: Session, statements: Iterable[str]) -> None:
    """Change published tables, each change in a transaction of its own, as soon as nobody is in the way.

    Args:
        session: Keeps its transaction: the changes are made on another connection to its server.
        statements: One each.

    Raises:
        EtlError: Somebody was in the way for too long.
    """
    statements = tuple(statements)
    if not statements:
        return
    with closing(session.another()) as other:
        other.execute(f"SET lock_timeout = '{_BLINK}'")
        other.commit()
        for statement in statements:
            _as_soon_as_possible(other, statement)


def lock_out_readers(session: Session, names: Sequence[str]) -> None:
    """Have some tables and views for ourselves, within the caller's transaction, as soon as nobody reads them.

    Whoever comes to read while we wait for those who do queues up behind us, so we don't wait for long, but often.

    Args:
        session: Whose transaction has them then.
        names: Of the tables and views, quoted.

    Raises:
        EtlError: Somebody read them for too long.
    """
    if not names:
        return
    session.execute(f"SET LOCAL lock_timeout = '{_BLINK}'", "SAVEPOINT waiting")
    lock = f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE"

    def attempt() -> None:
        try:
            session.execute(lock, f"SET LOCAL lock_timeout = {session.lock_timeout}")
        except LockedError:
            session.execute("ROLLBACK TO SAVEPOINT waiting")
            raise

    _until_unlocked(attempt)


def _as_soon_as_possible(session: Session, statement: str) -> None:
    def attempt() -> None:
        with session.transaction():
            session.execute(statement)

    _until_unlocked(attempt)


def _until_unlocked(attempt: Callable[[], None]) -> None:
    """Do something again and again as long as somebody's lock is in its way.

    Raises:
        EtlError: It was in the way for too long.
    """
    locked, pause = retry_if_exception_type(LockedError), wait_fixed(_PAUSE_S)
    try:
        Retrying(retry=locked, wait=pause, stop=stop_after_delay(_PATIENCE_S))(attempt)
    except RetryError as error:
        raise EtlError(_IN_THE_WAY) from error
