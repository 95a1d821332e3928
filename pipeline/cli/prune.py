"""``etl prune``: what the books no longer have to keep."""

from typing import Annotated

import typer
from rich.text import Text

from pipeline.cli import tables
from pipeline.cli.options import AsJson, Wait
from pipeline.cli.output import show
from pipeline.cli.sessions import connected


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Remove from the books what is old: details of runs, runs, and documents that are not refused any more.

    ETL_KEEP_DETAILS_DAYS (30), ETL_KEEP_RUNS_DAYS (365) and ETL_KEEP_RESOLVED_DAYS (30)
    say how long they are kept. What tables show and what is refused stays, however
    old. Every full copy does it as well.

    Examples:
      etl prune --dry-run
      ETL_KEEP_RESOLVED_DAYS=7 etl prune
    """
    from pipeline.runs.prune import prune as remove

    with connected(wait=wait) as connections:
        found = remove(connections, dry_run=dry_run)
    rows = [(one.table, one.what, one.older_than_days, one.rows) for one in found]
    title = "Would be pruned; nothing is removed yet" if dry_run else "Pruned"
    part = tables.table(title, ("table", "what", "older than days", "rows"), rows)
    parts = [part if rows else Text("nothing replicated yet, so there is nothing to prune")]
    show({"dry_run": dry_run, "pruned": found}, *parts, as_json=as_json)
