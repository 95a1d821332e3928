"""The data dictionary is what the contracts say, and says all of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from contracts.schema.dictionary import dictionary
from contracts.schema.entity import Table
from contracts.schema.registry import entities, marts

PAGE = Path(__file__).parents[2] / "docs" / "data-dictionary.md"
TABLES = {f"replica.{table.name}": table for entity in entities().values() for table in entity.tables}
TABLES |= {f"marts.{mart.name}": mart.table for mart in marts().values()}
FURTHER = '''"""What users bought."""
from contracts.schema.entity import Entity
from contracts.schema.fields import category, decimal, documents, identifier, number, text

ENTITY = Entity(
    "Orders",
    "One order.",
    "order_id",
    (
        identifier("order_id", "Key."),
        text("note", "Either this | or that.", nullable=True, max_length=9),
        category("state", "State.", "new", "sent", closed=True),
        documents("lines", "Lines.", text("_id", "Id."), decimal("weight", "In kg.", 9, 3), number("share", "Share.")),
    ),
)
'''


def section(page: str, name: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its head."""
    (text,) = re.findall(rf"^#+ {re.escape(name)}\n(.*?)(?=^#|\Z)", page, re.DOTALL | re.MULTILINE)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text() == dictionary(), "docs/data-dictionary.md is stale: make dictionary"


@pytest.mark.parametrize("name", TABLES)
def test_each_column_is_there_in_order_with_its_types(name: str) -> None:
    table: Table = TABLES[name]
    rows = section(PAGE.read_text(), name)
    assert [row[0] for row in rows] == [f"`{column.name}`" for column in table.columns]
    for row, column in zip(rows, table.columns, strict=True):
        assert row[1] == column.description
        types = [column.kind.postgres, column.kind.clickhouse_type(nullable=column.nullable)]
        assert row[-4:-1] == [*(f"`{one}`" for one in types), "yes" if column.nullable else "no"]


@pytest.mark.parametrize("name", [name for name in TABLES if name.startswith("marts.")])
def test_each_column_of_a_mart_that_is_no_text_has_a_unit(name: str) -> None:
    table: Table = TABLES[name]
    units = {row[0].strip("`"): row[2] for row in section(PAGE.read_text(), name)}
    texts = {column.name for column in table.columns if column.kind.postgres.startswith("text")}
    assert {column for column, unit in units.items() if not unit} == texts


def test_contracts_of_users_are_told_as_well(tmp_path: Path) -> None:
    (tmp_path / "orders.py").write_text(FURTHER)
    page = dictionary([tmp_path])
    assert section(page, "replica.orders")[1:4] == [
        ["`order_id`", "Key.", "`order_id`", "string", "`text`", "`String`", "no", "1 to 600 characters"],
        [
            "`note`",
            r"Either this \| or that.",
            "`note`",
            "string, null",
            "`text`",
            "`Nullable(String)`",
            "yes",
            "at most 9 characters",
        ],
        ["`state`", "State.", "`state`", "string", "`text`", "`LowCardinality(String)`", "no", "one of `new`, `sent`"],
    ]
    lines = {row[0]: (row[2], row[3], row[7]) for row in section(page, "replica.orders_lines")}
    assert lines == {
        "`_id`": ("`_id`", "objectId", ""),
        "`_position`": ("place in `lines`", "", ""),
        "`item_id`": ("`lines[]._id`", "string", ""),
        "`weight`": ("`lines[].weight`", "decimal", "at most 9 digits, 3 of them after the point"),
        "`share`": ("`lines[].share`", "double, int", ""),
    }


def test_a_name_of_a_document_is_neither_markdown_nor_html(tmp_path: Path) -> None:
    evil = "a``<img src=x onerror=alert(1)>`\n|[x](y)"
    lines = f"documents({evil!r}, 'D.', integers({evil!r}, 'D.'), alias={evil[1:-6]!r})"
    fields = f"({lines}, integers({evil!r} 'x', 'D.'))"
    words = "from contracts.schema.entity import Entity\nfrom contracts.schema.fields import documents, integers\n"
    (tmp_path / "odd.py").write_text(f"{words}ENTITY = Entity({evil!r}, 'D.', '_id', {fields}, table='odd')\n")
    page = dictionary([tmp_path])
    shown = MarkdownIt("commonmark").enable("table").render(page)
    assert "onerror" in shown and "<img" not in shown and 'href="y' not in shown
    assert len(section(page, "replica.odd")) == 5


def test_it_is_printed_by_the_module(tmp_path: Path) -> None:
    (tmp_path / "orders.py").write_text(FURTHER)
    command = [sys.executable, "-m", "contracts.schema.dictionary", str(tmp_path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert printed.stdout == dictionary([tmp_path])
    assert printed.stderr == ""
