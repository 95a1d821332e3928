"""What ClickHouse says of an error, as one sentence: what it is about and what to do, and not the statement."""

import re

from clickhouse_connect.driver.exceptions import OperationalError
from urllib3.exceptions import HTTPError

from pipeline.errors import BusyError, EtlError, LostError, ServerError
from pipeline.stores.unreachable import shortened, why_unreachable

_AUTH_ERRORS = ("Code: 516.", "Code: 193.")  # authentication failed, wrong password
_CODE = re.compile(r"Code: (\d+)\.")
# Too slow, too many queries, network, memory, parts, Keeper, a replica that is behind: they pass by themselves.
_BUSY = {159, 202, 209, 210, 241, 252, 319, 999}
_DENIED, _RIGHT = "Code: 497.", re.compile(r"necessary to have the grant (.+? ON [^ ]+?)\.? \(ACCESS_DENIED")
# The system's reason, or that of TLS, deep in what the HTTP library says.
_REASON = re.compile(r"\[(?:Errno -?\d+|SSL(?:: (?P<tls>\w+))?)\] ([^\"()]+)|CertificateError\([\"'](.+?)[\"']\)")
_TLS_HINTS = {
    "CERTIFICATE_VERIFY_FAILED": "; ?ca_cert=FILE names the authority to trust, ?server_host_name=NAME who it is",
    "WRONG_VERSION_NUMBER": "; what listens there does not speak TLS: another port, or http://",
}
_BEFORE, _AFTER = (
    re.compile(r"^.*?DB::Exception: ", re.DOTALL),
    re.compile(r" \(for url [^)]*\)|\s*Stack trace:.*", re.DOTALL),
)
_NAME = re.compile(r"[. ]*\(([A-Z][A-Z_]+)\)[^()]*(?:\(version [^)]*\)*)?$")
# The server quotes the statement, or a part of it.
_STATEMENT = re.compile(
    r"(\(line \d+, col \d+\)): .*|[:.,;( ]*\b(?:in scope|in query|while (?:processing|executing)) .*", re.IGNORECASE
)


def translated(error: Exception, shown: str) -> EtlError:
    """Return the error that a user is told.

    Args:
        error: The driver's, or the HTTP library's under it, which is what a broken answer ends with.
        shown: The server's URI without its password.
    """
    message = str(error)
    if _DENIED in message:
        right = _RIGHT.search(message)
        return ServerError(
            f"ClickHouse at {shown}: the user lacks the right {right[1] if right else _plain(message)}; "
            "docs/permissions.md lists what it needs"
        )
    if any(code in message for code in _AUTH_ERRORS):
        return ServerError(f"ClickHouse at {shown} refused the user or password")
    if isinstance(error, OperationalError | HTTPError):
        return LostError(f"ClickHouse at {shown} can't be reached: {_reason(message)}")
    code = _CODE.search(message)
    kind = BusyError if code and int(code[1]) in _BUSY else EtlError
    return kind(f"ClickHouse at {shown}: {_plain(message)}")


def _reason(message: str) -> str:
    if not (found := _REASON.search(message)):
        return why_unreachable(message)
    *_, said = filter(None, found.groups())
    return why_unreachable(str(said).strip(" '")) + _TLS_HINTS.get(found["tls"], "")


def _plain(message: str) -> str:
    """Return what the server complains of, with the error's name, and without the statement."""
    text = " ".join(_AFTER.sub("", _BEFORE.sub("", message)).split())
    name = _NAME.search(text)
    complaint = _STATEMENT.sub(r"\1", text[: name.start()] if name else text).rstrip(".: ")
    return f"{shortened(complaint)}{f' ({name[1]})' if name else ''}"
