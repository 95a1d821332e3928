"""Collections are dropped: nothing of them stays in either store or in the books, whatever kills it in between."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline import control
from pipeline.errors import BusyError, EtlError, UsageError
from pipeline.replication import replicate
from pipeline.replication.drop import drop
from tests.pipeline.conftest import Etl
from tests.pipeline.lab import Lab

NAME, TABLE, OTHER = "UserSessions", "user_sessions", "SearchQueries"
BOOKS = ("published", "quarantine", "drift", "ledger")


@pytest.fixture
def published(lab: Lab) -> Lab:
    lab.fill(defects=0.2, **{NAME: 50, OTHER: 20})
    lab.collection(NAME).update_one({}, {"$set": {"new": 1}})
    replicate.replicate(lab.connections, [NAME, OTHER])
    return lab


def _rows(lab: Lab, name: str) -> dict[str, int]:
    """Count what the books have of a collection, and the tables that bear its name."""
    query = "SELECT count(*) FROM etl.{} WHERE collection = $1::text"
    found = {book: lab.postgres(query.format(book), name)[0][0] for book in BOOKS}
    stem = lab.connections.entities[name].table
    query = "SELECT count(*) FROM etl.columns WHERE root = $1::text"
    found["columns"] = lab.postgres(query, stem)[0][0]
    query = "SELECT count(*) FROM pg_class WHERE relnamespace = 'replica'::regnamespace AND relname LIKE $1::text"
    found["postgres"] = lab.postgres(query, f"{stem}%")[0][0]
    query = "SELECT count() FROM system.tables WHERE database = 'replica' AND startsWith(name, {stem:String})"
    found["clickhouse"] = lab.clickhouse(query, stem=stem)[0][0]
    return found


def test_nothing_of_a_dropped_collection_stays_and_the_others_do(published: Lab) -> None:
    lab = published
    before, others = _rows(lab, NAME), _rows(lab, OTHER)
    assert all(before.values()), before
    (dropped,) = drop(lab.connections, [TABLE])
    assert (dropped.collection, dropped.targets) == (NAME, ("postgres", "clickhouse"))
    assert dropped.rows + dropped.quarantined == 50
    assert not any(_rows(lab, NAME).values())
    assert _rows(lab, OTHER) == others
    assert lab.collection(NAME).count_documents({}) == 50
    lab.assert_replicated([OTHER])
    replicate.replicate(lab.connections, [NAME])
    lab.assert_replicated([NAME])


@pytest.mark.parametrize(
    "moment",
    [
        "before ClickHouse drops",
        "a view dropped and its table not",
        "one table dropped",
        "before the books forget",
    ],
)
def test_what_was_killed_in_the_middle_is_ended_by_doing_it_again(
    published: Lab, cut_short: Callable[..., int], moment: str
) -> None:
    assert cut_short("drop", moment, names=[NAME]) == -9
    assert _rows(published, NAME)["published"]
    drop(published.connections, [NAME])
    assert not any(_rows(published, NAME).values())


def test_a_collection_whose_contract_is_gone_is_dropped(published: Lab) -> None:
    known = {name: one for name, one in published.connections.entities.items() if name != NAME}
    without = replace(published.connections, entities=known)
    assert [one.collection for one in drop(without, [TABLE])] == [NAME]
    assert not any(_rows(published, NAME).values())


def test_what_is_not_there_is_told_in_a_sentence(published: Lab) -> None:
    with pytest.raises(UsageError, match=r"nothing is published of 'Nowhere', .*; there are SearchQueries, User"):
        drop(published.connections, [OTHER, "Nowhere"])
    assert _rows(published, OTHER)["published"]


def test_a_view_of_somebody_keeps_its_table(published: Lab) -> None:
    published.change_postgres(f"CREATE VIEW public.mine AS SELECT * FROM replica.{TABLE}")
    before = _rows(published, NAME)
    with pytest.raises(EtlError, match="view mine depends on table"):
        drop(published.connections, [NAME])
    assert _rows(published, NAME) == before
    published.change_postgres("DROP VIEW public.mine")


def test_a_run_that_is_at_work_is_not_disturbed(published: Lab) -> None:
    with published.another() as other:
        run = replicate.open_run(other, [NAME], ["postgres"])
        replicate.plan(other, run)
        with pytest.raises(BusyError, match=f"run {run.id} is at work on {NAME}"):
            drop(published.connections, [NAME])
        control.release_run(other.postgres, run.id)
    drop(published.connections, [NAME])


def test_the_command_asks_unless_it_is_told_not_to(published: Lab, etl: Etl, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = etl("drop", NAME)
    assert code == 2
    assert "add --yes" in err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, wanted in ((False, 2), (True, 0)):
        asked: list[Any] = []
        monkeypatch.setattr("typer.confirm", lambda *one, said=answer, to=asked, **_: (to.append(one), said)[1])
        code, _, err = etl("drop", NAME)
        assert (code, len(asked)) == (wanted, 1), err
        assert NAME in err
    code, out, _ = etl("drop", OTHER, "--yes", "--json")
    assert code == 0
    assert [one["collection"] for one in json.loads(out)["dropped"]] == [OTHER]
