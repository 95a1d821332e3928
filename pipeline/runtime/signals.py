"""Ctrl-C and SIGTERM end a command within seconds, whatever it waits for."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

_CANCEL_S = 0.5  # a statement that ends by itself leaves a cleaner end
_CUT_S = 2.0  # in which a server gives a statement up, and we undo what was begun
_END_S = 4.8
_STOP_S = 10.0  # more, where embedded engines are being stopped already
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

stopping = False  # whether embedded engines are being stopped
at_the_end: list[Callable[[], None]] = []  # what is still done when the process is ended; it must not take long


def install_signal_handlers(*, as_json: bool) -> None:
    """Have a thread learn of signals at once, also while the main thread is in the midst of a library.

    Python's own handlers run in the main thread, when it comes back from what it waits for.

    Args:
        as_json: Whether a program asked.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _exit)
    threading.Thread(target=_heed, args=(reading, as_json), daemon=True, name="signals").start()


def _interrupt(number: int, _: FrameType | None) -> None:
    signal.signal(number, lambda *_: None)  # the second one is the thread's business
    raise KeyboardInterrupt


def _exit(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _heed(reading: int, as_json: bool) -> None:
    hurrying = False
    while True:
        for number in os.read(reading, 64):
            if number in _ENDING and hurrying:
                end(number, as_json=as_json)
            elif number in _ENDING:
                hurrying = True
                threading.Thread(target=_hurry, args=(number, as_json), daemon=True, name="hurry").start()


def _hurry(number: int, as_json: bool) -> None:
    """Let what is waited for end, then fail; at last end the process, as if it were killed: the next one clears up."""
    time.sleep(_CANCEL_S)
    if waits := sys.modules.get("pipeline.runtime.waits"):
        waits.cancel_all()
        time.sleep(_CUT_S - _CANCEL_S)
        waits.cut_all()
        time.sleep(_END_S - _CUT_S)
    else:
        time.sleep(_END_S - _CANCEL_S)
    give_up = time.monotonic() + _STOP_S
    while stopping and time.monotonic() < give_up:
        time.sleep(0.1)
    end(number, as_json=as_json)


def end(number: int, *, as_json: bool) -> None:
    """End the process, as if it were killed."""
    for one in at_the_end:
        with suppress(Exception):
            one()
    outcome = sys.modules.get("pipeline.cli.output")
    if not getattr(outcome, "told", False):
        if os.isatty(2):
            os.write(2, b"\x1b[?25h")  # the cursor, which a progress bar hides
        os.write(2, b"interrupted in the middle of a step; the next command clears away what it left\n")
        if as_json:
            os.write(1, b'{\n  "error": "interrupted"\n}\n')
    os._exit(128 + number)


def came_by_interrupt(error: BaseException | None) -> bool:
    """Return whether an error was raised while Ctrl-C or SIGTERM was ending the command, which cuts connections."""
    while error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
        error = error.__context__
    return error is not None
