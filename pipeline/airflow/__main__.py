"""``python -m pipeline.airflow``: all of Airflow on this machine, beside the embedded engines, until Ctrl-C."""

import sys
from pathlib import Path

import typer

from pipeline.airflow.local import serve
from pipeline.errors import EtlError


def main() -> int:
    """Serve the folder ``dags`` under the current one; return the exit code."""
    try:
        serve(Path("dags"))
    except KeyboardInterrupt:
        return 0
    except EtlError as error:
        typer.echo(f"error: {error}", err=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
