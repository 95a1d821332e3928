"""Part of what is published is put right: only of what was read, whatever others publish meanwhile."""

from collections.abc import Callable
from dataclasses import replace as changed
from typing import Any

import polars as pl
import pytest
from bson import ObjectId

from contracts.schema.fields import text
from pipeline import control
from pipeline.errors import ServerError, SnapshotError, UsageError
from pipeline.replication import repair
from pipeline.replication.comparison import Comparison
from pipeline.replication.replicate import load as load_partition
from pipeline.replication.replicate import open_run, plan, replicate
from pipeline.replication.replicate import publish as publish_run
from pipeline.replication.sync import sync
from pipeline.replication.verify import verify
from pipeline.runs import lifecycle
from pipeline.runs.recovery import recover
from pipeline.stores.clickhouse.store import ClickHouse
from tests.pipeline.lab import Lab

SEARCHES, DATA, ROWS = "SearchQueries", "replica.search_queries__data", 12
TARGETS = ("postgres", "clickhouse")


@pytest.fixture
def copied(lab: Lab) -> Any:
    """Return a lab with documents of which some are refused."""
    lab.fill(**{SEARCHES: ROWS})
    lab.collection(SEARCHES).insert_many(
        {"_id": ObjectId(f"{n:024x}"), "query_text": f"refused {n}"} for n in range(1, 4)
    )
    replicate(lab.connections, [SEARCHES])
    return lab


def _ids(lab: Lab) -> list[str]:
    return [one for (one,) in lab.postgres("SELECT _id FROM replica.search_queries ORDER BY _id")]


def _bend(lab: Lab, _id: str) -> None:
    """Change a value and lose a row in both stores."""
    first, second, *_ = [one for one in _ids(lab) if one != _id]
    lab.change_postgres(
        f"UPDATE replica.search_queries SET query_text = 'bent' WHERE _id = '{first}'",
        f"DELETE FROM replica.search_queries WHERE _id = '{second}'",
        "UPDATE etl.published SET tables = NULL",  # or the next sync would notice that rows are missing, and stop
    )
    lab.change_clickhouse(
        f"ALTER TABLE {DATA} UPDATE query_text = 'bent' WHERE _id = '{first}' SETTINGS mutations_sync = 2",
        f"ALTER TABLE {DATA} DELETE WHERE _id = '{second}' SETTINGS mutations_sync = 2",
    )


def _broken(lab: Lab) -> list[Comparison]:
    found = verify(lab.connections, [SEARCHES])
    assert not any(one.proven for one in found)
    return found


def _change(lab: Lab, found: list[Comparison]) -> None:
    """Change and delete in MongoDB what was found broken, and publish that."""
    broken = [ObjectId(one) for one in found[0].broken]
    lab.collection(SEARCHES).update_one({"_id": broken[0]}, {"$set": {"query_text": "of today"}})
    lab.collection(SEARCHES).delete_one({"_id": broken[1]})
    with lab.another() as other:
        sync(other)


def _same(before: dict[str, pl.DataFrame], after: dict[str, pl.DataFrame]) -> bool:
    return all(frame.equals(after[name], null_equal=True) for name, frame in before.items())


def _assert_proven(lab: Lab) -> None:
    lab.assert_replicated([SEARCHES])
    assert all(one.proven for one in verify(lab.connections, [SEARCHES]))
    assert lab.leftovers() == []


# --- Repair


def test_what_was_published_since_it_was_verified_is_not_repaired(copied: Any) -> None:
    """What the verification would write is of its moment; the rows are healthy by now."""
    lab = copied
    _bend(lab, "")
    found = _broken(lab)
    _change(lab, found)
    healthy = lab.everything([SEARCHES])
    with pytest.raises(SnapshotError, match=rf"{SEARCHES} in postgres shows run .* nothing was changed"):
        repair.repair(lab.connections, found)
    assert _same(healthy, lab.everything([SEARCHES]))
    _assert_proven(lab)


