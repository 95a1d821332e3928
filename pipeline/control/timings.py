"""Receipts: how long each stage of a run was at work."""

from collections.abc import Iterable, Mapping

from pipeline.stores.postgres.session import Session

_RETRY = "waiting to retry"  # a stage; one row for each time


def record_timings(postgres: Session, run_id: str, seconds: Mapping[str, float]) -> None:
    """Add the seconds of stages to a run's receipt.

    Args:
        postgres: Where the books are.
        run_id: The run.
        seconds: By stage.
    """
    for stage, duration in seconds.items():
        postgres.execute(
            "INSERT INTO etl.receipts (run_id, stage, seconds) VALUES ($1::text, $2::text, $3::float8)",
            parameters=(run_id, stage, duration),
        )


def record_retries(postgres: Session, run_id: str, waits: Iterable[float]) -> None:
    """Add retries to a run's receipt: for how many seconds each was waited."""
    for seconds in waits:
        record_timings(postgres, run_id, {_RETRY: seconds})


def retries(postgres: Session, run_id: str) -> int:
    """Return how often a part of a run was tried again."""
    query = "SELECT count(*) FROM etl.receipts WHERE run_id = $1::text AND stage = $2::text"
    return int(postgres.rows(query, run_id, _RETRY)[0][0])


def timings(postgres: Session, run_id: str) -> dict[str, float]:
    """Return how many seconds each stage of a run was at work, in all its processes, the longest first."""
    query = "SELECT stage, sum(seconds) FROM etl.receipts WHERE run_id = $1::text GROUP BY 1 ORDER BY 2 DESC, 1"
    return dict(postgres.rows(query, run_id))
