"""The DAGs on real engines: each is run in this process, and what they leave in the stores and books is looked at."""

import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS

from pipeline import control
from pipeline.airflow import maintenance as maintenance_task
from pipeline.airflow import marts as mart_tasks
from pipeline.airflow import replicate as tasks
from pipeline.airflow import sync as sync_task
from pipeline.airflow import verify as verify_task
from pipeline.airflow.report import outdated
from pipeline.airflow.sessions import run_task
from pipeline.connections import Connections, connect
from pipeline.errors import ServerError, SnapshotError, UsageError, VerificationError
from pipeline.marts.build import build
from pipeline.replication import replicate
from pipeline.replication.replicate import Run
from pipeline.replication.verify import verify
from pipeline.settings import Settings

TARGETS = {"postgres", "clickhouse"}


@pytest.fixture
def look(settings: Settings) -> Any:
    """Return open connections: none that stays open, for it might keep a DAG waiting."""
    with connect(settings) as connections:
        yield connections


def _rows(connections: Connections, table: str) -> tuple[int, int]:
    """Count the rows of a table in both stores."""
    query = f"SELECT count(*) FROM {table}"
    with connections.postgres.transaction():
        in_postgres = connections.postgres.rows(query)[0][0]
    return in_postgres, connections.clickhouse.rows(query)[0][0]


def _proven(settings: Settings, *collections: str) -> bool:
    """Return whether what may have been touched is an exact copy: all collections, or those that are named."""
    with connect(settings) as connections:
        found = verify(connections, collections)
        assert {(one.collection, one.target) for one in found} == {
            (name, target) for name in collections or connections.entities for target in TARGETS
        }
        return all(one.proven for one in found)


