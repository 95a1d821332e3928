"""``etl sync --follow``: a line for each change, and on a terminal one that stays."""

import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from pipeline.cli import tables
from pipeline.cli.live import living
from pipeline.cli.output import say
from pipeline.runtime.signals import came_by_interrupt

if TYPE_CHECKING:
    from pipeline.connections import Connections
    from pipeline.replication.sync import Synced

_WINDOW_S = 60.0  # over which changes a second are told


class _Standing:
    """How the copies stand: how far they are behind, how much changes, and what was published last.

    Args:
        rest: Seconds between the end of a sync and the next one.
    """

    def __init__(self, rest: float) -> None:
        self._rest, self._begun = rest, time.monotonic()
        self._shown_at: float | None = None  # by this clock, when what is shown was the present
        self._changes = deque[tuple[float, int]]([(self._begun, 0)])
        self._last: tuple[datetime, int] | None = None

    def take_in(self, found: Sequence["Synced"]) -> None:
        """Take in what a sync has brought; the next one begins after its rest."""
        now, changed = time.monotonic(), sum(one.changed for one in found)
        self._shown_at, self._begun = self._begun, now + self._rest
        self._changes.append((now, changed))
        if changed:
            self._last = datetime.now(UTC), changed

    def __rich_console__(self, to: Console, options: ConsoleOptions) -> RenderResult:
        now = time.monotonic()
        while len(self._changes) > 1 and self._changes[1][0] < now - _WINDOW_S:
            self._changes.popleft()
        since = self._changes[0][0]
        changed = sum(number for at, number in self._changes if at > since)
        lag = "-" if self._shown_at is None else f"{now - self._shown_at:,.0f} s"
        told = [f"lag {lag}", f"{changed / max(1.0, now - since):,.1f} changes/s", _published(self._last)]
        yield Text("   ".join(told), no_wrap=True, overflow="ellipsis", style="dim")


def _published(last: tuple[datetime, int] | None) -> str:
    if last is None:
        return "nothing published yet"
    return f"last publish {last[0]:%H:%M:%S} UTC, {last[1]:,} document{'' if last[1] == 1 else 's'}"


def followed(
    connections: "Connections",
    collections: Sequence[str],
    every: float,
    max_quarantined: str | None,
    allow_shrink: bool,
) -> list["Synced"]:
    """Follow the changes until Ctrl-C, tell each that comes, and return what they were in all."""
    from pipeline.replication.sync import follow, summed

    total: list[Synced] = []
    standing = _Standing(every)
    say("following the changes; Ctrl-C ends it")
    try:
        with living(standing, stays=False):
            for found in follow(connections, collections, every, max_quarantined, allow_shrink=allow_shrink):
                total = summed(total, found)
                standing.take_in(found)
                for one in found:
                    if one.changed:
                        say(tables.change(one))
    except BaseException as error:
        if not came_by_interrupt(error):
            raise
    return total
