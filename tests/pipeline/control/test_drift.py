"""What the application does beyond its contracts is loaded and told: in the books, as a table and in ``--json``."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline import control
from pipeline.cli import tables
from pipeline.cli.drift import drift_table
from pipeline.control import CollectionDrift
from pipeline.replication import duplicates
from pipeline.replication.replicate import publish, replicate
from tests.pipeline.control.reviews import REVIEWS, numbered, review
from tests.pipeline.lab import Lab
from transforms.ingest.drift import Drift

SESSIONS = "UserSessions"


def fill(lab: Lab, reviews: list[dict[str, Any]]) -> None:
    lab.collection(REVIEWS).drop()
    lab.collection(REVIEWS).insert_many(reviews)


def drift_of(lab: Lab, *targets: str) -> list[CollectionDrift]:
    run, accounts = replicate(lab.connections, [REVIEWS], targets or ("postgres", "clickhouse"))
    assert all(one.quarantined == 0 for one in accounts)
    with lab.connections.postgres.transaction():
        return control.drift(lab.connections.postgres, run.id)


def told(kind: str, path: str, value: str | None, count: int, first: int) -> CollectionDrift:
    return CollectionDrift(REVIEWS, path, kind, value, count, str(numbered(first)))


def test_undeclared_fields_and_new_values_are_told_with_counts_and_the_first_id(lab: Lab) -> None:
    fill(
        lab,
        [
            review(1),
            review(2, moderation_status="appealed", flags=["spam", "bot", "bot"]),
            review(3, moderation_status="appealed", locale="de"),
            review(4, locale=None, **{"a/b": 1}),
        ],
    )
    assert drift_of(lab) == [
        told("undeclared field", "/a~1b", None, 1, 4),
        told("new value", "/flags/*", "bot", 2, 2),
        told("undeclared field", "/locale", None, 2, 3),
        told("new value", "/moderation_status", "appealed", 2, 2),
    ]


def test_of_many_fields_and_values_the_first_are_named_and_the_others_counted(lab: Lab) -> None:
    fields = [{f"f{place}_{number}": 1 for number in range(1_000)} for place in (1, 2)]
    fill(lab, [review(place, moderation_status=f"s{place}", **more) for place, more in enumerate(fields)])
    found = drift_of(lab)
    named = [one for one in found if one.path.startswith("/f")]
    (others,) = [one for one in found if one.path == "/*"]
    assert len(named) == 50 and others == told("undeclared field", "/*", None, 1_950, 0)
    assert len(found) == 53
    assert lab.postgres("SELECT count(*) < 60 FROM etl.drift WHERE run_id = (SELECT max(run_id) FROM etl.runs)") == [
        (True,)
    ]


def test_partitions_that_name_other_fields_are_told_together(lab: Lab) -> None:
    fill(lab, [review(1)])
    replicate(lab.connections, [REVIEWS])
    with lab.connections.postgres.transaction():
        ((run_id,),) = lab.connections.postgres.rows("SELECT max(run_id) FROM etl.runs")
        for partition in range(3):
            fields = [Drift(f"/p{partition}/{n}", "undeclared field", None, n + 1, "x") for n in range(40)]
            same = [Drift(f"/{n}{partition}", "undeclared field", None, partition + 1, "x") for n in range(40)]
            control.record_drift(lab.connections.postgres, run_id, "Others", partition, [*fields, *same])
        found = [one for one in control.drift(lab.connections.postgres, run_id) if one.collection == "Others"]
    assert len(found) == 3 * 40 + 50 + 1
    assert {one.count for one in found if one.path.count("/") == 1 and one.path != "/*"} == {3, 2}
    assert sum(one.count for one in found if one.path.count("/") == 1) == 40 * (1 + 2 + 3)


def test_a_new_value_of_any_length_is_told_by_its_beginning(lab: Lab) -> None:
    fill(lab, [review(1, moderation_status="é" * 1_000_000), review(2, flags=["x" * 201, "y" * 200])])
    assert drift_of(lab) == [
        told("new value", "/flags/*", "x" * 200 + "… (201 characters)", 1, 2),
        told("new value", "/flags/*", "y" * 200, 1, 2),
        told("new value", "/moderation_status", "é" * 200 + "… (1,000,000 characters)", 1, 1),
    ]
    fill(lab, [review(1, **{"n" * 1_000: 1})])
    assert [one.path for one in drift_of(lab)] == ["/" + "n" * 199 + "… (1,001 characters)"]


@pytest.mark.parametrize("targets", [("postgres",), ("clickhouse",), ("postgres", "clickhouse")])
def test_business_keys_that_several_documents_bear_are_told_and_all_are_loaded(
    lab: Lab, targets: tuple[str, ...]
) -> None:
    keys = ["same", "same", "other", "same", "twice", "twice"]
    fill(lab, [review(number, review_id=key) for number, key in enumerate(keys)])
    assert drift_of(lab, *targets) == [
        told("duplicate key", "/review_id", "same", 3, 0),
        told("duplicate key", "/review_id", "twice", 2, 4),
    ]
    assert lab.stored(targets[-1], lab.connections.entities[REVIEWS].root).height == len(keys)


@pytest.mark.parametrize("target", ["postgres", "clickhouse"])
def test_of_many_duplicate_keys_the_most_frequent_are_named_and_the_others_counted(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setattr(duplicates, "_SHOWN", 2)
    keys = "a" * 2 + "b" * 4 + "c" * 3 + "d" * 2 + "e"
    fill(lab, [review(number, review_id=key) for number, key in enumerate(keys)])
    assert drift_of(lab, target) == [
        told("duplicate key", "/review_id", "b", 4, 2),
        told("duplicate key", "/review_id", "c", 3, 6),
        told("duplicate key", "/review_id", None, 4, 0),
    ]


def test_publishing_again_tells_the_duplicates_once(lab: Lab) -> None:
    fill(lab, [review(1, review_id="same"), review(2, review_id="same")])
    run, _ = replicate(lab.connections, [REVIEWS])
    publish(lab.connections, run)
    with lab.connections.postgres.transaction():
        assert [one.count for one in control.drift(lab.connections.postgres, run.id)] == [2]


def test_a_key_that_is_missing_is_no_duplicate(lab: Lab) -> None:
    entity = lab.connections.entities[REVIEWS]
    fields = tuple(replace(field, nullable=field.name == "review_id") for field in entity.fields)
    lenient = replace(lab.connections, entities={REVIEWS: replace(entity, fields=fields)})
    fill(lab, [review(1, review_id=None), review(2, review_id=None)])
    run, _ = replicate(lenient, [REVIEWS])
    with lab.connections.postgres.transaction():
        assert control.drift(lab.connections.postgres, run.id) == []
    replicate(lab.connections, [REVIEWS])


def test_collections_that_no_contract_declares_are_named_and_not_touched(lab: Lab) -> None:
    fill(lab, [review(1)])
    lab.collection("Strangers").insert_one({"_id": 1, "a": "b"})
    lab.connections.mongo.database.command("create", "SomeView", viewOn="Strangers", pipeline=[])
    lab.collection("_etl_generated").insert_one({"_id": "x"})
    replicate(lab.connections, [REVIEWS])
    assert lab.connections.undeclared() == ("SomeView", "Strangers")
    assert lab.collection("Strangers").find_one() == {"_id": 1, "a": "b"}
    assert lab.postgres("SELECT count(*) FROM etl.ledger WHERE collection <> $1::text", REVIEWS) == [(0,)]
    for name in ("Strangers", "SomeView"):
        lab.collection(name).drop()


def test_the_table_says_what_is_meant() -> None:
    found = [told("undeclared field", "/a", None, 1, 1), told("duplicate key", "/review_id", None, 4, 2)]
    (table,) = drift_table(found)
    assert [str(cell) for cell in table.columns[3].cells] == ["-", "all others"]
    assert drift_table([]) == [] and tables.undeclared([]) == []
    assert "Strangers, Others" in str(*tables.undeclared(["Strangers", "Others"]))


def test_duplicates_of_what_another_run_has_published_meanwhile_are_left_to_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lab, [review(1), review(2)])
    enter = duplicates.record_duplicates

    def meanwhile(*arguments: Any) -> None:
        monkeypatch.undo()
        fill(lab, [review(1, review_id="same"), review(2, review_id="same")])
        with lab.another() as other:
            replicate(other, [REVIEWS])
        enter(*arguments)

    monkeypatch.setattr("pipeline.replication.replicate.record_duplicates", meanwhile)
    run, _ = replicate(lab.connections, [REVIEWS])
    with lab.connections.postgres.transaction():
        assert [one for one in control.drift(lab.connections.postgres, run.id) if one.kind == "duplicate key"] == []
