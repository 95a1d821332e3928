"""Progress bars on stderr; none where stderr is no terminal."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from pipeline.cli.output import console
from pipeline.text.printable import visible

if TYPE_CHECKING:
    from pipeline.runs.run import Partition
    from pipeline.runtime.progress import Progress


class _Documents(ProgressColumn):
    """How many documents are done, and how many that is in a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        pace = f"{speed:>10,.0f}/s" if speed else ""
        return Text(f"{task.fields['done']:>12,}{pace:>14}", style="progress.percentage")


@contextmanager
def bars(doing: str) -> Iterator[Callable[[str, int, int, str], None]]:
    """Yield a function that shows how far something is: its name, what there is, what is done of it, and a label."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        _Documents(),
        TimeElapsedColumn(),
    )
    to = console(stderr=True)
    tasks: dict[str, TaskID] = {}
    with Bars(TextColumn(doing), *columns, console=to, disable=not to.is_terminal) as progress:

        def tell(name: str, total: int, done: int, label: str) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=None, done=0)
            progress.update(tasks[name], completed=done, total=total, done=done, description=visible(label))

        yield tell


@contextmanager
def collection_bars(doing: str) -> Iterator["Progress[str]"]:
    """Yield what ``generate`` and ``verify`` tell how far each collection is."""
    with bars(doing) as tell:
        yield lambda name, total, done: tell(name, total, done, name)


@contextmanager
def mart_spinner() -> Iterator["Progress[str]"]:
    """Yield what ``marts`` tells which mart is loaded, with its rows."""
    with console(stderr=True).status("marts") as spinner:
        yield lambda name, rows, _: spinner.update(Text(f"marts: {visible(name)}, {rows:,} rows"))


@contextmanager
def partition_bars(doing: str = "replicate") -> Iterator["Progress[Partition]"]:
    """Yield what ``replicate`` and ``sync`` tell how far each partition is.

    A collection has one bar, however many partitions it is cut into; the bar's end comes nearer as they are counted.
    """
    sources: dict[str, dict[int, int]] = defaultdict(dict)
    loaded: dict[str, dict[int, int]] = defaultdict(dict)
    with bars(doing) as tell:

        def partition_is(partition: "Partition", total: int, done: int) -> None:
            name, number = partition.collection, partition.number
            sources[name][number], loaded[name][number] = total, done
            tell(name, sum(sources[name].values()), sum(loaded[name].values()), partition.label.removesuffix(" 1/1"))

        yield partition_is
