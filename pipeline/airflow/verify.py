"""The task of the DAG ``verify``, which is also the last one of ``replicate``."""

from collections.abc import Iterable

from pipeline import books
from pipeline.airflow.lines import collection_lines, comparison_lines
from pipeline.airflow.sessions import connected
from pipeline.errors import VerificationError
from pipeline.verify import verify as compare


def verify(collections: Iterable[str], targets: Iterable[str]) -> None:
    """Prove that the targets hold exactly what MongoDB held; where nothing is replicated yet the task is skipped.

    Args:
        collections: Names of the collections; all if none is named.
        targets: Names of the targets.

    Raises:
        VerificationError: They don't.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    with connected() as connections:
        books.prepare(connections.postgres)
        if not any(one.name in connections.entities for one in books.publications(connections.postgres)):
            raise AirflowSkipException("nothing is replicated yet")
        found = compare(connections, collections, targets, collection_lines("compared"))
    comparison_lines(found)
    if broken := [f"{one.collection} in {one.target}" for one in found if not one.proven]:
        raise VerificationError(f"not proven: {', '.join(broken)}; etl verify --repair or the DAG replicate mends it")
