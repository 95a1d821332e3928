"""Alerts arrive by the way that a Connection chooses: real servers take them."""

import logging
from email import message_from_bytes
from typing import Any

import pytest

from pipeline.airflow import alerts
from pipeline.errors import BooksOpenError, QuarantineLimitError
from pipeline.text.redaction import redacted
from tests.ports import free_port

NAME = "AIRFLOW_CONN_ETL_ALERTS"


def _failed(error: Exception, label: str = "", failures: int = 1) -> bool:
    task = " ".join(filter(None, ("load", label)))
    said = {"task": task, "kind": type(error).__name__, "message": str(error), "url": "http://here/log"}
    return alerts.notify(alerts.Alert("failed", "replicate", "manual__1", **said, failures=failures))


@pytest.mark.parametrize("connection", [None, ""], ids=["none", "empty"])  # as the compose file has it by default
def test_an_alert_is_logged_where_no_connection_says_otherwise(
    connection: str | None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(NAME, raising=False)
    if connection is not None:
        monkeypatch.setenv(NAME, connection)
    assert _failed(BooksOpenError("the books of X are open"), "SupportTickets 3/8")
    ((logger, level, said),) = caplog.record_tuples
    assert (logger, level) == ("pipeline.airflow.alerts", logging.ERROR)
    assert said == (
        "[etl] replicate load SupportTickets 3/8 failed: the books of X are open; run manual__1; http://here/log"
    )


def test_a_webhook_is_told(webhook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, webhook.url.replace("://", "://us%40er:p%3Ass@") + "?X-Team=data")
    assert _failed(QuarantineLimitError("12 of 100 documents were refused"), failures=1_000)
    alerts.notify(alerts.Alert("late", "verify", "scheduled__1", message="not over 360 minutes after it was started"))
    failed, late = webhook.bodies(2)
    assert failed["kind"] == "QuarantineLimitError"
    assert failed["message"] == "12 of 100 documents were refused"
    assert (failed["failures"], "\nthe first of 1,000 tasks that failed\n" in failed["text"]) == (1000, True)
    assert (late["event"], late["dag_id"], late["run_id"]) == ("late", "verify", "scheduled__1")
    assert late["text"].startswith("[etl] verify is late: not over 360 minutes after it was started")
    path, headers = webhook.requests[0]
    assert path == "/hooks/etl"
    assert headers["X-Team"] == "data"
    assert headers["Authorization"].startswith("Basic ")


def test_a_mail_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    from aiosmtpd.controller import Controller

    letters: list[Any] = []

    class Inbox:
        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
            letters.append(envelope)
            return "250 OK"

    controller = Controller(Inbox(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        extras = "disable_ssl=true&disable_tls=true&from_email=etl%40here.test&to=ops%40here.test%2Cdata%40here.test"
        monkeypatch.setenv(NAME, f"smtp://127.0.0.1:{controller.port}/?{extras}")
        _failed(BooksOpenError("the books are open"), "UserSessions <1/1>")
    finally:
        controller.stop()
    (letter,) = letters
    assert letter.mail_from == "etl@here.test"
    assert set(letter.rcpt_tos) == {"ops@here.test", "data@here.test"}
    mail = message_from_bytes(letter.content)
    assert mail["Subject"] == "[etl] replicate load UserSessions <1/1> failed"
    body = next(part for part in mail.walk() if part.get_content_type() == "text/html").get_payload(decode=True)
    assert b"UserSessions &lt;1/1&gt; failed: the books are open<br>run manual__1" in body  # type: ignore[operator]


def test_a_webhook_that_fails_keeps_its_secret(
    webhook: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, host = "T0RWJ2P3X-B05d", webhook.url.removesuffix("/hooks/etl")
    caplog.set_level(logging.DEBUG)
    for uri in (
        f"{webhook.url}/missing/{secret}",
        f"{host}:notaport/x/{secret}",
        f"http://127.0.0.1:1/y/{secret}",
        webhook.url,
    ):
        monkeypatch.setenv(NAME, uri.replace("://", f"://me:{secret}@") + f"?X-Api-Key={secret}&X-Team=data")
        _failed(BooksOpenError(redacted(f"a driver quotes {uri}?password={secret}")))
    said = caplog.text + "".join(capfd.readouterr())  # who comes first makes Airflow set up logging in its own way
    assert "answered 404 Not Found" in said and "Connection refused" in said
    assert secret not in said
    assert [one for one in webhook.bodies(len(webhook.requests)) if secret in str(one)] == []


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://127.0.0.1:1/hooks", "ConnectError"),
        ("smtp://127.0.0.1:1/", "its extra 'to' names nobody"),
        ("ssh://127.0.0.1", "its type is 'ssh'; it must be http, https or smtp"),
    ],
)
def test_an_alert_that_can_not_be_delivered_hides_nothing(
    uri: str, reason: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAME, uri)
    assert not _failed(BooksOpenError("the books are open"))
    first, second = (message for _, _, message in caplog.record_tuples if "[etl]" in message or "delivered" in message)
    assert "the books are open" in first
    assert "could not be delivered by etl_alerts" in second and reason in second
