"""Airflow as users have it: its own processes, started by the command of ``make airflow``, and asked by REST only."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from adbc_driver_postgresql import dbapi

from contracts.schema.registry import entities
from pipeline.connections import connect
from pipeline.engines.embedded import engines
from pipeline.replication.replicate import replicate
from pipeline.replication.verify import verify
from pipeline.settings import Settings
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
LATE = {"generate_data": 0, "marts": 1}  # after so many seconds; the one task of the first may be over in less than one
# Those that start by the clock, or after the marts: `sync` is skipped as long as a verification runs. The marts only
# until something is looked at that they follow.
PAUSED = ("maintenance", "marts", "report", "verify")
SOME = ["SupportTickets", "SearchQueries"]  # a task of Airflow's is a process: seven loads tell no more
LOCK = 7_305_000_002
# The load of one collection waits, with all of its rows copied and nothing committed, for whoever holds the lock.
WAIT_IN_THE_MIDDLE = (
    "CREATE OR REPLACE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$BEGIN PERFORM pg_advisory_xact_lock({LOCK}); RETURN NEW; END$$",
    "CREATE OR REPLACE TRIGGER wait BEFORE UPDATE OF source ON etl.ledger FOR EACH ROW "
    "WHEN (NEW.collection = 'SupportTickets') EXECUTE FUNCTION public.wait()",
)

# The loads of two collections fail, and all of their tries.
BREAK_LOADS = (
    "CREATE FUNCTION public.break_loads() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no'; END$$",
    "CREATE TRIGGER break_loads BEFORE UPDATE OF source ON etl.ledger FOR EACH ROW "
    "WHEN (NEW.collection IN ('SupportTickets', 'EventLogs')) EXECUTE FUNCTION public.break_loads()",
)


@pytest.fixture(scope="module")
def home(starts_engines: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("all of airflow")


@pytest.fixture(scope="module")
def dags(home: Path) -> Path:
    """Copy the DAGs: what fails is tried once more and at once, two of them are late soon, and some are paused."""
    folder = home / "dags"
    shutil.copytree(ROOT / "dags", folder)
    for file in folder.glob("*.py"):
        late = r"\1"
        if file.stem in LATE:
            late = f"late_after=__import__('datetime').timedelta(seconds={LATE[file.stem]})"
        at_once = "one['default_args'] | {'retries': 1, 'retry_delay': __import__('datetime').timedelta(0)}"
        changes = f"'default_args': {at_once}, 'is_paused_upon_creation': {file.stem in PAUSED}"
        given = rf"**(one := defaults({late})) | {{{changes}}},"
        text, found = re.subn(r"\*\*defaults\((.*)\),", given, file.read_text())
        assert found == 1, file
        file.write_text(text)
    return folder


@pytest.fixture(scope="module")
def environment(home: Path, dags: Path, webhook: Any, read_once: dict[str, str]) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "COV"))}
    environment |= {"ETL_HOME": str(home), "AIRFLOW__API__PORT": str(free_port()), "ETL_SYNC_SCHEDULE": "none"}
    transport = {"type": "file", "log_file_path": str(home / "lineage.jsonl"), "append": True}
    environment |= {"AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport), "AIRFLOW__OPENLINEAGE__NAMESPACE": "etl"}
    environment |= read_once
    return environment | {"AIRFLOW__CORE__DAGS_FOLDER": str(dags), "AIRFLOW_CONN_ETL_ALERTS": webhook.url}


@pytest.fixture(scope="module")
def start(
    home: Path, environment: dict[str, str], client: Callable[..., Any]
) -> Callable[[], AbstractContextManager[Any]]:
    """Return what starts what ``make airflow`` starts, and stops it as Ctrl-C does; no process is left."""

    @contextmanager
    def start() -> Iterator[Any]:
        command = [sys.executable, "-m", "pipeline.airflow"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:  # type: ignore[call-overload]
            try:
                said = ""
                while "Ctrl-C" not in said:
                    line = process.stdout.readline()
                    assert line, f"it ended: {said}"
                    said += line
                (url,) = re.findall(r"Airflow: (http://\S+)\n", said)
                logins = dict(re.findall(r"login: (\w+) password: (\S+)\n", said))
                with closing(client(url, logins["admin"])) as airflow:
                    airflow.process, airflow.url, airflow.logins = process, url, logins
                    yield airflow
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                    assert process.wait(60) == 0
        assert _left(home) == []

    return start


@pytest.fixture(scope="module")
def airflow(start: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
    with start() as airflow:
        yield airflow


def _left(home: Path) -> list[dict[str, Any]]:
    """Return the processes that have to do with a home."""
    return [
        one.info for one in psutil.process_iter(["pid", "cmdline"]) if str(home) in " ".join(one.info["cmdline"] or ())
    ]


@pytest.fixture
def settings(home: Path, airflow: Any) -> Iterator[Settings]:
    """Return where the engines are that run beside it."""
    with engines(Settings.load(home=home)) as complete:
        yield complete


@pytest.fixture(scope="module")
def first(airflow: Any) -> dict[str, str]:
    """Generate and replicate. No marts follow, a task each: those that follow a sync are looked at.

    That they follow a copy as well is seen in `test_stack.py`.
    """
    runs = {"generate_data": airflow.run("generate_data", scale=0.02, defects=0.02)}
    runs["replicate"] = airflow.run("replicate")
    assert airflow.get("importErrors")["import_errors"] == []  # by now all files have been read
    return runs


@pytest.fixture(scope="module")
def followed(airflow: Any, first: dict[str, str], home: Path) -> Iterator[dict[str, str]]:
    """Delete some tickets and follow; the marts start by themselves, and no more of them from here on."""
    with engines(Settings.load(home=home)) as settings, connect(settings) as connections:
        tickets = connections.mongo.database["SupportTickets"]
        tickets.delete_many({"_id": {"$in": [one["_id"] for one in tickets.find({}, {"_id": 1}).limit(20)]}})
    airflow.pause("marts", paused=False)
    runs = {"sync": airflow.run("sync"), "marts": airflow.next_run("marts")}
    airflow.pause("marts")
    return runs


def _rows(settings: Settings) -> dict[str, list[Any]]:
    queries = {
        table: f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)), count(*) FROM {table} t"
        for table in ("replica.support_tickets", "replica.support_tickets_messages")
    }
    with connect(settings) as connections:
        return {table: connections.postgres.rows(query) for table, query in queries.items()}


def _proven(settings: Settings, *collections: str) -> bool:
    """Return whether what may have been touched is an exact copy: all seven collections, or those that are named."""
    with connect(settings) as connections:
        found = verify(connections, collections)
    return len(found) == 2 * len(collections or entities()) and all(one.proven for one in found)


def test_everything_is_green_and_the_stores_are_exact(airflow: Any, first: dict[str, str], settings: Settings) -> None:
    _assert_green(airflow, first)
    labels = {one["rendered_map_index"] for one in airflow.tasks("replicate", first["replicate"], "load")}
    assert "SupportTickets 1/1" in labels and len(labels) == 7
    pools = {one["task_id"]: one["pool"] for one in airflow.tasks("replicate", first["replicate"])}
    assert pools == dict.fromkeys(pools, "etl_mongo") | {"publish": "etl_postgres"}
    assert _proven(settings)


def _assert_green(airflow: Any, runs: dict[str, str]) -> None:
    for dag_id, run_id in runs.items():
        assert {one["state"] for one in airflow.tasks(dag_id, run_id)} == {"success"}, dag_id


def test_assets_tell_rows_and_books(airflow: Any, first: dict[str, str]) -> None:
    events = airflow.get("assets/events", source_dag_id="replicate", limit=100)["asset_events"]
    told = {event["uri"]: event["extra"] for event in events if event["source_run_id"] == first["replicate"]}
    assert len(told) == 7
    for extra in told.values():
        assert {book["source"] for book in extra["books"]} == {b["loaded"] + b["quarantined"] for b in extra["books"]}


def test_what_was_changed_is_followed_and_the_marts_follow(
    airflow: Any, followed: dict[str, str], settings: Settings
) -> None:
    _assert_green(airflow, followed)
    events = airflow.get("assets/events", source_dag_id="sync", limit=100)["asset_events"]
    told = {event["uri"]: event["extra"] for event in events if event["source_run_id"] == followed["sync"]}
    assert len(told) == 7
    assert told["etl://replica/support_tickets"]["deleted"] == 20
    marts = {one["task_id"] for one in airflow.tasks("marts", followed["marts"])} - {"open_run", "publish"}
    assert "load.ticket_resolution" in marts and len(marts) == 21
    assert airflow.get(f"dags/marts/dagRuns/{followed['marts']}")["run_type"] == "asset_triggered"
    with connect(settings) as connections:
        tickets = connections.postgres.rows("SELECT _id FROM replica.support_tickets ORDER BY 1")
        assert connections.postgres.rows("SELECT _id FROM marts.ticket_resolution ORDER BY 1") == tickets != []
    assert _proven(settings)


def test_a_load_that_is_killed_in_the_middle_is_retried_and_the_result_is_the_same(
    airflow: Any, first: dict[str, str], settings: Settings
) -> None:
    before = _rows(settings)
    uri = settings.postgres_uri.get_secret_value()  # type: ignore[union-attr]
    with closing(dbapi.connect(uri, autocommit=True)) as other, other.cursor() as cursor:
        for statement in (*WAIT_IN_THE_MIDDLE, f"SELECT pg_advisory_lock({LOCK})::text"):
            cursor.execute(statement)
        run_id = airflow.trigger("replicate", collections=SOME)
        victim = _blocked_load(airflow, run_id, cursor)
        waiting = airflow.run("sync")
        assert [one["state"] for one in airflow.tasks("sync", waiting)] == ["skipped"]  # it would end the copy
        os.kill(victim["pid"], signal.SIGKILL)
        cursor.execute(f"SELECT pg_advisory_unlock({LOCK})")
    assert airflow.wait("replicate", run_id) == "success"
    tries = {one["rendered_map_index"]: one["try_number"] for one in airflow.tasks("replicate", run_id, "load")}
    assert tries == dict.fromkeys(tries, 1) | {"SupportTickets 1/1": 2}
    assert _rows(settings) == before
    assert _proven(settings, *SOME)


def _blocked_load(airflow: Any, run_id: str, cursor: Any) -> dict[str, Any]:
    """Return the task instance of the load that waits in the middle, when it is the only one that is left."""
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        cursor.execute(f"SELECT count(*) FROM pg_locks WHERE NOT granted AND objid = {LOCK % 2**32}")
        running = [one for one in airflow.tasks("replicate", run_id, "load") if one["state"] != "success"]
        if cursor.fetchall() == [(1,)] and len(running) == 1:
            return dict(running[0])
        time.sleep(0.5)
    raise AssertionError("no load came to the middle")


def test_people_are_told_of_what_fails_and_what_is_late(
    airflow: Any, first: dict[str, str], followed: dict[str, str], webhook: Any, home: Path
) -> None:
    run_id = airflow.trigger("replicate", collections=["Nonsense"])
    assert airflow.wait("replicate", run_id) == "failed"
    assert [one["try_number"] for one in airflow.tasks("replicate", run_id, "snapshot")] == [1]
    failed = _told(webhook, "failed", run_id)
    assert (failed["task"], failed["kind"], failed["failures"]) == ("snapshot", "UsageError", 1)
    assert failed["message"].startswith("there is no contract of 'Nonsense'")
    assert failed["url"].startswith("http://localhost:")
    (line,) = _errors(home, run_id)
    assert line["event"].startswith("UsageError: there is no contract of 'Nonsense'")
    assert not line.get("error_detail")
    for name in LATE:
        late = _told(webhook, "late", (first | followed)[name])
        minutes = f"{LATE[name] / 60:g}"
        assert (late["dag_id"], late["message"]) == (name, f"not over {minutes} minutes after it was started")
    told = [(one["event"], one["run_id"]) for one in webhook.bodies(0)]
    assert len(told) == len(set(told))
    assert not [one for one in webhook.bodies(0) if one["event"] == "late" and one["dag_id"] not in LATE]


def _errors(home: Path, run_id: str) -> list[dict[str, Any]]:
    """Return the errors in the logs of a run's tasks."""
    files = (home / "airflow" / "logs").glob(f"dag_id=*/run_id={run_id}/**/*.log")
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [line for line in lines if line["level"] in ("error", "critical")]


