"""What is looked at in the same way on each server."""

import re
from datetime import UTC, datetime
from urllib.parse import parse_qsl, unquote, urlsplit

from pipeline.doctor.finding import Finding, judged

_LOCAL = {"127.0.0.1", "localhost", "::1", ""}
_APART_S = 5.0  # of clocks; beyond that times in logs, books and alerts can't be read side by side
_ROUND = 0.1


def version(about: str, found: str, least: tuple[int, ...]) -> Finding:
    """Judge a server's version.

    Args:
        about: Which server.
        found: Its version, such as ``16.3 (Debian 16.3-1)``.
        least: The oldest that will do.
    """
    numbers = tuple(int(part) for part in re.findall(r"\d+", found)[: len(least)])
    wanted = ".".join(map(str, least))
    return judged(about, "version", found, fail="" if numbers >= least else f"use {wanted} or later")


def clock(about: str, theirs: datetime) -> Finding:
    """Judge how far a server's clock, in UTC, is from that of this machine."""
    apart = (theirs.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
    says = (
        f"{abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} this machine" if abs(apart) > _ROUND else "as here"
    )
    advice = "set both clocks by NTP: times in logs and books can't be compared" if abs(apart) > _APART_S else ""
    return judged(about, "clock", says, warn=advice)


def encryption(about: str, uri: str, *, encrypted: bool, how: str) -> Finding:
    """Judge whether what is said on the way to a server can be overheard.

    Args:
        about: Which server.
        uri: Its URI.
        encrypted: Whether TLS is used.
        how: By what it is switched on.
    """
    split = urlsplit(uri)
    named = [*split.netloc.rpartition("@")[2].split(","), *dict(parse_qsl(split.query)).get("host", "").split(",")]
    hosts = {unquote(urlsplit(f"//{one}").hostname or "") for one in named}
    if encrypted or all(one in _LOCAL or one.startswith("/") for one in hosts):  # a path is that of a socket
        return judged(about, "TLS", "in use" if encrypted else "not in use, nor needed on one machine")
    return judged(about, "TLS", "not in use: passwords and rows can be overheard", warn=f"switch it on by {how}")


def duration(seconds: float) -> str:
    """Return a span of time as people say it."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} seconds"


def size(amount: float) -> str:
    """Return a number of bytes as people say it."""
    return f"{amount / 2**30:,.1f} GiB" if amount >= 2**30 else f"{amount / 2**20:,.0f} MiB"
