"""Who may come in: whoever knows the password, and no page of a browser, whatever name it calls this server by."""

import base64
import binascii
import hmac
import re
from email.message import Message

USER = "default"
_AUTHENTICATION_FAILED = 516
_ACCESS_DENIED = 497
_HOST = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d{1,5})?", re.IGNORECASE)


class DoorError(Exception):
    """A request that is not let in.

    Attributes:
        code: ClickHouse's error code.
    """

    def __init__(self, code: int, message: str) -> None:
        """Keep the message as a ClickHouse server would send it."""
        super().__init__(f"Code: {code}. DB::Exception: {message}")
        self.code = code


def check_origin(headers: Message) -> None:
    """Refuse what a web page sends: only browsers send these, and another name for this host may be a page's own.

    Raises:
        DoorError: A foreign ``Host``, any ``Origin``, or a page of another site.
    """
    if not _HOST.fullmatch(headers.get("Host", "")):
        raise DoorError(_ACCESS_DENIED, "requests to another host are refused. (ACCESS_DENIED)")
    if "Origin" in headers or headers.get("Sec-Fetch-Site", "none").lower() not in ("none", "same-origin"):
        raise DoorError(_ACCESS_DENIED, "requests of web pages are refused. (ACCESS_DENIED)")


def check_credentials(headers: Message, password: str) -> None:
    """Refuse whoever does not know the password; it counts in headers only, as URLs are logged and remembered.

    Args:
        headers: With ``Authorization: Basic``, or ``X-ClickHouse-User`` and ``X-ClickHouse-Key``.
        password: The password of the user ``default``.

    Raises:
        DoorError: Another user or password, or none.
    """
    given = _basic(headers.get("Authorization", ""))
    given = given or (headers.get("X-ClickHouse-User", USER), headers.get("X-ClickHouse-Key", ""))
    pairs = zip(given, (USER, password), strict=True)
    same = [hmac.compare_digest(one.encode(errors="replace"), two.encode()) for one, two in pairs]
    if not all(same):
        raise DoorError(
            _AUTHENTICATION_FAILED, f"{USER}: Authentication failed: password is incorrect. (AUTHENTICATION_FAILED)"
        )


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password
