"""Progress bars on stderr; none where stderr is no terminal."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from pipeline.cli.output import console
from pipeline.text.printable import visible

if TYPE_CHECKING:
    from pipeline.runs.run import Partition


class _Documents(ProgressColumn):
    """How many documents are through, and how many that is in a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        pace = f"{speed:>10,.0f}/s" if speed else ""
        return Text(f"{task.fields['through']:>12,}{pace:>14}", style="progress.percentage")


@contextmanager
def bars(doing: str) -> Iterator[Callable[[str, int, int, str], None]]:
    """Yield a function that shows how far something is: its name, what is through, what there is, and a label."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        _Documents(),
        TimeElapsedColumn(),
    )
    to = console(stderr=True)
    tasks: dict[str, TaskID] = {}
    with Progress(TextColumn(doing), *columns, console=to, disable=not to.is_terminal) as progress:

        def tell(name: str, through: int, total: int, label: str = "") -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=None, through=0)
            progress.update(
                tasks[name], completed=through, total=total, through=through, description=visible(label or name)
            )

        yield tell


@contextmanager
def generation_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Yield what ``generate`` calls: with a collection, the documents that are written, and all of them."""
    with bars("generate") as tell:
        yield lambda name, written, total: tell(name, written, total, "")


@contextmanager
def comparison_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Yield what ``verify`` calls: with a collection, its documents, and those that are through."""
    with bars("verify") as tell:
        yield lambda name, total, through: tell(name, through, total, "")


@contextmanager
def mart_spinner() -> Iterator[Callable[[str, int], None]]:
    """Yield what ``marts`` calls: with a mart that is computed, and its rows."""
    with console(stderr=True).status("marts") as spinner:
        yield lambda name, rows: spinner.update(Text(f"marts: {visible(name)}, {rows:,} rows"))


@contextmanager
def partition_bars(doing: str = "replicate") -> Iterator[Callable[["Partition", int, int], None]]:
    """Yield what ``replicate`` and ``sync`` call: with a partition, its documents, and those that are through.

    A collection has one bar, however many partitions it is cut into; the bar's end comes nearer as they are counted.
    """
    sources: dict[str, dict[int, int]] = defaultdict(dict)
    loaded: dict[str, dict[int, int]] = defaultdict(dict)
    with bars(doing) as tell:

        def partition_is(partition: "Partition", source: int, through: int) -> None:
            name, number = partition.collection, partition.number
            sources[name][number], loaded[name][number] = source, through
            tell(name, sum(loaded[name].values()), sum(sources[name].values()), partition.label.removesuffix(" 1/1"))

        yield partition_is