def _told(webhook: Any, event: str, run_id: str) -> dict[str, Any]:
    """Return the one alert of an event of a run, when it has come."""
    give_up = time.monotonic() + 60
    while not (found := [one for one in webhook.bodies(0) if (one["event"], one["run_id"]) == (event, run_id)]):
        assert time.monotonic() < give_up, f"nobody was told that {run_id} is {event}: {webhook.bodies(0)}"
        time.sleep(0.2)
    (alert,) = found
    return dict(alert)


def test_runs_that_failed_and_a_run_that_runs_are_cleared(
    airflow: Any, first: dict[str, str], settings: Settings, webhook: Any
) -> None:
    uri = settings.postgres_uri.get_secret_value()  # type: ignore[union-attr]
    with closing(dbapi.connect(uri, autocommit=True)) as other, other.cursor() as cursor:
        for statement in BREAK_LOADS:
            cursor.execute(statement)
        run_id = airflow.trigger("replicate", collections=["SupportTickets", "EventLogs", "SearchQueries"])
        assert airflow.wait("replicate", run_id) == "failed"
        alert = _told(webhook, "failed", run_id)
        assert alert["task"].startswith("load ") and (alert["failures"], alert["kind"]) == (2, "EtlError")
        cursor.execute("DROP FUNCTION public.break_loads() CASCADE")
        # Failed mapped loads: what was loaded is left alone.
        airflow.clear("replicate", run_id, only_failed=True)
        tries = {one["rendered_map_index"]: one["try_number"] for one in airflow.tasks("replicate", run_id, "load")}
        assert tries["SearchQueries 1/1"] == 1 and tries["SupportTickets 1/1"] > 2
        # A failed proof: mended in MongoDB, the run is done anew.
        with connect(settings) as connections:
            database = connections.mongo.database
            half = sum(database[name].estimated_document_count() for name in SOME)
            database["SearchQueries"].insert_many([{"broken": True} for _ in range(half + 1)])
            run_id = airflow.trigger("replicate", collections=SOME, max_quarantined="50%")
            assert airflow.wait("replicate", run_id) == "failed"
            assert [one["state"] for one in airflow.tasks("replicate", run_id, "prove")] == ["failed"]
            database["SearchQueries"].delete_many({"broken": True})
        for statement in (*WAIT_IN_THE_MIDDLE, f"SELECT pg_advisory_lock({LOCK})::text"):
            cursor.execute(statement)
        airflow.clear_only("replicate", run_id)
        # A run in the middle of its loads.
        _blocked_load(airflow, run_id, cursor)
        labels = {one["rendered_map_index"] for one in airflow.tasks("replicate", run_id, "load")}
        assert "SupportTickets 1/1" in labels  # while it runs
        airflow.clear_only("replicate", run_id)
        cursor.execute(f"SELECT pg_advisory_unlock({LOCK})")
    assert airflow.wait("replicate", run_id) == "success"
    assert _proven(settings, *SOME, "EventLogs")


