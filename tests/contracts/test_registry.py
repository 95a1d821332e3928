"""The registry: a public module that defines a contract is one, and a wrong one is named at once."""

import sys
from pathlib import Path

import pytest

from contracts import DEMO
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

ID = identifier("thing_id", "Its key.")
ENTITY = Entity("{collection}", "One thing.", "thing_id", (ID, {fields}), table="{table}")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder of contracts, with a blank in its path."""
    path = tmp_path / "my contracts"
    path.mkdir()
    return path


def write(folder: Path, module: str, collection: str, fields: str = "", table: str = "") -> None:
    (folder / f"{module}.py").write_text(CONTRACT.format(collection=collection, fields=fields, table=table))


def test_the_package_holds_the_seven_collections() -> None:
    found = entities()
    assert set(found) == SEVEN
    assert all(name == entity.collection for name, entity in found.items())


def test_marts_are_found_by_their_names() -> None:
    assert {"user_activity_daily", "user_activity", "support_efficiency_daily", "ticket_resolution"} <= set(marts())
    assert all(name == mart.name == mart.table.name for name, mart in marts().items())


def test_a_file_in_a_folder_is_an_eighth_contract(folder: Path) -> None:
    write(folder, "warehouse_visits", "WarehouseVisits")
    found = entities([folder, DEMO])
    assert set(found) == {*SEVEN, "WarehouseVisits"}
    assert isinstance(found["WarehouseVisits"], Entity)


def test_a_folder_alone_is_all_there_is(folder: Path) -> None:
    """The seven are the demo's: also their names, and those of their marts, are free then."""
    assert entities([folder]) == {}
    write(folder, "event_logs", "EventLogs")
    write(folder, "user_activity", "user_activity")
    assert set(entities([folder])) == {"EventLogs", "user_activity"}


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
    assert set(entities([folder, DEMO])) == SEVEN


# What authors do wrong, in which line, and how it is told. {} stands for a line that imports the words.
MISTAKES = [
    ("x = 1\n\n1 / 0", 3, "ZeroDivisionError: division by zero"),
    ("x = 1\ndef", 2, "this is no Python: invalid syntax"),
    ("ENTITY = [1\n2]", 1, "this is no Python: invalid syntax. Perhaps you forgot a comma?"),
    ("import nowhere_to_be_found", 1, "there is no module 'nowhere_to_be_found'"),
    ("import sys\nsys.exit(0)", 2, "SystemExit: 0"),
    ("from contracts.schema.fields import txt", 1, "contracts.schema.fields has no 'txt'; did you mean 'text'?"),
    ("from contracts.schema.entity import Entty", 1, "contracts.schema.entity has no 'Entty'; did you mean 'Entity'?"),
    ("x = txt('x', 'X.')", 1, "the word 'txt' is not known here; did you mean 'text'?"),
    ("{}text('x', 'X.', lenght=1)", 2, "the field 'x': text() has no option 'lenght'; did you mean 'min_length'?"),
    (
        "{}text('x', 'X.', minimum=1)",
        2,
        "the field 'x': text() has no option 'minimum'; known: nullable, alias, misfits, min_length, max_length",
    ),
    ("{}boolean('x', 'X.', q=1)", 2, "the field 'x': boolean() has no option 'q'; known: nullable, alias, misfits"),
    (
        "{}identifier('x', 'X.', min_length=1)",
        2,
        "the field 'x': identifier() has no option 'min_length'; known: nullable, alias, misfits",
    ),
    ("{}text('x' 'X.')", 2, "the field 'xX.': text(): missing a required argument: 'description'; is a comma missing?"),
    ("{}text('x', 'X.', True)", 2, "the field 'x': text(): too many positional arguments; is a comma missing?"),
    ("{}text('x', None)", 2, "the field 'x': text() takes str as description, but was given None"),
    ("{}text('x', 'X.', nullable='no')", 2, "the field 'x': text() takes bool as nullable, but was given 'no'"),
    ("{}integer('x', 'X.', minimum=0.5)", 2, "the field 'x': integer() takes int as minimum, but was given 0.5"),
    ("{}category('x', 'X.', 1)", 2, "the field 'x': category() takes str as vocabulary, but was given 1"),
    ("{}documents('x', 'X.', 'y')", 2, "the field 'x': documents() takes Field as fields, but was given 'y'"),
    (
        "{}free_form('x', 'X.', minimum=1)",
        2,
        "the field 'x': free_form() has no option 'minimum'; known: nullable, alias, misfits",
    ),
    ("{}rule('x')", 2, "the field 'x': rule(): missing a required argument: 'condition'; is a comma missing?"),
    (
        "{}Entity(colection='X')",
        2,
        "Entity() got an unexpected keyword argument 'colection'; did you mean 'collection'?",
    ),
    ("{}Entity('X')", 2, "Entity() missing 1 required positional argument: 'description'; is a comma missing?"),
    (
        "{}Entity('X', 'X.', 'k', (text('k', 'K.')))",
        2,
        "X: fields is no tuple, but Field; a tuple of one has a comma, as in (one,)",
    ),
    ("{}Entity('X', 'X.', 'k', ('k',))", 2, "X: fields holds str where Field is wanted; is a comma missing?"),
    (
        "{}Entity('X', 'X.', 'k', (text('k', 'K.'),), indexes=('k'))",
        2,
        "X: indexes is no tuple, but str; a tuple of one has a comma, as in (one,)",
    ),
    ("ENTITY = 5", None, "ENTITY is no Entity, but int"),
]


