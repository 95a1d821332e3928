"""Memory is a setting: whatever the documents are, a command takes no more than it may, and a quarter."""

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from contracts.schema.registry import entities
from pipeline.replication import replicate
from tests.pipeline.lab import Lab
from tests.systems import MAXRSS_UNIT

ALLOWED_MIB, LIMIT_MIB = 512, 640
ROWS = 8_000
USERS, OTHERS = 80_000, sorted(entities().keys() - {"UserSessions"})
# They bring all others that read sessions; what the rest reads is little here.
OF_USERS = (
    *("user_activity", "active_users_daily", "user_lifecycle_weekly", "user_retention_weekly", "funnel_daily"),
    "recommendation_reach_daily",
)
LEAST_MIB, LIMIT_OF_LEAST_MIB = 256, 384  # the libraries and a batch of PostgreSQL's take the most of it
LARGE, LARGE_DOCUMENTS = 15 * 2**20, 3  # a document may have 16 MB
# A process counts the memory of the one that it was forked from as its own, so a small one stands between.
MANY_FIELDS = 10_000  # undeclared ones of some documents
LAUNCHER = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print("", os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""


@pytest.fixture(scope="module")
def filled(lab: Lab) -> None:
    lab.fill(UserSessions=ROWS, EventLogs=ROWS)
    sessions, events = lab.collection("UserSessions"), lab.collection("EventLogs")
    (session,), (event,) = (list(one.find({}, {"_id": 0}, limit=1)) for one in (sessions, events))
    page = "/page/" + "x" * 1_000
    for place in range(20):
        many = {f"field_{place}_{number}": number for number in range(MANY_FIELDS)}
        sessions.insert_one(session | {"session_id": f"many fields {place}", **many})
    for place in range(LARGE_DOCUMENTS):
        sessions.insert_one(session | {"session_id": f"many pages {place}", "pages_visited": [page] * (LARGE // 1_024)})
        sessions.insert_one(session | {"session_id": f"undeclared {place}", "more": "x" * LARGE})
        sessions.insert_one(session | {"session_id": f"refused {place}", "user_id": 1, "more": "x" * LARGE})
        events.insert_one(event | {"event_id": f"large {place}", "details": {"text": "é" * (LARGE // 2)}})
        events.insert_one(
            event | {"event_id": f"many {place}", "details": {f"k{n}": n / 7 for n in range(LARGE // 20)}}
        )
        events.insert_one(event | {"event_id": f"far {place}", "timestamp": datetime(2500, 1, 1, tzinfo=UTC)})


@pytest.mark.parametrize("command", ["replicate", "verify"])
def test_a_command_keeps_to_the_memory_that_it_may_take(lab: Lab, filled: None, command: str) -> None:
    assert _peak_mib(lab, ALLOWED_MIB, command, "UserSessions", "EventLogs") < LIMIT_MIB
    if command == "replicate":
        assert len(lab.quarantine("UserSessions")) == LARGE_DOCUMENTS
        assert lab.postgres("SELECT count(*) < 200 FROM etl.drift") == [(True,)]
        assert len(lab.quarantine("EventLogs")) == LARGE_DOCUMENTS


def test_marts_of_many_users_keep_to_it_as_well(lab: Lab) -> None:
    """Users with ids as long as may be are few and fill the least memory that may be set as millions fill more."""
    lab.fill(UserSessions=1, **dict.fromkeys(OTHERS, 100))
    sessions = lab.collection("UserSessions")
    (session,) = sessions.find({}, {"_id": 0})
    sessions.insert_many(session | {"session_id": f"s{n}", "user_id": f"{n:0600}"} for n in range(USERS))
    replicate.replicate(lab.connections, ["UserSessions", *OTHERS])
    assert _peak_mib(lab, LEAST_MIB, "marts", *OF_USERS) < LIMIT_OF_LEAST_MIB
    found = lab.postgres("SELECT sum(session_count)::bigint, sum(action_count)::bigint FROM marts.user_activity")
    assert found == lab.postgres("SELECT count(*), sum(actions_count)::bigint FROM replica.user_sessions")


def _peak_mib(lab: Lab, allowed_mib: int, *command: str) -> float:
    """Run a command as a process of its own, and return the memory that it took at its peak."""
    # Polars tells its allocator by the environment what it wants, and coverage takes memory; a shell has neither.
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("_RJEM", "COV"))}
    uris = {name: value.get_secret_value() for name, value in lab.settings if name.endswith("_uri")}
    given = {"memory": f"{allowed_mib}MiB", "mongo_database": lab.settings.mongo_database, "home": lab.settings.home}
    environment = ours | {f"ETL_{name.upper()}": str(value) for name, value in (uris | given).items()}
    arguments = [sys.executable, "-m", "pipeline.cli", *command, "--json"]
    launched = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LAUNCHER, *arguments], env=environment, capture_output=True, check=True
    )
    exit_code, peak = map(int, launched.stdout.split()[-2:])
    assert exit_code == 0
    return peak * MAXRSS_UNIT / 2**20
