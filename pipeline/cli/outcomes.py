"""What each command prints with ``--json``: written from here into ``docs/json/`` (``make reference``)."""

from datetime import datetime
from typing import Any

from contracts.schema.history import HISTORY
from pipeline.advance import AdvancedCollection
from pipeline.cli.demo_changes import KeptVersions
from pipeline.cli.json_schema import DRAFT, Schema, record
from pipeline.control import Account, CollectionDrift, Publication
from pipeline.control.quarantine import RuleCount
from pipeline.control.retention import Pruned
from pipeline.control.status import LastRun
from pipeline.doctor.finding import Finding
from pipeline.engines.embedded import Uris
from pipeline.generate import GeneratedCollection
from pipeline.inference.check import Checked as CheckedCollection
from pipeline.inference.diff import Diff
from pipeline.inference.infer import Inferred
from pipeline.marts.check import Checked as CheckedMart
from pipeline.marts.listing import ListedMart
from pipeline.marts.run import BuiltMart
from pipeline.marts.trace import Read
from pipeline.replication.comparison import Comparison
from pipeline.replication.drop import Dropped
from pipeline.replication.history import HistoryProof, Kept, Removed
from pipeline.replication.repair import Replayed
from pipeline.replication.sample import Sample
from pipeline.replication.sync import Synced
from pipeline.text.prometheus import Metric

_EXACT: Schema = {
    "type": "array",
    "items": {"type": "integer"},
    "minItems": 2,
    "maxItems": 2,
    "description": "The cluster time exactly: seconds since 1970, and the ordinal within that second.",
}
_AT: Schema = {"type": "string", "format": "date-time", "description": "The cluster time as a date, to the second."}
_DATE: Schema = {"type": "string", "format": "date-time"}
_MOMENT: dict[str, Any] = {"cluster_time": _EXACT, "cluster_time_at": _AT}
_CLOSED = (bool, "Whether every document is accounted for.")
_PROVEN = (bool, "Whether nothing was found that must not be.")
_SECONDS = (dict[str, float], "Seconds that each stage was at work; stages overlap.")
_RETRIES = (int, "How often a part of it was tried again.")
_DRIFT = ([CollectionDrift], "In what the documents go beyond their contracts.")
_LEFT_OUT = (list[str], "Collections that were left out.")
_MISSING = (list[str], "Collections that have a contract and are not in the database.")
_UNDECLARED = (list[str], "Collections that have no contract.")

_GENERATED = record(
    seed=(int, "The seed that decides everything."),
    documents=(int, "Documents in all."),
    collections={
        "type": "object",
        "additionalProperties": record(
            GeneratedCollection,
            mended=(int, "Broken documents that the copy mends."),
            quarantined=(int, "Broken documents that it refuses."),
        ),
    },
)
_ADVANCED = record(
    since=_DATE,
    until=_DATE,
    collections={"type": "object", "additionalProperties": record(AdvancedCollection)},
)
_SYNCED = record(Synced, deleted=(int, "Of the changed, how many are no more."), since=_AT, **_MOMENT)
_REPLICATED: dict[str, Any] = {
    "run_id": (str, "The run."),
    **_MOMENT,
    "targets": (list[str], "The stores."),
    "closed": _CLOSED,
    "books": [record(Account, closed=_CLOSED)],
}
_VERIFIED: dict[str, Any] = {
    "proven": (bool, "Whether everything that was compared is proven."),
    "sample": (Sample | None, "What was drawn; null if all was compared."),
    "comparisons": [record(Comparison, proven=_PROVEN, **_MOMENT)],
}
_MARTS: dict[str, Any] = {"marts": [record(BuiltMart, **_MOMENT)]}
_QUARANTINED = record(
    collection=(str, "Where it is from."),
    _id=(str, "Its `_id` as canonical Extended JSON."),
    document={"type": "object", "description": "The document as canonical Extended JSON."},
    reasons=([dict[str, Any]], "Every rule that it breaks: `path`, `rule`, `value`."),
    run_id=(str, "The last run that refused it."),
    first_seen_at=(datetime, "When it was refused first."),
    resolved_at=(datetime | None, "When a run found it mended; null as long as it is refused."),
)
_FILE = (str, "The file that was written.")

