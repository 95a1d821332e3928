"""Each example of a word is lawful: its document is taken under the contract that it declares, and becomes a row."""

import bson
import polars as pl
import pytest
from bson import ObjectId, json_util

from contracts.schema import fields
from contracts.schema.entity import Entity
from contracts.schema.examples import EXAMPLES, Example, words
from contracts.schema.field import Field
from transforms.ingest.slow_path import transform_slowly

OF_FIELDS = {word: one for word, one in EXAMPLES.items() if one.document and not one.note}


def _declared(example: Example) -> Field:
    field = eval(example.declared, {**vars(fields), "pl": pl})
    assert isinstance(field, Field)
    return field


@pytest.mark.parametrize("example", OF_FIELDS.values(), ids=OF_FIELDS)
def test_the_document_of_an_example_becomes_a_row(example: Example) -> None:
    entity = Entity("Things", "Things.", fields=(_declared(example),))
    raw = bson.encode({"_id": ObjectId(), **json_util.loads(example.document)})
    result = transform_slowly([raw], entity, gated=False)
    assert [one.reasons for one in result.refused] == []
    assert result.drift == []
    assert result.frames["things"].height == 1
    assert all(name in example.becomes for name in entity.root.names[1:-1][:4])


def test_each_word_has_an_example_of_three_lines_that_shows_it() -> None:
    assert set(words()) == set(EXAMPLES)
    for word, example in EXAMPLES.items():
        assert len(example.lines) == 3
        assert f"{word}(" in example.lines[1]
        assert all(len(line) <= 120 for line in example.lines)
