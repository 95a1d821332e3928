"""What a command says at its end: one JSON object, tables for people, or one sentence about what went wrong."""

import errno
import resource
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from pipeline.text.printable import visible, visible_json
from pipeline.text.redaction import redacted

WIDTH_OF_A_PIPE = 100
told = False  # that the command was interrupted
shared: Console | None = None  # of stderr, while something is drawn there again and again: what is said goes above it


def console(*, stderr: bool = False) -> Console:
    """Return a console that fits the terminal, or 100 columns where there is none."""
    if stderr and shared is not None:
        return shared
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else WIDTH_OF_A_PIPE, highlight=False, soft_wrap=False)


def show(values: Mapping[str, Any], *parts: RenderableType, as_json: bool) -> None:
    """Print the outcome of a command on stdout.

    Args:
        values: The outcome for programs; may hold dataclasses, dates and cluster times.
        *parts: The outcome for people.
        as_json: Whether a program asked.
    """
    if as_json:
        _print_json(values)
        return
    to = console()
    for part in parts:
        to.print(part, soft_wrap=isinstance(part, Text) and bool(part.no_wrap))


def say(text: str) -> None:
    """Tell on stderr, in a line, what is being done."""
    console(stderr=True).print(Text(visible(text)))


def say_error(sentence: str) -> None:
    """Tell on stderr, in a line, what went wrong."""
    typer.echo(f"error: {visible(' '.join(sentence.split()))}", err=True)


def moment(cluster_time: Any) -> datetime:
    """Return a cluster time as a date in UTC, to the second."""
    return datetime.fromtimestamp(cluster_time.time, UTC)


def failed(error: Exception, *, as_json: bool, debug: bool) -> int:
    """Tell an error in one sentence and return the exit code.

    Args:
        error: Expected or not.
        as_json: Whether a program asked; it gets ``{"error": ...}`` on stdout.
        debug: Whether to show the traceback as well; it may show more than the sentence does.
    """
    if debug:
        for line in redacted("".join(traceback.format_exception(error))).splitlines():
            typer.echo(visible(line), err=True)
    sentence, code = _sentence(error)
    say_error(sentence)
    if as_json:
        _print_json({"error": sentence})
    return code


def interrupted(*, as_json: bool) -> None:
    """Tell that Ctrl-C ended the command."""
    global told
    told = True
    typer.echo("interrupted", err=True)
    if as_json:
        _print_json({"error": "interrupted"})


def _sentence(error: Exception) -> tuple[str, int]:
    from contracts.schema.entity import ContractError
    from pipeline.errors import EtlError

    if isinstance(error, EtlError):
        text, code = str(error), error.exit_code
    elif isinstance(error, ContractError):
        text, code = str(error), 2
    elif isinstance(error, typer.TyperException):
        text, code = f"{_usage(error)}; etl --help tells more", 2
    elif isinstance(error, OSError) and error.strerror:
        text, code = f"{_of_the_system(error)} (etl --debug shows where)", 2
    else:
        text, code = f"{type(error).__name__}: {error} (unexpected; etl --debug shows where)", 2
    # Whatever a library put into its message, a password doesn't leave us.
    return visible(" ".join(redacted(text).split())), code


def _of_the_system(error: OSError) -> str:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"too many files are open: this process may open {files}; ulimit -n 4096 before the command raises that"
    names = ", ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    return f"the system refuses{f' {names}' if names else ''}: {error.strerror}"


def _usage(error: Exception) -> str:
    says = getattr(error, "format_message", error.__str__)()
    return str(says).rstrip(".")


def _print_json(values: Mapping[str, Any]) -> None:
    import orjson

    text = orjson.dumps(values, default=_as_json, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode()
    sys.stdout.write(f"{visible_json(text)}\n")
    sys.stdout.flush()


def _as_json(value: Any) -> Any:
    from bson import Timestamp

    return moment(value) if isinstance(value, Timestamp) else str(value)
