"""Secrets in messages: whatever form a URI has, and however a driver writes what it was given, no message holds it."""

import json
import re
from collections.abc import Callable
from contextlib import closing
from urllib.parse import quote, quote_plus

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import control
from pipeline.cli import output as outcome
from pipeline.connections import Connections
from pipeline.errors import EtlError, UsageError
from pipeline.settings import Settings
from pipeline.stores.clickhouse.store import ClickHouse
from pipeline.stores.mongo.store import Mongo
from pipeline.stores.postgres.store import Postgres
from pipeline.text import redaction
from pipeline.text.redaction import redacted, remember, remember_secret
from tests.examples import examples
from tests.pipeline.lab import Lab

SECRET = "s3crt-Word"
NASTY = "p@ss:w/rd?#[%41]&=+ '\"\\é€"


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test knows as a secret is none in the next."""
    monkeypatch.setattr(redaction, "_known", set())
    monkeypatch.setattr(redaction, "_matcher", None)


# --- What nobody told us is hidden where it looks like a secret

FORMS = [
    ("mongodb://me:s3c:r@t@a:1,b:2/?replicaSet=rs0", "mongodb://me:***@a:1,b:2/?replicaSet=rs0"),
    ("mongodb+srv://me:s3crt@cluster.test/etl?w=majority", "mongodb+srv://me:***@cluster.test/etl?w=majority"),
    (
        "mongodb://KEYID:s3crt@h/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:s3crt/+=,A:b&w=1",
        "mongodb://KEYID:***@h/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:***,A:b&w=1",
    ),
    ("authMechanismProperties=AWS_SESSION_TOKEN%3As3crt&w=1", "authMechanismProperties=AWS_SESSION_TOKEN%3A***&w=1"),
    (
        "mongodb://h/?tlsCertificateKeyFilePassword=s3crt&tls=true",
        "mongodb://h/?tlsCertificateKeyFilePassword=***&tls=true",
    ),
    ("mongodb://h/?proxyHost=p&proxyPassword=s3crt", "mongodb://h/?proxyHost=p&proxyPassword=***"),
    ("mongodb://127.0.0.1:27017/?replicaSet=rs0", "mongodb://127.0.0.1:27017/?replicaSet=rs0"),
    ("postgresql://me:s3/cr?t@db:5432/etl", "postgresql://me:***@db:5432/etl"),
    (
        "postgresql://db/etl?user=me&password=s3crt&sslmode=require",
        "postgresql://db/etl?user=me&password=***&sslmode=require",
    ),
    ("postgresql://db/etl?sslpassword=s3crt&sslkey=/k", "postgresql://db/etl?sslpassword=***&sslkey=/k"),
    ("postgresql://db/etl?oauth_client_secret=s3crt", "postgresql://db/etl?oauth_client_secret=***"),
    ("postgresql:///?service=etl&passfile=/home/me/.pgpass", "postgresql:///?service=etl&passfile=/home/me/.pgpass"),
    ("host=db password=s3crt dbname=etl", "host=db password=*** dbname=etl"),
    ("host=db password = s3\\ crt dbname=etl", "host=db password = *** dbname=etl"),
    (r"password='it\'s s3crt' sslpassword='s\\' host=db", "password=*** sslpassword=*** host=db"),
    ("[etl]\nhost=db\npassword=s3crt\nuser=me\n", "[etl]\nhost=db\npassword=***\nuser=me\n"),
    ("http://me:s3crt@db:8123/default", "http://me:***@db:8123/default"),
    ("http://:s3crt@db:8123/default", "http://:***@db:8123/default"),
    ("http://me@db:8123/default", "http://me@db:8123/default"),
    ("https://db/?user=me&password=s3crt&query=SELECT", "https://db/?user=me&password=***&query=SELECT"),
    ("https://db/?access_token=s3crt", "https://db/?access_token=***"),
    ("X-ClickHouse-User: me\nX-ClickHouse-Key: s3crt\n", "X-ClickHouse-User: me\nX-ClickHouse-Key: ***\n"),
    ("smtp://me:s3crt@mail.test:587/?to=ops%40x", "smtp://me:***@mail.test:587/?to=ops%40x"),
    ("https://hooks.slack.com/services/T00/B00/s3crt: 404", "https://hooks.slack.com/*** 404"),
    ("for url 'https://chat.test/webhook/s3crt?thread=s3crt'", "for url 'https://chat.test/***'"),
    ("https://api.telegram.org/bot12345:s3crt/sendMessage", "https://api.telegram.org/bot***/sendMessage"),
    ("POST https://alerts.test/v1?token=s3crt&x=1", "POST https://alerts.test/v1?token=***&x=1"),
    ("Authorization: Basic czNjcnQ=\nHost: h", "Authorization: Basic ***\nHost: h"),
    ("{'authorization': 'Bearer s3crt', 'a': 1}", "{'authorization': 'Bearer ***', 'a': 1}"),
    ('{"login": "me", "password": "s3\\"crt", "x": 1}', '{"login": "me", "password": ***, "x": 1}'),
    ("connect(user='me', password=\"s3crt's\")", "connect(user='me', password=***)"),
    ("CREATE ROLE me LOGIN PASSWORD 's3''crt' VALID", "CREATE ROLE me LOGIN PASSWORD *** VALID"),
    (
        "CREATE USER me IDENTIFIED WITH sha256_password BY 's3crt'",
        "CREATE USER me IDENTIFIED WITH sha256_password BY ***",
    ),
    ('FATAL: password authentication failed for user "me"', 'FATAL: password authentication failed for user "me"'),
    ("refused the user or password: FATAL: no entry", "refused the user or password: FATAL: no entry"),
]


@pytest.mark.parametrize(("text", "shown"), FORMS)
def test_what_looks_like_a_secret_is_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert redacted(shown) == shown
    assert redacted(f"a driver says {text}") == f"a driver says {shown}"


@pytest.mark.parametrize(("uri", "shown"), [form for form in FORMS if re.match(r"[\w+]+://|host=", form[0])])
def test_a_uri_that_is_known_is_shown_as_it_looks(uri: str, shown: str) -> None:
    assert remember(uri) == shown


# --- What we were told is hidden however it is written

WAYS: dict[str, Callable[[str, str], str]] = {
    "raw": lambda uri, plain: uri,
    "decoded": lambda uri, plain: f"could not connect as me with {plain}",
    "encoded": lambda uri, plain: f"bad option {quote(plain, safe='')} of me",
    "of a form": lambda uri, plain: f"body {quote_plus(plain)}",
    "literal": lambda uri, plain: f"connect({plain!r})",
    "json": lambda uri, plain: json.dumps({"x": plain}),
    "sql": lambda uri, plain: "ALTER ROLE me WITH x '{}'".format(plain.replace("'", "''")),
}


URIS = [
    "mongodb://me:{}@h/?replicaSet=rs0",
    "mongodb+srv://me:{}@h/",
    "postgresql://me:{}@h/d",
    "postgresql://h/d?user=me&password={}",
    "postgresql://h/d?sslpassword={}&sslmode=require",
    "https://me:{}@h:8443/d",
    "https://h/?access_token={}",
    "smtp://me:{}@h/",
    "mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:{}",
]


@hypothesis.settings(deadline=None, max_examples=examples(40))
@given(secret=st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=8, max_size=20))
@hypothesis.example(secret=NASTY)
def test_a_known_secret_is_hidden_however_it_is_written(secret: str) -> None:
    hypothesis.assume(secret not in redaction._NO_SECRETS)
    for pattern in URIS:
        redaction._known.clear()  # as the fixture does
        uri = pattern.format(quote(secret, safe=""))
        remember(uri)
        for way in WAYS.values():
            said = way(uri, secret)
            for message in (redacted(said), str(EtlError(said))):
                assert secret not in message
                assert quote(secret, safe="") not in message


def test_basic_authentication_is_known_by_the_uri() -> None:
    remember("https://me:s3crt%2Dword@h/")
    assert redacted("sent bWU6czNjcnQtd29yZA==") == "sent ***"  # me:s3crt-word


def test_a_short_secret_is_hidden_as_a_word_only() -> None:
    remember_secret("s3cr")
    remember_secret("abc")
    remember_secret("postgres")
    assert redacted("s3cr, xs3cry, abc, postgres: (s3cr)") == "***, xs3cry, abc, postgres: (***)"


# --- Where messages leave


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://KEYID:{SECRET}@127.0.0.1:1/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:{SECRET}x,{SECRET}:y",
        f"mongodb://me:{SECRET}@127.0.0.1:1/?serverSelectionTimeoutMS=100&proxyHost=h&proxyPassword={SECRET}",
        f"mongodb://me:{SECRET}@127.0.0.1:1/?serverSelectionTimeoutMS=100&tlsss=true",
        f"mongodb://me:{SECRET}@127.0.0.1:1/?authMechanism={SECRET}",
        f"mongodb+srv://me:{SECRET}@{SECRET}/",
        f"postgresql://me:{SECRET}%20x@127.0.0.1:1/d?password={SECRET}&passwrd={SECRET}",
        f"postgresql://me@127.0.0.1:1/d?sslpassword={SECRET}&sslmode={SECRET}",
        f"postgresql://me:{SECRET}@{SECRET}/d",
        f"http://me:{SECRET}@127.0.0.1:1/d",
        f"https://me:{SECRET}@127.0.0.1:1/d?access_token={SECRET}",
        f"https://me:{SECRET}@{SECRET}/d?connect_timeout={SECRET}",
    ],
)
def test_no_driver_tells_what_it_was_given(uri: str) -> None:
    open_ = {"m": lambda: Mongo(uri, "etl"), "p": lambda: Postgres(uri), "h": lambda: ClickHouse(uri)}[uri[0]]
    with pytest.raises(EtlError) as error, closing(open_()) as store:  # type: ignore[operator]
        store.cluster_time()  # the others have failed by now
    assert SECRET not in str(error.value)


def test_an_error_of_any_kind_is_redacted_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    remember(f"https://me:{SECRET}@h/")
    for error in (RuntimeError(f"by {SECRET}"), UsageError(f"by {SECRET}")):
        try:
            try:
                raise ValueError(f"a driver quotes {SECRET}")
            except ValueError as cause:
                raise error from cause
        except Exception as caught:
            outcome.failed(caught, as_json=True, debug=True)
    said = capsys.readouterr()
    assert "a driver quotes ***" in said.err and "by ***" in said.out
    assert SECRET not in said.err + said.out


def test_what_the_books_say_of_a_failure_holds_no_secret(lab: Lab, connections: Connections) -> None:
    remember(f"https://me:{SECRET}@h/")
    with connections.postgres.transaction():
        control.ensure_schema(connections.postgres)
        connections.postgres.execute(
            "INSERT INTO etl.runs (run_id, kind, status, cluster_time, cluster_time_at, targets, single_process) "
            "VALUES ('r', 'replicate', 'running', 0, now(), '{}', true)"
        )
        control.fail_run(connections.postgres, "r", f"a driver quotes {SECRET}")
    assert lab.postgres("SELECT message FROM etl.runs WHERE run_id = 'r'") == [("a driver quotes ***",)]


def test_settings_know_their_secrets_even_if_they_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETL_POSTGRES_URI", f"mysql://me:{SECRET}@h/")
    with pytest.raises(UsageError):
        Settings.load()
    assert redacted(f"by {SECRET}") == "by ***"
