"""Drift of hundreds of fields is folded into a line; a few have one each."""

from io import StringIO

from rich.console import Console

from pipeline.cli.drift import drift_table
from pipeline.control import CollectionDrift


def _shown(*found: CollectionDrift) -> str:
    console = Console(width=160, file=StringIO(), record=True)
    for part in drift_table(found):
        console.print(part)
    return console.export_text()


def _field(path: str, count: int = 1, first_id: str = "a") -> CollectionDrift:
    return CollectionDrift("Things", path, "undeclared field", None, count, first_id)


def test_few_fields_have_a_line_each() -> None:
    text = _shown(*(_field(f"/f{number}") for number in range(8)), _field("/in/f", 2))
    assert all(f"/f{number} " in text for number in range(8))
    assert "/in/f " in text


def test_many_fields_of_one_parent_are_one_line_and_the_rest_is_not_folded() -> None:
    many = [_field(f"/in/f{number:03}", 2, f"id{number:03}") for number in range(300)]
    value = CollectionDrift("Things", "/state", "new value", "lost", 3, "b")
    text = _shown(_field("/single"), *many, value, _field("/in/*", 7, "id9"))
    assert len(text.splitlines()) < 12
    assert "300 fields and all others: f000, f001, f002, f003, f004, ..." in " ".join(text.split())
    assert "607" in text
    assert "id000" in text
    assert "/single" in text and "lost" in text


def test_without_drift_there_is_no_table() -> None:
    assert drift_table([]) == []
