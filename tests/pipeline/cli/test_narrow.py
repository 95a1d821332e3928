"""A terminal of 80 columns: no line is longer, and no value is cut off, however long names and ids are."""

import io
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import typer
from rich.console import Console, RenderableType

from pipeline.cli.app import app, run
from pipeline.cli.marts import _block
from pipeline.cli.tables import shown, table
from pipeline.marts.listing import ListedMart

WIDTH = 80
NAME = "ProductPriceHistoryOfAllShopsInAllCountriesTogether"
RUN, NOW = "20261129t050455_761e4f", datetime(2026, 11, 29, 5, 4, 55, tzinfo=UTC)
BIG = 12_345_678
TABLES: dict[str, tuple[tuple[str, ...], tuple[Any, ...]]] = {
    "books": (
        ("collection", "target", "source", "= loaded", "+ quarantined", "books"),
        (NAME, "clickhouse", BIG, BIG, BIG, "closed"),
    ),
    "history": (
        ("collection", "target", "kept since (UTC)", "until (UTC)", "former\nversions", "first shown (UTC)"),
        (NAME, "clickhouse", NOW, NOW, BIG, NOW),
    ),
    "runs": (
        ("kind", "run", "status", "shows (UTC)", "ended (UTC)", "message"),
        ("replicate", RUN, "published", NOW, NOW, f"{NAME} show different moments; run etl sync to bring all to one"),
    ),
    "published": (("collection or mart", "shows (UTC)", "run", "in"), (NAME, NOW, RUN, "postgres, clickhouse")),
    "verified": (
        ("collection", "target", "source", "of", "equal", "missing", "extra", "different", "quaran-\ntined", "proven"),
        (NAME, "clickhouse", *(BIG,) * 7, "yes"),
    ),
    "differences": (
        ("target", "_id", "column", "expected", "found"),
        ("clickhouse", '{"$oid":"65f0c0ffee65f0c0ffee65f0"}', f"{NAME}.{NAME}", "x" * 60, "-"),
    ),
    "quarantine": (
        ("collection", "rule", "first path", "documents", "sample _id"),
        (NAME, f"{NAME}_max_length", f"/{NAME}/0", BIG, NAME * 3),
    ),
}


def _drawn(part: RenderableType) -> str:
    file = io.StringIO()
    Console(file=file, width=WIDTH, highlight=False).print(part)
    return file.getvalue()


def _characters(*texts: str) -> Counter[str]:
    return Counter(one for text in texts for one in text if not one.isspace() and one not in "─-")


@pytest.mark.parametrize("case", TABLES)
def test_no_table_is_wider_or_cuts_a_value_off(case: str) -> None:
    headings, row = TABLES[case]
    title = f"The title of the table, longer than any line of the terminal: {NAME}"
    drawn = _drawn(table(title, headings, [row, row]))
    assert max(map(len, drawn.splitlines())) <= WIDTH
    found, wanted = _characters(drawn), _characters(title, *headings, *map(shown, row), *map(shown, row))
    assert not wanted - found, drawn


def test_no_block_of_a_mart_is_wider() -> None:
    mart = ListedMart(NAME, "Why? " * 30, "", (NAME, NAME), (NAME, NAME, NAME), True, "", ("postgres",), NOW, BIG, True)
    drawn = _drawn(_block(mart))
    assert max(map(len, drawn.splitlines())) <= WIDTH
    assert drawn.replace("\n", "").replace(" ", "").count(NAME) == 6


def _commands(command: Any, *names: str) -> Iterator[tuple[str, ...]]:
    yield names
    for name, further in getattr(command, "commands", {}).items():
        yield from _commands(further, *names, name)


def test_no_help_is_wider(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    for names in _commands(typer.main.get_command(app)):
        assert run([*names, "--help"]) == 0
        out = capsys.readouterr().out
        assert "Usage" in out
        wide = [line for line in out.splitlines() if len(line) > WIDTH]
        assert not wide, (names, wide)


def test_names_stay_whole_as_long_as_something_else_can_take_several_lines() -> None:
    headings, _ = TABLES["history"]
    drawn = _drawn(table("History", headings, [("UserRecommendations", "clickhouse", NOW, NOW, 1_234, NOW)]))
    assert "UserRecommendations  clickhouse  2026-11-29  2026-11-29" in drawn
    assert max(map(len, drawn.splitlines())) <= WIDTH