def test_lineage_tells_datasets_columns_and_rows(followed: dict[str, str], home: Path) -> None:
    events = [json.loads(line) for line in (home / "lineage.jsonl").read_text().splitlines()]
    told: dict[str, dict[str, Any]] = {}
    for event in events:
        if event["eventType"] == "RUNNING":
            told.setdefault(event["job"]["name"], event)
    copied, marts, synced = told["replicate.publish"], told["marts.publish"], told["sync.sync"]
    assert {one["name"] for one in copied["inputs"]} >= {"etl.SupportTickets", "etl.EventLogs"}
    tickets = [one for one in copied["outputs"] if one["name"].endswith("replica.support_tickets")]
    assert {one["namespace"].partition(":")[0] for one in tickets} == {"postgres", "clickhouse"}
    for one in tickets:
        columns = {field["name"]: field for field in one["facets"]["schema"]["fields"]}
        assert columns["created_at"]["type"] and columns["ticket_id"]["description"]
        assert one["outputFacets"]["outputStatistics"]["rowCount"] > 0
    (read,) = [one for one in copied["inputs"] if one["name"] == "etl.SupportTickets"]
    assert (
        read["inputFacets"]["inputStatistics"]["rowCount"] >= tickets[0]["outputFacets"]["outputStatistics"]["rowCount"]
    )
    assert [one["name"] for one in synced["inputs"]] == ["etl.SupportTickets"]
    assert {one["name"].rpartition(".")[2] for one in synced["outputs"]} >= {"support_tickets"}
    read = {".".join(one["name"].split(".")[-2:]) for one in marts["inputs"]}
    assert read >= {"replica.support_tickets", "replica.user_sessions", "history.support_tickets_versions"}
    assert {one["name"].rpartition(".")[2] for one in marts["outputs"]} >= {"user_activity", "ticket_resolution"}
    assert all(one["outputFacets"]["outputStatistics"]["rowCount"] for one in marts["outputs"])


