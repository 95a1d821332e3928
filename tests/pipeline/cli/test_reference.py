"""The pages of reference are what the code says, and say all of it."""

import inspect
import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from contracts.schema import fields
from contracts.schema.entity import Entity, Field
from contracts.schema.mart import Mart
from pipeline import control
from pipeline.cli.reference import PAGES, schemas
from pipeline.settings import Settings

DOCS = Path(__file__).parents[3] / "docs"
COMMANDS = {"demo", "generate", "replicate", "sync", "verify", "marts", "status", "drop", "prune", "up", "down", "psql"}


@pytest.mark.parametrize("page", PAGES)
def test_no_page_is_stale(page: str) -> None:
    assert (DOCS / page).read_text() == PAGES[page]().rstrip("\n") + "\n", f"docs/{page} is stale: make reference"


def test_no_schema_is_stale_and_each_is_one() -> None:
    made = schemas()
    assert {file.name: file.read_text() for file in (DOCS / "json").iterdir()} == made, "make reference"
    for text in made.values():
        Draft202012Validator.check_schema(json.loads(text))
    page = PAGES["json-output.md"]()
    assert {name for name in made if f"](json/{name})" in page} == set(made)


def test_each_command_is_there_with_its_options() -> None:
    sections = dict(
        re.findall(r"^## etl (.+?)\n(.*?)(?=^## |\Z)", PAGES["command-line.md"](), re.DOTALL | re.MULTILINE)
    )
    assert sections.keys() >= COMMANDS | {
        "quarantine",
        "quarantine replay",
        "contract infer",
        "contract check",
        "contract diff",
    }
    without = ("psql", "contract", "docs", "marts")
    assert all("`--json`" in text for name, text in sections.items() if name not in without)
    assert (
        "| `--max-quarantined N or P%` | Publish nothing if more documents are refused. | no limit |"
        in (sections["replicate"])
    )
    assert "$ etl verify --repair\n" in sections["verify"]


def test_each_setting_is_there_with_its_meaning_and_default() -> None:
    rows = re.findall(r"^\| `(ETL_\w+)` \| (.+) \| (.+) \|$", PAGES["environment.md"](), re.MULTILINE)
    assert [name for name, _, _ in rows] == [f"ETL_{name.upper()}" for name in Settings.model_fields]
    defaults = {name: default for name, _, default in rows}
    assert (defaults["ETL_MEMORY"], defaults["ETL_MAX_SHRINK"], defaults["ETL_WAIT"]) == ("`1GiB`", "`50%`", "600 s")


def test_each_word_and_each_option_is_there() -> None:
    page = PAGES["contracts.md"]()
    words = {name for name, one in vars(fields).items() if getattr(one, "__module__", "") == fields.__name__}
    assert {word for word in words if not word.startswith("_") and word.islower()} <= set(
        re.findall(r"\| `(\w+)\(", page)
    )
    for kind in (Field, Entity, Mart):
        for name in inspect.signature(kind).parameters:
            assert f"| `{name}` |" in page


def test_the_tables_of_the_books_are_all_described() -> None:
    page = (DOCS / "books.md").read_text()
    sources = " ".join(source.read_text() for source in Path(control.__file__).parent.glob("*.py"))
    tables = set(re.findall(r"CREATE (?:TABLE|VIEW)(?: IF NOT EXISTS)? etl\.(\w+)", sources))
    assert tables
    headings = " ".join(re.findall(r"^## .*", page, re.MULTILINE))
    assert set(re.findall(r"`etl\.(\w+)`", headings)) == tables
