"""The pages of reference that follow from the code: the command line, the environment, the words of contracts.

``python -m pipeline.cli.reference FOLDER`` writes them there (``make reference``).
"""

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from pydantic import ByteSize

from contracts.schema.entity import Entity, Field
from contracts.schema.examples import EXAMPLES, words
from contracts.schema.mart import Mart
from pipeline.cli.app import app
from pipeline.cli.json_schema import meanings_of
from pipeline.settings import Settings

_WRITTEN = "This page is written from the code (`make reference`; a test fails if it is stale)."
_ENVIRONMENT = """\
All settings are read from the environment, in one place. Times are written as `90s`, `10min` or `1h`, sizes as
`512MiB`; folders are joined by `:`. A value that can't be read, or a name that is almost one of these, ends the command
with exit code 2 and a sentence that names the variable. In Airflow the URIs may also come from
[Connections](airflow.md#connections), and a few more variables set
[pools, timeouts and schedules](airflow.md#limits-that-you-set)."""
_JSON = """\
With `--json` a command prints one JSON object on stdout, and all else on stderr. If it fails it prints
`{"error": ...}`, one sentence, and its exit code is 1 or 2; `verify` also tells what it found before. A schema (draft
2020-12) says every key that an outcome has, and what it means: a test holds what the commands print against them.
Moments are UTC, in ISO 8601; `cluster_time` is MongoDB's own, exactly."""
_UNSET = {"workers": "by cores and memory", "reports": "`reports` in the home"}
_REMARK = re.compile(" {3,}")


def command_line() -> str:
    """Return what ``etl --help`` tells of all commands, in Markdown."""
    group = typer.main.get_command(app)
    commands = [line for name, command in _commands(group, "etl") for line in _command(name, command)]
    whole = (("option", "meaning", "default"), [_parameter(one) for one in group.params])
    return "\n".join(("# Command line", "", _WRITTEN, "", *_text(group.help or ""), *_table(*whole), "", *commands))


def environment() -> str:
    """Return a table of all settings, in Markdown."""
    meanings = meanings_of(Settings)
    rows = (
        (f"`ETL_{name.upper()}`", meanings[name], _default(name, field.default))
        for name, field in Settings.model_fields.items()
    )
    table = _table(("variable", "meaning", "if unset"), rows)
    return "\n".join(("# Environment variables", "", _WRITTEN, "", _ENVIRONMENT, "", *table))


def contract_words() -> str:
    """Return the words that contracts are written in, in Markdown."""
    rows = ((f"`{_call(word)}`", _first(word), _options(word)) for word in words().values())
    parts = ["# Words of contracts", "", _WRITTEN, ""]
    parts += ["A contract is a module that defines `ENTITY`; [own collections](own-collections.md) shows one.", ""]
    parts += ["## Kinds of fields", "", *_table(("word", "effect", "options"), rows), ""]
    parts += [
        "## An example of each",
        "",
        "What the document has, how it is declared, and the columns in PostgreSQL and ClickHouse.",
        "",
    ]
    parts += ["```text", "\n\n".join("\n".join(one.lines) for one in EXAMPLES.values()), "```", ""]
    for title, kind in (("Options of a field", Field), ("Entity", Entity), ("Mart", Mart)):
        attributes = ((f"`{name}`", meaning) for name, meaning in meanings_of(kind).items())
        parts += [f"## {title}", "", *_table(("name", "meaning"), attributes), ""]
    return "\n".join(parts)


def json_output() -> str:
    """Return a table of the schemas of what commands print with ``--json``, in Markdown."""
    from pipeline.cli.outcomes import file_of, schema  # with all that commands give

    rows = [
        (
            f"`etl {name}`",
            f"[{file_of(name)}](json/{file_of(name)})",
            ", ".join(f"`{key}`" for key in schema(name)["anyOf"][0]["properties"]),
        )
        for name in _with_json()
    ]
    parts = ["# JSON", "", _WRITTEN, "", _JSON, "", *_table(("command", "schema", "keys"), rows), ""]
    return "\n".join(parts)