def _events(run: Any) -> dict[str, Any]:
    """Return the extras of the Assets that a run updated."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.query(AssetEvent).filter_by(source_dag_id=run.dag_id, source_run_id=run.run_id).all()
        return {event.asset.uri: event.extra for event in found}


def _tries(run: Any, task: str) -> list[int]:
    return sorted(instance.try_number for instance in run.get_task_instances() if instance.task_id == task)


def _states(run: Any) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for instance in run.get_task_instances():
        found.setdefault(instance.task_id, set()).add(str(instance.state))
    return found


def _result(run: Any, task: str) -> Any:
    return run.get_task_instance(task).xcom_pull(task_ids=task)


@pytest.fixture(scope="module")
def first(run: Callable[..., Any]) -> dict[str, Any]:
    """Run the DAGs, one after the other; at first there is nothing to verify or to follow."""
    for name in ("verify", "sync"):
        before = run(name)
        assert (before.state, _states(before)) == ("success", {name: {"skipped"}})
        reason = before.get_task_instance(name).xcom_pull(task_ids=name, key="skipped")
        assert reason == "nothing is replicated yet"
    runs = {"generate_data": run("generate_data", scale=0.02, defects=0.02, seed=7)}
    runs |= {name: run(name) for name in ("replicate", "marts", "verify", "maintenance")}
    assert {name: run.state for name, run in runs.items()} == dict.fromkeys(runs, "success")
    states = {(name, task): found for name, run in runs.items() for task, found in _states(run).items()}
    assert states.pop(("maintenance", "prune_airflow")) == {"skipped"}  # nothing names Airflow's own database
    assert all(found == {"success"} for found in states.values())
    return runs


def test_every_document_is_in_the_stores_or_in_quarantine(
    first: dict[str, Any], settings: Settings, look: Connections
) -> None:
    accounts = control.accounts(look.postgres, _result(first["replicate"], "snapshot")["id"])
    assert len(accounts) == len(look.entities) * len(TARGETS)
    assert all(account.closed for account in accounts)
    assert sum(account.quarantined for account in accounts) > 0
    for account in accounts:
        entity = look.entities[account.collection]
        assert account.source == look.mongo.database[account.collection].count_documents({}) > 0
        assert _rows(look, f"replica.{entity.table}") == (account.loaded, account.loaded)
    assert _proven(settings)


def test_the_marts_are_in_both_stores(first: dict[str, Any], look: Connections) -> None:
    for uri, extra in _events(first["marts"]).items():
        mart = uri.removeprefix("etl://marts/")
        assert _rows(look, f"marts.{mart}") == (extra["rows"], extra["rows"])
    assert "etl://marts/user_activity" in _events(first["marts"])


def test_assets_tell_rows_moment_and_books(first: dict[str, Any], look: Connections) -> None:
    told, opened = _events(first["replicate"]), _result(first["replicate"], "snapshot")
    assert set(told) == {f"etl://replica/{entity.table}" for entity in look.entities.values()}
    sessions = told["etl://replica/user_sessions"]
    assert (sessions["run_id"], sessions["cluster_time"]) == (opened["id"], opened["cluster_time"])
    assert sessions["rows"] == dict.fromkeys(TARGETS, _rows(look, "replica.user_sessions")[0])
    assert {book["target"] for book in sessions["books"]} == TARGETS
    assert all(book["source"] == book["loaded"] + book["quarantined"] for book in sessions["books"])


def test_mapped_loads_bear_the_label_of_their_partition(first: dict[str, Any], look: Connections) -> None:
    labels = {one.rendered_map_index for one in first["replicate"].get_task_instances() if one.task_id == "load"}
    assert labels == {f"{collection} 1/1" for collection in look.entities}


def test_marts_that_are_not_chosen_are_skipped_and_say_so(run: Callable[..., Any], first: dict[str, Any]) -> None:
    chosen = run("marts", marts=["user_activity"], full=True)
    states = {one.task_id: one.state for one in chosen.get_task_instances()}
    assert not any(one["base"] for one in _result(chosen, "open_run")["plans"].values())  # all rows are computed anew
    read = ["user_activity_daily", "user_recency", "user_score_cuts", "user_activity"]
    done = {"open_run", "publish", *(f"load.{name}" for name in read)}
    assert {name for name, state in states.items() if state == "success"} == done
    assert {state for name, state in states.items() if name not in done} == {"skipped"}
    skipped = chosen.get_task_instance("load.ticket_resolution")
    said = skipped.xcom_pull(task_ids="load.ticket_resolution", key="skipped")
    assert said == f"ticket_resolution is not among the marts of this run: {', '.join(read)}"


@pytest.mark.parametrize(
    ("place", "noted"),
    [
        ("https://reports.example/etl/", "[{0}](https://reports.example/etl/{0})"),
        ("./reports", "`./reports/{0}`"),
        ("", "`{1}/{0}`"),
    ],
)
def test_the_note_of_a_run_tells_where_its_report_is_and_old_ones_are_removed(
    run: Callable[..., Any],
    first: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    noted: str,
) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    old = [tmp_path / f"report-20260101T0000{second:02}Z.html" for second in range(31)]
    for file in (*old, tmp_path / "mine.html"):
        file.write_text("")
    monkeypatch.setenv("ETL_REPORTS", str(tmp_path))
    monkeypatch.setenv("ETL_REPORTS_URL", place)
    monkeypatch.setenv("ETL_AIRFLOW_DATABASE", os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    done = run("report", language="ru")
    assert done.state == "success"
    told = _result(done, "report")
    written = Path(told["path"])
    assert written.stat().st_size == told["bytes"] > 10**6
    assert {file.name for file in tmp_path.iterdir()} == {written.name, "mine.html", *(file.name for file in old[2:])}
    with create_session() as session:
        (found,) = session.query(DagRun).filter_by(dag_id="report", run_id=done.run_id)
        assert found.note == noted.format(written.name, tmp_path)
        assert told["where"] in found.note


def test_the_last_reports_are_kept_and_the_last_one_of_each_day(tmp_path: Path) -> None:
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    every_five_minutes = (now - timedelta(minutes=5 * number) for number in range(100 * 288))
    names = [f"report-{moment:%Y%m%dT%H%M%SZ}.html" for moment in every_five_minutes]
    odd = "report-20260199T000000Z.html"
    gone = {file.name for file in outdated([tmp_path / name for name in (*names, odd)], now, ZoneInfo("Asia/Tokyo"))}
    kept = {*names, odd} - gone
    assert {*names[:30]} < kept and len(kept) == 30 + 90
    assert "report-20261128T145500Z.html" in kept, "the day ended at 15:00 UTC"
    assert min(kept) == "report-20260831T145500Z.html"


def test_only_what_was_published_updates_its_asset(first: dict[str, Any], run: Callable[..., Any]) -> None:
    done = run("replicate", collections=["SupportTickets"], targets=["postgres"])
    assert done.state == "success"
    ((uri, extra),) = _events(done).items()
    assert (uri, set(extra["rows"])) == ("etl://replica/support_tickets", {"postgres"})


@pytest.mark.usefixtures("first")
def test_a_load_that_fails_at_its_very_end_is_retried_and_doubles_nothing(
    run: Callable[..., Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[str] = []

    def record(postgres: Any, run_id: str, partition: int, **rest: Any) -> None:
        if not failed:
            failed.append(run_id)
            raise ServerError("PostgreSQL is gone for a moment")
        original(postgres, run_id, partition, **rest)

    original = control.record_partition
    monkeypatch.setattr(control, "record_partition", record)
    done = run("replicate", collections=["EventLogs", "SearchQueries"])
    assert done.state == "success"
    assert failed == [_result(done, "snapshot")["id"]]
    assert _tries(done, "load") == [1, 2]
    assert _proven(settings, "EventLogs", "SearchQueries")


@pytest.mark.usefixtures("first", "airflow_connections")
def test_what_is_cleared_after_the_publish_does_nothing(
    run: Callable[..., Any], settings: Settings, look: Connections
) -> None:
    done = run("replicate", collections=["SupportTickets", "EventLogs"])
    opened, partitions = _result(done, "snapshot"), _result(done, "plan")
    shown = "SELECT xmin::text, * FROM etl.published ORDER BY 2, 3"
    before = look.postgres.rows(shown)
    look.postgres.connection.commit()
    assert tasks.plan(opened) == partitions
    for partition in partitions:
        tasks.load(opened, partition)
    tasks.prove(opened, None)
    assert set(tasks.publish(opened, None)) == {"support_tickets", "event_logs"}
    assert look.postgres.rows(shown) == before
    assert _proven(settings, "SupportTickets", "EventLogs")


@pytest.mark.usefixtures("first", "airflow_connections")
def test_the_publish_of_an_older_run_tells_only_what_is_shown_still(settings: Settings, look: Connections) -> None:
    opened = tasks.open_run(["EventLogs", "SearchQueries"], TARGETS)
    for partition in tasks.plan(opened):
        tasks.load(opened, partition)
    tasks.prove(opened, None)
    assert set(tasks.publish(opened, None)) == {"event_logs", "search_queries"}
    built = mart_tasks.open_run(["ticket_resolution"])
    for mart in built["marts"]:
        mart_tasks.load(built, mart)
    assert set(mart_tasks.publish(built)) == {"ticket_changes", "ticket_resolution"}
    look.mongo.database["EventLogs"].insert_one({"later": True})  # without a write the moment would be the same
    _copy(settings, "EventLogs")
    assert set(tasks.publish(opened, None)) == {"search_queries"}
    look.mongo.database["EventLogs"].insert_one({"later": True})
    _copy(settings, "SearchQueries", "SupportTickets")
    with connect(settings) as connections:
        build(connections, ["ticket_resolution"])
    assert tasks.publish(opened, None) == {}
    assert mart_tasks.publish(built) == {}


def _copy(settings: Settings, *collections: str) -> None:
    """Copy without Airflow."""
    with connect(settings) as connections:
        replicate.replicate(connections, collections)


@pytest.mark.usefixtures("first", "airflow_connections")
def test_marts_that_are_loaded_in_any_order_and_cleared_are_the_same(settings: Settings, look: Connections) -> None:
    _copy(settings)
    asked = ["ticket_resolution", "support_efficiency_daily", "user_activity"]
    with connect(settings) as connections:
        names = [mart.name for mart in build(connections, [*asked, "event_types_daily"])]
    rows = {name: f"SELECT m::text FROM marts.{name} m ORDER BY 1" for name in names}
    before = {name: look.postgres.rows(query) for name, query in rows.items()}
    look.postgres.connection.commit()
    opened = mart_tasks.open_run(asked)
    assert {"user_activity_daily", "ticket_resolution"} < set(opened["marts"]) < set(names)
    for mart in [*reversed(opened["marts"]), opened["marts"][0]]:
        mart_tasks.load(opened, mart)
    told = mart_tasks.publish(opened)
    shown = "SELECT xmin::text, * FROM etl.published ORDER BY 2, 3"
    published = look.postgres.rows(shown)
    look.postgres.connection.commit()
    mart_tasks.load(opened, opened["marts"][0])  # cleared after the publish
    assert mart_tasks.publish(opened) == told
    assert look.postgres.rows(shown) == published
    assert {name: look.postgres.rows(query) for name, query in rows.items()} == before


@pytest.mark.usefixtures("first", "airflow_connections")
def test_a_run_has_the_marts_alone_that_have_a_task(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """A mart may come after the DAG was read, or be one that its text does not tell: nobody would load it."""
    _copy(settings)
    known = ["ticket_changes", "ticket_resolution"]
    opened = mart_tasks.open_run([], known)
    assert sorted(opened["marts"]) == known
    assert any("no task here computes" in one.getMessage() for one in caplog.records)
    for mart in known:
        mart_tasks.load(opened, mart)
    assert sorted(mart_tasks.publish(opened)) == known
    with pytest.raises(UsageError, match="no mart that can be computed has a task here"):
        mart_tasks.open_run([], ["of_yesterday"])


@pytest.mark.usefixtures("first", "airflow_connections")
def test_marts_of_a_moment_that_is_gone_are_given_up(settings: Settings, look: Connections) -> None:
    _copy(settings, "SupportTickets")
    opened = mart_tasks.open_run(["ticket_resolution"])
    look.mongo.database["SupportTickets"].insert_one({"later": True})  # without a write the moment would be the same
    _copy(settings, "SupportTickets")
    with pytest.raises(SnapshotError, match=r"published anew.*clear from the task open_run"):
        mart_tasks.load(opened, "ticket_resolution")
    assert opened["id"] not in look.postgres.leftovers() + look.clickhouse.leftovers()
    with pytest.raises(SnapshotError, match=r"given up \(.*published anew.*\): clear from the task open_run"):
        mart_tasks.publish(opened)


@pytest.mark.usefixtures("first")
def test_what_was_changed_is_followed_and_all_assets_are_told(
    run: Callable[..., Any], settings: Settings, look: Connections, caplog: pytest.LogCaptureFixture
) -> None:
    _copy(settings)
    tickets, sessions = (look.mongo.database[name] for name in ("SupportTickets", "UserSessions"))
    some = [one["_id"] for one in tickets.find({}, {"_id": 1}).limit(2)]
    tickets.delete_one({"_id": some[0]})
    tickets.update_one({"_id": some[1]}, {"$set": {"undeclared": 1}})
    sessions.insert_one({"no": "session"})
    done = run("sync")
    assert (done.state, _states(done)) == ("success", {"sync": {"success"}})
    told = _events(done)
    assert set(told) == {f"etl://replica/{entity.table}" for entity in look.entities.values()}
    names = ("changed", "loaded", "deleted", "quarantined")
    numbers = {uri.rpartition("/")[2]: [extra[name] for name in names] for uri, extra in told.items()}
    assert numbers == dict.fromkeys(numbers, [0] * 4) | {"support_tickets": [2, 1, 1, 0], "user_sessions": [1, 0, 0, 1]}
    assert "SupportTickets in postgres and clickhouse: 2 changed = 1 loaded + 1 deleted + 0 quarantined" in caplog.text
    assert "EventLogs in postgres and clickhouse" not in caplog.text
    published = control.publications(look.postgres)
    look.postgres.connection.commit()
    shown = {tuple(extra["cluster_time"]) for extra in told.values()}
    assert shown == {(one.cluster_time.time, one.cluster_time.inc) for one in published if one.name in look.entities}
    runs = {one.run_id for one in published if one.name in ("SupportTickets", "UserSessions")}
    assert {extra["run_id"] for extra in told.values()} == runs | {None}
    assert all(set(extra["targets"]) == TARGETS for extra in told.values())
    assert _proven(settings)
    again = run("sync")
    assert (again.state, _states(again), _events(again)) == ("success", {"sync": {"success"}}, {})


@pytest.mark.usefixtures("first")
def test_only_what_was_asked_for_is_followed(run: Callable[..., Any], settings: Settings, look: Connections) -> None:
    for name in ("SupportTickets", "EventLogs"):
        look.mongo.database[name].insert_one({"later": True})
    done = run("sync", collections=["SupportTickets", "SearchQueries"])
    assert {uri: extra["changed"] for uri, extra in _events(done).items()} == {
        "etl://replica/support_tickets": 1,
        "etl://replica/search_queries": 0,
    }
    assert run("sync").state == "success"
    assert _proven(settings, "SupportTickets", "EventLogs", "SearchQueries")


@pytest.mark.usefixtures("first")
def test_what_a_failed_try_published_is_told_by_the_next_one(
    run: Callable[..., Any], settings: Settings, look: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[str] = []

    def finish(postgres: Any, run_id: str, names: Any, target: str) -> None:
        if not failed:
            failed.append(run_id)
            raise ServerError("ClickHouse is gone for a moment")
        original(postgres, run_id, names, target)

    original = control.mark_finished
    monkeypatch.setattr(control, "mark_finished", finish)
    look.mongo.database["EventLogs"].insert_one({"later": True})
    done = run("sync")
    assert (done.state, _tries(done, "sync"), len(failed)) == ("success", [2], 1)
    assert set(_events(done)) == {f"etl://replica/{entity.table}" for entity in look.entities.values()}
    assert _proven(settings, "EventLogs")


@pytest.mark.usefixtures("first", "airflow_connections")
def test_what_clickhouse_takes_over_late_is_told(look: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> None:
        raise ServerError("ClickHouse is gone")

    look.mongo.database["EventLogs"].insert_one({"later": True})
    with monkeypatch.context() as broken:
        broken.setattr(control, "mark_finished", gone)
        with pytest.raises(ServerError, match="ClickHouse is gone"):
            sync_task.sync((), None)
    assert set(sync_task.sync((), None)) == {entity.table for entity in look.entities.values()}
    assert sync_task.sync((), None) == {}
    assert sync_task.sync((), None, again=True).keys() == {entity.table for entity in look.entities.values()}


@pytest.mark.parametrize("busy", ["replicate", "marts", "verify"])
def test_following_gives_way_to_what_needs_one_moment(busy: str) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    sync_task.skip_if_busy(lambda dag_id, states: 0)
    with pytest.raises(AirflowSkipException, match=f"{busy} is running"):
        sync_task.skip_if_busy(lambda dag_id, states: int(dag_id == busy and "running" in states))


@pytest.mark.usefixtures("callbacks_reach_airflow")
def test_following_gives_way_for_a_while_only(
    run: Callable[..., Any], first: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The run of a DAG that somebody has paused is running for ever."""
    from airflow.models.dagrun import DagRun
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session

    def let_marts_be(state: str) -> None:
        with create_session() as session:
            session.query(DagRun).filter_by(dag_id="marts", run_id=first["marts"].run_id).update({"state": state})

    let_marts_be("running")
    try:
        done = run("sync")
        assert (done.state, _states(done)) == ("success", {"sync": {"skipped"}})
        assert datetime.now(UTC) - datetime.fromisoformat(Variable.get("etl_skipped_sync")) < timedelta(minutes=1)
        Variable.set("etl_skipped_sync", "2026-01-01T04:05:00+00:00")
        assert _states(run("sync")) == {"sync": {"skipped"}}, "what is published is young"
        monkeypatch.setenv("ETL_SYNC_WAITS_AT_MOST", "0.1s")
        with monkeypatch.context() as patched:
            patched.setattr(sync_task, "_shown", lambda _: [])
            assert _states(run("sync")) == {"sync": {"skipped"}}, "a first copy may take long"
        done = run("sync")
        assert (done.state, _tries(done, "sync"), _events(done)) == ("failed", [1], {})
        assert "sync has been skipped since 2026-01-01 04:05 UTC, now because marts is running, and wha" in caplog.text
        monkeypatch.setenv("ETL_SYNC_WAITS_AT_MOST", "long")
        assert run("sync").state == "failed"
        assert "ETL_SYNC_WAITS_AT_MOST is 'long'; it must be a time such as 6h" in caplog.text
    finally:
        let_marts_be("success")
    monkeypatch.delenv("ETL_SYNC_WAITS_AT_MOST")
    assert _states(run("sync")) == {"sync": {"success"}}
    assert Variable.get("etl_skipped_sync") == ""


