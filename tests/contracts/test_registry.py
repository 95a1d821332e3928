"""The registry: a public module that defines a contract is one, and a wrong one is named at once."""

import sys
from pathlib import Path

import pytest

from contracts.schema.entity import ContractError, Entity
from contracts.schema.registry import entities, marts

SEVEN = {
    "UserSessions",
    "ProductPriceHistory",
    "EventLogs",
    "SupportTickets",
    "UserRecommendations",
    "ModerationQueue",
    "SearchQueries",
}
CONTRACT = """
from contracts.schema.entity import Entity
from contracts.schema.fields import *

ENTITY = Entity("{collection}", "One thing.", "thing_id", (identifier("thing_id", "Its key."), {fields}))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder of contracts, with a blank in its path."""
    path = tmp_path / "my contracts"
    path.mkdir()
    return path


def write(folder: Path, module: str, collection: str, fields: str = "") -> None:
    (folder / f"{module}.py").write_text(CONTRACT.format(collection=collection, fields=fields))


def test_the_package_holds_the_seven_collections() -> None:
    found = entities()
    assert set(found) == SEVEN
    assert all(name == entity.collection for name, entity in found.items())


def test_marts_are_found_by_their_names() -> None:
    assert {"user_activity_daily", "user_activity", "support_efficiency_daily", "ticket_resolution"} <= set(marts())
    assert all(name == mart.name == mart.table.name for name, mart in marts().items())


def test_a_file_in_a_folder_is_an_eighth_contract(folder: Path) -> None:
    write(folder, "warehouse_visits", "WarehouseVisits")
    found = entities([folder])
    assert set(found) == {*SEVEN, "WarehouseVisits"}
    assert isinstance(found["WarehouseVisits"], Entity)


def test_a_user_s_module_never_shadows_an_installed_one(folder: Path) -> None:
    write(folder, "json", "Json")
    assert "Json" in entities([folder])
    import json

    assert json.loads("[1]") == [1]
    assert sys.modules["json"] is json


def test_private_modules_and_modules_without_a_contract_are_no_contracts(folder: Path) -> None:
    (folder / "_broken.py").write_text("1 / 0")
    (folder / "vocabularies.py").write_text("COLOURS = ['red']")
    (folder / "notes.txt").write_text("ENTITY")
    assert set(entities([folder])) == SEVEN


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("def", "SyntaxError"),
        ("import nowhere_to_be_found", "nowhere_to_be_found"),
        ("ENTITY = 5", "ENTITY is no Entity"),
    ],
)
def test_a_broken_module_is_named(folder: Path, source: str, told: str) -> None:
    (folder / "broken_things.py").write_text(source)
    with pytest.raises(ContractError, match="broken_things.*" + told):
        entities([folder])


def test_what_a_contract_says_of_itself_reaches_the_user(folder: Path) -> None:
    write(folder, "things", "Things", "free_form('x', 'x', minimum=1)")
    with pytest.raises(ContractError, match="'x' has a minimum"):
        entities([folder])


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="nowhere"):
        entities([tmp_path / "nowhere"])


def test_a_module_bears_the_name_of_its_table(folder: Path) -> None:
    write(folder, "visits", "WarehouseVisits")
    with pytest.raises(ContractError, match=r"WarehouseVisits.*warehouse_visits\.py.*visits\.py"):
        entities([folder])


def test_two_contracts_of_one_collection_are_refused(folder: Path) -> None:
    write(folder, "event_logs", "EventLogs")
    with pytest.raises(ContractError, match="EventLogs and EventLogs both make a table 'event_logs'"):
        entities([folder])


def test_a_child_table_that_meets_another_contract_s_table_is_refused(folder: Path) -> None:
    write(folder, "orders", "Orders", "documents('lines', 'Lines.', text('t', 'Text.'))")
    write(folder, "orders_lines", "OrdersLines")
    with pytest.raises(ContractError, match="Orders and OrdersLines both make a table 'orders_lines'"):
        entities([folder])
