"""Database references, which pymongo decodes by itself: copy, proof, repair and sync agree on every form of them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import bson
import pytest
from bson import ObjectId
from bson.raw_bson import RawBSONDocument

from contracts.schema.entity import Entity
from contracts.schema.fields import documents, identifier, number, subdocument, text
from contracts.schema.kinds import JSON
from pipeline.replication.repair import repair
from pipeline.replication.replicate import replicate
from pipeline.replication.sync import sync
from pipeline.replication.verify import verify
from tests.pipeline.lab import Lab

AUTHOR = (text("$ref", "Collection."), identifier("$id", "Key."), number("weight", "NaN or not.", nullable=True))
BOOKS = Entity(
    "Books",
    "One book.",
    "isbn",
    (
        identifier("isbn", "Business key."),
        subdocument("author", "Who wrote it.", *AUTHOR),
        documents("editors", "Who else.", *AUTHOR),
    ),
)
NAN = float("nan")
EXACT: list[list[tuple[str, Any]]] = [
    [("$ref", "people"), ("$id", "p1")],
    [("$id", "p1"), ("$ref", "people"), ("weight", NAN)],
    [("$ref", "people"), ("$id", "p1"), ("$db", "other"), ("weight", 0.5)],
    [("$db", None), ("$ref", "people"), ("x/y", 1), ("$id", "p1")],
    [("$ref", "people"), ("$id", "p1"), ("more", [1, {"a": 2}])],
    [("$ref", "people"), ("$id", "p1"), ("more", {"$ref": "people", "$id": "p1"})],
]
REFUSED = [[("$ref", "people")]]


@pytest.fixture(scope="module")
def library(lab: Lab) -> Iterator[Any]:
    mine = replace(lab, connections=replace(lab.connections, entities={"Books": BOOKS}))
    references = [*EXACT, *REFUSED]
    mine.collection("Books").drop()
    mine.collection("Books").insert_many(_book(place, one, [one] * 2) for place, one in enumerate(references))
    replicate(mine.connections)
    yield mine
    mine.collection("Books").drop()


def _book(number: int, author: list[tuple[str, Any]], editors: list[list[tuple[str, Any]]]) -> RawBSONDocument:
    fields = {"author": bson.SON(author), "editors": [bson.SON(one) for one in editors]}
    return RawBSONDocument(bson.encode({"_id": ObjectId(f"{number:024x}"), "isbn": f"i{number}", **fields}))


def _assert_proven(library: Any) -> None:
    found = verify(library.connections)
    assert [(one.target, one.equal, one.quarantined, one.proven) for one in found] == [
        ("postgres", len(EXACT), len(REFUSED), True),
        ("clickhouse", len(EXACT), len(REFUSED), True),
    ]


def test_every_form_of_a_reference_is_copied_and_proven(library: Any) -> None:
    _assert_proven(library)
    rows = library.postgres('SELECT "author_$ref", "author_$id", author_weight::text, _extra::text FROM replica.books')
    assert sorted(rows, key=str)[0] == (
        "people",
        "p1",
        "0.5",
        '{"/author/$db": "other", "/editors/0/$db": "other", "/editors/1/$db": "other"}',
    )
    assert sum(row[2] == "NaN" for row in rows) == 1
    assert {one.name for one in BOOKS.root.columns if one.kind is JSON} == {"_extra"}


def test_a_repair_reads_them_as_the_copy_does(library: Any) -> None:
    library.change_postgres("UPDATE replica.books SET \"author_$id\" = 'another'")
    broken = verify(library.connections, targets=["postgres"])
    assert not broken[0].proven
    repair(library.connections, broken)
    _assert_proven(library)


def test_and_so_does_a_sync(library: Any) -> None:
    for place, one in enumerate([*EXACT, *REFUSED]):
        new = _book(place, one, [one])
        library.collection("Books").replace_one({"_id": ObjectId(f"{place:024x}")}, new)
    (found,) = sync(library.connections)
    assert (found.changed, found.loaded, found.quarantined) == (len(EXACT) + len(REFUSED), len(EXACT), len(REFUSED))
    _assert_proven(library)
