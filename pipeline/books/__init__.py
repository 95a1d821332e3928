"""The books, kept in PostgreSQL's schema ``etl``: runs, what each loaded, what is published, what was refused."""

from pipeline.books.changes import Page, pages, touch, touched
from pipeline.books.columns import columns_made, enter_columns
from pipeline.books.drift import CollectionDrift, drift, enter_drift, forget_drift
from pipeline.books.ledger import (
    Account,
    accounts,
    bytes_per_second,
    enter_loaded,
    is_loaded,
    lock_partition,
    plan,
    plan_of,
    record,
    seconds,
    unloaded,
)
from pipeline.books.locks import lock_publishing
from pipeline.books.moments import as_number, as_timestamp
from pipeline.books.publications import (
    Held,
    Publication,
    advance,
    enter_held,
    enter_publication,
    enter_source,
    finish,
    publications,
)
from pipeline.books.receipts import enter_receipt, receipt
from pipeline.books.refusals import forget, quarantined, refuse, refused_hashes, settle_quarantine, unrefused
from pipeline.books.retention import Pruned, is_pruned, prunable, prune
from pipeline.books.runs import (
    attending,
    fail,
    is_alive,
    is_given_up,
    is_published,
    kind_of,
    leave,
    open_run,
    statuses,
    unsettled,
)
from pipeline.books.schema import prepare

__all__ = [
    "Account",
    "CollectionDrift",
    "Held",
    "Page",
    "Pruned",
    "Publication",
    "accounts",
    "advance",
    "as_number",
    "as_timestamp",
    "attending",
    "bytes_per_second",
    "columns_made",
    "drift",
    "enter_columns",
    "enter_drift",
    "enter_held",
    "enter_loaded",
    "enter_publication",
    "enter_receipt",
    "enter_source",
    "fail",
    "finish",
    "forget",
    "forget_drift",
    "is_alive",
    "is_given_up",
    "is_loaded",
    "is_pruned",
    "is_published",
    "kind_of",
    "leave",
    "lock_partition",
    "lock_publishing",
    "open_run",
    "pages",
    "plan",
    "plan_of",
    "prepare",
    "prunable",
    "prune",
    "publications",
    "quarantined",
    "receipt",
    "record",
    "refuse",
    "refused_hashes",
    "seconds",
    "settle_quarantine",
    "statuses",
    "touch",
    "touched",
    "unloaded",
    "unrefused",
    "unsettled",
]
