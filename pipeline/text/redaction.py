"""The one redactor: no message that leaves this process holds a secret.

It has two nets, since each alone has holes. `remember` takes the secrets of a URI before anything can quote them, in
every spelling that a driver may put into an exception; `redacted` hides those, and whatever else looks like a secret.
"""

import base64
import json
import re
import threading
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

HIDDEN = "***"
_LEAST = 4  # shorter ones are hidden where they stand in a URI, but not wherever the same letters occur
_WORDS_UPTO = 7  # such short ones are hidden as whole words
_NO_SECRETS = {"mongodb", "postgres", "postgresql", "clickhouse", "default", "password"}  # or no message could be read

_NAME = (
    r"(?:[\w.%-]{0,40}(?:password|passwd|passphrase|pwd|secret|token|credentials|signature|api[_-]?key|access[_-]?key"
    r"|private[_-]?key|clickhouse-key|scram_\w+_key)|sig)"
)
_QUOTED = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_SHOWN = r"(?:\*\*\*(?:[\s&,)\]}'\"]|$))"  # what is hidden already
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        # Of a webhook all that follows the host is secret.
        r"(?P<before>\bhttps?://(?=[^\s\"']*hook)[^\s/?#\"']+[/?])(?P<secret>[^\s\"']+)",
        # scheme://user:secret@host: up to the last @, for a password that is not escaped may hold one.
        r"(?P<before>://(?P<user>[^\s:/@?#]*):)(?P<secret>\S*)(?=@)",
        # password='it\'s' of libpq, 'password': "..." of JSON and Python, password: '...' of YAML
        rf"(?P<before>\b{_NAME}[\"']?\s*[=:]\s*)(?P<secret>{_QUOTED})",
        # ?password=secret&, and libpq's password = secret, where a backslash keeps a blank
        rf"(?P<before>\b{_NAME}\s*=\s*)(?!{_QUOTED}|{_SHOWN})(?P<secret>(?:\\.|[^&\s\\])+)",
        # AWS_SESSION_TOKEN:secret, within one option of MongoDB
        rf"(?P<before>\b{_NAME}(?::|%3A))(?P<secret>[^&\s,]+)",
        r"(?P<before>\b(?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?(?:\w+ )?)(?P<secret>[^\s\"']+)",
        r"(?P<before>\bx-clickhouse-key[\"']?\s*:\s*[\"']?)(?P<secret>[^\s\"']+)",
        r"(?P<before>\b(?:password|identified\s+(?:with\s+\w+\s+)?by)\s+)(?P<secret>'(?:[^'\\]|\\.|'')*')",
        r"(?P<before>/bot)(?P<secret>\d+:[\w-]+)",
    )
)
_READABLE = re.compile(r"(?P<before>://(?P<user>[^:/@?#]*):)(?P<secret>[^@/?#]*)@")  # a blank may be in it
_ANY = re.compile(r"(?P<before>://(?P<user>[^:/@?#]*):)(?P<secret>.*)@", re.DOTALL)

_lock = threading.Lock()
_known: set[str] = set()
_matcher: re.Pattern[str] | None = None


def remember(uri: str) -> str:
    """Know the secrets of a URI or a connection string from now on, and return it without them."""
    for pattern in (_READABLE, _ANY, *_PATTERNS):
        for found in pattern.finditer(uri):
            groups = found.groupdict()
            remember_secret(groups["secret"], user=groups.get("user") or "")
    return redacted(uri)


def remember_secret(secret: str, user: str = "") -> None:
    """Know a secret from now on, however it is written: escaped for a URI, as text, as a literal.

    Args:
        secret: As it stands in a URI or as it is.
        user: Whose it is: HTTP's basic authentication writes both as one word.
    """
    global _matcher
    found = {one for one in _spellings(secret, user) if len(one) >= _LEAST and one not in _NO_SECRETS}
    with _lock:
        if found <= _known:
            return
        _known.update(found)
        longest_first = sorted(_known, key=len, reverse=True)
        _matcher = re.compile(f"(?P<secret>{'|'.join(map(_anywhere, longest_first))})")


def known_secrets() -> list[str]:
    """Return every spelling of what `remember` took, for a redactor that is not ours."""
    with _lock:
        return sorted(_known)


def redacted(text: str) -> str:
    """Return a text without secrets: those that are known, and what looks like one."""
    patterns = _PATTERNS if _matcher is None else (*_PATTERNS, _matcher)
    # All look at the whole text: what one has hidden would keep another from seeing the rest.
    spans = sorted(found.span("secret") for pattern in patterns for found in pattern.finditer(text))
    shown, through = [], 0
    for start, end in spans:
        if start >= through and start < end:
            shown += [text[through:start], HIDDEN]
        through = max(through, end)
    return "".join([*shown, text[through:]])


def _spellings(secret: str, user: str) -> Iterator[str]:
    yield secret
    if len(secret) > 1 and secret[0] == secret[-1] and secret[0] in "'\"":
        secret = re.sub(r"\\(.)", r"\1", secret[1:-1], flags=re.DOTALL)
    for plain in {secret, unquote(secret), unquote_plus(secret)}:
        yield plain
        for escaped in (quote(plain), quote(plain, safe=""), quote_plus(plain)):
            yield from (escaped, re.sub("%..", lambda found: found[0].lower(), escaped))
        yield from (repr(plain)[1:-1], json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1])
        yield plain.replace("\\", "\\\\").replace("'", "\\'")
        yield plain.replace("'", "''")
        yield base64.b64encode(f"{unquote(user)}:{plain}".encode(errors="surrogatepass")).decode()


def _anywhere(secret: str) -> str:
    escaped = re.escape(secret)
    return escaped if len(secret) > _WORDS_UPTO else rf"(?<!\w){escaped}(?!\w)"
