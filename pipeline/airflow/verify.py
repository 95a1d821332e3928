"""The task of the DAG ``verify``, which is also the last one of ``replicate``."""

from collections.abc import Iterable

from pipeline import control
from pipeline.airflow.log_lines import comparison_lines, finished_lines, line
from pipeline.airflow.sessions import connected, skip
from pipeline.errors import VerificationError
from pipeline.replication.comparison import Comparison
from pipeline.replication.history import prove_history
from pipeline.replication.sample import Sample
from pipeline.replication.verify import PartlyVerifiedError, left_out, why_left_out
from pipeline.replication.verify import verify as compare


def verify(collections: Iterable[str], targets: Iterable[str], sample: str | None = None) -> None:
    """Prove that the targets hold exactly what MongoDB held; where nothing is replicated yet the task is skipped.

    Args:
        collections: Names of the collections; all if none is named.
        targets: Names of the targets.
        sample: How much of each collection is compared, in random ranges: ``N`` or ``P%``; None for all.

    Raises:
        VerificationError: They don't.
    """
    drawn = Sample.drawn(sample, None) if sample else None
    with connected() as connections:
        control.ensure_schema(connections.postgres)
        if not any(one.name in connections.entities for one in control.publications(connections.postgres)):
            skip("nothing is replicated yet")
        try:
            found = compare(connections, collections, targets, finished_lines("documents compared"), drawn)
        except PartlyVerifiedError as error:
            comparison_lines(error.found)
            if broken := _broken(error.found):
                raise VerificationError("; ".join([*broken, str(error)])) from error
            raise
        unproven = left_out(connections, collections, targets, found)
        kept = prove_history(connections, collections, targets) if drawn is None else []
    comparison_lines(found)
    if drawn:
        line(f"a sample was compared; etl verify --sample {drawn.asked} --seed {drawn.seed} takes the same")
    told = [*_broken(found), *(one.told for one in kept if not one.proven)]
    if unproven:
        told.append(why_left_out(unproven))
    if told:
        raise VerificationError("; ".join(told))


def _broken(found: Iterable[Comparison]) -> list[str]:
    """Return in at most one sentence what is not proven of what was compared."""
    broken = [f"{one.collection} in {one.target}" for one in found if not one.proven]
    return [f"not proven: {', '.join(broken)}; etl verify --repair or the DAG replicate mends it"] if broken else []