OUTCOMES: dict[str, Schema] = {
    "contract check": record(
        cluster_time=_AT,
        collections=[CheckedCollection],
        missing=_MISSING,
        undeclared=_UNDECLARED,
        refused=(int, "Documents that would be refused in all."),
    ),
    "contract diff": record(cluster_time=_AT, collections=[Diff], missing=_MISSING, undeclared=_UNDECLARED),
    "contract infer": record(
        cluster_time=_AT,
        folder=(str, "Where the contracts are."),
        contracts=[Inferred],
        kept=(list[str], "Collections whose contract is in the folder already, and was kept."),
        left_out=(dict[str, str], "By collection, why none was written."),
        next=(str | None, "The next command; null if there is nothing to copy."),
    ),
    "contract words": record(words=[record(word=str, effect=str, example=(list[str], "Lines; none for some words."))]),
    "demo": record(
        generate=_GENERATED,
        replicate=record(**_REPLICATED),
        verify=record(**_VERIFIED),
        advance=_ADVANCED,
        sync=record(collections=[_SYNCED]),
        kept=(dict[str, KeptVersions], "What the sync kept of the past, by collection."),
        verify_again=record(**_VERIFIED),
        **_MARTS,
        top=(dict[str, list[dict[str, Any]]], "The first rows of some marts."),
        report=(str, "The page with marts and books."),
        home=(str, "Where the embedded engines keep their data."),
        seconds=(float, "How long it took."),
    ),
    "docs dbt": record(file=_FILE, tables=(dict[str, int], "Tables by schema.")),
    "docs dictionary": record(file=_FILE, lines=(int, "Its lines.")),
    "doctor": record(findings=[Finding]),
    "down": record(stopped=(list[str], "The engines that were stopped.")),
    "drop": record(dropped=[Dropped]),
    "generate": _GENERATED,
    "history": record(history=[Kept]),
    "history forget": record(removed=[Removed]),
    "history prune": record(before={"type": "string", "format": "date-time"}, removed=[Removed]),
    "marts": record(
        **_MARTS,
        left_out=(dict[str, str], "Marts of your own that could not be built, each with the reason."),
        empty_sources=(dict[str, list[str]], "Collections without a document, each with the marts that read it."),
        explained={
            "anyOf": [
                record(seconds=(dict[str, float], "What each step took."), reads=([Read], "What was read, in order.")),
                {"type": "null"},
            ],
            "description": "If that was asked for: what was read, and where the time went.",
        },
    ),
    "marts check": record(marts=[CheckedMart]),
    "marts list": record(marts=[ListedMart]),
    "metrics": record(file=(str | None, "The file that was written, if one was named."), metrics=[Metric]),
    "prune": record(dry_run=(bool, "Whether nothing was removed."), pruned=[Pruned]),
    "quarantine": record(rules=[RuleCount]),
    "quarantine export": record(exported=(int, "Documents."), output=_FILE, format={"enum": ["ndjson", "bson"]}),
    "quarantine replay": record(replayed=[Replayed]),
    "quarantine show": record(documents=[_QUARANTINED]),
    "replicate": record(
        **_REPLICATED,
        drift=_DRIFT,
        undeclared_collections=_UNDECLARED,
        left_out=_LEFT_OUT,
        without_snapshot=(list[str], "Collections that were read at no one moment."),
        receipt=_SECONDS,
        retries=_RETRIES,
    ),
    "report": record(
        path=_FILE,
        bytes=(int, "Its size."),
        language=(str, "The language of the page."),
        as_of=(datetime | None, "The moment that it shows; null if no mart is there."),
        figures=[
            record(
                name=(str, "The figure."),
                value=(float, "As a number."),
                change=(
                    float | None,
                    "By how much of a hundred, or how many points, it has changed; null if unknown, or if it was 0.",
                ),
                is_share=(bool, "Whether it is a percentage; its change is in points then."),
                of=(int | None, "Of how many it is a percentage; null of other figures."),
                period=(str, "Of which time it is, and with which it is compared."),
            )
        ],
    ),
    "status": record(
        home=(str, "Folder of the embedded engines."),
        engines=(list[str], "Those that run."),
        runs=[LastRun],
        books=[record(Account, closed=_CLOSED)],
        published=[record(Publication, **_MOMENT)],
        quarantined=(dict[str, int], "Documents in quarantine, by collection."),
    ),
    "sync": record(
        collections=[_SYNCED],
        drift=_DRIFT,
        retries=_RETRIES,
    ),
    "up": record(Uris),
    "verify": record(
        **_VERIFIED,
        left_out=_LEFT_OUT,
        history=([record(HistoryProof, proven=_PROVEN)], f"What was found of {HISTORY}."),
    ),
}
OUTCOMES["verify"]["properties"]["error"] = {
    "type": "string",
    "description": "Why some could not be verified.",
}
# What a command gives instead, by one of its options.
_OTHERWISE: dict[str, list[Schema]] = {"generate": [_ADVANCED]}
_SAME = {"history list": "history", "quarantine list": "quarantine", "marts build": "marts"}
_ERROR = record(error=(str, "What went wrong, in one sentence; the exit code is not 0."))


def schema(command: str) -> Schema:
    """Return the JSON schema of what a command prints with ``--json``.

    Args:
        command: Its name without ``etl``, such as ``marts list``.
    """
    return {
        "$schema": DRAFT,
        "title": " ".join(("etl", command, "--json")),
        "anyOf": [OUTCOMES[_SAME.get(command, command)], *_OTHERWISE.get(command, ()), _ERROR],
    }


def file_of(command: str) -> str:
    """Return the name of a command's schema in ``docs/json/``."""
    return f"{_SAME.get(command, command).replace(' ', '-')}.schema.json"