@pytest.mark.usefixtures("first")
def test_too_many_changes_in_quarantine_publish_nothing(run: Callable[..., Any], look: Connections) -> None:
    assert run("sync").state == "success"
    look.mongo.database["EventLogs"].insert_one({"no": "event"})
    before = control.publications(look.postgres)
    look.postgres.connection.commit()
    done = run("sync", max_quarantined="0")
    assert (done.state, _tries(done, "sync"), _events(done)) == ("failed", [1], {})
    assert control.publications(look.postgres) == before
    look.postgres.connection.commit()
    assert run("sync").state == "success"


@pytest.mark.usefixtures("first", "callbacks_reach_airflow")
def test_a_collection_that_was_dropped_fails_at_once_until_it_is_replicated(
    run: Callable[..., Any], look: Connections, caplog: pytest.LogCaptureFixture
) -> None:
    database = look.mongo.database
    database["SearchQueries"].rename("Elsewhere")
    database["Elsewhere"].rename("SearchQueries")
    done = run("sync")
    assert (done.state, _tries(done, "sync"), _events(done)) == ("failed", [1], {})
    assert "SearchQueries was dropped or renamed; run etl replicate" in caplog.text
    assert run("replicate", collections=["SearchQueries"]).state == "success"
    assert run("sync").state == "success"


