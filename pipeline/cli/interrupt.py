"""Ctrl-C: it may come at any point, also while PostgreSQL works, or between two lines of a library.

That a command ends soon whatever it waits for is the business of `pipeline.runtime.signals`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def install_sigint() -> None:
    """Let Ctrl-C raise ``KeyboardInterrupt``, at the end of the statement that PostgreSQL works at.

    By itself ADBC puts a handler in place of Python's while a statement runs; it asks the server to cancel. When the
    statement ends before that, the signal is lost and the command goes on: measured, one Ctrl-C in twenty-five.
    """
    from pipeline.stores.postgres.driver import manager

    manager._blocking_call = _call  # type: ignore[attr-defined, assignment]


def _call(
    function: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any], cancel: Callable[[], None]
) -> Any:
    """Call, and leave signals alone. To cancel from another thread is no way out: it ended in segmentation faults."""
    return function(*arguments, **options)