def schemas() -> dict[str, str]:
    """Return the JSON schemas, by the name of their file."""
    from pipeline.cli.outcomes import OUTCOMES, file_of, schema

    return {file_of(name): json.dumps(schema(name), indent=2) + "\n" for name in OUTCOMES}


def _with_json() -> Iterator[str]:
    """Yield the names of all commands that take ``--json``, without ``etl``."""
    for name, command in _commands(typer.main.get_command(app), "etl"):
        if any("--json" in one.opts for one in command.params) or hasattr(command, "meant"):
            yield name.removeprefix("etl ")


PAGES = {
    "command-line.md": command_line,
    "environment.md": environment,
    "contracts.md": contract_words,
    "json-output.md": json_output,
}


def _commands(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    for word, command in group.commands.items():
        yield f"{name} {word}", command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{name} {word}")


def _command(name: str, command: Any) -> Iterator[str]:
    yield from (f"## {name}", "", *_text(command.help or ""))
    rows = [_parameter(one) for one in command.params]
    if rows:
        yield from (*_table(("option", "meaning", "default"), rows), "")


def _text(text: str) -> Iterator[str]:
    """Yield a docstring's paragraphs; what is indented is an example."""
    head, _, examples = inspect.cleandoc(text).partition("\nExamples:\n")
    before, example, after = examples.partition("\n\n")
    yield from (head.strip().replace("ETL_HOME (default .etl)", "`ETL_HOME` (default `.etl`)"), "")
    if before:
        lines = (_REMARK.sub("  # ", line.strip()) for line in before.splitlines())
        yield from ("```console", *(f"$ {line}" for line in lines), "```", "")
    if example:
        yield from (after, "")


def _parameter(one: Any) -> tuple[str, str, str]:
    name = ", ".join(one.opts) if one.opts[0].startswith("-") else one.metavar or one.name.upper()
    flag = getattr(one, "is_flag", False)
    value = f" {one.metavar.replace('|', ' or ')}" if one.metavar and name != one.metavar and not flag else ""
    told = isinstance(one.show_default, str)
    default = one.show_default if told else "" if flag or one.default in (None, ()) else str(one.default)
    return f"`{name}{value}`", one.help or "", default


def _call(word: Callable[..., Any]) -> str:
    parameters = inspect.signature(word).parameters.values()
    return f"{word.__name__}({', '.join(_written(one) for one in parameters if one.kind != one.VAR_KEYWORD)})"


def _written(one: inspect.Parameter) -> str:
    """Return a parameter as it is written in a call; one that goes only by its name with that and its default."""
    return f"{one.name}={one.default!r}" if one.kind == one.KEYWORD_ONLY else str(one).split(":")[0]


def _options(word: Callable[..., Any]) -> str:
    """Return the names of the options that a word takes, where its types tell them."""
    (named,) = [one.name for one in inspect.signature(word).parameters.values() if one.kind == one.VAR_KEYWORD] or [""]
    options = [name for hint in get_args(get_type_hints(word).get(named)) for name in get_type_hints(hint)]
    return ", ".join(f"`{name}`" for name in options)


def _first(thing: Any) -> str:
    return (thing.__doc__ or "").partition("\n\n")[0]


def _default(name: str, value: object) -> str:
    if value is None:
        return _UNSET.get(name, "an embedded engine")
    if isinstance(value, ByteSize):
        return f"`{value.human_readable().replace('.0', '')}`"
    if isinstance(value, float):
        return f"`{value:.0%}`" if name == "max_shrink" else f"{value:g} s"
    if isinstance(value, dict):
        return ", ".join(f"{key}={span:g} s".removeprefix("=") for key, span in value.items())
    if value in ((), ""):
        return "those of the demo" if name == "contracts" else "none"
    return f"`{value}`"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for row in (header, ("---",) * len(header), *rows):
        yield "| " + " | ".join(cell.replace("``", "`").replace("|", "\\|") for cell in row) + " |"


if __name__ == "__main__":
    for page, text in PAGES.items():
        Path(sys.argv[1], page).write_text(text().rstrip("\n") + "\n")
    Path(sys.argv[1], "json").mkdir(exist_ok=True)
    for file, content in schemas().items():
        Path(sys.argv[1], "json", file).write_text(content)
