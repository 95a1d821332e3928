"""The DAGs on real engines: each is run in this process, and what they leave in the stores and books is looked at."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline import airflow as tasks
from pipeline import books, replicate
from pipeline.airflow import opened, part_of
from pipeline.connections import Connections, connect
from pipeline.errors import ServerError, SnapshotError
from pipeline.replicate import Partition, Run
from pipeline.settings import Settings
from pipeline.verify import verify

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


def _proven(settings: Settings) -> bool:
    with connect(settings) as connections:
        found = verify(connections)
        assert {(one.collection, one.target) for one in found} == {
            (name, target) for name in connections.entities for target in TARGETS
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


def _snapshot(run: Any) -> dict[str, Any]:
    return run.get_task_instance("snapshot").xcom_pull(task_ids="snapshot")


@pytest.fixture(scope="module")
def first(run: Callable[..., Any]) -> dict[str, Any]:
    """Run the three DAGs, one after the other."""
    runs = {"generate_data": run("generate_data", scale=0.02, defects=0.02, seed=7)}
    runs |= {name: run(name) for name in ("replicate", "marts")}
    assert {name: run.state for name, run in runs.items()} == dict.fromkeys(runs, "success")
    return runs


def test_every_document_is_in_the_stores_or_in_quarantine(
    first: dict[str, Any], settings: Settings, look: Connections
) -> None:
    accounts = books.accounts(look.postgres, _snapshot(first["replicate"])["run"]["id"])
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
    told, opened = _events(first["replicate"]), _snapshot(first["replicate"])["run"]
    assert set(told) == {f"etl://replica/{entity.table}" for entity in look.entities.values()}
    sessions = told["etl://replica/user_sessions"]
    assert (sessions["run_id"], sessions["cluster_time"]) == (opened["id"], opened["cluster_time"])
    assert sessions["rows"] == dict.fromkeys(TARGETS, _rows(look, "replica.user_sessions")[0])
    assert {book["target"] for book in sessions["books"]} == TARGETS
    assert all(book["source"] == book["loaded"] + book["quarantined"] for book in sessions["books"])


def test_mapped_loads_bear_the_label_of_their_partition(first: dict[str, Any], look: Connections) -> None:
    labels = {one.rendered_map_index for one in first["replicate"].get_task_instances() if one.task_id == "load"}
    assert labels == {f"{collection} 1/1" for collection in look.entities}


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

    original = books.record
    monkeypatch.setattr(books, "record", record)
    done = run("replicate")
    assert done.state == "success"
    assert failed == [_snapshot(done)["run"]["id"]]
    assert _tries(done, "load") == [1] * 6 + [2]
    assert _proven(settings)


@pytest.mark.usefixtures("first")
def test_what_is_cleared_after_the_publish_does_nothing(
    run: Callable[..., Any], settings: Settings, look: Connections
) -> None:
    done = run("replicate")
    opened = _snapshot(done)
    before = look.postgres.rows("SELECT xmin::text, * FROM etl.published ORDER BY 2, 3")
    look.postgres.connection.commit()
    with part_of(opened["run"]) as (connections, again):
        for partition in opened["partitions"]:
            replicate.load(connections, again, Partition.from_json(partition))
        accounts = replicate.publish(connections, again)
    assert all(account.closed for account in accounts)
    assert look.postgres.rows("SELECT xmin::text, * FROM etl.published ORDER BY 2, 3") == before
    assert _proven(settings)


@pytest.mark.usefixtures("first")
def test_a_wrong_name_fails_at_once_and_opens_no_run(run: Callable[..., Any], look: Connections) -> None:
    before = books.statuses(look.postgres)
    look.postgres.connection.commit()
    done = run("replicate", collections=["Nonsense"])
    assert done.state == "failed"
    assert _tries(done, "snapshot") == [1]
    assert books.statuses(look.postgres) == before


@pytest.mark.usefixtures("first", "airflow_connections")
def test_a_run_that_no_retry_can_mend_is_given_up_and_says_where_to_clear(look: Connections) -> None:
    with tasks.connected() as connections:
        described = opened(connections, ["SearchQueries"], TARGETS)["run"]
    run = Run.from_json(described)
    look.mongo.database["SearchQueries"].drop()
    with pytest.raises(SnapshotError, match="dropped"), part_of(described) as (connections, _):
        replicate.publish(connections, run)
    assert books.statuses(look.postgres)[run.id] == "failed"
    assert run.id not in look.postgres.leftovers() + look.clickhouse.leftovers()
    with pytest.raises(SnapshotError, match="clear from the task snapshot"), part_of(described):
        pass


@pytest.mark.usefixtures("first", "airflow_connections")
def test_a_run_that_a_retry_can_mend_keeps_what_it_loaded(look: Connections) -> None:
    with tasks.connected() as connections:
        described = opened(connections, ["EventLogs"], TARGETS)["run"]
    with pytest.raises(ServerError), part_of(described):
        raise ServerError("gone for a moment")
    assert books.statuses(look.postgres)[described["id"]] == "running"
    assert described["id"] in look.postgres.leftovers()
