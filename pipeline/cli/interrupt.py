"""Ctrl-C: it may come at any point, also while PostgreSQL works, or between two lines of a library."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

SECONDS_TO_END = 3.0  # to clean up in order takes one or two, to stop embedded engines one more
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heed_interrupts() -> None:
    """Let Ctrl-C raise ``KeyboardInterrupt``, at the end of the statement that PostgreSQL works at.

    By itself ADBC puts a handler in place of Python's while a statement runs; it asks the server to cancel. When the
    statement ends before that, the signal is lost and the command goes on: measured, one Ctrl-C in twenty-five.
    """
    from adbc_driver_manager import dbapi

    dbapi._blocking_call = _call  # type: ignore[attr-defined, assignment]


@contextmanager
def ended_in_time() -> Iterator[None]:
    """See to it that the process is over some seconds after Ctrl-C or SIGTERM came, whatever a library is at.

    Python's own handlers wait for the main thread to be back in Python: not while PostgreSQL builds an index for it.
    What is not cleaned up in time the next command clears away, as after a kill.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return
    ours, told = socket.socketpair()
    told.setblocking(False)
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(ours,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        told.close()
        watcher.join()
        ours.close()


def came_by_interrupt(error: BaseException | None) -> bool:
    """Tell whether an error was raised while something was cleaned up after Ctrl-C."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _call(
    function: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any], cancel: Callable[[], None]
) -> Any:
    """Call, and leave signals alone. To cancel from another thread is no way out: it ended in segmentation faults."""
    return function(*arguments, **options)


def _watch(wakeups: socket.socket) -> None:
    """Wait for a signal that is to end the process, and if the process isn't at its end in time, end it."""
    number = 0
    try:
        while told := wakeups.recv(1):
            if not number and told[0] in _ENDING:
                number = told[0]
                wakeups.settimeout(SECONDS_TO_END)
    except TimeoutError:
        _end(128 + number)


def _end(code: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # the cursor, which a progress bar hides
    sys.stderr.write("interrupted in the middle of a step; the next command clears away what it left\n")
    if "--json" in sys.argv:
        sys.stdout.write('{"error": "interrupted"}\n')
    for stream in (sys.stderr, sys.stdout):
        stream.flush()
    os._exit(code)
