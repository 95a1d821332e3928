"""Questions before something is removed for good."""

import sys

import typer

from pipeline.cli.output import say
from pipeline.errors import UsageError


def check_can_answer(command: str, *, as_json: bool) -> None:
    """Refuse to ask where nobody is there to answer.

    Args:
        command: What asks, such as ``drop``.
        as_json: Whether a program called it.

    Raises:
        UsageError: Nobody is.
    """
    if as_json or not sys.stdin.isatty():
        raise UsageError(f"etl {command} asks before it removes anything; where nobody can answer, add --yes")


def confirm(question: str) -> None:
    """Ask whether to go on.

    Raises:
        Exit: The answer is no.
    """
    if not typer.confirm(question, err=True):
        say("nothing was removed")
        raise typer.Exit(UsageError.exit_code)
