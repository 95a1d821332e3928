"""What the books say: the last runs, what each collection and mart shows, and what is in quarantine."""

from dataclasses import dataclass
from datetime import datetime

from pipeline import control
from pipeline.control import Account, Publication
from pipeline.stores.postgres.session import Session


@dataclass(frozen=True)
class LastRun:
    """The latest run of a kind.

    Attributes:
        id: Its name in the books.
        kind: ``replicate``, ``sync``, ``replay``, ``repair`` or ``marts``.
        status: ``running``, ``published`` or ``failed``.
        shows_at: The moment that it reads.
        started_at: When it began.
        finished_at: When it ended; None while it runs.
        message: Why it failed.
    """

    id: str
    kind: str
    status: str
    shows_at: datetime
    started_at: datetime
    finished_at: datetime | None
    message: str | None


@dataclass(frozen=True)
class Status:
    """What the books say.

    Attributes:
        runs: The latest run of each kind.
        ledger: The accounts of the latest full copy.
        published: What every collection and mart shows, in each target.
        quarantined: How many documents of each collection are in quarantine.
    """

    runs: tuple[LastRun, ...] = ()
    ledger: tuple[Account, ...] = ()
    published: tuple[Publication, ...] = ()
    quarantined: dict[str, int] | None = None


def status(postgres: Session) -> Status:
    """Read the books; they are empty where nothing was ever replicated.

    Args:
        postgres: Where they are kept.
    """
    with postgres.snapshot():  # or what is published meanwhile would be in one part of the answer only
        return status_here(postgres)


def status_here(postgres: Session) -> Status:
    """Do what :func:`status` does, within the snapshot that is open."""
    if not control.has_books(postgres):
        return Status()
    last = tuple(LastRun(*row) for row in postgres.rows(_LAST_RUNS))
    copies = [run.id for run in last if run.kind == "replicate"]
    ledger = tuple(account for run_id in copies for account in control.accounts(postgres, run_id))
    return Status(last, ledger, tuple(control.publications(postgres)), dict(postgres.rows(_QUARANTINED)))


# One kind after the other along the index, whatever the number of runs: DISTINCT ON would read them all.
_LAST_RUNS = (
    "WITH RECURSIVE kinds AS ((SELECT min(kind) AS kind FROM etl.runs) UNION ALL "
    "SELECT (SELECT min(kind) FROM etl.runs WHERE runs.kind > kinds.kind) FROM kinds WHERE kind IS NOT NULL) "
    "SELECT last.* FROM kinds, LATERAL (SELECT run_id, kind, status, cluster_time_at, started_at, finished_at, message "
    "FROM etl.runs WHERE runs.kind = kinds.kind ORDER BY started_at DESC, run_id DESC LIMIT 1) AS last "
    "ORDER BY kind"
)
_QUARANTINED = (
    "SELECT collection, count(*) FROM etl.quarantine WHERE resolved_at IS NULL GROUP BY collection ORDER BY collection"
)
