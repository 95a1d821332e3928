"""Expected errors as one line of a task's log: their sentence says all; the frames of the others stay.

Airflow logs whatever ends a task with its traceback and has no setting for that. Its lines pass a list of processors,
which structlog lets everybody see; ours goes before them.
"""

import sys
from collections.abc import MutableMapping
from typing import Any

from pipeline.errors import EtlError


def in_one_line() -> None:
    """Let this process log expected errors without frames from now on."""
    import structlog

    processors = structlog.get_config()["processors"]
    if without_frames not in processors:
        processors.insert(0, without_frames)  # loggers that are in use already have this very list


def without_frames(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return a log line with an expected error as a part of its sentence, as a processor of structlog."""
    given = line.get("exc_info")
    error = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else sys.exception()
    if given and isinstance(error, EtlError):
        del line["exc_info"]
        line["event"] = f"{type(error).__name__}: {error}"
    return line