def test_what_is_cleared_after_the_publish_is_not_done_twice(
    airflow: Any, first: dict[str, str], settings: Settings
) -> None:
    """By the last run: all that it has published is shown still."""
    published = "SELECT xmin::text, * FROM etl.published WHERE collection ~ '^[A-Z]' ORDER BY 2, 3"
    (last,) = airflow.get("dags/replicate/dagRuns", order_by="-run_after", limit=1)["dag_runs"]

    def tries() -> dict[str, int]:
        loads = airflow.tasks("replicate", last["dag_run_id"], "load")
        return {one["rendered_map_index"]: one["try_number"] for one in loads}

    done = tries()
    with connect(settings) as connections:
        before = connections.postgres.rows(published)
    airflow.clear("replicate", last["dag_run_id"], "load")
    assert tries() == {label: number + 1 for label, number in done.items()} != {}
    with connect(settings) as connections:
        assert connections.postgres.rows(published) == before
    assert _proven(settings, *(label.partition(" ")[0] for label in done))


def test_the_password_is_in_no_log_and_stays_the_same(airflow: Any, home: Path) -> None:
    for log in (home / "log").glob("airflow-*.log"):
        assert airflow.password not in log.read_text(errors="replace"), log.name
    assert (home / "airflow" / "passwords.json").stat().st_mode & 0o777 == 0o600


