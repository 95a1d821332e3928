"""The state of the copy: books, verification, quarantine, drift, lag, and where the time went."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipeline import control
from pipeline.control.quarantine import RuleCount, counts
from pipeline.control.status import Status, status
from pipeline.report import charts
from pipeline.report.drawn import Drawing, Fact, Plot, Table
from pipeline.report.language import NOTHING, Language
from pipeline.report.source import OLD
from pipeline.report.telling import Columns, says_most, table, words
from pipeline.stores.postgres.session import Session

_VALUE = 60  # characters of a value


@dataclass(frozen=True)
class Books:
    """What the books say, read at once.

    Attributes:
        status: The last runs, their accounts, and what is published.
        verifications: What the last verifications found.
        refused: The quarantine by rule.
        drift: In what documents go beyond their contracts.
        stages: Seconds of the stages of the last run of each kind.
    """

    status: Status
    verifications: Sequence[control.Verification] = ()
    refused: Sequence[RuleCount] = ()
    drift: Sequence[control.CollectionDrift] = ()
    stages: dict[str, dict[str, float]] | None = None

    @property
    def shown(self) -> dict[str, datetime]:
        """Which moment each collection and mart shows in every store."""
        found: dict[str, datetime] = {}
        for one in self.status.published:
            at = one.cluster_time.as_datetime()
            found[one.name] = min(at, found.get(one.name, at))
        return found


def read_books(postgres: Session) -> Books:
    """Read the books; they are empty where nothing was ever replicated."""
    found = status(postgres)
    with postgres.snapshot():
        if not control.has_books(postgres):
            return Books(found)
        runs = sorted({one.run_id for one in found.published})
        return Books(
            found,
            control.verifications(postgres),
            counts(postgres),
            [one for run in runs for one in control.drift(postgres, run)],
            {run.kind: control.timings(postgres, run.id) for run in found.runs},
        )


def facts(books: Books, language: Language, now: datetime, marts: Sequence[str]) -> list[Fact]:
    """Return what is to be known at a glance."""
    return [
        _lag(books, language, now, marts),
        _closed(books, language),
        _proven(books, language),
        _quarantined(books, language),
        _drifted(books, language),
        *_failed(books, language),
    ]


def plots(books: Books, language: Language, now: datetime) -> list[Plot]:
    """Return the tables of the state of the copy, of what there is."""
    made = {
        "books": _accounts(books, language),
        "published": _published(books, language, now),
        "verification": _verifications(books, language),
        "quarantine": _rules(books, language),
        "drift": _drift(books, language),
        "stages": _stages(books, language),
    }
    return [
        Plot(key, "", one.table, one.says, one.panels)
        for key, one in made.items()
        if one is not None and (one.table.rows or one.panels)
    ]


def _lag(books: Books, language: Language, now: datetime, marts: Sequence[str]) -> Fact:
    of = [at for name, at in books.shown.items() if name not in marts]
    if not of:
        return Fact(language.label("lag"), language.say("state.nothing"), tone="even")
    behind = max(timedelta(), now - min(of))
    shows = language.say("state.shows", at=language.moment(min(of)))
    tone = "bad" if behind > OLD else "even"
    return Fact(language.label("lag"), language.span(behind.total_seconds()), shows, tone)


def _closed(books: Books, language: Language) -> Fact:
    ledger = books.status.ledger
    if not ledger:
        return Fact(language.label("books"), NOTHING, language.say("state.no_books"))
    if unfinished := sorted({one.collection for one in ledger if one.uncounted}):
        return Fact(language.label("books"), language.label("unfinished"), ", ".join(unfinished))
    if all(one.closed for one in ledger):
        source = sum({one.collection: one.source for one in ledger}.values())
        told = language.say("state.documents", number=language.number(source))
        return Fact(language.label("books"), language.label("closed"), told, "good")
    open_ones = sorted({one.collection for one in ledger if not one.closed})
    return Fact(language.label("books"), language.label("open"), ", ".join(open_ones), "bad")


def _proven(books: Books, language: Language) -> Fact:
    if not books.verifications:
        return Fact(language.label("verification"), NOTHING, language.say("state.never_verified"))
    full = {(one.collection, one.target): one for one in books.verifications if not one.sample}
    sampled = {(one.collection, one.target): one for one in books.verifications if one.sample}
    # A sample that is proven says nothing of what all documents were found to be; one that failed later does.
    later = [one for key, one in sampled.items() if key not in full or one.verified_at > full[key].verified_at]
    if broken := sorted({one.collection for one in (*full.values(), *later) if not one.is_proven}):
        return Fact(language.label("verification"), language.label("not_proven"), ", ".join(broken), "bad")
    there = {(one.name, one.target) for one in books.status.published if one.source} | {*full, *sampled}
    whole, copied = {collection for collection, _ in full}, len({collection for collection, _ in there})
    told = [
        *_compared("state.verified_at", [*full.values()], copied, language),
        *_compared("state.sampled_at", [one for one in later if one.collection not in whole], copied, language),
    ]
    tone = "good" if there == full.keys() else "even"
    return Fact(language.label("verification"), language.label("proven"), "; ".join(told), tone)


def _compared(key: str, found: Sequence[control.Verification], copied: int, language: Language) -> Iterator[str]:
    """Tell what was compared of how many of the collections, and what could not be."""
    if not found:
        return
    since: dict[str, int] = {}
    for one in found:  # in each store the same ones, or fewer
        since[one.collection] = max(one.changed_since, since.get(one.collection, 0))
    yield language.say(
        key,
        number=language.number(len(since)),
        all=language.number(copied),
        sample=", ".join(sorted({one.sample for one in found})),
        at=language.moment(min(one.verified_at for one in found)),
    )
    if number := sum(since.values()):
        yield language.say("state.changed_since", number=language.number(number))


def _quarantined(books: Books, language: Language) -> Fact:
    number = sum((books.status.quarantined or {}).values())
    whole = not any(one.uncounted for one in books.status.ledger)
    loaded = sum({one.collection: one.source for one in books.status.ledger}.values()) if whole else 0
    told = language.say("state.of_source", share=language.percent(100 * number / loaded, 2)) if loaded else ""
    return Fact(language.label("quarantine"), language.number(number), told, "bad" if number else "good")


def _drifted(books: Books, language: Language) -> Fact:
    number = len(books.drift)
    total = sum(one.count for one in books.drift)
    told = language.say("state.drifted", number=language.number(total)) if number else ""
    return Fact(language.label("drift"), language.number(number), told)


def _failed(books: Books, language: Language) -> list[Fact]:
    failed = [one for one in books.status.runs if one.status == "failed"]
    return [
        Fact(
            language.say("state.failed", kind=one.kind),
            language.moment(one.finished_at),
            (one.message or "")[:200],
            "bad",
        )
        for one in failed
    ]


def _accounts(books: Books, language: Language) -> Drawing:
    rows = [
        {
            "collection": one.collection,
            "target": one.target,
            "source": one.source,
            "loaded": one.loaded,
            "quarantined": one.quarantined,
            "books": language.label("closed" if one.closed else "unfinished" if one.uncounted else "open"),
        }
        for one in books.status.ledger
    ]
    return _told(rows, language, {"source": language.number, "loaded": language.number, "quarantined": language.number})


def _published(books: Books, language: Language, now: datetime) -> Drawing:
    targets: dict[tuple[str, datetime], list[str]] = defaultdict(list)
    rows_of: dict[str, int] = {}
    for one in books.status.published:
        targets[one.name, one.cluster_time.as_datetime()].append(one.target if one.finished else f"({one.target})")
        rows_of[one.name] = max([rows_of.get(one.name, 0), *(held.rows for held in one.held.values())])
    rows = [
        {
            "name": name,
            "targets": ", ".join(stores),
            "rows": rows_of[name],
            "shows": at,
            "lag": max(0.0, (now - at).total_seconds()),
        }
        for (name, at), stores in targets.items()
    ]
    return _told(rows, language, {"rows": language.number, "shows": language.moment, "lag": language.span}, most=60)


def _verifications(books: Books, language: Language) -> Drawing:
    rows = [
        {
            "collection": one.collection,
            "target": one.target,
            "verified_at": one.verified_at,
            "compared": language.label("all") if not one.sample else one.sample,
            "equal": one.equal,
            "missing": one.missing,
            "extra": one.extra,
            "different": one.different,
            "quarantined": one.quarantined,
            "changed_since": one.changed_since,
            "proven": language.label("yes" if one.is_proven else "no"),
        }
        for one in books.verifications
    ]
    if not any(one.changed_since for one in books.verifications):
        rows = [{name: value for name, value in row.items() if name != "changed_since"} for row in rows]
    counts = ("equal", "missing", "extra", "different", "quarantined", "changed_since")
    numbers = dict.fromkeys(counts, language.number)
    return _told(rows, language, {"verified_at": language.moment, **numbers})


def _rules(books: Books, language: Language) -> Drawing:
    rows = [
        {"collection": o.collection, "rule": o.rule, "path": o.path, "documents": o.documents, "sample": o.sample}
        for o in sorted(books.refused, key=lambda one: -one.documents)
    ]
    return _told(rows, language, {"documents": language.number})


def _drift(books: Books, language: Language) -> Drawing:
    rows = [
        {
            "collection": one.collection,
            "drift": language.label(f"drift {one.kind}"),
            "path": one.path,
            "value": NOTHING if one.value is None else charts.shortened(one.value[:_VALUE]),
            "count": one.count,
            "first_id": one.first_id,
        }
        for one in sorted(books.drift, key=lambda one: -one.count)
    ]
    return _told(rows, language, {"count": language.number})


def _stages(books: Books, language: Language) -> Drawing | None:
    stages = {kind: seconds for kind, seconds in (books.stages or {}).items() if seconds}
    if not stages:
        return None
    rows, panels = [], []
    for kind, seconds in stages.items():
        told = [
            {
                "kind": kind,
                "x": language.label(f"stage {stage}").removeprefix("stage "),
                "v": round(took, 2),
                "text": language.span(took),
            }
            for stage, took in seconds.items()
        ]
        shown = [{key: row[key] for key in ("x", "v", "text")} for row in told]
        chart = charts.ranked(shown, unit=language.label("s"), words=words(language, "stage", "s"))
        panels.append(charts.panel(chart, language.label(f"run {kind}").removeprefix("run ")))
        rows += told
    columns: Columns = {
        "kind": (language.label("kind_of_run"), str),
        "x": (language.label("stage"), str),
        "text": (language.label("at_work"), str),
    }
    return Drawing(panels, table(rows, columns, newest_first=False), says_most(rows, "s", language))


def _told(rows: Sequence[dict[str, Any]], language: Language, forms: dict[str, Any], most: int = 31) -> Drawing:
    columns: Columns = {name: (language.label(name), forms.get(name, str)) for name in (rows[0] if rows else {})}
    made = table(rows[:most], columns, newest_first=False)
    shown = [[form(row[name]) for name, (_, form) in columns.items()] for row in rows[:most]]
    return Drawing((), Table(made.headings, shown, made.numeric, max(0, len(rows) - most)), "")
