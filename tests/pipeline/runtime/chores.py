"""What the processes of `test_workers` are asked to do: they find it by its name."""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError

Progress = Callable[[int, int], None]


@contextmanager
def opened(folder: Path) -> Iterator[Path]:
    """Leave a file for as long as the process works."""
    mark = folder / f"open-{os.getpid()}"
    mark.touch()
    yield folder
    mark.unlink()


@contextmanager
def refused(_: Path) -> Iterator[None]:
    raise UsageError("it can't be opened")
    yield


def square(_: Path, progress: Progress, number: int) -> tuple[int, int]:
    progress(number, number)
    logging.getLogger("chores").warning("%s squared", number)
    return number * number, os.getpid()


def fail(_: Path, __: Progress, sentence: str) -> None:
    raise UsageError(sentence)


def die(folder: Path, _: Progress, times: int) -> int:
    """Die as by kill -9, the first few times."""
    before = len(list(folder.glob("died-*")))
    if before < times:
        (folder / f"died-{before}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return before


def sleep(_: Path, progress: Progress) -> None:
    progress(1, 0)
    time.sleep(60)


def limits(connections: Any, _: Progress) -> tuple[int, dict[str, str | None]]:
    """Return what memory and how many threads the process may take."""
    names = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS")
    return connections.memory.total, {name: os.environ.get(name) for name in names}
