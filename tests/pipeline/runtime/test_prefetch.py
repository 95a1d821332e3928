"""Working ahead in a thread: in order, not far, and never longer than somebody wants the items."""

import gc
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from pipeline.runtime.prefetch import prefetch


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    _until(lambda: set(threading.enumerate()) <= before)


class Source:
    """Yields numbers and notes what is done with it, and by which thread."""

    def __init__(self, length: int, error: BaseException | None = None) -> None:
        self.length, self.error = length, error
        self.made = 0
        self.ended_by: list[threading.Thread] = []

    def items(self) -> Iterator[int]:
        try:
            for number in range(self.length):
                self.made += 1
                yield number
            if self.error:
                raise self.error
        finally:
            self.ended_by.append(threading.current_thread())

    def has_ended(self) -> bool:
        """Wait until it is closed: a consumer who leaves waits for that, but not for long."""
        _until(lambda: self.ended_by)
        return len(self.ended_by) == 1


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 60  # passed only by what never comes
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


@pytest.mark.parametrize("length", [0, 1, 2, 1000])
def test_all_items_come_in_order(length: int) -> None:
    assert list(prefetch(range(length))) == list(range(length))
    assert list(prefetch(Source(length).items())) == list(range(length))


def test_it_works_ahead_but_not_far() -> None:
    source = Source(100)
    with closing(prefetch(source.items())) as ahead:
        assert source.made == 0  # nothing is done before it is wanted
        for taken in range(1, 20):
            next(ahead)
            _until(lambda: source.made >= taken + 1)  # noqa: B023 - called here
            time.sleep(0.01)
            # One is used, one waits, one is made.
            assert source.made <= taken + 2


def test_it_works_beside_the_consumer() -> None:
    """An item is made while the one before it is used: here each side waits for the other, and alone would for ever."""
    both = threading.Barrier(2, timeout=60)

    def items() -> Iterator[int]:
        for number in range(10):
            if number:
                both.wait()  # until the one before is in use
            yield number

    for number in prefetch(items()):
        if number < 9:
            both.wait()  # until the next one is being made


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_error_comes_after_the_items_before_it(kind: type[BaseException]) -> None:
    error = kind("told as it was")
    source = Source(3, error)
    seen: list[int] = []
    with pytest.raises(kind) as caught:
        seen.extend(prefetch(source.items()))
    assert seen == [0, 1, 2]
    assert caught.value is error
    assert source.has_ended()


def test_an_error_of_the_consumer_ends_the_producer() -> None:
    source = Source(10**9)

    def consume() -> None:
        for number in prefetch(source.items()):
            if number == 3:
                raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough") as caught:
        consume()
    assert caught.traceback  # which refers to the frame of the loop
    assert source.has_ended()
    assert source.made < 10


def test_who_stops_early_leaves_nothing_behind() -> None:
    source = Source(10**9)
    for number in prefetch(source.items()):
        if number == 2:
            break
    gc.collect()
    assert source.has_ended()
    assert source.made < 10
    # Closed by the thread that drove it: a generator that runs in another thread can't be closed.
    assert source.ended_by != [threading.current_thread()]


def test_one_that_its_own_thread_finds_abandoned_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    stray: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: stray.append(found.exc_value))
    left, ended = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        try:
            yield 1
            left.wait(60)
            gc.collect()  # as happens wherever enough objects are made
        finally:
            ended.set()

    ahead: Any = prefetch(items())
    next(ahead)
    circle = [ahead]
    circle.append(circle)  # as an error and its traceback are: nothing but garbage collection ends it
    del ahead, circle
    left.set()
    _until(ended.is_set)
    assert stray == []


def test_what_was_never_begun_is_never_asked() -> None:
    source = Source(3)
    ahead = prefetch(source.items())
    del ahead
    assert source.made == 0


def test_two_in_a_row_both_end() -> None:
    source = Source(10**9)
    inner = prefetch(source.items())
    with closing(prefetch(number * 2 for number in inner)) as outer:
        assert [next(outer) for _ in range(5)] == [0, 2, 4, 6, 8]
    del inner
    assert source.has_ended()


def test_an_error_while_closing_is_no_stray_one() -> None:
    """The consumer has gone: whom should it trouble? Not the interpreter's hook for threads."""

    def clumsy() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            raise ValueError("in the way out")

    with closing(prefetch(clumsy())) as ahead:
        next(ahead)


def test_beside_a_heavy_item_no_other_is_made() -> None:
    source = Source(6)
    with closing(prefetch(source.items(), lambda number: number == 2)) as ahead:
        assert [next(ahead), next(ahead), next(ahead)] == [0, 1, 2]
        time.sleep(0.1)
        assert source.made == 3
        assert next(ahead) == 3
        _until(lambda: source.made >= 5)
        assert list(ahead) == [4, 5]


def test_one_who_leaves_at_a_heavy_item_is_not_waited_for() -> None:
    source = Source(6)
    with closing(prefetch(source.items(), lambda _: True)) as ahead:
        assert next(ahead) == 0
    assert source.made == 1
    assert source.has_ended()


def test_an_item_lives_no_longer_than_it_is_used() -> None:
    class Thing:
        pass

    living: weakref.WeakSet[Thing] = weakref.WeakSet()

    def things() -> Iterator[Thing]:
        for _ in range(5):
            thing = Thing()
            living.add(thing)
            yield thing
            del thing

    for _ in prefetch(things(), lambda _: True):
        assert len(living) == 1


def test_who_leaves_does_not_wait_for_what_takes_long() -> None:
    released, ended = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        try:
            yield 1
            released.wait(60)  # as a document that takes its time
        finally:
            ended.set()

    ahead = prefetch(items())
    assert next(ahead) == 1
    with closing(ahead):
        pass
    assert not ended.is_set()
    released.set()
    _until(lambda: ended.is_set() and not any("_work" in one.name for one in threading.enumerate()))
