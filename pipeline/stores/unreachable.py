"""Why a server can't be reached, in words of our own: what libraries say of sockets is not meant for people."""

import re

_LONGEST = 500  # characters of what we have no words of our own for

# The first that fits. What libpq, OpenSSL, urllib3, Python and PyMongo say of the same thing stands in one place.
_REASONS = tuple(
    (re.compile(pattern, re.IGNORECASE), said)
    for pattern, said in (
        (r"connection refused", "connection refused, so nothing listens there"),
        (r"postmaster exit", "the server is gone: its main process has ended"),
        (r"crash of another server process", "the server restarts, since one of its processes has crashed"),
        (r"administrator command", "the server is shut down, or somebody has ended the session"),
        (r"system is shutting down|ShutdownInProgress|InterruptedAtShutdown", "the server is shutting down"),
        (r"system is (?:starting up|in recovery|not yet accepting)", "the server is starting; try again in a moment"),
        (
            r"server closed the connection|no connection to the server|closed connection without response"
            r"|IncompleteRead|InvalidChunkLength|connection (?:aborted|broken|closed|reset)|broken pipe|EOF|^$",
            "the server closed the connection; it was stopped, or has ended",
        ),
        (r"name or service not known|could not translate host|name resolution|nodename nor", "its host is unknown"),
        (r"timed out|timeout expired", "it does not answer"),
        (r"no route to host|network is unreachable", "there is no route to its network"),
    )
)


def why_unreachable(text: str) -> str:
    """Return why a server can't be reached, from the first line of what a library says of it."""
    said = next((said for pattern, said in _REASONS if pattern.search(text)), text)
    return shortened(said)


def shortened(text: str) -> str:
    """Return the first line of a text, and of a long one the beginning."""
    line = text.partition("\n")[0].strip()
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