@pytest.mark.usefixtures("first", "airflow_connections")
def test_verification_fails_at_once_and_names_what_differs(
    run: Callable[..., Any], settings: Settings, look: Connections
) -> None:
    look.postgres.execute(
        "UPDATE replica.event_logs SET event_type = event_type || '!' WHERE _id IN "
        "(SELECT min(_id) FROM replica.event_logs)"
    )
    look.postgres.connection.commit()
    done = run("verify")
    assert done.state == "failed"
    assert _tries(done, "verify") == [1]
    with pytest.raises(VerificationError, match="not proven: EventLogs in postgres; etl verify --repair"):
        verify_task.verify(["EventLogs"], TARGETS)
    _copy(settings, "EventLogs")


@pytest.mark.usefixtures("first")
def test_a_quarantine_above_its_limit_publishes_nothing(run: Callable[..., Any], look: Connections) -> None:
    before = control.publications(look.postgres)
    look.postgres.connection.commit()
    done = run("replicate", collections=["EventLogs"], max_quarantined="0")
    assert done.state == "failed"
    assert _tries(done, "prove") == [1]
    assert control.publications(look.postgres) == before
    assert control.statuses(look.postgres)[_result(done, "snapshot")["id"]] == "failed"
    look.postgres.connection.commit()


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize(("dag", "task"), [("sync", "sync"), ("replicate", "prove")])
def test_what_is_published_is_taken_away_on_purpose_only(
    run: Callable[..., Any], look: Connections, monkeypatch: pytest.MonkeyPatch, dag: str, task: str
) -> None:
    monkeypatch.delenv("ETL_MAX_SHRINK")
    source = look.mongo.database["EventLogs"].with_options(codec_options=DEFAULT_RAW_BSON_OPTIONS)
    before = _rows(look, "replica.event_logs")
    documents = list(source.find())
    source.delete_many({})
    done = run(dag, collections=["EventLogs"])
    assert (done.state, _tries(done, task), _rows(look, "replica.event_logs")) == ("failed", [1], before)
    assert run(dag, collections=["EventLogs"], allow_shrink=True).state == "success"
    assert _rows(look, "replica.event_logs") == (0, 0)
    source.insert_many(documents)
    assert run("sync").state == "success"


