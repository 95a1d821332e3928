"""The books don't grow without end, and what is deleted in MongoDB does not live on in the quarantine."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import bson
import pytest

from contracts.schema.fields import integer
from pipeline import control
from pipeline.cli import app as cli
from pipeline.control import retention
from pipeline.marts.build import build
from pipeline.replication import repair
from pipeline.replication.replicate import replicate
from pipeline.replication.sync import sync
from pipeline.replication.verify import verify
from pipeline.runs.prune import prune
from pipeline.settings import Retention
from tests.pipeline.control.reviews import REVIEWS, numbered, review
from tests.pipeline.lab import Lab

KEPT = ("published", "ledger", "receipts", "drift", "runs", "quarantine", "refused", "touched")


def _review(number: int, **changes: Any) -> dict[str, Any]:
    return review(number, **{"review_text": f"secret of {number}"} | changes)


def _fill(lab: Lab, *documents: dict[str, Any]) -> None:
    lab.change_postgres("CREATE SCHEMA IF NOT EXISTS etl", "DROP TABLE IF EXISTS etl.quarantine")
    lab.collection(REVIEWS).drop()
    lab.collection(REVIEWS).insert_many([*documents, *(_review(number) for number in range(1_000, 1_040))])


def _quarantined(lab: Lab) -> dict[str, bool]:
    """Return which documents the quarantine has, by the ``_id``, and whether they are resolved."""
    rows = lab.postgres("SELECT bson, resolved_at IS NOT NULL FROM etl.quarantine WHERE collection = $1::text", REVIEWS)
    return {repr(bson.decode(raw)["_id"]): resolved for raw, resolved in rows}


def _sizes(lab: Lab) -> dict[str, int]:
    return {table: lab.postgres(f"SELECT count(*) FROM etl.{table}")[0][0] for table in KEPT}


def _age(lab: Lab, days: int) -> None:
    """Let everything that is in the books have happened some days earlier."""
    ago = f"interval '{days} days'"
    lab.change_postgres(
        f"UPDATE etl.runs SET started_at = started_at - {ago}, finished_at = finished_at - {ago}",
        f"UPDATE etl.quarantine SET first_seen_at = first_seen_at - {ago}, resolved_at = resolved_at - {ago}",
    )


def _pruned(found: list[retention.Pruned]) -> dict[str, int]:
    return {f"{one.table} {one.what}": one.rows for one in found if one.rows}


# --- Documents that are gone


@pytest.mark.parametrize("publish", [replicate, sync], ids=["full copy", "sync"])
def test_a_document_that_is_gone_leaves_nothing_in_the_quarantine(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, publish: Callable[..., Any]
) -> None:
    monkeypatch.setattr("pipeline.control.refusals._ASKED", 3)  # several pages
    monkeypatch.setattr("pipeline.control.refusals._ASKED_BYTES", 100)
    one, two, three, lawful = (numbered(number) for number in (1, 2, 3, 4))
    odd: list[Any] = ["a text", 7, "long " * 100, b"bytes", {"a": 1}, None]
    _fill(lab, *(_review(n, rating=0) for n in (1, 2, 3)), _review(4), *(_review(5) | {"_id": value} for value in odd))
    replicate(lab.connections, [REVIEWS])
    assert len(_quarantined(lab)) == 9
    lab.collection(REVIEWS).delete_one({"_id": one})
    lab.collection(REVIEWS).update_one({"_id": two}, {"$set": {"rating": 1}})
    lab.collection(REVIEWS).delete_many({"_id": {"$in": odd}})
    lab.collection(REVIEWS).insert_one(_review(6) | {"_id": 7.0})  # another document than the one of 7
    publish(lab.connections, [REVIEWS])
    assert _quarantined(lab) == {repr(two): True, repr(three): False, "7.0": False}
    lab.collection(REVIEWS).delete_many({"_id": {"$in": [two, three, lawful]}})  # of them one is resolved already
    publish(lab.connections, [REVIEWS])
    assert _quarantined(lab) == {"7.0": False}


def test_what_a_replay_resolved_goes_with_its_document(lab: Lab) -> None:
    _fill(lab, _review(1, rating=6), _review(2, rating=6))
    entity = lab.connections.entities[REVIEWS]
    stars = integer("rating", "Stars.", minimum=1, maximum=6)
    fields = tuple(stars if field.name == "rating" else field for field in entity.fields)
    lenient = lab.connections.entities | {REVIEWS: replace(entity, fields=fields)}
    replicate(lab.connections, [REVIEWS])
    (done,) = repair.replay(replace(lab.connections, entities=lenient), [REVIEWS])
    assert (done.loaded, _quarantined(lab)) == (2, {repr(numbered(1)): True, repr(numbered(2)): True})
    lab.collection(REVIEWS).delete_one({"_id": numbered(1)})
    sync(lab.connections, [REVIEWS])
    assert _quarantined(lab) == {repr(numbered(2)): True}
    lab.collection(REVIEWS).delete_one({"_id": numbered(2)})
    replicate(lab.connections, [REVIEWS])
    assert _quarantined(lab) == {}


# --- Retention


@pytest.fixture(scope="module")
def copied(lab: Lab) -> Any:
    """All collections and the marts."""
    lab.fill(defects=0.2, **dict.fromkeys(lab.connections.entities, 20))
    replicate(lab.connections)
    build(lab.connections)
    return lab


@pytest.fixture
def old(copied: Any) -> Any:
    """The same, as it is after years in which nothing was done but pruning."""
    _age(copied, 4_000)
    prune(copied.connections)
    return copied


def test_what_is_shown_and_what_is_refused_is_kept_whatever_its_age(copied: Any) -> None:
    lab = copied
    before = _sizes(lab)
    assert before["quarantine"] and before["drift"] and before["receipts"] and before["published"]
    assert _pruned(prune(lab.connections)) == {}
    _age(lab, 4_000)
    prune(lab.connections)
    kept = lab.postgres(
        "SELECT count(*) FROM (SELECT DISTINCT run_id FROM etl.published) p JOIN etl.ledger USING (run_id)"
    )
    assert kept[0][0] > 0
    after = _sizes(lab)
    assert (after["drift"], after["receipts"]) == (0, 0)
    assert {name: after[name] for name in ("published", "quarantine")} == {
        name: before[name] for name in ("published", "quarantine")
    }
    assert all(one.proven for one in verify(lab.connections, [REVIEWS]))
    assert sync(lab.connections)
    assert repair.replay(lab.connections, [REVIEWS])


def test_details_go_first_then_the_runs(old: Any) -> None:
    lab = old
    runs = [replicate(lab.connections, [REVIEWS])[0].id for _ in range(3)]
    _age(lab, 29)
    assert _pruned(prune(lab.connections)) == {}
    _age(lab, 2)
    prune(lab.connections)
    there = [
        [lab.postgres(f"SELECT count(*) FROM etl.{table} WHERE run_id = $1::text", run)[0][0] for run in runs]
        for table in ("runs", "ledger", "receipts")
    ]
    assert there == [[1, 1, 1], [0, 0, 2], [0, 0, 0]]
    with lab.connections.postgres.transaction():
        assert [control.is_pruned(lab.connections.postgres, run) for run in [*runs, "unknown"]] == [True] * 3 + [False]
    _age(lab, 400)
    told = prune(lab.connections, dry_run=True)
    assert _pruned(told) == {"etl.runs runs": 2}
    assert prune(lab.connections) == told
    assert _pruned(prune(lab.connections)) == {}


def test_resolved_documents_are_kept_for_as_long_as_is_asked(old: Any) -> None:
    lab = old
    _fill(lab, *(_review(number, rating=0) for number in (1, 2)))
    replicate(lab.connections, [REVIEWS])
    lab.collection(REVIEWS).update_one({"_id": numbered(1)}, {"$set": {"rating": 1}})
    replicate(lab.connections, [REVIEWS])
    _age(lab, 10)
    prune(lab.connections)
    assert _quarantined(lab) == {repr(numbered(1)): True, repr(numbered(2)): False}
    with lab.another(keep_resolved_days=9) as others:
        assert _pruned(prune(others)) == {"etl.quarantine resolved documents": 1}
    assert _quarantined(lab) == {repr(numbered(2)): False}


def test_notes_of_runs_that_are_over_go_and_those_of_running_ones_stay(old: Any) -> None:
    lab = old
    over = lab.postgres("SELECT run_id FROM etl.runs LIMIT 1")[0][0]
    with lab.another() as others:
        with others.postgres.transaction():
            moment = others.mongo.cluster_time()
            running = control.open_run(others.postgres, "sync", moment, ["postgres"], single_process=True)
        for run in (over, "unknown", running):
            lab.change_postgres(
                f"INSERT INTO etl.touched VALUES ('{run}', 'X', 1, '', '')",
                f"INSERT INTO etl.refused VALUES ('{run}', 1, 'X', '', '', '', '[]')",
            )
        prune(lab.connections)
        for table in ("touched", "refused"):
            assert lab.postgres(f"SELECT run_id FROM etl.{table}") == [(running,)]
    prune(lab.connections)  # by now it has ended without a word
    assert _sizes(lab)["touched"] == _sizes(lab)["refused"] == 0


def test_however_many_runs_there_are_the_books_stay_as_large(old: Any) -> None:
    lab, sizes = old, []
    for rating in (1, 2, 3):
        for text in ("one", "other"):
            lab.collection(REVIEWS).update_many({}, {"$set": {"rating": rating, "review_text": text}})
            sync(lab.connections, [REVIEWS])
        _age(lab, 400)
        replicate(lab.connections, [REVIEWS])  # as every full copy does, it prunes
        sizes.append(_sizes(lab))
    assert sizes[0] == sizes[1] == sizes[2]


def test_a_copy_is_published_even_if_its_books_cannot_be_pruned(old: Any, caplog: pytest.LogCaptureFixture) -> None:
    lab = old
    lab.change_postgres(
        "CREATE FUNCTION etl.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$",
        "CREATE TRIGGER no BEFORE DELETE ON etl.receipts FOR EACH STATEMENT EXECUTE FUNCTION etl.no()",
    )
    run, _ = replicate(lab.connections, [REVIEWS])
    lab.change_postgres("DROP FUNCTION etl.no CASCADE")
    assert lab.postgres("SELECT DISTINCT run_id FROM etl.published WHERE collection = $1::text", REVIEWS) == [(run.id,)]
    assert "the books could not be pruned: " in caplog.text and "not today" in caplog.text


def test_a_run_is_kept_no_longer_than_is_asked_even_if_its_details_would_be(old: Any) -> None:
    for _ in range(2):
        replicate(old.connections, [REVIEWS])
    _age(old, 20)
    with old.connections.postgres.transaction():
        found = retention.prune(old.connections.postgres, Retention(details=30, runs=10))
    assert _pruned(found)["etl.runs runs"] == 1


# --- The command


def test_the_command(old: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in old.settings:
        if name.endswith(("_uri", "_database", "home")):
            monkeypatch.setenv(f"ETL_{name.upper()}", getattr(value, "get_secret_value", lambda v=value: str(v))())
    replicate(old.connections, [REVIEWS])
    _age(old, 40)
    assert cli.run(["prune", "--dry-run"]) == 0
    assert "Would be pruned" in capsys.readouterr().out
    assert cli.run(["prune", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dry_run"] is False
    assert next(one for one in told["pruned"] if one["what"] == "times of stages")["rows"] > 0
    monkeypatch.setenv("ETL_KEEP_RUNS_DAYS", "0")
    assert cli.run(["prune"]) == 2
    assert "ETL_KEEP_RUNS_DAYS must be a whole number of days from 1 to 36500" in capsys.readouterr().err


def test_before_anything_is_replicated_there_is_nothing_to_prune(lab: Lab) -> None:
    lab.change_postgres("DROP SCHEMA IF EXISTS etl CASCADE")
    assert prune(lab.connections, dry_run=True) == []
    assert _pruned(prune(lab.connections)) == {}
