"""What the docs tell people to type is there: commands of ``etl`` with their options, targets of make, a contract."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from contracts.schema.entity import Entity
from contracts.schema.registry import entities, marts
from pipeline.cli.app import app
from pipeline.marts.check import check

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("README*.md"), ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
FURTHER = "build|list|show|export|replay|infer|check|diff|words|dbt|dictionary"
COMMAND = re.compile(rf"\betl ([a-z]+(?: (?:{FURTHER})\b)?)((?: [A-Z]\w*| [\d.]+%?| --[\w-]+)*)")


def _commands(command: Any, name: str = "") -> Iterator[tuple[str, set[str]]]:
    meant = command.commands[command.meant].params if hasattr(command, "meant") else ()  # where none is named
    yield name, {option for one in (*command.params, *meant) for option in one.opts}
    for word, further in getattr(command, "commands", {}).items():
        yield from _commands(further, f"{name} {word}".strip())


OPTIONS = dict(_commands(get_command(app)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_options_and_targets_are_there(page: Path) -> None:
    text = page.read_text()
    for name, rest in COMMAND.findall(text):
        assert name in OPTIONS, f"there is no etl {name}"
        assert set(re.findall(r"--[\w-]+", rest)) <= OPTIONS[name], f"etl {name}{rest}"
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^\$ )make ([a-z-]+)", text, re.MULTILINE)) <= targets


def _code(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "docs/own-collections.md"])
def test_the_example_of_a_contract_is_one(page: str) -> None:
    found: dict[str, Any] = {}
    exec(_code(page)[0], found)
    assert isinstance(found["ENTITY"], Entity)
    assert [table.name for table in found["ENTITY"].tables] == ["orders", "orders_lines"]


def test_the_example_of_a_mart_is_one(tmp_path: Path) -> None:
    names = ("orders.py", "sales_daily.contract.py", "sales_daily.py")
    for name, text in zip(names, _code("README.md"), strict=True):
        (tmp_path / name).write_text(text)
    (found,) = check(entities([tmp_path]), marts([tmp_path]))
    assert found.rows
    assert not found.mistakes


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_a_page_names_are_there(page: Path) -> None:
    folders = "pipeline|transforms|contracts|tests|generators|docker|benchmarks"
    named = set(re.findall(rf"`((?:{folders})/[\w./-]*)`", page.read_text()))
    assert not [path for path in named if "NAME" not in path and not (ROOT / path).exists()]
