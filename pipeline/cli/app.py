"""The command line ``etl``: parse, call one use case, print; nothing is decided here.

What a command needs is imported inside it, so that ``etl --help`` answers at once.
"""

import gc
import sys
from typing import Annotated

import typer

from pipeline.cli.contract import app as contract
from pipeline.cli.demo import demo
from pipeline.cli.docs import app as docs
from pipeline.cli.doctor import doctor
from pipeline.cli.drop import drop
from pipeline.cli.engines import down, psql, up
from pipeline.cli.generate import generate
from pipeline.cli.history import app as history
from pipeline.cli.marts import app as marts
from pipeline.cli.metrics import metrics
from pipeline.cli.output import failed, interrupted
from pipeline.cli.prune import prune
from pipeline.cli.quarantine import app as quarantine
from pipeline.cli.replicate import replicate, sync
from pipeline.cli.report import report
from pipeline.cli.status import status
from pipeline.cli.verify import verify
from pipeline.runtime.signals import came_by_interrupt

INTERRUPTED, TERMINATED = 130, 143  # what shells expect of a command that Ctrl-C or SIGTERM ended
_PANELS = {
    "Begin here": (demo, doctor),
    "The job": (generate, replicate, sync, verify, report, status, metrics, drop, prune),
    "Embedded engines": (up, down),
}

app = typer.Typer(
    name="etl", add_completion=False, pretty_exceptions_enable=False, context_settings={"max_content_width": 100}
)
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)
app.command(rich_help_panel="Embedded engines", context_settings={"ignore_unknown_options": True})(psql)
app.add_typer(contract, name="contract", rich_help_panel="The job")
app.add_typer(marts, name="marts", rich_help_panel="The job")
app.add_typer(docs, name="docs", rich_help_panel="The job")
app.add_typer(history, name="history", rich_help_panel="The job")
app.add_typer(quarantine, name="quarantine", rich_help_panel="The job")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"etl {version('mongo-marts')}")
        except PackageNotFoundError:
            typer.echo("etl, run from a source tree that is not installed")
        raise typer.Exit


@app.callback()
def etl(
    version: Annotated[
        bool, typer.Option("--version", "-v", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """An exact, provable copy of MongoDB in PostgreSQL and ClickHouse, and marts computed from it.

    ETL_MONGO_URI, ETL_POSTGRES_URI and ETL_CLICKHOUSE_URI name the servers. For
    one that is not named, an embedded engine runs as long as the command does,
    with its data under ETL_HOME (default .etl).

    Examples:
      etl demo                  everything at once, with made-up documents
      etl replicate && etl verify && etl marts
      etl sync                  only what was changed since
      etl status                what each table shows, and what was refused
      etl report --open         marts and books as a page
      etl verify --json         one JSON object on stdout, for scripts

    Exit code 0: done. 1: the data are not as promised.
    2: wrong usage, or a server can't be reached. 130, 143: ended by Ctrl-C, SIGTERM.
    """


def main() -> None:
    """Run ``etl`` with the arguments of this process, and end the process with its exit code."""
    gc.disable()  # until the work begins: to look through what is being imported took a third of the start
    code = run(sys.argv[1:])
    gc.freeze()  # the interpreter would look through it once more at its end
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run ``etl`` and return its exit code; an error is told in one sentence on stderr.

    Args:
        arguments: As the shell gives them, without the program's name.
    """
    # An error may come before the options are parsed, or from parsing them: so they are looked up here.
    as_json, debug = "--json" in arguments, "--debug" in arguments
    try:
        code = int(app(arguments or ["--help"], prog_name="etl", standalone_mode=False) or 0)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as ended:  # by SIGTERM
        code = ended.code if isinstance(ended.code, int) else INTERRUPTED
    except Exception as error:
        if not came_by_interrupt(error):
            return failed(error, as_json=as_json, debug=debug)
        code = INTERRUPTED
    if code in (INTERRUPTED, TERMINATED):
        interrupted(as_json=as_json)
    return code
