"""Receipts: how long each stage of a run was at work."""

from collections.abc import Mapping

from pipeline.stores.postgres import Postgres


def enter_receipt(postgres: Postgres, run_id: str, seconds: Mapping[str, float]) -> None:
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


def receipt(postgres: Postgres, run_id: str) -> dict[str, float]:
    """Return how many seconds each stage of a run was at work, in all its processes, the longest first."""
    query = "SELECT stage, sum(seconds) FROM etl.receipts WHERE run_id = $1::text GROUP BY 1 ORDER BY 2 DESC, 1"
    return dict(postgres.rows(query, run_id))
