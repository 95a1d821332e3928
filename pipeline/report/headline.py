"""The headline figures: the last complete period, its change against the one before it, and how it went."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from pipeline.report.drawn import Figure, Spark
from pipeline.report.language import MINUS, Language
from pipeline.report.source import NotBuiltError, Source

_DAYS, _PERIODS, _EVEN = 7, 12, 0.05  # of a percentage point or a hundredth, below which nothing has changed
_FEW = 100  # of fewer no share is called better or worse: a single one moves it by more than a point


@dataclass(frozen=True)
class Period:
    """What a figure was in one period.

    Attributes:
        value: The figure; None if it is not known.
        of: Of how many it is a share.
        among: Of how many those are a part, where the figure is to be read beside that.
    """

    value: float | None = None
    of: int | None = None
    among: int | None = None


Periods = Sequence[Period]  # the last complete one last
Read = Callable[[Source, str], Periods]


@dataclass(frozen=True)
class Kind:
    """A headline figure.

    Attributes:
        mart: What it is read from.
        read: How.
        better: Whether more is better (1), worse (-1) or neither (0).
        is_share: Whether it is a percentage.
        period: Which time each value is of, among the words.
    """

    mart: str
    read: Read
    better: int
    is_share: bool = False
    period: str = "week"


def figures(source: Source) -> list[Figure]:
    """Return the headline figures of which there are marts with rows."""
    found = []
    for key, kind in _FIGURES.items():
        try:
            periods = kind.read(source, kind.mart)
        except NotBuiltError:
            continue
        if periods and periods[-1].value is not None:
            found.append(_figure(source, key, kind, periods))
    return found


def _figure(source: Source, key: str, kind: Kind, periods: Periods) -> Figure:
    language, now, before = source.language, periods[-1], periods[-2] if len(periods) > 1 else Period()
    value = now.value
    assert value is not None
    change = _change(value, before.value, is_share=kind.is_share)
    is_few = kind.is_share and before.value is not None and min(now.of or 0, before.of or 0) < _FEW
    against = "" if before.value is None else language.say(f"against.{kind.period}")
    told = [
        language.say(f"period.{kind.period}", day=language.day(_last(source, kind))) + against,
        *([_of(language, key, now)] if now.of is not None else []),
        *([language.say("of.few")] if is_few else []),
    ]
    return Figure(
        key,
        value,
        language.percent(value) if kind.is_share else language.number(value, 1 if 0 < value < 10 and value % 1 else 0),
        change,
        _changed(language, change, before, is_share=kind.is_share),
        "even" if is_few else _tone(value, change, before, kind.better),
        "; ".join(told),
        Spark(_known([one.value for one in periods])),
        kind.is_share,
        now.of,
    )


def _known(values: list[float | None]) -> list[float | None]:
    """Return values from the first one that is known."""
    return values[next((place for place, value in enumerate(values) if value is not None), 0) :]


def _change(now: float, before: float | None, *, is_share: bool) -> float | None:
    """Return by how many points a share has changed, by how much of a hundred else; None if there is no such number."""
    if before is None or is_share:
        return None if before is None else now - before
    return 100 * (now - before) / before if before else (0.0 if not now else None)


def _tone(now: float, change: float | None, before: Period, better: int) -> str:
    went = now - (before.value or 0.0)
    is_even = before.value is None or not better or abs(went if change is None else change) < _EVEN
    return "even" if is_even else ("good" if went * better > 0 else "bad")


def _changed(language: Language, change: float | None, before: Period, *, is_share: bool) -> str:
    if change is None:
        return language.say("page.no_change_known" if before.value is None else "page.from_zero")
    sign = "+" if change >= _EVEN else (MINUS if change <= -_EVEN else "\N{PLUS-MINUS SIGN}")
    amount = language.number(abs(change), 1)
    return (
        f"{sign}{language.say('page.points', number=amount)}" if is_share else f"{sign}{language.percent(abs(change))}"
    )


def _of(language: Language, key: str, now: Period) -> str:
    """Return of how many a share is, and which part of all those are where that is to be known."""
    share = language.percent(100 * (now.of or 0) / now.among) if now.among else ""
    return language.say(f"of.{key}", of=language.number(now.of), share=share)


def _last(source: Source, kind: Kind) -> date:
    """Return the last day of the last complete period of a figure; of cohorts, the Monday of the last one."""
    last = source.complete_to(kind.mart)
    return _last_cohort(last) if kind.period == "cohort" else last


def _last_cohort(last: date) -> date:
    """Return the Monday of the last week that is followed by a week which is over."""
    latest = last - timedelta(days=13)
    return latest - timedelta(days=latest.weekday())


def _periods(source: Source, mart: str, day: str, *columns: str) -> list[tuple[int, ...]]:
    """Return sums of columns over periods of seven complete days, the last one last, from the first whole one on."""
    if not all(source.has(mart, column) for column in columns):
        raise NotBuiltError(mart)
    last = source.complete_to(mart)
    first = last - timedelta(days=_DAYS * _PERIODS - 1)
    there = source.frame(mart, day, *columns).filter(pl.col(day).is_between(first, last))
    number = (pl.col(day) - pl.lit(first)).dt.total_days() // _DAYS
    summed = there.group_by(number=number).agg(pl.col(*columns).sum(), began=pl.col(day).min()).collect()
    began = first
    if source.frame(mart, day).filter(pl.col(day) < first).head(1).collect().is_empty():  # nothing was there before
        if summed.is_empty():
            return []
        began = min(summed["began"])
    found = {row[0]: row[1:] for row in summed.select("number", *columns).iter_rows()}
    whole = range(-(-(began - first).days // _DAYS), _PERIODS)
    return [found.get(place, (0,) * len(columns)) for place in whole]


def _sum(day: str, column: str, per: float = 1) -> Read:
    """Return how to read a count: of a period without rows, while data go on, it is 0."""

    def read(source: Source, mart: str) -> Periods:
        return [Period(total / per) for (total,) in _periods(source, mart, day, column)]

    return read


def _rate(day: str, part: str, whole: str, *among: str) -> Read:
    def read(source: Source, mart: str) -> Periods:
        rows = _periods(source, mart, day, part, whole, *among)
        return [Period(100 * one / of if of else None, of, *rest) for one, of, *rest in rows]

    return read


def _at_end(day: str, column: str, every: int = _DAYS, of: str = "") -> Read:
    """Return how to read how a stock stood at the end of each period, summed over what else the mart tells apart."""

    def read(source: Source, mart: str) -> Periods:
        last = source.complete_to(mart)
        days = [last - timedelta(days=every * back) for back in reversed(range(_PERIODS))]
        columns = [column, *([of] if of else [])]
        there = source.frame(mart, day, *columns).filter(pl.col(day).is_in(days))
        known = pl.col(column).count() > 0
        summed = there.group_by(day).agg(pl.when(known).then(pl.col(one).sum()).alias(one) for one in columns).collect()
        found = {row[0]: row[1:] for row in summed.iter_rows() if row[1] is not None}
        return [Period(float(found[one][0]), *found[one][1:]) if one in found else Period() for one in days]

    return read


def _week_one(source: Source, mart: str) -> Periods:
    """Return which part of each cohort came back in its first week, of weeks that are over."""
    there = source.cohorts("retention_pct", "eligible_user_count").filter(pl.col("week_number") == 1)
    rows = there.select("cohort_on", "retention_pct", "eligible_user_count").collect().iter_rows()
    found = {cohort: Period(share, of) for cohort, share, of in rows}
    last = _last_cohort(source.complete_to(mart))
    return [found.get(last - timedelta(weeks=back), Period()) for back in reversed(range(_PERIODS))]


def _doubtful(source: Source, mart: str) -> Periods:
    """Return which part of the drops of 28 days each was not genuine."""
    there, months, last = source.frame(mart, "dropped_on", "is_genuine"), 6, source.complete_to(mart)
    first = last - timedelta(days=28 * months - 1)
    kept = there.filter(pl.col("dropped_on").is_between(first, last))
    number = (pl.col("dropped_on") - pl.lit(first)).dt.total_days() // 28
    doubtful = 100 * (1 - pl.col("is_genuine").mean())
    rates = kept.group_by(number=number).agg(rate=doubtful, of=pl.col("is_genuine").count()).collect()
    found = {place: Period(rate, of) for place, rate, of in rates.iter_rows()}
    return [found.get(one, Period()) for one in range(months)]


_ACTIVE, _SUPPORT, _REVIEWS = "active_users_daily", "support_efficiency_daily", "moderation_daily"
_FIGURES: Mapping[str, Kind] = {
    "dau": Kind(_ACTIVE, _sum("active_on", "dau_count", _DAYS), 1),
    "mau": Kind(_ACTIVE, _at_end("active_on", "mau_count", 28), 1, period="month"),
    "sessions": Kind("user_activity_daily", _sum("activity_on", "session_count"), 1),
    "week_1": Kind("user_retention_weekly", _week_one, 1, is_share=True, period="cohort"),
    "tickets": Kind(_SUPPORT, _sum("created_on", "ticket_count"), 0),
    "backlog": Kind(_SUPPORT, _at_end("created_on", "backlog_count"), -1, period="end"),
    "sla": Kind(_SUPPORT, _rate("created_on", "sla_met_count", "sla_eligible_count"), 1, is_share=True),
    "zero": Kind("search_quality_daily", _rate("searched_on", "zero_result_count", "search_count"), -1, is_share=True),
    "rejected": Kind(
        _REVIEWS, _rate("submitted_on", "rejected_count", "decided_count", "submitted_count"), 0, is_share=True
    ),
    "false_drops": Kind("price_drops", _doubtful, -1, is_share=True, period="month"),
    "reach": Kind(
        "recommendation_reach_daily",
        _at_end("reached_on", "reach_pct", of="active_user_count"),
        1,
        is_share=True,
        period="end",
    ),
    "events": Kind("event_types_daily", _sum("event_on", "event_count", _DAYS), 0),
}
