"""``python -m pipeline.runtime.worker FD``: one of several processes, as `pipeline.runtime.workers` starts it."""

import gc
import logging
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from pipeline.errors import EtlError
from pipeline.runtime.environment import tune_environment
from pipeline.runtime.timings import ACTIVITY


def main(pipe: Connection) -> NoReturn:
    """Open what the first message names, and do one call after the other until the pipe is closed."""
    gc.disable()  # until the work begins: to look through what is being imported takes long
    said = _Said(pipe)
    _pass_log_lines_on(said)
    heard = _heard(pipe)
    try:
        opening, given = _next(heard)
        with opening(*given) as opened:
            gc.freeze()
            gc.enable()
            while (call := _next(heard)) is not None:
                function, arguments = call
                said.tell("done", function(opened, _progress(said), *arguments))
    except BaseException as error:
        said.tell("failed", _portable(error))
        threading.Event().wait()  # to be ended
    os._exit(0)


class _Said:
    """What goes to the process that has started this one, from any thread."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, threading.Lock()

    def tell(self, *message: object) -> None:
        with self._lock:
            self._pipe.send(message)


class _Handler(logging.Handler):
    def __init__(self, said: _Said) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.tell("log", record.name, record.levelno, record.getMessage())


def _pass_log_lines_on(said: _Said) -> None:
    logging.getLogger().addHandler(_Handler(said))


def _heard(pipe: Connection) -> "queue.SimpleQueue[bytes]":
    """Hear in a thread, so that the end of the other process is noticed whatever this one does."""
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def hear() -> NoReturn:
        while True:
            try:
                messages.put(pipe.recv_bytes())
            except (EOFError, OSError):
                os._exit(0)  # as if it were killed: nobody is left to tell

    threading.Thread(target=hear, daemon=True, name="pipe").start()
    return messages


def _next(heard: "queue.SimpleQueue[bytes]") -> Any:
    """Wait for what is to be done; functions are found by their names, so their modules are imported here."""
    return pickle.loads(heard.get())


def _progress(said: _Said) -> Callable[..., None]:
    return lambda *told: said.tell("progress", ACTIVITY.taken(), *told)


def _portable(error: BaseException) -> BaseException:
    """Return an error as another process can raise it; ``--debug`` shows there where it was raised here."""
    error.add_note(f"in a process of its own:\n{''.join(traceback.format_exception(error))}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        kind = type(error) if isinstance(error, EtlError) else RuntimeError
        return EtlError(f"{kind.__name__}: {error}")
    return error


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tune_environment()
    main(Connection(int(sys.argv[1])))
