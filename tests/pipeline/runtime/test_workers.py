"""Several processes: their results, errors and log lines come back, and none outlives the one that started them."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.errors import EtlError, UsageError
from pipeline.runtime import workers
from pipeline.runtime.workers import Call, Workers
from tests.pipeline.runtime import chores


def share(folder: Path, *calls: tuple[Any, ...], opening: Any = chores.opened, number: int = 2) -> list[Any]:
    told: list[tuple[int, int, int]] = []
    wanted = [Call(function, tuple(rest), f"chore {place}", 2**30) for place, (function, *rest) in enumerate(calls)]
    found = dict(Workers(number, opening, (folder,)).share(wanted, lambda *said: told.append(said)))
    return [found[place] for place in range(len(calls))]


@pytest.fixture(autouse=True)
def none_is_left() -> Iterator[None]:
    """None of them outlives a test, be it as a process that ended and that nobody waited for."""
    before = set(psutil.Process().children())
    yield
    assert set(psutil.Process().children()) <= before


def test_each_call_is_done_once_by_one_of_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = share(tmp_path, *((chores.square, number) for number in range(6)))
    assert [square for square, _ in found] == [0, 1, 4, 9, 16, 25]
    processes = {process for _, process in found}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert sorted(caplog.messages) == [f"{number} squared" for number in range(6)]
    assert list(tmp_path.iterdir()) == []  # they have closed what they had opened


@pytest.mark.parametrize(("opening", "sentence"), [(chores.opened, "it is wrong"), (chores.refused, "it can't be op")])
def test_an_error_of_one_ends_all(tmp_path: Path, opening: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        share(tmp_path, (chores.sleep,), (chores.fail, "it is wrong"), opening=opening)
    assert "in a process of its own" in caught.value.__notes__[0]


def test_what_a_killed_one_was_at_is_done_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert share(tmp_path, (chores.die, 1), (chores.square, 3))[0] == 1
    assert "the process that was at chore 0 ended by signal 9; another one does that again" in caplog.messages


def test_what_ends_a_second_process_ends_all(tmp_path: Path) -> None:
    with pytest.raises(EtlError, match="the process that was at chore 1 ended by signal 9, and the one that took it "):
        share(tmp_path, (chores.sleep,), (chores.die, 2))


def test_they_end_when_the_command_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.pipeline.runtime import chores, test_workers\n"
        "test_workers.share(Path(sys.argv[1]), (chores.sleep,), (chores.sleep,))"
    )
    root = Path(__file__).parents[3]
    leader = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=root)
    give_up = time.monotonic() + 30
    while len(marks := list(tmp_path.glob("open-*"))) < 2 and time.monotonic() < give_up:
        time.sleep(0.05)
    found = [psutil.Process(int(mark.name.removeprefix("open-"))) for mark in marks]
    assert len(found) == 2
    leader.send_signal(signal.SIGKILL)
    leader.wait()
    gone, left = psutil.wait_procs(found, timeout=10)
    assert (len(gone), left) == (2, [])


def test_few_bytes_are_not_worth_a_process() -> None:
    def calls(*sizes: int) -> list[Call]:
        return [Call(chores.square, (1,), "", size) for size in sizes]

    many, one = Workers(4), workers.SHARE_BYTES
    assert many.wanted([]) == many.wanted(calls(0, 0, 0)) == many.wanted(calls(one)) == 1
    assert many.wanted(calls(one, one // 2)) == 1
    assert many.wanted(calls(one, one)) == many.wanted(calls(one, one // 2, one // 2)) == 2
    assert many.wanted(calls(*[one] * 9)) == 4
    assert Workers().wanted(calls(*[one] * 9)) == 1
    assert Workers(4, effort=2).wanted(calls(one // 2, one // 2)) == 2
