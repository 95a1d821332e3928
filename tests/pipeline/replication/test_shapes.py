"""Arrays of documents within each other, at any depth: copied, followed, proven, repaired, and changed by contract."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from contracts.schema.entity import Entity
from contracts.schema.fields import any_id, documents, integer, map_of, subdocument, text, texts
from contracts.schema.kinds import NUMBER
from pipeline.connections import TARGETS
from pipeline.replication import repair, replicate, sync, verify
from tests.pipeline.lab import Lab

CODES = documents("codes", "Codes.", text("code", "Code."), texts("tags", "Tags.", nullable=True), nullable=True)
PRICES = map_of("prices", "Price by currency.", NUMBER, nullable=True)
TITLES = map_of(
    "titles", "By language.", text("title", "Title.", nullable=True), documents("forms", "Forms.", text("f", "F."))
)
DISCOUNTS = documents("discounts", "Discounts.", integer("percent", "How much.", nullable=True), CODES, nullable=True)
LINES = documents(
    "lines", "Lines.", text("what", "What."), DISCOUNTS, documents("notes", "Notes.", text("note", "Note.")), PRICES
)
ORDERS = Entity(
    "Orders",
    "Orders.",
    fields=(subdocument("cart", "The cart.", LINES), text("name", "Name."), TITLES),
    id_kind=any_id(),
)
TABLES = {
    "orders": ("_id",),
    "orders_cart_lines": ("_id", "_position"),
    "orders_cart_lines_discounts": ("_id", "_cart_lines_position", "_position"),
    "orders_cart_lines_discounts_codes": ("_id", "_cart_lines_position", "_discounts_position", "_position"),
    "orders_cart_lines_notes": ("_id", "_cart_lines_position", "_position"),
    "orders_cart_lines_prices": ("_id", "_cart_lines_position", "_key"),
    "orders_titles": ("_id", "_key"),
    "orders_titles_forms": ("_id", "_titles_key", "_position"),
}


class Orders:
    """A collection of orders, and the contract that they are copied by."""

    def __init__(self, lab: Lab, entity: Entity) -> None:
        self.lab, self.random = lab, Random(1)
        self.collection = lab.collection("Orders")
        self.collection.drop()
        self.collection.insert_many([{"_id": one, **self.order()} for one in (*range(40), *"abc", {"n": 1}, None)])
        self.use(entity)

    def use(self, entity: Entity) -> None:
        self.connections = replace(self.lab.connections, entities={"Orders": entity})

    def order(self) -> dict[str, Any]:
        titles = {one: {"title": one, "forms": self.some(lambda: {"f": "f"})} for one in self.names()}
        return {"cart": {"lines": self.some(self.line)}, "name": self.random.choice("xyz"), "titles": titles}

    def names(self) -> list[str]:
        return self.random.sample(
            ["", "de", "a.b", "$oid", "1", "é", "x/y", "n" * 900, "A", "a"], self.random.choice([0, 1, 3])
        )

    def line(self) -> dict[str, Any]:
        discounts = {"discounts": self.some(self.discount)} if self.random.random() < 0.8 else {}
        prices = self.random.choice([{}, {"prices": None}, {"prices": dict.fromkeys(self.names(), 0.5)}])
        prices = self.random.choice([prices, {"prices": {"NaN": float("nan"), "none": None}}])
        notes = {"notes": self.some(lambda: {"note": "n"})}
        return {"what": self.random.choice(["", "tea"]), **discounts, **notes, **prices}

    def discount(self) -> dict[str, Any]:
        codes = {"codes": self.random.choice([None, self.some(lambda: {"code": "c", "tags": ["a"]})])}
        return {"percent": self.random.choice([None, 5]), **codes}

    def some(self, one: Any) -> list[Any]:
        return [one() for _ in range(self.random.choice([0, 1, 2, 3]))]

    def assert_whole(self) -> None:
        type(self.lab)(self.connections, self.lab.settings).assert_replicated()
        for one in verify.verify(self.connections):
            assert one.proven and one.equal == self.collection.count_documents({}), one


@pytest.fixture
def orders(lab: Lab) -> Iterator[Orders]:
    for name in reversed(TABLES):
        lab.change_postgres(f"DROP TABLE IF EXISTS replica.{name}")
    found = Orders(lab, ORDERS)
    replicate.replicate(found.connections)
    return found


def test_items_within_items_are_rows_that_refer_to_the_outer_items_row(orders: Orders, lab: Lab) -> None:
    assert {table.name: table.key for table in ORDERS.tables} == TABLES
    orders.assert_whole()
    keys = (
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'replica.{}'::regclass AND contype = 'f'"
    )
    assert lab.postgres(keys.format("orders_cart_lines_discounts_codes")) == [
        (
            "FOREIGN KEY (_id, _cart_lines_position, _discounts_position) REFERENCES "
            "replica.orders_cart_lines_discounts(_id, _cart_lines_position, _position) DEFERRABLE INITIALLY DEFERRED",
        )
    ]
    joined = (
        "SELECT count(*) FROM replica.orders_cart_lines_discounts_codes c JOIN replica.orders_cart_lines_discounts d "
        "ON (d._id, d._cart_lines_position, d._position) = (c._id, c._cart_lines_position, c._discounts_position)"
    )
    codes = sum(
        len(discount.get("codes") or ())
        for order in orders.collection.find()
        for line in order["cart"]["lines"]
        for discount in line.get("discounts", ())
    )
    assert lab.postgres(joined) == [(codes,)] == lab.clickhouse(joined)


def test_changes_and_damage_at_any_depth_are_put_right(orders: Orders, lab: Lab) -> None:
    orders.collection.update_many({"_id": {"$gt": 30}}, {"$set": {"cart.lines.$[].discounts": []}})
    orders.collection.update_one({"_id": 3}, {"$set": orders.order()})
    orders.collection.replace_one({"_id": 4}, {**orders.order(), "more": {"undeclared": [1]}})
    orders.collection.update_one({"_id": 5}, {"$set": {"cart.lines": [{"what": "w", "notes": [], "more": 1}]}})
    orders.collection.update_one(
        {"_id": 6}, {"$set": {"titles": {"new": {"forms": []}, "more": {"forms": [], "x": 1}}}}
    )
    orders.collection.delete_many({"_id": {"$in": [1, "a"]}})
    (synced,) = sync.sync(orders.connections)
    assert synced.changed == synced.loaded + 2
    orders.assert_whole()

    lab.change_postgres("UPDATE replica.orders_cart_lines_discounts SET percent = 99 WHERE _id LIKE '%\"2\"%'")
    lab.change_postgres("DELETE FROM replica.orders_cart_lines_discounts_codes")
    lab.change_postgres("UPDATE replica.orders_titles SET title = 'bent' WHERE _key = 'de'")
    lab.change_clickhouse("DELETE FROM replica.orders_cart_lines_notes__data WHERE NOT _deleted")
    found = verify.verify(orders.connections)
    assert all(one.different and not (one.missing or one.extra) for one in found)
    assert {one.table for comparison in found for one in comparison.differences} >= {"orders_cart_lines_notes"}
    repair.repair(orders.connections, found)
    orders.assert_whole()


def test_tables_within_tables_come_and_go_with_the_contract(orders: Orders, lab: Lab) -> None:
    short = documents("lines", "Lines.", text("what", "What."))
    without = replace(ORDERS, fields=(subdocument("cart", "The cart.", short), text("name", "Name.")))
    for entity in (without, ORDERS, replace(ORDERS, fields=(text("name", "Name."),)), ORDERS):
        orders.use(entity)
        replicate.replicate(orders.connections)
        orders.assert_whole()
        tables = "SELECT relname::text FROM pg_class WHERE relnamespace = 'replica'::regnamespace AND relkind = 'r'"
        names = {table.name for table in entity.tables}
        assert {name for (name,) in lab.postgres(tables) if name.startswith("orders")} == names
        views = lab.clickhouse("SELECT name FROM system.tables WHERE database = 'replica' AND engine = 'View'")
        assert {name for (name,) in views if name.startswith("orders")} == names


def test_a_table_in_the_midst_that_was_renamed_is_made_anew(orders: Orders, lab: Lab) -> None:
    lab.change_postgres("ALTER TABLE replica.orders_cart_lines_discounts RENAME TO kept")
    replicate.replicate(orders.connections)
    orders.assert_whole()
    lab.change_postgres("DELETE FROM replica.kept")  # nothing of ours refers to it any more
    lab.change_postgres("DROP TABLE replica.kept")
    assert all(one.proven for one in verify.verify(orders.connections, targets=TARGETS))


def test_a_name_that_no_index_holds_and_a_map_of_another_type_are_refused_by_name(orders: Orders, lab: Lab) -> None:
    order = {"cart": {"lines": []}, "name": "x"}
    wrong = {
        "/titles/" + "n" * 2_590: {"n" * 2_590: {"forms": []}},
        "/titles/a.b": {"a.b": 1},
        "/titles": [],
        "/titles/de/forms": {"de": {"title": "t"}},
    }
    orders.collection.insert_many([{**order, "titles": one} for one in wrong.values()])
    replicate.replicate(orders.connections)
    found = [one["reasons"] for one in lab.quarantine("Orders").values()]
    assert {(one[0]["path"][:99], len(one)) for one in found} == {(place[:99], 1) for place in wrong}
    assert {"key_fits_into_an_index_of_postgres"} <= {reasons[0]["rule"] for reasons in found}
