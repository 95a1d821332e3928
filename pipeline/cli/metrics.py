"""``etl metrics``: what the books say, for a monitoring."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated

import typer
from rich.text import Text

from pipeline.cli.options import AsJson
from pipeline.cli.output import show
from pipeline.cli.sessions import bookkeeper
from pipeline.errors import UsageError
from pipeline.text.printable import visible

_READABLE = 0o644  # others read it: node_exporter runs as a user of its own


def metrics(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write there, all at once.", show_default="stdout"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print figures for Prometheus: lag, books, quarantine by reason, rows, runs and their times, verifications.

    Only the books are read. With -o the file is replaced at once, as the textfile
    collector of node_exporter wants it; when the books can't be read it stays as it is.

    Examples:
      etl metrics
      etl metrics -o /var/lib/node_exporter/textfile/etl.prom
      etl metrics --json | jq '.metrics[] | select(.name == "etl_lag_seconds")'
    """
    from pipeline.control.metrics import metrics as read
    from pipeline.text.prometheus import as_text

    with bookkeeper() as postgres:
        found = [one for one in read(postgres) if one.samples]
    text = as_text(found)
    told = "\n".join(map(visible, text.splitlines())) if sys.stdout.isatty() else text.rstrip("\n")
    if output is not None:
        _replace(output, text)
    shown = [] if output is not None else [Text(told, no_wrap=True, overflow="ignore")]
    show({"file": output, "metrics": found}, *shown, as_json=as_json)


def _replace(path: Path, text: str) -> None:
    """Put a text in a file's place: whoever reads it sees all of the old one or all of the new one.

    Raises:
        UsageError: It can't be written.
    """
    made = ""
    try:
        with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            made = file.name
            file.write(text)
        os.chmod(made, _READABLE)
        os.replace(made, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(made)
        raise UsageError(f"{path} can't be written: {error.strerror or error}") from error
