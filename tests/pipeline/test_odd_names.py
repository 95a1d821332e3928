"""Fields and collections of any name that MongoDB allows, through both stores, with made-up documents and real ones."""

import math
import textwrap
from collections.abc import Iterator

import pytest
from bson import Decimal128, encode

from pipeline.connections import connect
from pipeline.replication import replicate, verify
from tests.pipeline.lab import Lab

NAME = "fs.Главная книга №1"
LEDGER = """
    from contracts.schema.entity import Entity
    from contracts.schema.fields import documents, free_form, integer, money, number, subdocument, text, texts

    ENTITY = Entity(
        collection="fs.Главная книга №1",
        description="Names of every kind.",
        key="number",
        fields=(
            integer("№", "A sign.", alias="number"),
            text("a.b", "A dot.", alias="a_b", nullable=True),
            text("a_b", "What the one with a dot could be taken for.", alias="a_b_2", nullable=True),
            number("$price", "A dollar.", nullable=True),
            number("*", "All.", alias="all", nullable=True),
            number("^n$", "A pattern.", alias="pattern", nullable=True),
            texts("", "No name.", alias="unnamed", nullable=True),
            text("[0]", "Brackets.", nullable=True),
            text("two words", "A space.", nullable=True),
            text("\\ufeffISO", "A byte order mark.", nullable=True),
            text("Name", "A capital.", nullable=True),
            text("name", "None.", nullable=True),
            text("%612e62", "As the reader calls another one.", nullable=True),
            free_form("x.y", "JSON.", alias="x", nullable=True),
            text("ctid", "PostgreSQL's.", alias="ctid_value", nullable=True),
            subdocument(
                "адрес.доставки",
                "Subdocument.",
                text("город", "Letters."),
                text("улица.дом", "A dot.", alias="улица"),
                documents(
                    "行",
                    "Lines.",
                    money("价.格", "Price.", alias="price"),
                    text("_id", "Its own.", nullable=True),
                    text("item_id", "Another one.", alias="other_id", nullable=True),
                    alias="lines",
                ),
                nullable=True,
                alias="address",
            ),
        ),
        table="ledger",
    )
"""


@pytest.fixture(scope="module")
def books(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("contracts")
    (folder / "ledger.py").write_text(textwrap.dedent(LEDGER))
    with connect(lab.settings.model_copy(update={"contracts": (folder,)})) as connections:
        yield Lab(connections, lab.settings)


def test_fields_of_any_name_are_copied_and_proven(books: Lab) -> None:
    made = books.fill(defects=0.2, **{NAME: 300}).collections
    line = {"价.格": Decimal128("1.50"), "_id": "own", "item_id": "other"}
    lines = [line, {**line, "价.格": Decimal128("2.00"), "item.id": 1}]
    address = {"город": "Омск", "улица.дом": "Ленина, 1", "行": lines}
    books.collection(NAME).insert_many(
        [
            {"№": 1001, "a.b": "dot", "a_b": "none", "": ["x"], "*": 0.5, "^n$": 1.5, "x.y": {"a.b": {"": 1}}},
            {"№": 1002, "a": {"b": "no dot"}, "*": math.nan, "other.dot": 1, "адрес.доставки": address},
            {"№": 1003, "a.b": 5, "адрес.доставки": {"город": "Омск", "улица.дом": 5, "行": []}},
        ]
    )
    _, accounts = replicate.replicate(books.connections, [NAME])
    quarantined = {one.collection: one.expected("quarantined") for one in made}
    assert {one.quarantined for one in accounts} == {quarantined[NAME] + 1}
    books.assert_replicated([NAME])
    assert all(one.proven for one in verify.verify(books.connections, [NAME]))
    rows = books.postgres(
        "SELECT a_b, a_b_2, unnamed_count, pattern, x ->> 'a.b', \"address_улица\", _extra::text FROM replica.ledger "
        "WHERE number IN (1001, 1002) ORDER BY number"
    )
    extra = '{"/a": {"b": "no dot"}, "/other.dot": 1, "/адрес.доставки/行/1/item.id": 1}'
    assert rows == [("dot", "none", 1, 1.5, '{"": 1}', None, None), (None, None, None, None, None, "Ленина, 1", extra)]
    items = "SELECT price::text, item_id, other_id FROM replica.ledger_address_lines WHERE item_id = 'own'"
    assert books.postgres(f"{items} ORDER BY price") == [("1.50", "own", "other"), ("2.00", "own", "other")]
    (refused,) = (one for raw, one in books.quarantine(NAME).items() if encode({"№": 1003})[4:-1] in raw)
    assert [one["path"] for one in refused["reasons"]] == ["/a.b", "/адрес.доставки/улица.дом"]
