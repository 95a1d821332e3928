"""A report of a small world with hostile texts in it, made once for all tests that look at it."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright
from pydantic import SecretStr

from pipeline.cli import app as cli
from pipeline.lake.lake import Lake
from pipeline.marts.build import build
from pipeline.replication.replicate import replicate
from pipeline.replication.verify import verify
from pipeline.report.report import make_report
from tests.pipeline.lab import Lab

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = (
    "</script><script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=1">',
    "\u202eevil\u202c \x1b[31m",
    "{{ 7 * 7 }} ${7*7} <!-- &amp;",
)


@dataclass
class Pages:
    """The report in English, in Russian, and before there was anything.

    Attributes:
        folder: Where they stand as files: the Russian one as the command wrote it.
        told: What the command told.
    """

    folder: Path
    told: dict[str, Any]

    def file(self, name: str) -> Path:
        return self.folder / ("new" if name == "ru" else "") / f"{name}.html"

    def address(self, name: str) -> str:
        return self.file(name).as_uri()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Return the system's Chromium, which is missing where nobody needs it, but not in CI."""
    if CHROMIUM is None and not os.environ.get("CI"):
        pytest.skip("there is no chromium; on Debian: apt-get install chromium")
    assert CHROMIUM
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Pages:
    with Lake(lab.settings) as lake:
        empty = make_report(lake, "UTC")
    lab.fill(
        defects=0.02,
        UserSessions=400,
        SearchQueries=400,
        SupportTickets=200,
        ModerationQueue=200,
        ProductPriceHistory=60,
        EventLogs=600,
        UserRecommendations=100,
    )
    _add_hostile(lab)
    replicate(lab.connections)
    build(lab.connections)
    verify(lab.connections, ["EventLogs"])
    folder = tmp_path_factory.mktemp("report")
    with Lake(lab.settings) as lake:
        english = make_report(lake, "Europe/Berlin").html
    for name, html in {"en": english, "empty": empty.html}.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    command = ("report", "-o", str(folder / "new" / "ru.html"), "--language", "ru", "--json", "--open")
    return Pages(folder, _told(lab, *command, browser=folder / "browser"))


def _told(lab: Lab, *arguments: str, browser: Path) -> dict[str, Any]:
    """Run ``etl`` in this process, on the lab's servers, with a browser that notes what it opens; return its JSON."""
    said = StringIO()
    browser.write_text(f'#!/bin/sh\necho "$@" >> {browser}.opened\n')
    browser.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        for name, value in lab.settings:
            if name.endswith(("_uri", "_database", "home")):
                patch.setenv(
                    f"ETL_{name.upper()}", value.get_secret_value() if isinstance(value, SecretStr) else str(value)
                )
        patch.setenv("ETL_TIMEZONE", "Europe/Berlin")
        patch.setenv("BROWSER", f"{browser} %s")
        assert cli.run([*arguments]) == 0
    told: dict[str, Any] = json.loads(said.getvalue())
    return told


def _add_hostile(lab: Lab) -> None:
    """Put texts that would like to be more into what the report shows, on the last day that has anything."""
    now = datetime(2026, 6, 29, 12, tzinfo=UTC)
    for number, text in enumerate(HOSTILE):
        for name, changes in {
            "SupportTickets": {
                "issue_type": text,
                "status": "open",
                "created_at": now,
                "messages": [],
            },
            "SearchQueries": {"query_text": text, "results_count": 0, "timestamp": now},
            "EventLogs": {"event_type": text, "timestamp": now},
        }.items():
            for copy in range(4):
                document = lab.collection(name).find_one() or {}
                key = {
                    field: f"{number}-{copy}" for field in ("query_id", "event_id", "ticket_id") if field in document
                }
                document |= {**changes, **key}
                del document["_id"]
                lab.collection(name).insert_one(document)
    event = lab.collection("EventLogs").find_one({"event_type": "login"}) or {}
    del event["_id"]
    known = {HOSTILE[0]: 1, "user_id": "U1", "key-of-old": 2}
    long_ago = {"event_id": "E-old-key", "timestamp": now - timedelta(days=80), "details": {"key-of-old": 1}}
    data = {f"U{number}": number for number in range(201)}  # as many keys are data
    for about in (
        long_ago,
        {"event_id": "E-new-key", "timestamp": now, "details": known},
        {"event_id": "E-keys", "event_type": "error", "timestamp": now, "details": data},
    ):
        lab.collection("EventLogs").insert_one(event | about)
