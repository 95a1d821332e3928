"""The task of the DAG ``generate_data``."""

from typing import Any

from pipeline import advance as going_on
from pipeline import generate as use_case
from pipeline.airflow.log_lines import finished_lines
from pipeline.airflow.sessions import connected


def generate(params: dict[str, Any]) -> dict[str, Any]:
    """Fill MongoDB with made-up documents, or let those that are there go on.

    Args:
        params: The DAG's: ``scale``, ``defects``, ``seed``, ``replace``; or ``advance``, a time such as ``7d``.

    Returns:
        What was written, as plain JSON values.
    """
    others = {name: value for name, value in params.items() if name != "advance"}
    with connected(writing=True) as connections:
        database, progress = connections.mongo.database, finished_lines("documents written")
        if params.get("advance"):
            seconds = going_on.span(params["advance"])
            return going_on.advance(database, connections.entities, seconds, progress=progress).as_json()
        return use_case.generate(database, connections.entities, **others, progress=progress).as_json()
