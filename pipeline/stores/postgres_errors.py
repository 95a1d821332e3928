"""What PostgreSQL says of an error, as one sentence: what it is about and what to do, and not the statement."""

import re
from collections.abc import Iterator

import adbc_driver_manager

from pipeline.errors import EtlError, ServerError

INSUFFICIENT_PRIVILEGE = "42501"
_LOCK_NOT_AVAILABLE = "55P03"
_LOGIN = {"28P01", "28000"}  # invalid password, invalid authorization
_GONE = ("08", "57P0")  # connection exceptions; the server is shut down, or starts
_STATEMENT = re.compile(r"(?:query '|COPY statement|Query was: )\s*(\w+)?")
_OBJECT = re.compile(r"permission denied for (.+)")
_LONGEST = 500  # characters of a detail, which may show a row


class LockedError(EtlError):
    """Somebody else holds a lock for longer than we wait."""


def translated(error: adbc_driver_manager.Error, shown: str) -> EtlError:
    """Return the error that a user is told.

    Args:
        error: The driver's.
        shown: The server's URI without its password.
    """
    details = {_text(name): _text(value) for name, value in error.details or ()}
    primary = details.get("PG_DIAG_MESSAGE_PRIMARY", "") or _plain(str(error))
    message, state = " ".join((primary, *_more(details))), error.sqlstate or ""
    if state == _LOCK_NOT_AVAILABLE:
        return LockedError(
            f"PostgreSQL at {shown}: {message}: another session held a lock for longer than "
            "is waited for (--wait, ETL_WAIT); end it (pg_stat_activity shows it), and run the command again"
        )
    if state == INSUFFICIENT_PRIVILEGE:
        right = _right(primary, str(error))
        return ServerError(
            f"PostgreSQL at {shown}: the user lacks a right{right}: {message}; docs/permissions.md lists what it needs"
        )
    if state in _LOGIN or "password authentication failed" in message:
        return ServerError(f"PostgreSQL at {shown} refused the user or password: {message}")
    if state.startswith(_GONE) or (not details and _is_about_the_way(message)):
        return ServerError(f"PostgreSQL at {shown} can't be reached: {message}")
    return EtlError(f"PostgreSQL at {shown}: {message}")


def _more(details: dict[str, str]) -> Iterator[str]:
    """Yield what PostgreSQL adds: which key, which view, and what to do."""
    for name in ("PG_DIAG_MESSAGE_DETAIL", "PG_DIAG_MESSAGE_HINT"):
        if text := "; ".join(details.get(name, "").splitlines()):
            short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
            yield f"({short.rstrip('.')})"


def _right(primary: str, error: str) -> str:
    """Return which right is missing on what, as far as the statement's verb tells; PostgreSQL says only on what."""
    found = _OBJECT.match(primary)
    if found is None:  # "must be owner of table ..."
        return ""
    statement = _STATEMENT.search(error)
    verb, on = (statement[1] if statement and statement[1] else "INSERT").upper(), found[1]  # a COPY that loads
    if on.startswith("database"):
        return f" (CREATE on the {on})"
    if on.startswith("schema"):
        return f" ({'CREATE' if verb in ('CREATE', 'ALTER') else 'USAGE'} on the {on})"
    rights = {"COPY": "SELECT", "MERGE": "SELECT, INSERT and UPDATE", "WITH": "SELECT"}
    return f" ({rights.get(verb, verb)} on the {on})"


def _is_about_the_way(message: str) -> bool:
    return "connection" in message.lower() or "could not translate" in message


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _plain(text: str) -> str:
    """Return the first line of what the driver says, without the names of its parts."""
    line = text.split("\n")[0].removeprefix("IO: ")
    return re.sub(r"^(?:[A-Z_]+: )?(?:\[libpq\] )?", "", line)
