"""``etl status``: what the books say."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text

from pipeline.cli import json_values as values
from pipeline.cli import tables
from pipeline.cli.live import living
from pipeline.cli.options import AsJson
from pipeline.cli.output import console, show
from pipeline.cli.sessions import bookkeeper
from pipeline.errors import UsageError
from pipeline.runtime.signals import came_by_interrupt
from pipeline.text.printable import visible

if TYPE_CHECKING:
    from pipeline.control.status import Status
    from pipeline.stores.postgres.session import Session


def status(
    seconds: Annotated[
        float | None, typer.Argument(min=0.1, help="How long --watch rests in between.", show_default="2")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="On a terminal: draw it anew until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the last runs and their books, which moment each table shows, what is in quarantine, and which engines run.

    Examples:
      etl status
      etl status --watch 5
      etl status --json | jq .quarantined
    """
    from pipeline.control.status import Status
    from pipeline.control.status import status as read
    from pipeline.engines.embedded import running
    from pipeline.settings import Settings

    if seconds is not None and not watch:
        raise UsageError("SECONDS says how often it is drawn, so it goes with --watch")
    home = Settings.load().home
    engines = sorted(running(home))
    with bookkeeper() as postgres:
        if watch and postgres is not None and not as_json and console(stderr=True).is_terminal:
            _watch(postgres, seconds or 2.0)
        found = read(postgres) if postgres is not None else Status()
    lines = [f"embedded engines that run under {visible(str(home))}: {', '.join(engines) or 'none'}"]
    if not found.runs:
        lines.append("nothing replicated yet; run etl demo, or etl generate and etl replicate")
    parts = tables.state(found) if found.runs else []
    closing = Text("\n".join(lines), no_wrap=True, overflow="ignore")
    show({"home": home, "engines": engines, **values.state(found)}, *parts, closing, as_json=as_json)


class _Watched:
    """What the books say, as it was read last, in as many lines as the terminal has."""

    def __init__(self, found: "Status") -> None:
        self.found = found

    def __rich_console__(self, to: Console, options: ConsoleOptions) -> RenderResult:
        now = datetime.now(UTC)
        lines = to.render_lines(Group(*tables.standing(self.found, now)), options.update(height=None))
        last = Text(f"{now:%Y-%m-%d %H:%M:%S} UTC; Ctrl-C ends it", style="dim")
        room = to.height - 2
        if len(lines) > room:
            last = Text(f"… {len(lines) - room} more lines; ", style="dim") + last
        for line in lines[:room]:
            yield from line
            yield from to.render(Text(""), options)
        yield last


def _watch(postgres: "Session", every: float) -> None:
    """Draw what the books say again and again, until Ctrl-C."""
    from pipeline.control.status import status as read

    watched = _Watched(read(postgres))
    try:
        with living(watched, screen=True):
            while True:
                time.sleep(every)
                watched.found = read(postgres)
    except BaseException as error:
        if not came_by_interrupt(error):
            raise
