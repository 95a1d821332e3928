"""How long the books are kept: details of runs, runs, and documents of the quarantine that are resolved.

Without end is kept what the books still speak of: the runs that tables show, the last run of each kind, the last one of
each that was published, those that refused what is in quarantine, and those that are running.
"""

from dataclasses import dataclass

from pipeline.control.locks import LOCK, lock
from pipeline.settings import Retention
from pipeline.stores.postgres.session import Row, Session

_LOCK = LOCK + 1
# What `etl status` shows, and so every table, whatever its age.
_SHOWN = (
    "SELECT run_id FROM etl.published UNION ALL (SELECT DISTINCT ON (kind, status) run_id FROM etl.runs "
    "ORDER BY kind, status, started_at DESC, run_id DESC)"
)


@dataclass(frozen=True)
class Pruned:
    """How many rows of a table of the books were removed.

    Attributes:
        table: Its name.
        what: What they are.
        older_than_days: How old they are at least; None where age does not matter.
        rows: How many.
    """

    table: str
    what: str
    older_than_days: int | None
    rows: int


@dataclass(frozen=True)
class _Rule:
    """Which rows of a table go.

    Attributes:
        table: Its name.
        what: What they are.
        days: How old they must be; None where age does not matter.
        condition: Which ones, in SQL.
        change: What is done to them; they are deleted by default.
    """

    table: str
    what: str
    days: int | None
    condition: str
    change: str = ""

    @property
    def removal(self) -> str:
        """The statement that removes them and tells how many there were."""
        change = f"UPDATE {self.table} SET {self.change}" if self.change else f"DELETE FROM {self.table}"
        return f"WITH gone AS ({change} WHERE {self.condition} RETURNING 1) SELECT count(*) FROM gone"


def prune(postgres: Session, retention: Retention) -> list[Pruned]:
    """Remove what is older than it has to be kept, within the caller's transaction; others go on with their work.

    Args:
        postgres: Where the books are.
        retention: How long what is kept.
    """
    lock(postgres, _LOCK, "pruning the books")  # two at once would wait for each other's rows
    return [_pruned(rule, postgres.rows(rule.removal)) for rule in _rules(retention)]


def prunable(postgres: Session, retention: Retention) -> list[Pruned]:
    """Count what :func:`prune` would remove, and remove nothing.

    Args:
        postgres: Where the books are.
        retention: How long what is kept.
    """
    query = "SELECT count(*) FROM {} WHERE {}"
    return [_pruned(rule, postgres.rows(query.format(rule.table, rule.condition))) for rule in _rules(retention)]


def is_pruned(postgres: Session, run_id: str) -> bool:
    """Return whether a run is published and its plan is gone, so that nothing of it can be done again."""
    query = "SELECT status = 'published' AND plan IS NULL FROM etl.runs WHERE run_id = $1::text"
    return any(gone for (gone,) in postgres.rows(query, run_id))


def _rules(retention: Retention) -> list[_Rule]:
    """Return what goes, in an order in which nothing refers to what is gone."""
    details = min(retention.details, retention.runs)  # a run goes with its details
    unresolved = f"resolved_at IS NULL OR NOT ({_older('resolved_at', retention.resolved)})"
    needed = f"{_SHOWN} UNION ALL SELECT run_id FROM etl.quarantine WHERE {unresolved}"
    over = "status <> 'running' AND " + _older("coalesce(finished_at, started_at)", details)
    of_them = f"run_id IN (SELECT run_id FROM etl.runs WHERE {over})"
    nobodys = "run_id NOT IN (SELECT run_id FROM etl.runs WHERE status = 'running')"
    return [
        _Rule("etl.quarantine", "resolved documents", retention.resolved, _older("resolved_at", retention.resolved)),
        _Rule("etl.refused", "notes of runs that are over", None, nobodys),
        _Rule("etl.touched", "notes of runs that are over", None, nobodys),
        _Rule("etl.drift", "drift", details, of_them),
        _Rule("etl.receipts", "times of stages", details, of_them),
        _Rule("etl.ledger", "accounts of partitions", details, f"{of_them} AND run_id NOT IN ({_SHOWN})"),
        _Rule("etl.runs", "plans", details, f"{over} AND plan IS NOT NULL", change="plan = NULL"),
        _Rule(
            "etl.runs",
            "runs",
            retention.runs,
            f"status <> 'running' AND {_older('coalesce(finished_at, started_at)', retention.runs)} "
            f"AND run_id NOT IN ({needed})",
        ),
    ]


def _older(column: str, days: int) -> str:
    return f"{column} < now() - interval '{days} days'"


def _pruned(rule: _Rule, counted: list[Row]) -> Pruned:
    return Pruned(rule.table, rule.what, rule.days, int(counted[0][0]))
