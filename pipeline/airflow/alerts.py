"""Alerts: what fails, is late or has recovered reaches people by one way, which the Connection ``etl_alerts`` chooses.

By its type:

* none such: one line in the log, of level ERROR, which every alert gets anyway;
* ``http`` or ``https``: a POST of JSON to ``host:port/schema`` with the ``text`` and what it is made of; login and
  password go as basic authentication, extras as headers;
* ``smtp``: a mail to the extra ``to`` (several, with commas); everything else as Airflow's SMTP Connections have it:
  ``from_email``, ``disable_tls``, ``disable_ssl`` and so on.

An alert that can't be delivered is logged together with the reason, and never hides what it tells of.
"""

import json
import logging
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.text.printable import visible
from pipeline.text.redaction import redacted, remember, remember_secret

CONNECTION_ID = "etl_alerts"
SECONDS_TO_DELIVER = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alert:
    """What people are told.

    Attributes:
        event: ``failed``, ``late`` or ``recovered``.
        dag_id: The DAG.
        run_id: Its run.
        task: The task and what it worked at, such as ``load SupportTickets 3/8``; empty if it is the whole run.
        kind: Name of the error, such as ``BooksOpenError``; empty if it is not known.
        message: What happened, in one sentence.
        url: Where to look.
        failures: How many tasks of the run failed; the alert tells of the first.
    """

    event: str
    dag_id: str
    run_id: str
    task: str = ""
    kind: str = ""
    message: str = ""
    url: str = ""
    failures: int = 0

    @property
    def subject(self) -> str:
        """The alert in a few words."""
        verb = {"late": "is late", "recovered": "has recovered"}.get(self.event, self.event)
        return f"[etl] {' '.join(filter(None, (self.dag_id, self.task)))} {verb}"

    @property
    def text(self) -> str:
        """The alert for people."""
        others = f"the first of {self.failures:,} tasks that failed" if self.failures > 1 else ""
        return "\n".join(filter(None, (f"{self.subject}: {self.message}", others, f"run {self.run_id}", self.url)))


def notify(alert: Alert) -> bool:
    """Deliver an alert by the way that the Connection ``etl_alerts`` chooses, and log it in any case.

    Returns:
        Whether that way took it; also if there is none but the log.
    """
    # What is told may be a document's: no part of it may end a line, or command the terminal that shows it.
    words = {name: visible(value) for name, value in asdict(alert).items() if isinstance(value, str)}
    alert = Alert(**words, failures=alert.failures)
    log.error("%s", alert.text.replace("\n", "; "))
    try:
        _deliver(alert)
    except Exception as error:  # whatever it is, the failure that we tell of is the news
        reason = visible(redacted(f"{type(error).__name__}: {error}"))
        log.error("the alert could not be delivered by %s: %s", CONNECTION_ID, reason)
        return False
    return True


def _deliver(alert: Alert) -> None:
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        connection = Connection.get(CONNECTION_ID)
    except AirflowNotFoundException:
        return
    remember_secret(connection.password or "", user=connection.login or "")
    remember(json.dumps(connection.extra_dejson))
    if connection.conn_type == "smtp":
        _mail(alert, connection)
    elif connection.conn_type in ("http", "https"):
        _post(alert, connection)
    else:
        raise ValueError(f"its type is {connection.conn_type!r}; it must be http, https or smtp")


def _mail(alert: Alert, connection: Any) -> None:
    from html import escape

    from airflow.providers.smtp.hooks.smtp import SmtpHook

    to = connection.extra_dejson.get("to")
    if not to:
        raise ValueError("its extra 'to' names nobody")
    with SmtpHook(smtp_conn_id=CONNECTION_ID) as smtp:
        body = "<br>".join(escape(line) for line in alert.text.splitlines())
        smtp.send_email_smtp(to=to, subject=alert.subject, html_content=body)


def _post(alert: Alert, connection: Any) -> None:
    import httpx

    address = f"{connection.host}:{connection.port}" if connection.port else connection.host
    user = (connection.login, connection.password or "") if connection.login else None
    # The path of a webhook is what gives a right to it, and httpx logs each URL.
    remember_secret(connection.schema or "")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    answer = httpx.post(
        f"{connection.conn_type}://{address}/{connection.schema or ''}",
        json=asdict(alert) | {"text": alert.text},
        headers=connection.extra_dejson,
        auth=user,
        timeout=SECONDS_TO_DELIVER,
    )
    if not answer.is_success:  # its own exception would name the URL
        raise RuntimeError(f"{address} answered {answer.status_code} {answer.reason_phrase}")
