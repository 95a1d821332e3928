"""A session with PostgreSQL: statements, rows and transactions; the books need no more than this.

Whoever only reads the books, as ``etl status`` does, loads neither Polars nor the contracts by it.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

import adbc_driver_manager
import pyarrow as pa

from pipeline.errors import EtlError, LostError, ServerError
from pipeline.runtime.waits import SILENCE_S
from pipeline.stores.postgres.connection import Link
from pipeline.stores.postgres.errors import LIBPQ, translated
from pipeline.text.redaction import remember

Row = tuple[Any, ...]
JSONB_VERSION = "\x01"  # the first byte of jsonb's binary form
_LIMITS = (  # the last one is known since PostgreSQL 17
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
)


class Session:
    """One connection to PostgreSQL; whoever calls its methods decides where a transaction ends.

    Args:
        uri: Connection string.
        wait: Seconds for which another one's lock is waited for.
        silence: Seconds that the server may be silent before it is asked whether it is still at work.
    """

    def __init__(self, uri: str, wait: float = 600.0, silence: float = SILENCE_S) -> None:
        self._uri, self._shown, self.wait, self._silence = uri, remember(uri), wait, silence
        self._session: Row = ()
        self._open()

    def close(self) -> None:
        """Close the connection; what was not committed is undone."""
        self._link.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside; undo it all if it raises."""
        try:
            with self._translated():
                yield
                self._link.commit()
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """Undo what was not committed, and end a transaction that has failed."""
        with suppress(adbc_driver_manager.Error, ServerError):  # a server that is gone has undone it already
            self._link.rollback()

    def commit(self) -> None:
        """Commit what was done."""
        with self._translated():
            self._link.commit()

    def answers(self) -> bool:
        """Return whether the connection is alive; what was not committed is undone."""
        self.undo()
        try:
            with self.transaction():
                return bool(self.rows("SELECT true")[0][0])
        except EtlError:
            return False

    def revive(self) -> None:
        """Open a new connection if this one was lost; what was not committed is undone.

        Raises:
            LostError: The server can't be reached, or the lost connection's session is at work there still.
        """
        if not self.answers():
            self._reconnect()

    def _reconnect(self) -> None:
        """Open a new connection in place of one that was lost; the lost one's locks and transaction are gone then.

        Raises:
            LostError: The server can't be reached, or the lost connection's session is at work there still.
        """
        lost, session = self._link, self._session
        try:
            self._open()
        finally:
            lost.close()
        # Where only the network was cut, the server may not know yet, and a commit of ours may be under way.
        query = (
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE pid = $1::bigint AND backend_start = $2::text::timestamptz"
        )
        with self.transaction():
            ended = self.rows(query, *session)
        if ended and not ended[0][0]:
            self._session = session  # the next try has to end it
            self.close()
            raise LostError(f"PostgreSQL at {self._shown} is still running a statement of a connection that was lost")

    def _open(self) -> None:
        with self._translated():
            self._link = Link(self._uri, f"PostgreSQL at {self._shown}", self._silence)
        self.connection = self._link.connection
        try:
            self._set_up()
        except BaseException:
            self._link.close()
            raise

    def _set_up(self) -> None:
        """Let rows read the same whatever the server's defaults are, and note which session this is."""
        defaults = {"TimeZone": "UTC", "extra_float_digits": "1", "lock_timeout": str(self.lock_timeout)}
        # A merge takes as long as it takes, and so does what is waited for within a transaction; a server that ends
        # either would free the lock under which one command alone publishes. How long is too long is told by us.
        defaults |= dict.fromkeys(_LIMITS, "0")
        there = "CASE WHEN current_setting('{0}', true) IS NOT NULL THEN set_config('{0}', '{1}', false) END"
        chosen = ", ".join(there.format(name, value) for name, value in defaults.items())
        # Of the view on it PostgreSQL would tell of all sessions, to choose this one.
        query = f"SELECT pid, backend_start::text, {chosen} FROM pg_stat_get_activity(pg_backend_pid())"
        self._session = self.rows(query)[0][:2]
        self.commit()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all queries inside see one state of the database; what was not committed before is undone."""
        self.undo()  # or a transaction that somebody has begun would go on
        with self.transaction():
            self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield

    def execute(self, *statements: str, parameters: Sequence[Any] | None = None) -> None:
        """Run statements, all with the same parameters (``$1``, ``$2``, ...)."""
        with self._translated(), self.connection.cursor() as cursor:
            for statement in statements:
                with self._translated(statement), self._link.waiting():
                    cursor.execute(statement, parameters)

    def rows(self, query: str, *parameters: Any) -> list[Row]:
        """Return the rows of a query."""
        with self._translated(query), self.connection.cursor() as cursor, self._link.waiting():
            cursor.execute(query, parameters or None)
            return cursor.fetchall()  # type: ignore[no-any-return]

    def number(self, query: str) -> int:
        """Return the one number that a query tells."""
        return int(self.rows(query)[0][0])

    def numbers(self, queries: Iterable[str]) -> list[int]:
        """Return the numbers that some queries tell, asked together."""
        asked = ", ".join(f"({query})::bigint" for query in queries)
        return [int(number) for (number,) in self.rows(f"SELECT unnest(ARRAY[{asked}])")] if asked else []

    def append(self, schema: str, table: str, rows: pa.Table) -> None:
        """Append rows to a table by COPY; its columns must have the rows' names and types."""
        with self._translated(), self.connection.cursor() as cursor, self._link.waiting():
            cursor.adbc_ingest(table, rows, mode="append", db_schema_name=schema)

    def batches(self, query: str, *parameters: Any) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of a query as they come; only for the next ones is the server waited for."""
        with self._translated(query), self.connection.cursor() as cursor:
            with self._link.waiting():
                cursor.execute(query, parameters or None)
                rows = cursor.fetch_record_batch()
            while True:
                with self._link.waiting():
                    batch = next(rows, None)
                if batch is None:
                    return
                yield batch

    def another(self) -> Self:
        """Open another connection to the same server.

        Not by the driver's clone, though that is cheaper: the count that the driver keeps of those that share one
        database was once wrong at the end, which fails whoever closes the last.
        """
        return type(self)(self._uri, self.wait, self._silence)

    @property
    def lock_timeout(self) -> int:
        """Milliseconds for which the server waits for a lock; 0 would mean for ever, and few of them is no failure."""
        return max(int(self.wait * 1000), 1_000)

    @contextmanager
    def _translated(self, statement: str = "") -> Iterator[None]:
        try:
            yield
        except adbc_driver_manager.Error as error:
            raise translated(error, self._shown, statement) from error
        except (OSError, pa.ArrowException) as error:  # in the middle of a stream, where Arrow asks the driver
            if LIBPQ not in str(error):
                raise
            raise translated(error, self._shown, statement) from error
