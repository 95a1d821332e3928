"""Expected errors are one line of a task's log, and the others keep their frames; by the logging that tasks have."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.errors import BooksOpenError, EtlError


@pytest.fixture
def log() -> Iterator[tuple[Any, io.BytesIO]]:
    """Set up logging as Airflow does in the process of a task, with a logger that is in use already."""
    import structlog
    from airflow.sdk.log import configure_logging, reset_logging

    handlers, level = logging.root.handlers[:], logging.root.level
    written = io.BytesIO()
    reset_logging()
    configure_logging(json_output=True, output=written, sending_to_supervisor=True)
    logger = structlog.get_logger(logger_name="task")
    logger.info("begins")
    yield logger, written
    reset_logging()
    structlog.reset_defaults()
    logging.root.handlers[:], logging.root.level = handlers, level


@pytest.mark.parametrize(
    ("error", "event", "has_frames"),
    [
        (BooksOpenError("7 of 9 documents\nare lost"), "BooksOpenError: 7 of 9 documents are lost", False),
        (EtlError("PostgreSQL said no"), "EtlError: PostgreSQL said no", False),
        (ValueError("7"), "Task failed with exception", True),
    ],
)
def test_an_expected_error_is_one_line_without_frames(
    log: tuple[Any, io.BytesIO], error: Exception, event: str, has_frames: bool
) -> None:
    from pipeline.airflow.expected import in_one_line

    logger, written = log
    for _ in range(2):
        in_one_line()
    try:
        try:
            raise OSError("its cause")
        except OSError as cause:
            raise error from cause
    except Exception:
        logger.exception("Task failed with exception")
    line = json.loads(written.getvalue().splitlines()[-1])
    assert (line["level"], line["event"]) == ("error", event)
    assert bool(line.get("exception")) == has_frames
    assert ("its cause" in json.dumps(line)) == has_frames
