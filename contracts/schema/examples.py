"""The words of contracts, with an example of each: a document, the line that declares its field, what becomes of it."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from contracts.schema import fields, kinds
from contracts.schema.entity import EXTRA, ID, POSITION, Entity
from contracts.schema.field import Field
from contracts.schema.kinds import BYTEWISE

_SHOWN = 4  # columns of an example


def words() -> dict[str, Callable[..., Any]]:
    """Return the words that fields are declared by."""
    ours = (one for one in vars(fields).values() if inspect.isfunction(one) and one.__module__ == fields.__name__)
    return {one.__name__: one for one in ours if not one.__name__.startswith("_")}


@dataclass(frozen=True)
class Example:
    """A word at work.

    Attributes:
        document: What MongoDB has, as Extended JSON; nothing where the word is of marts.
        declared: The line of the contract, as Python.
        note: What becomes of it, where that is no column.
    """

    document: str
    declared: str
    note: str = ""

    @property
    def becomes(self) -> str:
        """What becomes of the document's field, in words."""
        return self.note or _columns(eval(self.declared, {**vars(kinds), **vars(fields), "pl": pl}))

    @property
    def lines(self) -> tuple[str, str, str]:
        """The example, as it would stand in a contract."""
        return f"# {self.document or 'a mart'}", f"{self.declared},", f"# {self.becomes}"


def _columns(field: Field) -> str:
    tables = Entity("Things", "Things.", fields=(field,)).tables
    found = [
        f"{'' if table.parent is None else f'{table.name}.'}{column.name} {column.kind.postgres.removesuffix(BYTEWISE)}"
        f" | {column.kind.clickhouse_type(nullable=column.nullable)}"
        for table in tables
        for column in table.columns
        if column.name not in (ID, EXTRA, POSITION)
    ]
    return _listed(found)


def _listed(found: Iterable[str]) -> str:
    names = list(found)
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


_DATE = '{"$date": "2026-05-01T10:00:00Z"}'
_OID = '{"$oid": "65f000000000000000000001"}'
_PRICE = '{"$numberDecimal": "9.90"}'

EXAMPLES = {
    "identifier": Example('{"order_id": "O1"}', 'identifier("order_id", "Business key of the order.")'),
    "text": Example('{"note": "by noon"}', 'text("note", "What the customer wrote.", nullable=True)'),
    "category": Example('{"status": "open"}', 'category("status", "State of the order.", "open", "shipped")'),
    "integer": Example('{"quantity": 3}', 'integer("quantity", "How many.", minimum=1)'),
    "number": Example('{"weight": 1.5}', 'number("weight", "Kilograms.")'),
    "boolean": Example('{"paid": true}', 'boolean("paid", "Whether it was paid.")'),
    "timestamp": Example(f'{{"at": {_DATE}}}', 'timestamp("at", "When it was ordered.")'),
    "object_id": Example(f'{{"shop": {_OID}}}', 'object_id("shop", "The shop\'s _id.")'),
    "date": Example("", 'date("ordered_on", "The UTC day.")', "ordered_on date | Date32"),
    "money": Example(f'{{"price": {_PRICE}}}', 'money("price", "Price of all.", minimum=0)'),
    "decimal": Example(f'{{"rate": {_PRICE}}}', 'decimal("rate", "Rate of exchange.", 18, 6)'),
    "free_form": Example('{"about": {"any": {"thing": 1}}}', 'free_form("about", "Whatever the shop notes.")'),
    "json": Example('{"size": [["M", 2], null, 38]}', 'json("size", "Whatever the shop notes, of any type.")'),
    "uuid": Example(
        '{"device": {"$binary": {"base64": "AAAAAAAAQACAAAAAAAAAAA==", "subType": "04"}}}',
        'uuid("device", "The device\'s UUID.")',
    ),
    "binary": Example(
        '{"stamp": {"$binary": {"base64": "AAE=", "subType": "00"}}}', 'binary("stamp", "As the till wrote it.")'
    ),
    "texts": Example('{"tags": ["new", "gift"]}', 'texts("tags", "What people call it.")'),
    "categories": Example('{"colours": ["red"]}', 'categories("colours", "Its colours.", "red", "blue")'),
    "integers": Example('{"sizes": [38, 40]}', 'integers("sizes", "Sizes that are left.")'),
    "numbers": Example('{"place": [8.5, 47.4]}', 'numbers("place", "Longitude and latitude.")'),
    "decimals": Example(f'{{"prices": [{_PRICE}]}}', 'decimals("prices", "Prices so far.", 12, 2)'),
    "booleans": Example('{"answers": [true, null]}', 'booleans("answers", "What was said.", null_items=True)'),
    "timestamps": Example(f'{{"visits": [{_DATE}]}}', 'timestamps("visits", "When it was looked at.")'),
    "object_ids": Example(f'{{"friends": [{_OID}]}}', 'object_ids("friends", "The _ids of others.")'),
    "subdocument": Example('{"place": {"city": "Bern"}}', 'subdocument("place", "Where.", text("city", "City."))'),
    "documents": Example('{"lines": [{"n": 1}]}', 'documents("lines", "Positions.", integer("n", "How many."))'),
    "omit": Example('{"password": "..."}', 'omit("password")', "no column; a run tells how many documents have it"),
    "map_of": Example('{"prices": {"CHF": 9}}', 'map_of("prices", "Price by currency.", INTEGER)'),
    "any_id": Example(
        '{"_id": {"shop": 1, "number": 2}}',
        "id_kind=any_id()",
        "_id text | String, as canonical Extended JSON; it stands in the Entity",
    ),
    "rule": Example(
        '{"net": 1, "gross": 2}',
        'rule("gross_is_more", pl.col("gross") >= pl.col("net"), "Tax is never negative.")',
        "a document that breaks it is refused; it stands among the rules of the Entity",
    ),
}