@pytest.mark.usefixtures("first")
def test_a_wrong_name_fails_at_once_and_opens_no_run(run: Callable[..., Any], look: Connections) -> None:
    before = control.statuses(look.postgres)
    look.postgres.connection.commit()
    done = run("replicate", collections=["Nonsense"])
    assert done.state == "failed"
    assert _tries(done, "snapshot") == [1]
    assert control.statuses(look.postgres) == before


def test_old_runs_and_logs_of_airflow_are_removed(
    run: Callable[..., Any], first: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.sdk.configuration import conf
    from airflow.utils.session import create_session

    def kept() -> set[str]:
        with create_session() as session:
            return {one.run_id for one in session.query(DagRun)} & {old.run_id, young.run_id}

    old, young = run("sync"), first["replicate"]
    month_ago = datetime.now(UTC) - timedelta(days=31)
    with create_session() as session:
        session.query(DagRun).filter_by(run_id=old.run_id).update({"start_date": month_ago})
    logs = Path(conf.get("logging", "base_log_folder")) / "dag_id=sync"
    files = [logs / "run_id=old" / "attempt=1.log", logs / "run_id=young" / "attempt=1.log"]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text("said")
    for path in (files[0], files[0].parent):
        os.utime(path, (month_ago.timestamp(),) * 2)
    monkeypatch.setenv("ETL_AIRFLOW_DATABASE", os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    assert run("maintenance", dry_run=True).state == "success"
    assert kept() == {old.run_id, young.run_id} and all(file.exists() for file in files)
    done = run("maintenance")
    assert _states(done) == {name: {"success"} for name in ("prune", "prune_airflow", "prune_logs")}
    assert kept() == {young.run_id}
    assert [file.exists() for file in files] == [False, True]
    assert not files[0].parent.exists()


@pytest.mark.usefixtures("run")
def test_what_airflow_says_of_its_database_is_told_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "postgresql+psycopg2://airflow:s3cret@nowhere/airflow"
    monkeypatch.setenv("ETL_AIRFLOW_DATABASE", uri)
    done = subprocess.CompletedProcess((), 3, stdout="it begins", stderr=f"can't reach {uri} with 's3cret'\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(ServerError) as caught:
        maintenance_task.prune_airflow()
    assert str(caught.value) == (
        "airflow db clean ended with 3: can't reach postgresql+psycopg2://airflow:***@nowhere/airflow with '***'"
    )


@pytest.mark.usefixtures("airflow_connections")
def test_a_task_of_a_run_whose_plan_was_pruned_says_where_to_clear(first: dict[str, Any], look: Connections) -> None:
    run = Run.from_json(_result(first["replicate"], "snapshot"))
    with look.postgres.transaction():
        look.postgres.execute("UPDATE etl.runs SET finished_at = finished_at - interval '31 days'")
    maintenance_task.prune(dry_run=True)
    with run_task(run):
        pass
    maintenance_task.prune()
    with pytest.raises(SnapshotError, match="its plan was pruned: clear from the task snapshot"), run_task(run):
        raise AssertionError("entered")


@pytest.mark.usefixtures("first", "airflow_connections")
def test_a_run_that_no_retry_can_mend_is_given_up_and_says_where_to_clear(look: Connections) -> None:
    run = Run.from_json(tasks.open_run(["SearchQueries"], TARGETS))
    look.mongo.database["SearchQueries"].drop()
    with pytest.raises(SnapshotError, match=r"dropped.*clear from the task snapshot"), run_task(run) as connections:
        replicate.publish(connections, run)
    assert control.statuses(look.postgres)[run.id] == "failed"
    assert run.id not in look.postgres.leftovers() + look.clickhouse.leftovers()
    with pytest.raises(SnapshotError, match=r"given up \(.*dropped.*\): clear from the task snapshot"), run_task(run):
        pass


@pytest.mark.usefixtures("first", "airflow_connections")
def test_a_load_whose_moment_is_forgotten_fails_at_once_and_says_where_to_clear(look: Connections) -> None:
    opened = tasks.open_run(["EventLogs"], TARGETS)
    (partition,) = tasks.plan(opened)
    long_ago = opened | {"cluster_time": [1_000_000_000, 1]}
    with pytest.raises(SnapshotError, match="clear from the task snapshot, which opens a new run"):
        tasks.load(long_ago, partition)
    assert control.statuses(look.postgres)[opened["id"]] == "failed"


@pytest.mark.usefixtures("first", "airflow_connections")
def test_a_run_that_a_retry_can_mend_keeps_what_it_loaded(look: Connections) -> None:
    opened = Run.from_json(tasks.open_run(["EventLogs"], TARGETS))
    with pytest.raises(ServerError), run_task(opened):
        raise ServerError("gone for a moment")
    assert control.statuses(look.postgres)[opened.id] == "running"
    assert opened.id in look.postgres.leftovers()