def test_what_is_published_while_it_is_repaired_is_left_alone(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, prepare = copied, repair.prepare_publish
    _bend(lab, "")
    found = _broken(lab)

    def meanwhile(*arguments: Any) -> None:
        prepare(*arguments)
        _change(lab, found)

    monkeypatch.setattr(repair, "prepare_publish", meanwhile)
    with pytest.raises(SnapshotError, match="run the command again"):
        repair.repair(lab.connections, found)
    _assert_proven(lab)


def test_a_moment_that_moves_on_is_kept_and_rows_bear_the_one_they_were_read_at(copied: Any) -> None:
    lab = copied
    _bend(lab, "")
    found = _broken(lab)
    lab.collection("NotOurs").insert_one({})
    with lab.another() as other:
        sync(other)  # of which nothing was changed
    moments = {one.cluster_time for one in control.publications(lab.connections.postgres) if one.name == SEARCHES}
    repair.repair(lab.connections, found)
    after = [one for one in control.publications(lab.connections.postgres) if one.name == SEARCHES]
    assert {one.cluster_time for one in after} == moments
    assert min(moments) > found[0].cluster_time
    ids = ", ".join(f"'{one}'" for one in found[0].broken)
    versions = f"SELECT DISTINCT _version FROM {DATA} FINAL WHERE _id IN ({ids})"
    assert lab.clickhouse(versions) == [(control.as_number(found[0].cluster_time),)]
    _assert_proven(lab)


def test_rows_whose_id_no_document_can_have_are_deleted_and_the_others_mended(copied: Any) -> None:
    lab = copied
    some = _ids(lab)[-1]
    _bend(lab, some)
    strange = ["x", "", "ü" * 12, some.upper() if some != some.upper() else "A" * 24, "0" * 23, " " + some[1:]]
    columns = ", ".join(lab.connections.entities[SEARCHES].root.names[1:])
    for one in strange:
        source = f"FROM replica.search_queries WHERE _id = '{some}'"
        lab.change_postgres(f"INSERT INTO replica.search_queries (_id, {columns}) SELECT '{one}', {columns} {source}")
        lab.change_clickhouse(
            f"INSERT INTO {DATA} SELECT * REPLACE ('{one}' AS _id) FROM (SELECT * FROM {DATA} WHERE _id = '{some}')"
        )
    found = _broken(lab)
    assert {(one.extra, one.missing, one.different) for one in found} == {(len(strange), 1, 1)}
    assert repair.repair(lab.connections, found) == found
    _assert_proven(lab)


# --- Replay


def test_a_replay_of_what_is_published_anew_meanwhile_changes_nothing(
    copied: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, prepare = copied, repair.prepare_publish
    some = lab.collection(SEARCHES).find_one({"query_text": {"$not": {"$regex": "^refused"}}})

    def meanwhile(*arguments: Any) -> None:
        prepare(*arguments)
        lab.collection(SEARCHES).replace_one({"_id": ObjectId(f"{1:024x}")}, some | {"_id": ObjectId(f"{1:024x}")})
        with lab.another() as other:
            sync(other)

    with monkeypatch.context() as patched:
        patched.setattr(repair, "prepare_publish", meanwhile)
        with pytest.raises(SnapshotError, match="run the command again"):
            repair.replay(lab.connections, [SEARCHES])
    _assert_proven(lab)
    assert repair.replay(lab.connections, [SEARCHES]) == [repair.Replayed(SEARCHES, 2, 0, 2, 0)]
    _assert_proven(lab)


# --- What ClickHouse has still to follow


def _failing(*_: Any) -> None:
    raise ServerError("gone")


def _killed_before_clickhouse(lab: Lab, monkeypatch: pytest.MonkeyPatch, command: Callable[[Any], Any]) -> None:
    """Run a command of somebody else's that ends when PostgreSQL has committed."""
    with lab.another() as other, monkeypatch.context() as patched:
        patched.setattr(ClickHouse, "publish", _failing)
        with pytest.raises(ServerError, match="gone"):
            command(other)


def test_a_sync_lets_clickhouse_follow_what_was_repaired_meanwhile(
    copied: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own entry in the books takes the place of what ClickHouse has still to follow."""
    lab = copied
    _bend(lab, "")
    found = [one for one in _broken(lab) if one.target == "clickhouse"]
    lab.collection(SEARCHES).delete_one({"_id": ObjectId(_ids(lab)[-1])})

    def meanwhile(*arguments: Any) -> Any:
        _killed_before_clickhouse(lab, monkeypatch, lambda other: repair.repair(other, found))
        return publish_run(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.replication.sync.publish", meanwhile)
        sync(lab.connections, [SEARCHES])
    repair.repair(lab.connections, verify(lab.connections, [SEARCHES], ["postgres"]))
    _assert_proven(lab)


def test_a_run_that_somebody_publishes_as_it_is_given_up_stays(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, fail = copied, control.fail_run
    lab.collection(SEARCHES).delete_one({"_id": ObjectId(_ids(lab)[-1])})
    run = open_run(lab.connections, [SEARCHES], TARGETS, single_process=False)
    for partition in plan(lab.connections, run):
        load_partition(lab.connections, run, partition)

    def meanwhile(*arguments: Any) -> None:
        _killed_before_clickhouse(lab, monkeypatch, lambda other: publish_run(other, run))
        fail(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(control, "fail_run", meanwhile)
        lifecycle.abandon(lab.connections, run.id, run.targets, "no retry mends it")
    recover(lab.connections)
    _assert_proven(lab)


# --- Another contract


def test_a_sync_is_not_laid_over_tables_of_another_contract(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy under a new contract, begun before the sync, is published while the sync reads."""
    lab = copied
    entity = lab.connections.entities[SEARCHES]
    other_entity = changed(entity, fields=(*entity.fields, text("note", "Note.", nullable=True)))
    with lab.another() as opened:
        other = changed(opened, entities=opened.entities | {SEARCHES: other_entity})
        run = open_run(other, [SEARCHES], TARGETS, single_process=False)
        for partition in plan(other, run):
            load_partition(other, run, partition)
        lab.collection(SEARCHES).delete_one({"_id": ObjectId(_ids(lab)[-1])})

        def meanwhile(*arguments: Any) -> Any:
            publish_run(other, run)
            return publish_run(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr("pipeline.replication.sync.publish", meanwhile)
            with pytest.raises(UsageError, match=r"declares other columns than search_queries .* run etl replicate"):
                sync(lab.connections, [SEARCHES])
        assert "note" in lab.stored("postgres", other_entity.root).columns
        sync(other, [SEARCHES])
    replicate(lab.connections, [SEARCHES])
    _assert_proven(lab)
