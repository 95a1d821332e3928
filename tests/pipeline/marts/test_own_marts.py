"""Marts of a user's own: a pair of files each, guarded as those of the demo are, and built, listed and dropped."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.schema.dictionary import dictionary
from contracts.schema.entity import ContractError
from contracts.schema.registry import entities, marts
from pipeline.airflow import catalog
from pipeline.lake.lake import Lake
from pipeline.marts.check import check
from tests.pipeline.conftest import Etl
from tests.pipeline.lab import Lab

ORDERS = '''
"""What users bought."""
from contracts.schema.entity import Entity
from contracts.schema.fields import documents, identifier, integer, number, timestamp

ENTITY = Entity(
    collection="Orders",
    description="One order.",
    key="order_id",
    fields=(
        identifier("order_id", "Business key."),
        identifier("user_id", "Who ordered."),
        timestamp("ordered_at", "When."),
        number("discount", "Share.", minimum=0, maximum=1),
        documents("lines", "Lines.", integer("quantity", "How many.", minimum=1, maximum=9)),
    ),
)
'''
CONTRACT = '''
"""What each user ordered."""
import polars as pl
from contracts.schema.fields import identifier, integer, timestamp
from contracts.schema.mart import Mart, as_of

MART = Mart(
    name="buyers",
    description="One user who ordered.",
    key=("user_id",),
    fields=(
        identifier("user_id", "The user."),
        integer("order_count", "Orders.", minimum=1),
        integer("item_count", "Items in them; null if there are none.", nullable=True),
        timestamp("last_ordered_at", "The last of them."),
        as_of(),
    ),
    by=pl.col("user_id"),
    question="Who buys? (shop)",
    definition="Ours.",
)
'''
FUNCTION = '''
"""What each user ordered."""
import polars as pl


def buyers(orders: pl.LazyFrame, orders_lines: pl.LazyFrame) -> pl.LazyFrame:
    """Count."""
    items = orders_lines.group_by("_id").agg(items=pl.col("quantity").sum())
    return orders.join(items, on="_id", how="left").group_by("user_id").agg(
        order_count=pl.len(), item_count=pl.col("items").sum(), last_ordered_at=pl.col("ordered_at").max()
    )
'''
READER_CONTRACT = """
from contracts.schema.fields import identifier, integer
from contracts.schema.mart import Mart

MART = Mart(
    name="best_buyers", description="One of them.", key=("user_id",),
    fields=(identifier("user_id", "The user."), integer("order_count", "Orders.")),
    question="Who buys most?", definition="Ours.",
)
"""
READER_FUNCTION = """
import polars as pl


def best_buyers(buyers: pl.LazyFrame) -> pl.LazyFrame:
    return buyers.select("user_id", "order_count").filter(pl.col("order_count") > 1)
"""
TARGETS = ("postgres", "clickhouse")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return a folder of a contract and of two marts, the second of which reads the first."""
    (tmp_path / "orders.py").write_text(ORDERS)
    (tmp_path / "buyers.contract.py").write_text(CONTRACT)
    (tmp_path / "buyers.py").write_text(FUNCTION)
    (tmp_path / "best_buyers.contract.py").write_text(READER_CONTRACT)
    (tmp_path / "best_buyers.py").write_text(READER_FUNCTION)
    return tmp_path


# --- Guarded


def test_marts_in_order_are_tried_without_a_server(own: Path) -> None:
    found = check(entities([own]), marts([own]))
    assert [(one.mart, one.mistakes) for one in found] == [("best_buyers", ()), ("buyers", ())]
    assert all(one.rows for one in found)


def _by_clock(function: str) -> str:
    return function.replace("import polars", "from datetime import datetime\nimport polars").replace(
        'pl.col("ordered_at").max()', "pl.lit(datetime.now())"
    )


def test_the_marts_of_the_demo_are_in_order_as_well() -> None:
    found = check(entities(), marts(), marts())
    assert not {one.mart: one.mistakes for one in found if one.mistakes}
    assert all(one.rows for one in found)
    assert all(mart.limits for mart in marts().values())


