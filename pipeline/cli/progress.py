"""How far a long command is, on stderr while it works; nothing where stderr is no terminal."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.cli.live import living
from pipeline.cli.output import console
from pipeline.runtime.timings import ACTIVITY
from pipeline.text.printable import visible

if TYPE_CHECKING:
    from pipeline.runs.run import Partition
    from pipeline.runtime.progress import Progress

_WINDOW_S = 10.0  # of which the rate, the time left and what is waited for are told
_FEWEST_S = 0.2  # what took less has no rate
_BAR, _GAP = 8, 2
_WITHOUT_RATE = 66  # columns of a terminal that is too narrow for it
_SERVERS = {"mongo": "MongoDB", "postgres": "PostgreSQL", "clickhouse": "ClickHouse"}
_SERVERS |= {"keys": "PostgreSQL", "prove": "MongoDB", "publish": "the stores"}  # after the last document
_OURSELVES = "etl itself"
Tell = Callable[[str, int, int, str], None]


@dataclass
class _Row:
    """One piece of work: a collection or a mart, or what comes before and after them."""

    label: str
    total: int | None = None
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    past: deque[tuple[float, int, Mapping[tuple[str, str], float]]] = field(default_factory=deque)

    def tell(self, total: int, done: int, label: str) -> None:
        self.total, self.done, self.label = total, done, label
        self.ended = time.monotonic() if done >= total else None

    def look(self, what: str) -> None:
        """Remember how far it is now, and forget what was long ago."""
        now = time.monotonic()
        while len(self.past) > 1 and self.past[1][0] < now - _WINDOW_S:
            self.past.popleft()
        self.past.append((now, self.done, ACTIVITY.seconds(what)))

    @property
    def rate(self) -> float | None:
        """Documents a second: of late, and in all when it is over."""
        if self.ended is not None:
            took = self.ended - self.began
            return self.done / took if took > _FEWEST_S else None
        (since, before, _), (now, done, _) = self.past[0], self.past[-1]
        return (done - before) / (now - since) if now - since > _FEWEST_S and done > before else None

    @property
    def time(self) -> str:
        """How long it will take, or has taken."""
        if self.ended is not None:
            return _clock(self.ended - self.began)
        rate = self.rate
        return f"{_clock((self.total - self.done) / rate)} left" if rate and self.total else ""

    @property
    def waits_for(self) -> str:
        """What it is bound by: of the lane that was idle least, what took most of its time."""
        if self.ended is not None or len(self.past) < 2:
            return ""
        (since, _, before), (now, _, seconds) = self.past[0], self.past[-1]
        lanes: dict[str, dict[str, float]] = defaultdict(dict)
        for (lane, stage), sofar in seconds.items():
            lanes[lane][stage] = sofar - before.get((lane, stage), 0.0)
        stages = max(lanes.values(), key=lambda one: sum(one.values()), default={})
        ours = max(0.0, now - since - sum(stages.values()))  # of what nothing is measured is our own
        servers: dict[str, float] = defaultdict(float)
        for stage, took in stages.items():
            servers[_SERVERS.get(stage, _OURSELVES)] += took
        servers[_OURSELVES] += ours
        return max(servers, key=lambda one: servers[one])


class _Rows:
    """The pieces of work of a command, drawn anew each time."""

    def __init__(self, doing: str, counted: str) -> None:
        self._doing, self._counted = doing, counted
        self._rows, self._lock = dict[str, _Row](), threading.Lock()

    def tell(self, name: str, total: int, done: int, label: str) -> None:
        """Take in how far a piece of work is."""
        with self._lock:
            self._rows.setdefault(name, _Row(label)).tell(total, done, label)

    def __rich_console__(self, to: Console, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            busy = ACTIVITY.under_way()
            rows = {**self._rows, **{one: self._rows.setdefault(one, _Row(one)) for one in busy}}
            for name, row in rows.items():
                row.look(name)
        shown = [row for row in rows.values() if row.total is not None or row.label in busy]
        yield self._table(shown, options.max_width, max(1, to.height - 3))

    def _table(self, rows: list[_Row], width: int, most: int) -> Table:
        hidden = sorted(rows, key=lambda one: (one.ended is None, one.ended or 0.0))[: max(0, len(rows) - most)]
        rows = [row for row in rows if row not in hidden]
        columns = {
            self._counted: [f"{row.done:,}" if row.total else "" for row in rows],
            "a second": [f"{row.rate:,.0f}" if row.rate else "" for row in rows],
            "time": [row.time for row in rows],
            "waits for": [row.waits_for for row in rows],
        }
        if width < _WITHOUT_RATE:
            del columns["a second"]
        bars = [ProgressBar(row.total, row.done, width=_BAR, pulse=row.total is None) for row in rows]
        taken = sum(_GAP + max(map(len, (name, *cells))) for name, cells in columns.items())
        made = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim", expand=False)
        first = f"{self._doing}, {len(hidden)} more" if hidden else self._doing
        made.add_column(first, no_wrap=True, overflow="ellipsis", max_width=max(5, width - taken - _BAR - _GAP))
        made.add_column("", width=_BAR)
        for name in columns:
            made.add_column(name, justify="left" if name == "waits for" else "right", no_wrap=True)
        for row, bar, *cells in zip(rows, bars, *columns.values(), strict=True):
            made.add_row(Text(visible(row.label)), bar, *cells)
        return made


@contextmanager
def _rows(doing: str, counted: str = "documents", *, stays: bool = True) -> Iterator[Tell]:
    """Yield a function that shows how far something is: its name, what there is, what is done of it, and a label."""
    drawn = _Rows(doing, counted)
    with living(drawn, stays=stays):
        yield drawn.tell if console(stderr=True).is_terminal else _tell_nobody


def _tell_nobody(name: str, total: int, done: int, label: str) -> None:
    """Take no notice."""


@contextmanager
def collection_bars(doing: str, counted: str = "documents", *, stays: bool = True) -> Iterator["Progress[str]"]:
    """Yield what tells how far each collection is, or each mart; at the end it stays on the terminal, or goes."""
    with _rows(doing, counted, stays=stays) as tell:
        yield lambda name, total, done: tell(name, total, done, name)


@contextmanager
def partition_bars(
    doing: str = "replicate", *, equal: bool = True, stays: bool = True
) -> Iterator["Progress[Partition]"]:
    """Yield what ``replicate`` and ``sync`` tell how far each partition is.

    A collection has one row, however many partitions it is cut into.

    Args:
        doing: The command.
        equal: Whether the partitions of a collection are about equally large, and numbered: those that were counted
            tell then how many documents there will be.
        stays: Whether it is left on the terminal at the end.
    """
    sources: dict[str, dict[int, int]] = defaultdict(dict)
    loaded: dict[str, dict[int, int]] = defaultdict(dict)
    with _rows(doing, stays=stays) as tell:

        def partition_is(partition: "Partition", total: int, done: int) -> None:
            name, number = partition.collection, partition.number
            sources[name][number], loaded[name][number] = total, done
            several, counted = _partitions(partition.label) if equal else 1, sources[name]
            expected = sum(counted.values()) * max(several, len(counted)) // len(counted)
            tell(name, expected, sum(loaded[name].values()), partition.label.removesuffix(" 1/1"))

        yield partition_is


def _partitions(label: str) -> int:
    """Return how many partitions there are by the label of one, such as ``UserSessions 3/8``."""
    number = label.rpartition("/")[2]
    return int(number) if number.isdecimal() else 1


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds + 0.5), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
