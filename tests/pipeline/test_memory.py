"""Memory is a setting: whatever the documents are, a command takes no more than it may, and a quarter."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

ALLOWED_MIB, LIMIT_MIB = 512, 640
ROWS = 60_000
LARGE = 15 * 2**20  # a document may have 16 MB


@pytest.fixture(scope="module")
def filled(lab: Any) -> None:
    lab.fill(UserSessions=ROWS, EventLogs=ROWS)
    sessions, events = lab.collection("UserSessions"), lab.collection("EventLogs")
    (session,), (event,) = (list(one.find({}, {"_id": 0}, limit=1)) for one in (sessions, events))
    page = "/page/" + "x" * 1_000
    for place in range(4):
        sessions.insert_one(session | {"session_id": f"many pages {place}", "pages_visited": [page] * (LARGE // 1_024)})
        sessions.insert_one(session | {"session_id": f"undeclared {place}", "more": "x" * LARGE})
        sessions.insert_one(session | {"session_id": f"refused {place}", "user_id": 1, "more": "x" * LARGE})
        events.insert_one(event | {"event_id": f"large {place}", "details": {"text": "é" * (LARGE // 2)}})
        events.insert_one(
            event | {"event_id": f"many {place}", "details": {f"k{n}": n / 7 for n in range(LARGE // 20)}}
        )
        events.insert_one(event | {"event_id": f"far {place}", "timestamp": datetime(2500, 1, 1, tzinfo=UTC)})


@pytest.mark.parametrize("command", ["replicate", "verify"])
def test_a_command_keeps_to_the_memory_that_it_may_take(lab: Any, filled: None, command: str) -> None:
    uris = {name: value.get_secret_value() for name, value in lab.settings if name.endswith("_uri")}
    given = {"memory": f"{ALLOWED_MIB}MiB", "mongo_database": lab.settings.mongo_database, "home": lab.settings.home}
    # Polars tells its allocator by the environment what it wants; a shell has nothing of that.
    ours = {name: value for name, value in os.environ.items() if name != "_RJEM_MALLOC_CONF"}
    environment = ours | {f"ETL_{name.upper()}": str(value) for name, value in (uris | given).items()}
    arguments = [sys.executable, "-m", "pipeline.cli", command, "UserSessions", "EventLogs", "--json"]
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert usage.ru_maxrss / 1024 < LIMIT_MIB
    if command == "replicate":
        assert len(lab.quarantine("UserSessions")) == 4
        assert len(lab.quarantine("EventLogs")) == 4
