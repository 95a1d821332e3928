"""What PostgreSQL says of an error, as one sentence: what it is about and what to do, and not the statement."""

import re
from collections.abc import Iterator, Sequence

import adbc_driver_manager

from pipeline.errors import BusyError, EtlError, LostError, ServerError
from pipeline.stores.unreachable import shortened, why_unreachable

INSUFFICIENT_PRIVILEGE = "42501"
_LOCK_NOT_AVAILABLE = "55P03"
_LOGIN = {"28P01", "28000"}  # invalid password, invalid authorization
# Serialization, deadlock, no memory, too many connections, starting or stopping: they pass by themselves.
_BUSY = {"40001", "40P01", "53200", "53300", "57P03"}
# A connection that is refused has no code, only the server's words.
_BUSY_AT_FIRST = re.compile(
    r"too many (?:clients|connections)|remaining connection slots|not (?:yet )?accepting connections"
    r"|database system is (?:starting up|shutting down|in rec)"
)
_WAY = re.compile(
    r"connection|could not translate|EOF detected|could not (?:receive data from|send data to) server", re.IGNORECASE
)
_GONE = ("08", "57P0")  # connection exceptions; the server is shut down, or starts
_CHANGES = re.compile(r"\b(?:DELETE|INSERT|MERGE|UPDATE)\b")
_OBJECT = re.compile(r"permission denied for (.+)")
LIBPQ = "[libpq]"  # which the driver puts before what libpq says
# What the driver and libpq were at, before what went wrong.
_AT = re.compile(
    r"(?:Failed to|Error|Execution error|PQ\w+\(\) failed|could not begin COPY|connection to server)[^:]*:\s*"
    r"|(?:FATAL|ERROR|PANIC):\s+"
)


class LockedError(EtlError):
    """Somebody else holds a lock for longer than we wait."""


def translated(error: Exception, shown: str, statement: str = "") -> EtlError:
    """Return the error that a user is told.

    Args:
        error: The driver's, or Arrow's that tells it.
        shown: The server's URI without its password.
        statement: What was asked, which the driver does not always tell; nothing of a COPY that loads.
    """
    told, state = _told(error)
    details = {_text(name): _text(value) for name, value in told}
    line = _line(str(error))
    primary = details.get("PG_DIAG_MESSAGE_PRIMARY", "") or _plain(line)
    message = " ".join((shortened(primary), *_more(details)))
    if state == _LOCK_NOT_AVAILABLE:
        return LockedError(
            f"PostgreSQL at {shown}: {message}: another session held a lock for longer than "
            "is waited for (--wait, ETL_WAIT); end it (pg_stat_activity shows it), and run the command again"
        )
    if state == INSUFFICIENT_PRIVILEGE:
        right = _right(primary, statement)
        return ServerError(
            f"PostgreSQL at {shown}: the user lacks a right{right}: {message}; docs/permissions.md lists what it needs"
        )
    if state in _LOGIN or "password authentication failed" in message:
        return ServerError(f"PostgreSQL at {shown} refused the user or password: {message}")
    if state in _BUSY or (not details and _BUSY_AT_FIRST.search(line)):
        return BusyError(f"PostgreSQL at {shown}: {message}")
    if state.startswith(_GONE) or (not details and _is_about_the_way(line)):
        return LostError(f"PostgreSQL at {shown} can't be reached: {why_unreachable(message)}")
    return EtlError(f"PostgreSQL at {shown}: {message}")


def _told(error: Exception) -> tuple[Sequence[tuple[str | bytes, str | bytes]], str]:
    """Return the parts of an error and its SQLSTATE; of one in the middle of a stream there is only a text."""
    if not isinstance(error, adbc_driver_manager.Error):
        return (), ""
    return error.details or (), error.sqlstate or ""


def _more(details: dict[str, str]) -> Iterator[str]:
    """Yield what PostgreSQL adds: which key, which view, and what to do."""
    for name in ("PG_DIAG_MESSAGE_DETAIL", "PG_DIAG_MESSAGE_HINT"):
        if text := "; ".join(details.get(name, "").splitlines()):
            yield f"({shortened(text).rstrip('.')})"


def _right(primary: str, statement: str) -> str:
    """Return which right is missing on what, as far as the statement's verb tells; PostgreSQL says only on what."""
    found = _OBJECT.match(primary)
    if found is None:  # "must be owner of table ..."
        return ""
    verb, on = next(iter(statement.split()), "INSERT").upper(), found[1]  # a COPY that loads
    if verb == "WITH":
        verb = changes[0] if (changes := _CHANGES.search(statement)) else "SELECT"
    if on.startswith("database"):
        return f" (CREATE on the {on})"
    if on.startswith("schema"):
        return f" ({'CREATE' if verb in ('CREATE', 'ALTER') else 'USAGE'} on the {on})"
    rights = "SELECT, INSERT and UPDATE" if verb == "MERGE" else verb
    return f" ({rights} on the {on})"


def _is_about_the_way(line: str) -> bool:
    return bool(_WAY.search(line)) or not _plain(line)


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _line(text: str) -> str:
    """Return the first line of what the driver says, without its own name and the statement."""
    line = text.partition("\n")[0].partition("Query was:")[0].strip()
    return re.sub(r"^(?:[A-Z_a-z]+: )?(?:\[libpq\] ?)?", "", line)


def _plain(line: str) -> str:
    """Return what went wrong, without what the driver and libpq were at."""
    while found := _AT.match(line):
        line = line[found.end() :]
    return line
