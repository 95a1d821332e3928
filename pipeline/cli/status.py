"""``etl status``: what the books say."""

from rich.text import Text

from pipeline.cli import json_values as values
from pipeline.cli import tables
from pipeline.cli.options import AsJson
from pipeline.cli.output import show
from pipeline.cli.sessions import bookkeeper
from pipeline.text.printable import visible


def status(as_json: AsJson = False) -> None:
    """Show the last runs and their books, which moment each table shows, what is in quarantine, and which engines run.

    Examples:
      etl status
      etl status --json | jq .quarantined
    """
    from pipeline.control.status import Status
    from pipeline.control.status import status as read
    from pipeline.engines.embedded import running
    from pipeline.settings import Settings

    home = Settings.load().home
    engines = sorted(running(home))
    with bookkeeper() as postgres:
        found = read(postgres) if postgres is not None else Status()
    lines = [f"embedded engines that run under {visible(str(home))}: {', '.join(engines) or 'none'}"]
    if not found.runs:
        lines.append("nothing replicated yet; run etl demo, or etl generate and etl replicate")
    parts = tables.state(found) if found.runs else []
    closing = Text("\n".join(lines), no_wrap=True, overflow="ignore")
    show({"home": home, "engines": engines, **values.state(found)}, *parts, closing, as_json=as_json)
