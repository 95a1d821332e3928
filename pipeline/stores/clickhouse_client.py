"""The client of a ClickHouse URI: its scheme decides whether TLS is used, and its options hold on every host."""

import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ProgrammingError
from clickhouse_connect.driver.httputil import get_pool_manager, resolve_ca_cert

from pipeline.errors import UsageError
from pipeline.redaction import remember
from pipeline.settings import truth

_TLS = {"http": False, "clickhouse": False, "https": True, "clickhouses": True}
_LOCAL = {"127.0.0.1", "localhost", "::1"}
_POOL = ("ca_cert", "client_cert", "client_cert_key")
# Not all that the driver takes: a query_limit, say, would make a copy of a part of the rows.
_OPTIONS = {
    *("verify", "server_host_name", "tls_mode", *_POOL),
    *("user", "user_name", "access_token", "client_name", "compress", "connect_timeout", "send_receive_timeout"),
    *("http_proxy", "https_proxy", "proxy_path"),
}
_INSTEAD = {
    "password": "the password stands before the host, as in https://user:password@host",
    "secure": "the scheme says whether TLS is used: https:// or http://",
}


def is_local(uri: str) -> bool:
    """Tell whether a URI names this machine."""
    return urlsplit(uri).hostname in _LOCAL


def client(uri: str, **settings: Any) -> Client:
    """Open a client; the driver itself would take ``https://`` for plain HTTP unless the port is 443 or 8443.

    Args:
        uri: ``https://user:password@host:port/database?option=value``, or ``http``, ``clickhouses``, ``clickhouse``.
        **settings: Of ClickHouse, for every statement.

    Raises:
        UsageError: An option is unknown, or a file that it names can't be used.
        clickhouse_connect.driver.exceptions.Error: The server can't be reached, or refuses.
    """
    parts, unusable = urlsplit(uri), f"the ClickHouse URI {remember(uri)} can't be used"
    try:
        options = _options(parts)
        secure = _TLS[parts.scheme]
        if not parts.hostname:
            raise ValueError("it names no host")
        return clickhouse_connect.get_client(
            interface="https" if secure else "http",
            host=parts.hostname,
            port=parts.port or (8443 if secure else 8123),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password or ""),
            database=unquote(parts.path[1:].split("/")[0]) or None,
            # Without a session, several threads may use the client.
            autogenerate_session_id=False,
            # A pool of its own, so that a proxy meant for the internet is not asked for this machine.
            pool_mgr=_pool(options, secure=secure) if is_local(uri) else None,
            settings=settings,
            **options,
        )
    except (ValueError, ProgrammingError) as error:  # of an option
        raise UsageError(f"{unusable}: {error}") from error


def _options(parts: SplitResult) -> dict[str, Any]:
    options: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise ValueError(_INSTEAD.get(name, f"there is no option {name}; there are {', '.join(sorted(_OPTIONS))}"))
    if options.get("verify", "proxy") != "proxy":
        if (verify := truth(options["verify"])) is None:
            raise ValueError(f"verify must be true or false, not {options['verify']!r}")
        options["verify"] = verify
    if (mode := options.get("tls_mode", "strict")) not in ("proxy", "strict", "mutual"):
        raise ValueError(f"tls_mode must be proxy, strict or mutual, not {mode!r}")
    if parts.password and "client_cert" in options:
        options.setdefault("tls_mode", "strict")  # else the driver leaves the password out
    if _TLS[parts.scheme]:
        _look_at_files(options)
    return options


def _look_at_files(options: dict[str, Any]) -> None:
    """Raise ``ValueError`` if a file of certificates is of no use: the driver says so late, and in its own ways."""
    context, authorities = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), resolve_ca_cert(options.get("ca_cert"))
    certificate, key = options.get("client_cert"), options.get("client_cert_key")
    looks: dict[str, Callable[[], None]] = {}
    if authorities:
        looks[f"ca_cert {authorities}"] = lambda: context.load_verify_locations(authorities)
    if certificate:
        also = f" with client_cert_key {key}" if key else ""
        # A key that is locked would make OpenSSL ask on the terminal.
        looks[f"client_cert {certificate}{also}"] = lambda: context.load_cert_chain(certificate, key, password="")
    for name, look in looks.items():
        try:
            look()
        except OSError as error:
            reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise ValueError(f"{name}: {reason}") from error


def _pool(options: dict[str, Any], *, secure: bool) -> Any:
    """Return connections that know no proxy, with the TLS options that the driver would give them."""
    given = {name: options[name] for name in _POOL if secure and name in options}
    verify = options.get("verify", True) is not False
    if secure and (name := options.get("server_host_name")):
        given |= {"server_hostname": name} | ({"assert_hostname": name} if verify else {})
    return get_pool_manager(verify=verify, **given)
