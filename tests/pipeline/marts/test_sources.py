"""Which marts are meant."""

from types import SimpleNamespace
from typing import Any

import pytest

from contracts.schema.registry import entities, marts
from pipeline.errors import UsageError
from pipeline.marts import available
from pipeline.marts.sources import with_their_marts

NAMES = ("user_activity_daily", "active_users_daily")


def test_of_named_marts_those_alone_are_tried_and_those_that_they_read(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    honest = available._mistake

    def counting(mart: Any, tables: Any) -> str:
        tried.append(mart.name)
        return honest(mart, tables)

    monkeypatch.setattr(available, "_mistake", counting)
    known: Any = SimpleNamespace(entities=entities(), known_marts=marts())
    assert [one.name for one in with_their_marts(known, NAMES[1:])] == [*NAMES]
    assert tried == [*NAMES]
    assert {one.name for one in with_their_marts(known, [])} == set(marts())


def test_a_named_mart_that_reads_one_which_cannot_be_computed_is_refused_with_its_reason() -> None:
    without = {name: one for name, one in entities().items() if name != "SearchQueries"}
    known: Any = SimpleNamespace(entities=without, known_marts=marts())
    with pytest.raises(
        UsageError, match=r"'active_users_daily' can't be computed: .*search_queries, which no contract"
    ):
        with_their_marts(known, NAMES[1:])
    with pytest.raises(UsageError, match="there is no mart 'nonsense'"):
        with_their_marts(known, ["session_facts", "nonsense"])
