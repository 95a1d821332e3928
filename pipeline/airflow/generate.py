"""The task of the DAG ``generate_data``."""

from typing import Any

from pipeline import generate as use_case
from pipeline.airflow.log_lines import finished_lines
from pipeline.airflow.sessions import connected


def generate(params: dict[str, Any]) -> dict[str, Any]:
    """Fill MongoDB with made-up documents.

    Args:
        params: The DAG's: ``scale``, ``defects``, ``seed``, ``replace``.

    Returns:
        What was written, as plain JSON values.
    """
    with connected(writing=True) as connections:
        database, progress = connections.mongo.database, finished_lines("documents written")
        return use_case.generate(database, connections.entities, **params, progress=progress).as_json()
