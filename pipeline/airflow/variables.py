"""Airflow's Variables: what whoever operates it sets there, and what runs of a DAG leave to the next ones.

Neither ends a task: what can't be read is taken for nothing, and what can't be written is logged.
"""

import logging
from contextlib import suppress

from pipeline.text.redaction import redacted

log = logging.getLogger(__name__)


def read_variable(name: str) -> str:
    """Return a Variable of Airflow; nothing where there is none, or nobody to ask."""
    from airflow.sdk import Variable

    with suppress(Exception):
        return str(Variable.get(name, default=""))
    return ""


def write_variable(name: str, value: str, description: str) -> None:
    """Write a Variable of Airflow.

    Args:
        name: Its name.
        value: What it says from now on.
        description: What it is for; Airflow's UI shows it.
    """
    from airflow.sdk import Variable

    try:
        Variable.set(name, value, description=description)
    except Exception as error:
        log.warning("the Variable %s can't be written: %s", name, redacted(str(error)))
