"""The sources of dbt are what the contracts say: read back by a YAML library, as dbt reads them."""

from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from contracts.schema.dbt import as_yaml, sources
from contracts.schema.entity import Entity, Table
from contracts.schema.fields import documents, identifier, integer, text
from contracts.schema.history import former_table, versions_of
from contracts.schema.registry import entities, marts
from pipeline.cli.app import run

ODD = Entity(
    "Odd Things",
    "It's {{ no }} template: \"quoted\" \\ and\nbroken # 'on' purpose.",
    "thing id",
    (
        identifier("thing id", "- : yes, null {% raw %}"),
        documents("lines", "Lines.", integer("Größe", "Size."), documents("parts", "Parts.", text("on", "On."))),
    ),
    table="odd things",
)


def _read(found: Any) -> dict[str, dict[str, Any]]:
    """Return the tables of each schema by name, as YAML has them."""
    told = yaml.safe_load(as_yaml(found))
    assert told["version"] == 2
    assert all(one["name"] == one["schema"] and one["description"] for one in told["sources"])
    return {one["name"]: {table["name"]: table for table in one["tables"]} for one in told["sources"]}


def _tests(column: dict[str, Any]) -> set[str]:
    return {one if isinstance(one, str) else next(iter(one)) for one in column.get("data_tests", ())}


def test_each_table_and_column_is_there_with_its_description_and_the_tests_of_its_key() -> None:
    known, computed = entities().values(), marts().values()
    tables: dict[str, list[Table]] = {
        "replica": [table for one in known for table in one.tables],
        "history": [
            table for one in known if one.history for table in (*map(former_table, one.tables), *versions_of(one))
        ],
        "marts": [mart.table for mart in computed],
    }
    found = _read(sources(known, computed))
    assert {schema: set(there) for schema, there in found.items()} == {
        schema: {table.name for table in there} for schema, there in tables.items()
    }
    for schema, there in tables.items():
        for table in there:
            told = found[schema][table.name]
            assert told["description"] == table.description
            assert [(one["name"], one["description"]) for one in told["columns"]] == [
                (column.name, column.description) for column in table.columns
            ]
            columns = {one["name"]: _tests(one) for one in told["columns"]}
            assert {name for name, tests in columns.items() if "not_null" in tests} == set(table.key)
            whole = [one["unique"]["column_name"] for one in told.get("data_tests", ())]
            single = [name for name, tests in columns.items() if "unique" in tests]
            assert (single or whole) == ([*table.key] if len(table.key) == 1 else [_row(table.key)])
            assert ("relationships" in columns[table.key[0]]) is (table.parent is not None)


def _row(key: tuple[str, ...]) -> str:
    return "(" + ", ".join(f'"{name}"' for name in key) + ")"


def test_odd_names_and_texts_come_through() -> None:
    found = _read(sources([ODD], []))["replica"]
    assert found["odd things"]["quoting"] == {"identifier": True}
    assert found["odd things"]["description"] == ODD.description.replace("{{", "{ {")
    (column,) = (one for one in found["odd things"]["columns"] if one["name"] == "thing id")
    assert column == {"name": "thing id", "description": "- : yes, null { % raw %}", "quote": True}
    (_, refers) = found["odd things_lines_parts"]["columns"][0]["data_tests"]
    assert refers == {"relationships": {"arguments": {"to": "source('replica', 'odd things')", "field": "_id"}}}


def test_names_of_documents_are_neither_templates_nor_broken_characters() -> None:
    names = ["😀", "{{ env_var('X') }}", "{%endraw%}{{{", "a\u2028b\x7f\x85", "{#"]
    odd = Entity("Odd", "Odd.", "_id", tuple(text(name, "T.", nullable=True) for name in names), table="odd")
    written = as_yaml(sources([odd], []))
    assert all(line.isprintable() for line in written.splitlines())
    for loader in (yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        (schema,) = yaml.load(written, loader)["sources"]
        made = [jinja2.Template(one["name"]).render() for one in schema["tables"][0]["columns"]]
        assert set(names) <= set(made)


def test_a_file_of_somebody_s_own_is_not_replaced_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for page in ("sources.yml", "data-dictionary.md"):
        command = "dbt" if page == "sources.yml" else "dictionary"
        assert run(["docs", command]) == run(["docs", command]) == 0
        (tmp_path / page).write_text("mine")
        assert run(["docs", command]) == 2
        assert (
            f"{page} is there and was not written so; name another file by -o, or add --replace"
            in capsys.readouterr().err
        )
        assert run(["docs", command, "--replace"]) == 0
    assert (tmp_path / "sources.yml").read_text() == as_yaml(sources(entities().values(), marts().values()))
