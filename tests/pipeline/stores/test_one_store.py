"""A command needs only the servers that it uses: where ClickHouse is down, PostgreSQL is kept up to date alone."""

import json
import logging
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.cli import app as cli
from pipeline.errors import ServerError
from pipeline.replication import replicate
from pipeline.replication.verify import verify
from pipeline.runs.recovery import recover
from tests.pipeline.lab import Lab

AWAY = SecretStr("http://127.0.0.1:9/default")
NAMES = ["SupportTickets", "UserSessions"]


@pytest.fixture(scope="module")
def filled(lab: Lab) -> Any:
    lab.fill(defects=0.05, **dict.fromkeys(NAMES, 40))
    return lab


@pytest.fixture
def etl(lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a command where ClickHouse is down, and returns its exit code and what it says."""
    for name, value in lab.settings.model_copy(update={"clickhouse_uri": AWAY}):
        if name.endswith("_uri"):
            monkeypatch.setenv(f"ETL_{name.upper()}", value.get_secret_value())
    monkeypatch.setenv("ETL_MONGO_DATABASE", lab.settings.mongo_database)

    def run(*command: str) -> tuple[int, dict[str, Any]]:
        code = cli.run([*command, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_postgresql_alone_is_served_where_clickhouse_is_down(filled: Any, etl: Any) -> None:
    assert etl("replicate", *NAMES, "--target", "postgres")[0] == 0
    filled.assert_replicated(NAMES, ["postgres"])
    filled.collection("SupportTickets").update_many({}, {"$set": {"user_id": "changed"}})
    code, found = etl("sync")
    assert (code, {one["collection"]: one["changed"] for one in found["collections"]}) == (
        0,
        {"SupportTickets": 40, "UserSessions": 0},
    )
    filled.assert_replicated(NAMES, ["postgres"])
    assert etl("verify")[0] == 0
    assert etl("quarantine", "replay")[0] == 0
    code, found = etl("marts", "ticket_resolution", "--target", "postgres")
    assert (code, [one["name"] for one in found["marts"]]) == (0, ["ticket_changes", "ticket_resolution"])
    code, found = etl("status")
    assert (code, {one["target"] for one in found["published"]}) == (0, {"postgres"})


@pytest.mark.parametrize("command", [["replicate"], ["marts"], ["replicate", "--target", "clickhouse"]])
def test_what_needs_clickhouse_says_so_before_it_begins(filled: Any, etl: Any, command: list[str]) -> None:
    before = filled.postgres("SELECT count(*) FROM etl.runs")
    code, found = etl(*command)
    assert (code, found["error"].startswith("ClickHouse at http://127.0.0.1:9/default can't be reached")) == (2, True)
    assert filled.postgres("SELECT count(*) FROM etl.runs") == before


def test_what_clickhouse_has_still_to_follow_waits_for_it(
    filled: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(replicate, "recover", lambda *_: {})
        patched.setattr(replicate, "record_duplicates", lambda *_: None)
        run, _ = replicate.replicate(filled.connections, ["UserSessions"])
    filled.collection("UserSessions").update_many({}, {"$set": {"user_id": "later"}})
    with filled.another(clickhouse_uri=AWAY) as alone:
        replicate.replicate(alone, ["UserSessions"], ["postgres"])
        with pytest.raises(ServerError, match="ClickHouse at"):
            recover(alone)
    said = {record.getMessage() for record in caplog.records if record.levelno == logging.WARNING}
    assert (
        f"UserSessions is published in PostgreSQL, and ClickHouse has still to follow (run {run.id}), in the next "
        in (" ".join(said))
    )
    filled.assert_replicated(["UserSessions"], ["postgres"])
    recover(filled.connections)
    assert filled.leftovers() == []
    assert all(one.proven for one in verify(filled.connections, ["UserSessions"]))
    replicate.replicate(filled.connections, ["UserSessions"])
    filled.assert_replicated(["UserSessions"])


def test_what_a_dead_run_left_in_clickhouse_goes_when_it_is_back(filled: Any, cut_short: Any) -> None:
    cut_short("replicate", "in the middle of a load", collections=["UserSessions"])
    with filled.another(clickhouse_uri=AWAY) as alone:
        replicate.replicate(alone, ["UserSessions"], ["postgres"])
    assert filled.connections.postgres.leftovers() == []
    filled.connections.postgres.undo()
    recover(filled.connections)
    assert filled.leftovers() == []
