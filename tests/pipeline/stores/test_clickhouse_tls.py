"""ClickHouse over TLS: the scheme decides, whatever the port; who is not trusted gets no password."""

import re
import ssl
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from pipeline.engines.embedded import Uris
from pipeline.errors import ServerError, UsageError
from pipeline.stores.clickhouse.store import ClickHouse

SECRET = "s3cret-word"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an authority, a server that is localhost, one that is somebody else, and a client."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    def certificate(name: str, *options: str) -> None:
        new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
        openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem", *options)

    certificate("authority")
    certificate("stranger", "-addext", "subjectAltName=DNS:localhost")
    signed = ("-CA", "authority.pem", "-CAkey", "authority.key", "-addext", "basicConstraints=critical,CA:FALSE")
    certificate("server", *signed, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    certificate("other", *signed, "-addext", "subjectAltName=DNS:other.test")
    certificate("client", *signed)
    (folder / "both.pem").write_text((folder / "client.pem").read_text() + (folder / "client.key").read_text())
    return folder


@pytest.fixture
def front(certificates: Path, engine_uris: Uris, proxy_of: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that puts TLS before the embedded ClickHouse, on some port."""

    def front(name: str = "server", *, wants_client: bool = False) -> Any:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
        if wants_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificates / "authority.pem")
        return proxy_of(urlsplit(engine_uris.clickhouse).port, context)

    return front


@pytest.fixture
def user(engine_uris: Uris) -> str:
    """Return what stands before the host in the embedded ClickHouse's URI, or what it does not ask for."""
    return urlsplit(engine_uris.clickhouse).netloc.rpartition("@")[0] or f"default:{SECRET}"


def _one(uri: str) -> Any:
    with closing(ClickHouse(uri)) as clickhouse:
        return clickhouse.rows("SELECT 1")[0][0]


@pytest.mark.parametrize("scheme", ["https", "clickhouses"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_scheme_decides_whatever_the_port(
    scheme: str, host: str, front: Callable[..., Any], user: str, certificates: Path
) -> None:
    uri = f"{scheme}://{user}@{host}:{front().port}/default?ca_cert={quote(str(certificates / 'authority.pem'))}"
    assert _one(uri) == 1


@pytest.mark.parametrize("scheme", ["https", "clickhouses"])
def test_a_plain_listener_never_sees_the_password(scheme: str, engine_uris: Uris, proxy_of: Callable[..., Any]) -> None:
    proxy = proxy_of(urlsplit(engine_uris.clickhouse).port)
    with pytest.raises(ServerError, match=r"can't be reached: .*does not speak TLS") as error:
        ClickHouse(f"{scheme}://default:{SECRET}@127.0.0.1:{proxy.port}/default?verify=false")
    assert bytes(proxy.heard[:2]) == b"\x16\x03"  # a TLS handshake
    assert b"Authorization" not in proxy.heard and SECRET.encode() not in proxy.heard
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("scheme", ["http", "clickhouse"])
def test_plain_http_is_for_those_who_ask_for_it(
    scheme: str, engine_uris: Uris, user: str, proxy_of: Callable[..., Any]
) -> None:
    proxy = proxy_of(urlsplit(engine_uris.clickhouse).port)
    assert _one(f"{scheme}://{user}@127.0.0.1:{proxy.port}/default") == 1
    assert b"Authorization: Basic " in proxy.heard


@pytest.mark.parametrize(
    ("server", "options", "says"),
    [
        ("server", "", "certificate verify failed: .*; .ca_cert=FILE"),
        ("stranger", "ca_cert={folder}/authority.pem", "certificate verify failed: self-signed"),
        ("other", "ca_cert={folder}/authority.pem", "certificate is not valid for '127.0.0.1'"),
        ("server", "ca_cert={folder}/authority.pem&server_host_name=other.test", "hostname 'other.test' doesn't match"),
    ],
    ids=["unknown authority", "another authority", "wrong host", "named host"],
)
def test_who_is_not_trusted_gets_nothing(
    server: str, options: str, says: str, front: Callable[..., Any], certificates: Path
) -> None:
    proxy = front(server)
    uri = f"https://default:{SECRET}@127.0.0.1:{proxy.port}/default?{options.format(folder=certificates)}"
    with pytest.raises(ServerError, match=says) as error:
        ClickHouse(uri)
    assert not proxy.heard
    assert SECRET not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # as the driver has it
@pytest.mark.parametrize(
    ("server", "options"),
    [
        ("stranger", "verify=false"),
        ("stranger", "verify=0"),
        ("stranger", "ca_cert={folder}/stranger.pem&server_host_name=localhost"),
    ],
)
def test_options_say_who_is_trusted_on_localhost_as_well(
    server: str, options: str, front: Callable[..., Any], user: str, certificates: Path
) -> None:
    proxy = front(server)
    assert _one(f"https://{user}@127.0.0.1:{proxy.port}/default?{options.format(folder=certificates)}") == 1


def test_a_client_certificate_is_shown_with_the_password(
    front: Callable[..., Any], user: str, certificates: Path
) -> None:
    proxy = front(wants_client=True)
    trusted = f"https://{user}@localhost:{proxy.port}/default?ca_cert={certificates}/authority.pem"
    with pytest.raises(ServerError, match="can't be reached"):
        ClickHouse(trusted)
    assert b"Authorization" not in proxy.heard
    assert _one(f"{trusted}&client_cert={certificates}/client.pem&client_cert_key={certificates}/client.key") == 1
    assert _one(f"{trusted}&client_cert={certificates}/both.pem") == 1
    assert b"Authorization: Basic " in proxy.heard


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        (f"http://me@h/?password={SECRET}", "the password stands before the host"),
        (f"https://me:{SECRET}@h/?secure=false", "the scheme says whether TLS is used"),
        (f"https://me:{SECRET}@h/?query_limit=5", "there is no option query_limit; there are access_token, "),
        (f"https://me:{SECRET}@h/?ch_limit=5", "the setting limit can't be chosen"),
        (f"https://me:{SECRET}@h/?ch_read_overflow_mode=break", "the setting read_overflow_mode can't be chosen"),
        (f"https://me:{SECRET}@h/?verify=perhaps", "verify must be true or false, not 'perhaps'"),
        (f"https://me:{SECRET}@/default", "it names no host"),
        (f"https://me:{SECRET}@h/?ca_cert=/no/such.pem", "ca_cert /no/such.pem: No such file or directory"),
        (f"https://me:{SECRET}@h/?ca_cert={__file__}", f"ca_cert {__file__}: it holds no certificate"),
        (f"https://me:{SECRET}@h/?client_cert={__file__}", f"client_cert {__file__}: it holds no certificate"),
        (
            f"https://me:{SECRET}@h/?client_cert=/x&client_cert_key=/no",
            "client_cert /x with client_cert_key /no: No su",
        ),
        (f"https://me:{SECRET}@h/?connect_timeout=soon", "connect_timeout"),
        (f"https://me:{SECRET}@h/?tls_mode=loose", "tls_mode must be proxy, strict or mutual, not 'loose'"),
    ],
)
def test_what_can_not_be_used_is_one_sentence(uri: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        ClickHouse(uri)
    sentence = str(error.value)
    assert sentence.startswith("the ClickHouse URI ") and says in sentence
    assert SECRET not in sentence and "\n" not in sentence


def test_without_a_port_it_is_the_schemes() -> None:
    for scheme, port in (("https", 8443), ("clickhouses", 8443), ("http", 8123), ("clickhouse", 8123)):
        with pytest.raises(ServerError, match="can't be reached") as error:
            ClickHouse(f"{scheme}://me@127.0.0.1/?connect_timeout=1")
        assert re.search(rf"port={port}|:{port}\b", str(error.value.__cause__))
