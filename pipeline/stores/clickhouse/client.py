"""The client of a ClickHouse URI: its scheme decides whether TLS is used, and its options hold on every host."""

import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ProgrammingError
from clickhouse_connect.driver.httputil import check_env_proxy, get_pool_manager, resolve_ca_cert
from urllib3 import PoolManager

from pipeline.errors import UsageError
from pipeline.runtime.waits import ANSWER_S, SILENCE_S
from pipeline.settings import CLICKHOUSE_SETTING, truth
from pipeline.stores.clickhouse.patience import Patience
from pipeline.text.redaction import remember

_TLS = {"http": False, "clickhouse": False, "https": True, "clickhouses": True}
_LOCAL = {"127.0.0.1", "localhost", "::1"}
_POOL = ("ca_cert", "client_cert", "client_cert_key")
# Not all that the driver takes: a query_limit, say, would make a copy of a part of the rows.
_OPTIONS = {
    *("verify", "server_host_name", "tls_mode", *_POOL),
    *("user", "user_name", "access_token", "client_name", "compress", "connect_timeout", "send_receive_timeout"),
    *("http_proxy", "https_proxy", "proxy_path"),
}
# Settings of ClickHouse by which a part of the rows would be taken for all of them; so are those of _overflow_mode.
_CUTTING = {"limit", "offset", "additional_table_filters", "additional_result_filter"}
_INSTEAD = {
    "password": "the password stands before the host, as in https://user:password@host",
    "secure": "the scheme says whether TLS is used: https:// or http://",
}


def is_local(uri: str) -> bool:
    """Return whether a URI names this machine."""
    return urlsplit(uri).hostname in _LOCAL


def client(uri: str, silence: float = SILENCE_S, **settings: Any) -> Client:
    """Open a client; the driver itself would take ``https://`` for plain HTTP unless the port is 443 or 8443.

    Args:
        uri: ``https://user:password@host:port/database?option=value``, or ``http``, ``clickhouses``, ``clickhouse``.
            An option ``ch_NAME`` is a setting of ClickHouse; what is asked for here goes before it.
        silence: Seconds that the server may be silent before it is asked whether it is still at work.
        **settings: Of ClickHouse, for every statement.

    Raises:
        UsageError: An option is unknown, or a file that it names can't be used.
        ServerError: The server falls silent.
        clickhouse_connect.driver.exceptions.Error: The server can't be reached, or refuses.
    """
    parts, shown = urlsplit(uri), remember(uri)
    try:
        options = _options(parts)
        settings = _settings(options) | settings
        if not parts.hostname:
            raise ValueError("it names no host")
        interface = "https" if _TLS[parts.scheme] else "http"
        port = parts.port or (8443 if _TLS[parts.scheme] else 8123)
        pools = {"proxy": _proxy(interface, parts.hostname, port, options)} | _tls(options, parts.scheme)
        connecting = float(options.setdefault("connect_timeout", ANSWER_S))
        patience = Patience(connecting, f"ClickHouse at {shown}", _pool(**pools))
        opened = clickhouse_connect.get_client(
            interface=interface,
            host=parts.hostname,
            port=port,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password or ""),
            database=unquote(parts.path[1:].split("/")[0]) or None,
            # Without a session, several threads may use the client.
            autogenerate_session_id=False,
            autogenerate_query_id=True,
            pool_mgr=patience.of(_pool(**pools)),
            settings=settings,
            **options,
        )
    except (ValueError, ProgrammingError) as error:  # of an option
        raise UsageError(f"the ClickHouse URI {shown} can't be used: {error}") from error
    patience.opened(opened, silence)
    return opened


def _options(parts: SplitResult) -> dict[str, Any]:
    options: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS and not name.startswith(CLICKHOUSE_SETTING):
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


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """Take the settings of ClickHouse out of the options."""
    prefixed = [name for name in options if name.startswith(CLICKHOUSE_SETTING)]
    found = {name.removeprefix(CLICKHOUSE_SETTING): options.pop(name) for name in prefixed}
    for name in found:
        if name in _CUTTING or name.endswith("_overflow_mode"):
            raise ValueError(f"the setting {name} can't be chosen: a part of the rows would be taken for all of them")
    return found


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


def _tls(options: dict[str, Any], scheme: str) -> dict[str, Any]:
    """Return the TLS options of the connections, as the driver would give them to its own."""
    verify = options.get("verify", True) is not False
    if not _TLS[scheme]:
        return {}
    given = {"verify": verify} | {name: options[name] for name in _POOL if name in options}
    if name := options.get("server_host_name"):
        given |= {"server_hostname": name} | ({"assert_hostname": name} if verify else {})
    return given


def _proxy(interface: str, host: str, port: int, options: dict[str, Any]) -> dict[str, Any]:
    """Return the proxy to go by; one that is meant for the internet is not asked for this machine."""
    named: dict[str, Any] = {name: options.pop(name) for name in ("http_proxy", "https_proxy") if name in options}
    if named or host in _LOCAL:
        return named
    found = check_env_proxy(interface, host, port)
    return {f"{interface}_proxy": found} if found else {}


def _pool(proxy: dict[str, Any], **tls: Any) -> PoolManager:
    found: PoolManager = get_pool_manager(**proxy, **tls)
    return found
