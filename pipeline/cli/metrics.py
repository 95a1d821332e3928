"""``etl metrics``: what the books say, for a monitoring."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pipeline.cli.options import AsJson
from pipeline.cli.output import show
from pipeline.cli.sessions import bookkeeper
from pipeline.runtime.files import write_whole
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
        write_whole(output, text, _READABLE)
    shown = [] if output is not None else [Text(told, no_wrap=True, overflow="ignore")]
    show({"file": output, "metrics": found}, *shown, as_json=as_json)