@pytest.mark.parametrize(("source", "line", "told"), MISTAKES)
def test_a_mistake_is_one_sentence_with_file_and_line(folder: Path, source: str, line: int | None, told: str) -> None:
    words = "from contracts.schema.entity import Entity; from contracts.schema.fields import *\n"
    (folder / "broken_things.py").write_text(source.format(words) if source.startswith("{}") else source)
    with pytest.raises(ContractError) as caught:
        entities([folder])
    where = f"{folder / 'broken_things.py'}{f', line {line}' if line else ''}"
    assert str(caught.value) == f"{where}: {told}"


def test_a_comma_that_is_missing_after_a_field_is_told(folder: Path) -> None:
    write(folder, "things", "Things", "text('a', 'A.')\n    text('b', 'B.'),")
    with pytest.raises(ContractError, match=r"things\.py, line \d: this is no Python: .* forgot a comma\?$"):
        entities([folder])


def test_what_a_contract_says_of_itself_reaches_the_user(folder: Path) -> None:
    write(folder, "things", "Things", "integer('x', 'x', minimum=1, maximum=0)")
    with pytest.raises(ContractError, match=r"things\.py, line 6: the field 'x' has the minimum or maximum 1 and 0"):
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
        entities([DEMO, folder])


def test_a_child_table_that_meets_another_contract_s_table_is_refused(folder: Path) -> None:
    write(folder, "orders", "Orders", "documents('lines', 'Lines.', text('t', 'Text.'))")
    write(folder, "orders_lines", "OrdersLines")
    with pytest.raises(ContractError, match="Orders and OrdersLines both make a table 'orders_lines'"):
        entities([folder])


DATA_ITEMS = "documents('_data', 'Data.', text('t', 'Text.'))"


@pytest.mark.parametrize(
    ("contracts", "told"),
    [
        ([("items", "Items"), ("items", "items")], "Items and items both make a table 'items'.*table="),
        ([("items", "Items"), ("items__data", "items__data")], "ClickHouse keeps the rows of Items's table 'items'"),
        ([("items", "Items", DATA_ITEMS)], "Items makes a table 'items__data'.*call the field '_data' otherwise"),
        (
            [("user", "User"), ("_user", "_User")],
            "_User makes a table '_user', as PostgreSQL calls.*User's table 'user'",
        ),
        ([("user_activity", "UserActivity")], "the mart user_activity and UserActivity both make a table"),
        ([("user", "User", "documents('activity', 'A.', text('t', 'T.'))")], "the mart user_activity and User both"),
        ([("logs", "user_activity", "", "logs")], "the mart user_activity and user_activity are both called"),
        ([("items", "Items"), ("others", "items", "", "others")], "Items and items are both called 'items'"),
        ([("c#lessons", "C#Lessons")], "table c#lessons: that is how runs name.*table="),
        ([("_partitions", "_partitions")], "table _partitions: that is how runs name"),
        ([("é" * 31, "é" * 31)], "takes 186 characters in the names of ClickHouse's files.*table="),
    ],
)
def test_names_that_meet_are_refused_in_one_sentence(
    folder: Path, contracts: list[tuple[str, ...]], told: str, tmp_path: Path
) -> None:
    for number, contract in enumerate(contracts):
        (place := tmp_path / f"{number}").mkdir()
        write(place, *contract)
    with pytest.raises(ContractError, match=told):
        entities([DEMO, *(tmp_path / f"{number}" for number in range(len(contracts)))])


@pytest.mark.parametrize(
    ("module", "collection", "table"),
    [
        ("_user", "_User", ""),
        ("fs.files", "fs.files", ""),
        ("files", "fs.files", "files"),
        ("c_sharp", "C#", "c_sharp"),
        ("a_b", "a/b", "a_b"),
        ("items_of_old", "items", "items_of_old"),
    ],
)
def test_a_collection_of_any_name_has_a_contract(folder: Path, module: str, collection: str, table: str) -> None:
    write(folder, module, collection, "documents('lines', 'Lines.', text('t', 'Text.'))", table)
    found = entities([folder])[collection]
    assert [table.name for table in found.tables] == [module, f"{module}_lines"]


def test_a_collection_whose_name_no_file_can_bear_is_told_the_way_out(folder: Path) -> None:
    write(folder, "a_b", "a/b")
    with pytest.raises(ContractError, match=r"a/b: its contract must be named a/b\.py.*no file can be.*table="):
        entities([folder])


def test_contracts_of_the_package_are_found_as_those_of_a_folder_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "_user", "_User")
    write(folder, "fs.files", "fs.files")
    monkeypatch.setattr("contracts.__path__", [str(folder)])
    monkeypatch.delitem(sys.modules, "contracts._user", raising=False)
    assert set(entities()) == {"_User", "fs.files"}
