"""What the books say as figures for a monitoring: how old, how much, what was refused, how long, proven or not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.control.ledger import Account
from pipeline.control.publications import Publication
from pipeline.control.quarantine import counts
from pipeline.control.schema import has_books
from pipeline.control.status import LastRun, status_here
from pipeline.control.timings import retries, timings
from pipeline.control.verifications import Verification, verifications
from pipeline.stores.postgres.session import Session
from pipeline.text.prometheus import Metric, Sample

Labelled = Iterable[tuple[dict[str, str], float]]


def metrics(postgres: Session | None) -> list[Metric]:
    """Return all figures that the books give; without books, that there are none.

    Args:
        postgres: Where the books are, if there is such a server.
    """
    if postgres is None:
        return [_there(books=False)]
    with postgres.snapshot():  # or what is published meanwhile would be in one part of the answer only
        if not has_books(postgres):
            return [_there(books=False)]
        found = status_here(postgres)
        return [
            _there(books=True),
            *_freshness(postgres, found.published),
            *_ledger(found.ledger),
            *_quarantine(postgres, {one.name: 0 for one in found.published if one.source} | (found.quarantined or {})),
            *_runs(postgres, found.runs),
            *_verifications(verifications(postgres)),
        ]


def _there(*, books: bool) -> Metric:
    return _metric("etl_books_present", "1 if there are books to read, else 0.", [({}, books)])


def _metric(name: str, says: str, labelled: Labelled) -> Metric:
    return Metric(name, says, tuple(Sample(labels, float(value)) for labels, value in labelled))


def _freshness(postgres: Session, published: Sequence[Publication]) -> Iterator[Metric]:
    """Yield what each collection and mart shows in each store, and how old that is."""
    query = "SELECT collection, target, kind = 'marts', extract(epoch FROM published_at)::float8 "
    rows = postgres.rows(f"{query} FROM etl.published JOIN etl.runs USING (run_id)")
    ((now,),) = postgres.rows("SELECT extract(epoch FROM now())::float8")
    kinds = {(name, target): "mart" if is_mart else "collection" for name, target, is_mart, _ in rows}
    times = {(name, target): at for name, target, _, at in rows}
    labelled = [
        ({"name": one.name, "kind": kinds[one.name, one.target], "target": one.target}, one) for one in published
    ]
    yield _metric(
        "etl_shown_timestamp_seconds",
        "The moment of MongoDB that a collection or mart shows, in seconds since 1970.",
        ((labels, one.cluster_time.time) for labels, one in labelled),
    )
    yield _metric(
        "etl_lag_seconds",
        "How long ago the moment was that a collection or mart shows.",
        ((labels, now - one.cluster_time.time) for labels, one in labelled),
    )
    yield _metric(
        "etl_published_timestamp_seconds",
        "When a collection or mart was published last, in seconds since 1970.",
        ((labels, at) for labels, one in labelled if (at := times[one.name, one.target]) is not None),
    )
    yield _metric(
        "etl_publish_unfinished",
        "1 while ClickHouse has still to follow what PostgreSQL shows, else 0.",
        ((labels, not one.finished) for labels, one in labelled),
    )
    yield _metric(
        "etl_rows",
        "Rows of a published table, as they were counted when it was published.",
        (
            ({**labels, "table": table}, held.rows)
            for labels, one in labelled
            for table, held in sorted(one.held.items())
        ),
    )


def _ledger(accounts: Sequence[Account]) -> Iterator[Metric]:
    """Yield the books of the last full copy."""
    counted = [one for one in accounts if not one.uncounted]  # of a copy that is under way nothing can be said yet
    labelled = [({"collection": one.collection, "target": one.target}, one) for one in counted]
    yield _metric(
        "etl_books_documents",
        "Documents in the books of the last full copy: source = loaded + quarantined, if they are closed.",
        (
            ({**labels, "what": what}, getattr(one, what))
            for labels, one in labelled
            for what in ("source", "loaded", "quarantined")
        ),
    )
    yield _metric(
        "etl_books_closed",
        "1 if the books of the last full copy are closed, else 0.",
        ((labels, one.closed) for labels, one in labelled),
    )


def _quarantine(postgres: Session, quarantined: Mapping[str, int]) -> Iterator[Metric]:
    """Yield what is refused; of collections that are published also that nothing is."""
    yield _metric(
        "etl_quarantine_documents",
        "Documents of a collection that are in quarantine.",
        (({"collection": name}, documents) for name, documents in sorted(quarantined.items())),
    )
    yield _metric(
        "etl_quarantine_reasons",
        "Documents in quarantine by the rule that they break; one that breaks several counts for each.",
        (({"collection": one.collection, "reason": one.rule}, one.documents) for one in counts(postgres)),
    )


def _runs(postgres: Session, runs: Sequence[LastRun]) -> Iterator[Metric]:
    """Yield the last run of each kind: how it ended, when, how long it took, and at what."""
    yield _metric(
        "etl_run_status",
        "1 for the status of the last run of a kind (running, published or failed), 0 for the others.",
        (
            ({"kind": one.kind, "status": status}, one.status == status)
            for one in runs
            for status in ("running", "published", "failed")
        ),
    )
    yield _metric(
        "etl_run_started_timestamp_seconds",
        "When the last run of a kind began, in seconds since 1970.",
        (({"kind": one.kind}, one.started_at.timestamp()) for one in runs),
    )
    ended = [(one, one.finished_at) for one in runs if one.finished_at is not None]
    yield _metric(
        "etl_run_duration_seconds",
        "How long the last run of a kind took; absent while it runs.",
        (({"kind": one.kind}, (at - one.started_at).total_seconds()) for one, at in ended),
    )
    yield _metric(
        "etl_run_stage_seconds",
        "How long a stage of the last run of a kind was at work, in all its processes; stages overlap.",
        (
            ({"kind": one.kind, "stage": stage}, seconds)
            for one in runs
            for stage, seconds in timings(postgres, one.id).items()
        ),
    )
    yield _metric(
        "etl_run_retries",
        "How often a part of the last run of a kind was tried again.",
        (({"kind": one.kind}, retries(postgres, one.id)) for one in runs),
    )


def _verifications(found: Sequence[Verification]) -> Iterator[Metric]:
    """Yield what the last verifications found: of all documents, and of a sample."""
    labelled = [
        ({"collection": one.collection, "target": one.target, "of": "sample" if one.sample else "all"}, one)
        for one in found
    ]
    yield _metric(
        "etl_verification_proven",
        "1 if the last verification proved that a store holds what MongoDB held, else 0.",
        ((labels, one.is_proven) for labels, one in labelled),
    )
    yield _metric(
        "etl_verification_timestamp_seconds",
        "When that verification was, in seconds since 1970.",
        ((labels, one.verified_at.timestamp()) for labels, one in labelled),
    )
    yield _metric(
        "etl_verification_documents",
        "Documents by what that verification found of them.",
        (
            ({**labels, "found": found}, getattr(one, found))
            for labels, one in labelled
            for found in ("equal", "missing", "extra", "different", "quarantined", "changed_since")
        ),
    )
