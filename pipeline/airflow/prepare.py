"""``python -m pipeline.airflow.prepare``: bring Airflow's own database to its version, and make the pools.

It is what ``make airflow`` and the stack do before they start Airflow, by Airflow's own commands, in one process. The
sizes of the pools are those of the environment, whatever was changed in the UI.
"""

import sys

import typer

from pipeline.airflow.limits import slots
from pipeline.errors import UsageError


def main() -> int:
    """Prepare the database; return the exit code."""
    try:
        pools = slots()
    except UsageError as error:
        typer.echo(f"error: {error}", err=True)
        return error.exit_code
    _airflow("db", "migrate")
    for name, (size, purpose) in pools.items():
        _airflow("pools", "set", name, str(size), purpose)
    return 0


def _airflow(*words: str) -> None:
    """Run a command of Airflow's, without the seconds that a process of its own takes to start."""
    from airflow.cli.cli_parser import get_parser

    arguments = get_parser().parse_args(words)
    arguments.func(arguments)


if __name__ == "__main__":
    sys.exit(main())
