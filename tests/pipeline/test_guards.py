"""Contracts guard themselves: what breaks any of their rules is refused, on the whole way from MongoDB to the stores.

Contracts of your own as well: ``pytest tests/pipeline/test_guards.py --contracts FOLDER``, or ``ETL_CONTRACTS``.
"""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import bson
import polars as pl
import pytest
from bson.raw_bson import RawBSONDocument
from pandera.polars import DataFrameSchema

from contracts import DEMO
from contracts.schema.entity import ContractError, Entity
from contracts.schema.fields import (
    boolean,
    categories,
    category,
    decimal,
    documents,
    free_form,
    identifier,
    integer,
    money,
    number,
    rule,
    subdocument,
    text,
    texts,
    timestamp,
)
from contracts.schema.frame import conditions, pandera_schema
from contracts.schema.kinds import KEY_TEXT
from contracts.schema.registry import entities
from generators import breaches as guards
from generators.breaches import Breach, breaches
from pipeline.replication.replicate import replicate
from pipeline.replication.verify import verify
from tests.pipeline.lab import Lab
from transforms.ingest import validate

EVERYTHING = Entity(
    "EverythingAtOnce",
    "A contract that uses every option on everything that can have it.",
    "key",
    (
        identifier("key", "d"),
        text("t", "d", min_length=2, max_length=3, nullable=True),
        texts("tags", "d", min_length=1, max_length=2),
        category("c", "d", "a", "b", closed=True),
        categories("flags", "d", "a", "b", closed=True, nullable=True),
        integer("net", "d", minimum=-100, maximum=100),
        integer("gross", "d", minimum=-100, maximum=100),
        number("n", "d", minimum=0, maximum=1),
        boolean("b", "d"),
        money("m", "d", minimum=-(10**9), maximum=10**9),
        decimal("wide", "d", 34, 2, minimum=-(10**31), maximum=10**31),
        timestamp("at", "d", nullable=True),
        free_form("notes", "d"),
        subdocument("place", "d", text("city", "d"), documents("shelves", "d", integer("i", "d", minimum=1))),
        documents("items", "d", category("c", "d", "a", closed=True), timestamp("at", "d"), texts("x", "d")),
    ),
    rules=(rule("gross_is_more", pl.col("gross") >= pl.col("net"), "Tax is never negative."),),
    id_kind=KEY_TEXT,
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "entity" in metafunc.fixturenames:
        found = [*entities({DEMO, *metafunc.config.getoption("contracts")}).values(), EVERYTHING]
        metafunc.parametrize("entity", found, ids=[entity.collection for entity in found])


def raw(breach: Breach) -> bytes:
    document = breach.document
    return document.raw if isinstance(document, RawBSONDocument) else bson.encode(document)


def declared(entity: Entity) -> set[str]:
    """Return whatever a contract demands of values, by table and name."""
    found = {f"{entity.table}.{one.name}" for one in entity.rules}
    for table in entity.tables:
        for column in table.columns:
            if guards.breakable(table, column):
                found |= {f"{table.name}.{name}" for name in conditions(column)}
    return found


def unnoticed(lab: Lab, entity: Entity, made: list[Breach]) -> list[str]:
    """Replicate broken documents, and return which of them were not dealt with as they must be."""
    lab = type(lab)(replace(lab.connections, entities={entity.collection: entity}), lab.settings)
    lab.collection(entity.collection).drop()
    lab.collection(entity.collection).insert_many([RawBSONDocument(raw(one)) for one in made])
    replicate(lab.connections)
    refused = {
        document: {reason["rule"] for reason in row["reasons"]}
        for document, row in lab.quarantine(entity.collection).items()
    }
    assert all(proof.proven for proof in verify(lab.connections))
    return [
        one.name
        for one in made
        if (raw(one) in refused) is one.mended or (one.rule is not None and one.rule not in refused.get(raw(one), ()))
    ]


def test_each_rule_is_broken_and_each_breach_is_refused_by_name(lab: Lab, entity: Entity) -> None:
    made = list(breaches(entity))
    assert {one.name for one in made if one.rule} == declared(entity)
    assert any(one.mended for one in made)
    assert unnoticed(lab, entity, made) == []


def test_a_check_that_never_runs_is_found(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_checks(table: Any) -> DataFrameSchema:
        is_full = pandera_schema(table)
        names = {name: column.dtype for name, column in is_full.columns.items()}
        nullable = {name: column.nullable for name, column in is_full.columns.items()}
        return DataFrameSchema(
            {name: type(is_full.columns[name])(names[name], nullable=nullable[name]) for name in names}
        )

    tickets = entities()["SupportTickets"]
    # Without the checks that stand for a store's limits, that store would refuse the load itself.
    made = [one for one in breaches(tickets) if not re.search("nul|range", one.rule or "")]
    made = [one for one in made if not one.name.startswith(("nul_in_text", "far_date"))]
    monkeypatch.setattr(validate, "pandera_schema", without_checks)
    found = set(unnoticed(lab, tickets, made))
    assert {one.name for one in made if one.rule} <= found
    assert "rule_broken at the document" in found
    assert not any(name.startswith(("missing_field", "null_item", "scalar_for_array")) for name in found)


def test_a_rule_that_nothing_breaks_is_named() -> None:
    idle = rule("always", pl.col("n") <= 2**62, "Says nothing.")
    entity = Entity("Things", "d.", "n", (integer("n", "d", minimum=0, maximum=9),), rules=(idle,))
    with pytest.raises(ContractError, match="Things: nothing breaks the rule always"):
        list(breaches(entity))
    unbroken = Entity("Things", "d.", "n", (integer("n", "d", minimum=-(2**63)),))
    with pytest.raises(ContractError, match="Things: nothing breaks n_at_least of the table things"):
        list(breaches(unbroken))


def test_contracts_of_a_folder_are_guarded_as_well(tmp_path: Path) -> None:
    (tmp_path / "own_things.py").write_text(
        "from contracts.schema.entity import Entity\n"
        "from contracts.schema.fields import identifier\n"
        'ENTITY = Entity("OwnThings", "One.", "id", (identifier("id", "Key."),))\n'
    )
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", __file__]
    listed = subprocess.run(command, env=os.environ | {"ETL_CONTRACTS": str(tmp_path)}, capture_output=True, text=True)
    assert "test_each_rule_is_broken_and_each_breach_is_refused_by_name[OwnThings]" in listed.stdout