MISTAKES: dict[str, tuple[Callable[[str], str], Callable[[str], str], str]] = {
    "a clock": (str, _by_clock, r"buyers\.py, line 11 asks a clock by datetime\.now\(\)"),
    "the system": (str, lambda one: f"import os\n{one}", r"line 1 imports os: a mart is computed from its tables"),
    "not lazy": (str, lambda one: one.replace("sum())\n", "sum()).collect().lazy()\n"), r"line 8 calls .*collect\(\)"),
    "another column": (
        str,
        lambda one: one.replace("order_count=", "orders="),
        r"its function gives no column 'order_count', which is declared",
    ),
    "one too many": (
        str,
        lambda one: one.replace("order_count=", "more=1, order_count="),
        "gives a column 'more', which is not declared",
    ),
    "a fraction for an integer": (
        str,
        lambda one: one.replace("pl.len()", 'pl.col("discount").sum()'),
        "gives 'order_count' as Float64, where Int64 is declared; cast or round it",
    ),
    "no such column": (str, lambda one: one.replace('"items"', '"itmes"'), "buyers can't be computed: .*itmes"),
    "an error of its own": (str, lambda one: one.replace("items = ", 'items = {}["x"] or '), r"line 8: KeyError: 'x'"),
    "no frame": (str, lambda one: one.replace("return orders", "return 1 or orders"), "gives no LazyFrame, but int"),
    "a table that nobody declares": (
        str,
        lambda one: one.replace("orders_lines: pl", "lines: pl").replace("orders_lines", "lines"),
        "it reads lines, which no contract declares",
    ),
    "an unlawful value": (
        lambda one: one.replace("minimum=1", "minimum=1, maximum=1"),
        str,
        "breaks its contract in .* places, first the rule 'order_count_at_most'",
    ),
    "a key of several rows": (
        lambda one: one.replace('by=pl.col("user_id"),', ""),
        lambda one: (
            one.replace('.group_by("user_id")', '.group_by("user_id", "order_id")')
            .replace(".agg(\n        order", ".agg(\n        order")
            .replace('ordered_at").max()\n    )', 'ordered_at").max()\n    ).drop("order_id")')
        ),
        "its key user_id is not one row's alone",
    ),
    "an order that tables don't have": (
        str,
        lambda one: one.replace('"ordered_at").max()', '"ordered_at").first()'),
        "its rows depend on the order of what it reads|gives other rows when it is computed again",
    ),
    "what lies in other pieces": (
        str,
        lambda one: one.replace("order_count=pl.len()", "order_count=pl.lit(1)").replace(
            "max()\n    )", "max()\n    ).with_columns(order_count=pl.len())"
        ),
        r"computed apart by what its contract says \(by=\), it gives other rows",
    ),
    "a moment that it does not read": (
        lambda one: one.replace("by=pl", 'awaits=(("orders", "order_id"),), by=pl'),
        str,
        r"buyers: it awaits orders\.order_id, which is no timestamp that it reads",
    ),
    "no question": (lambda one: one.replace('"Who buys? (shop)"', '""'), str, "its contract has no question"),
    "no rule of nulls": (
        lambda one: one.replace("; null if there are none", ""),
        str,
        "the column item_count may be null, and its description does not say when",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_each_mistake_is_one_sentence(own: Path, case: str) -> None:
    contract, function, says = MISTAKES[case]
    (own / "buyers.contract.py").write_text(contract(CONTRACT))
    (own / "buyers.py").write_text(function(FUNCTION))
    (found,) = check(entities([own]), marts([own]), ["buyers"])
    assert any(re.search(says, one) for one in found.mistakes), found.mistakes
    assert all("\n" not in one for one in found.mistakes)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("buyers.py", "", r"needs a function 'buyers' in .*buyers\.py"),
        ("buyers.py", "def buyers(orders, *more): ...", "has a parameter 'more'; its parameters are the tables"),
        ("buyers.py", "def buyers(*, context): ...", "reads no table"),
        ("buyers.py", "def buyers(orders:", r"buyers\.py, line 1: this is no Python"),
        ("buyers.contract.py", "MART = 1", r"buyers\.contract\.py: it defines no MART"),
        ("sellers.contract.py", CONTRACT, r"buyers: its contract must be named buyers\.contract\.py"),
        ("buyers.py", "def buyers(best_buyers): ...", "marts read each other: .*buyers"),
    ],
)
def test_what_can_not_be_loaded_is_one_sentence(own: Path, name: str, text: str, says: str) -> None:
    (own / name).write_text(text)
    with pytest.raises(ContractError, match=says):
        check(entities([own]), marts([own]))


# --- Built


@pytest.fixture
def shop(lab: Lab, own: Path, etl: Etl, monkeypatch: pytest.MonkeyPatch) -> Iterator[Etl]:
    """Copy orders, as the one collection that there is."""
    monkeypatch.setenv("ETL_CONTRACTS", str(own))
    monkeypatch.setenv("ETL_MARTS", str(own))
    assert etl("generate", "--scale", "0", "--rows", "Orders=300", "--replace")[0] == 0
    assert etl("replicate")[0] == 0
    yield etl
    lab.collection("Orders").drop()