def test_the_viewer_may_look_and_no_more(airflow: Any, first: dict[str, str], client: Callable[..., Any]) -> None:
    with closing(client(airflow.url, airflow.logins["viewer"], "viewer")) as viewer:
        assert viewer.tasks("replicate", first["replicate"])
        assert viewer.refused("dags/replicate/dagRuns") == 403


def test_a_copy_whose_scheduler_is_killed_is_taken_up_and_given_up_with_the_true_reason(
    airflow: Any, followed: dict[str, str], start: Callable[[], AbstractContextManager[Any]], home: Path
) -> None:
    """The last test: it ends the Airflow of all others."""
    with engines(Settings.load(home=home)) as settings:
        uri = settings.postgres_uri.get_secret_value()  # type: ignore[union-attr]
        with closing(dbapi.connect(uri, autocommit=True)) as other, other.cursor() as cursor:
            for statement in (*WAIT_IN_THE_MIDDLE, f"SELECT pg_advisory_lock({LOCK})::text"):
                cursor.execute(statement)
            run_id = airflow.trigger("replicate", collections=SOME)
            _blocked_load(airflow, run_id, cursor)
            with connect(settings) as connections:  # what changes later is what a new server can't tell from before
                connections.mongo.database["SearchQueries"].delete_one({})
            (scheduler,) = [
                one for one in psutil.Process(airflow.process.pid).children() if "scheduler" in one.cmdline()
            ]
            scheduler.kill()
            assert airflow.process.wait(60) == 2  # as long as the lock is held, so that the load can't end
    said = airflow.process.stderr.read()
    assert re.match(
        r"error: Airflow: its scheduler was killed by SIGKILL; it said last: .*airflow-scheduler\.log\)$", said
    )
    with start() as again:
        assert again.wait("replicate", run_id) == "failed"
        load = [
            one for one in again.tasks("replicate", run_id, "load") if one["rendered_map_index"] == "SupportTickets 1/1"
        ]
        assert [one["state"] for one in load] == ["failed"]
        assert any("MongoDB was started anew at " in one["event"] for one in _errors(home, run_id))
        with engines(Settings.load(home=home)) as settings, connect(settings) as connections:
            replicate(connections, SOME)
            given_up = "status = 'failed' AND message LIKE 'MongoDB was started anew%'"
            ((failed,),) = connections.postgres.rows(f"SELECT run_id FROM etl.runs WHERE {given_up}")
            assert failed not in connections.postgres.leftovers()
            assert failed not in connections.clickhouse.leftovers()
