"""``etl docs``: what the contracts say, written for other tools and for people."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pipeline.cli.options import AsJson
from pipeline.cli.output import show
from pipeline.errors import UsageError
from pipeline.runtime.files import write_whole
from pipeline.text.printable import visible

app = typer.Typer(no_args_is_help=True)
Replace = Annotated[bool, typer.Option("--replace", help="Also replace a file that was not written so.")]


@app.callback()
def docs() -> None:
    """Write what contracts say of tables and columns: for dbt, and for people.

    Examples:
      etl docs dbt
      etl docs dictionary
    """


@app.command("dbt")
def dbt(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to.")] = Path("sources.yml"),
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Write the sources of a dbt project: tables, columns, descriptions, and tests of keys.

    For replica, history and marts, in PostgreSQL or ClickHouse alike.
    dbt test then looks for nulls and doubles in keys, and for rows without the
    row that they refer to.

    Examples:
      etl docs dbt
      etl docs dbt -o models/sources.yml
    """
    from contracts.schema.dbt import WRITTEN, as_yaml, sources
    from contracts.schema.registry import entities
    from contracts.schema.registry import marts as known
    from pipeline.settings import Settings
    from transforms.marts import marts_of

    settings = Settings.load()
    declared = entities(settings.contracts).values()
    found = sources(declared, marts_of(declared, known(settings.marts)).values())
    _write(output, as_yaml(found), WRITTEN, replace=replace)
    tables = {schema: len(tables) for schema, tables in found.items()}
    told = ", ".join(f"{count} of {schema}" for schema, count in tables.items()) or "none, for nothing is declared"
    show({"file": output, "tables": tables}, Text(visible(f"{output}: tables: {told}")), as_json=as_json)


@app.command("dictionary")
def dictionary(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to.")] = Path(
        "data-dictionary.md"
    ),
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Write the data dictionary of your contracts and marts, in Markdown.

    Examples:
      etl docs dictionary
      etl docs dictionary -o docs/data-dictionary.md
    """
    from contracts import DEMO
    from contracts.schema.dictionary import dictionary as describe
    from pipeline.settings import Settings

    settings = Settings.load()
    text = describe((*(settings.contracts or (DEMO,)), *settings.marts))
    _write(output, text, text.partition("\n")[0], replace=replace)
    show({"file": output, "lines": text.count("\n")}, Text(visible(f"{output} is written")), as_json=as_json)


def _write(path: Path, text: str, begins: str, *, replace: bool) -> None:
    """Write a file, unless there is one that begins otherwise than ours do.

    Raises:
        UsageError: It can't be written, or would take the place of something else.
    """
    try:
        if not replace and path.is_file() and not path.read_text("utf-8", "replace").startswith(begins):
            raise UsageError(f"{path} is there and was not written so; name another file by -o, or add --replace")
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}") from error
    write_whole(path, text)