def test_own_marts_are_built_listed_and_dropped(lab: Lab, shop: Etl, own: Path) -> None:
    code, out, err = shop("marts", "--json")
    assert code == 0, err
    assert [one["name"] for one in json.loads(out)["marts"]] == ["buyers", "best_buyers"]
    counted = "SELECT sum(order_count)::bigint, sum(item_count)::bigint FROM marts.buyers"
    totals = "SELECT count(*), (SELECT sum(quantity)::bigint FROM replica.orders_lines) FROM replica.orders"
    assert lab.postgres(counted) == lab.postgres(totals)
    assert lab.clickhouse("SELECT count() FROM marts.best_buyers") == lab.postgres(
        "SELECT count(*) FROM marts.buyers WHERE order_count > 1"
    )
    listed = json.loads(shop("marts", "list", "--json")[1])["marts"]
    assert {one["name"]: (one["own"], one["targets"], one["is_behind"]) for one in listed} == dict.fromkeys(
        ("buyers", "best_buyers"), (True, [*TARGETS], False)
    )
    assert "as of " in (text := shop("marts", "list")[1]) and "Who buys? (shop)" in text
    with Lake(lab.settings.model_copy(update={"contracts": (own,), "marts": (own,)})) as lake:
        assert set(lake.marts) == {"buyers", "best_buyers"}
    assert catalog.marts_read() == {"best_buyers": ["buyers"], "buyers": []}
    assert catalog.tables_read() == ["orders"]
    assert "### marts.buyers\n\n**Question.** Who buys? (shop)" in dictionary([own])
    (own / "buyers.contract.py").unlink()  # it can be dropped all the same
    (own / "best_buyers.contract.py").unlink()
    code, out, err = shop("drop", "buyers", "--yes", "--json")
    assert code == 0, err
    there = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'marts' AND table_name LIKE 'buyers%'"
    for ask in (lab.postgres, lab.clickhouse):
        assert ask(there) == [(0,)]
    assert set(lab.postgres("SELECT collection FROM etl.published")) == {("Orders",), ("best_buyers",)}


def test_one_that_can_not_be_built_does_not_stop_the_others(lab: Lab, shop: Etl, own: Path) -> None:
    (own / "best_buyers.py").write_text("def best_buyers(customers): ...")
    code, out, err = shop("marts", "--json")
    assert code == 1
    assert [one["name"] for one in json.loads(out)["marts"]] == ["buyers"]
    told = "it reads customers, which no contract declares"
    assert json.loads(out)["left_out"] == {"best_buyers": told}
    assert f"error: not built: best_buyers: {told}" in err
    assert told in " ".join(shop("marts", "list")[1].split())
    code, _, err = shop("marts", "best_buyers")
    assert code == 2
    assert f"the mart 'best_buyers' can't be computed: {told}; there are buyers" in err
    assert catalog.marts() == ["buyers"]


def test_in_one_process_a_mart_whose_code_was_edited_is_computed_anew(lab: Lab, shop: Etl, own: Path) -> None:
    """As in a notebook, where one connects again and again."""
    (own / "buyers.contract.py").write_text(
        CONTRACT.replace("Mart, as_of", "NEVER, Mart, as_of").replace("    by=", "    ages=NEVER,\n    by=")
    )
    assert shop("marts", "buyers")[0] == 0
    (own / "buyers.py").write_text(FUNCTION.replace("order_count=pl.len()", "order_count=pl.len() + 1_000"))
    assert shop("marts", "buyers")[0] == 0
    assert lab.postgres("SELECT min(order_count) > 1000 FROM marts.buyers") == [(True,)]


def test_an_empty_collection_is_told(lab: Lab, shop: Etl) -> None:
    lab.collection("Orders").delete_many({})
    assert shop("replicate", "--allow-shrink")[0] == 0
    code, out, _ = shop("marts")
    assert code == 0
    assert "Orders is empty, so these have no rows of it: buyers" in " ".join(out.split())


def test_an_own_mart_takes_the_place_of_the_demo_s(own: Path) -> None:
    (own / "search_terms.contract.py").write_text(CONTRACT.replace('"buyers"', '"search_terms"'))
    assert marts([own])["search_terms"].key == ("user_id",)
    assert marts()["search_terms"].key == ("search_term",)


def test_contracts_are_found_in_files_however_they_name_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "orders.py").write_text('ENTITY: Entity = Entity("Orders", "d", "key", ())')
    (tmp_path / "events.py").write_text('ENTITY = Entity(description="d", collection="Events")')
    for name, contract in (("buyers", 'MART: Mart = Mart("buyers")'), ("sellers", 'MART = Mart(name="sellers")')):
        (tmp_path / f"{name}.contract.py").write_text(contract)
        (tmp_path / f"{name}.py").write_text(f"def {name}(orders): ...")
    monkeypatch.setenv("ETL_CONTRACTS", str(tmp_path))
    monkeypatch.setenv("ETL_MARTS", str(tmp_path))
    assert catalog.collections() == ["Events", "Orders"]
    assert {"buyers", "sellers"} <= {*catalog.marts()}
