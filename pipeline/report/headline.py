"""The headline figures: the last complete period, its change against the one before it, and how it went."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import polars as pl

from pipeline.report.drawn import Figure, Spark
from pipeline.report.language import MINUS
from pipeline.report.source import NotBuiltError, Source

_DAYS, _PERIODS, _EVEN = 7, 12, 0.05  # of a percentage point or a hundredth, below which nothing has changed

Values = list[float | None]  # of periods, the last complete one last


def figures(source: Source) -> list[Figure]:
    """Return the headline figures of which there are marts with rows."""
    found = []
    for key, (read, is_share, better) in _FIGURES.items():
        try:
            values = read(source)
        except NotBuiltError:
            continue
        if values and values[-1] is not None:
            found.append(_figure(source, key, values, is_share, better))
    return found


def _figure(source: Source, key: str, values: Values, is_share: bool, better: int) -> Figure:
    language, now, before = source.language, values[-1], values[-2] if len(values) > 1 else None
    assert now is not None
    change = None
    if before is not None:
        change = now - before if is_share else (100 * (now - before) / before if before else None)
    text = language.percent(now) if is_share else language.number(now, 1 if 0 < now < 10 and now % 1 else 0)
    is_even = change is None or abs(change) < _EVEN
    tone = "even" if is_even or not better else ("good" if (change or 0) * better > 0 else "bad")
    period = language.say(f"period.{_PERIOD.get(key, 'week')}", day=language.day(_last(source, key)))
    return Figure(
        key, now, text, change, _changed(source, change, is_share), tone, period, Spark(_known(values)), is_share
    )


def _known(values: Values) -> Values:
    """Return values from the first one that is known."""
    return values[next((place for place, value in enumerate(values) if value is not None), 0) :]


def _changed(source: Source, change: float | None, is_share: bool) -> str:
    language = source.language
    if change is None:
        return language.say("page.no_change_known")
    sign = "+" if change >= _EVEN else (MINUS if change <= -_EVEN else "\N{PLUS-MINUS SIGN}")
    amount = language.number(abs(change), 1)
    return (
        f"{sign}{language.say('page.points', number=amount)}" if is_share else f"{sign}{language.percent(abs(change))}"
    )


def _last(source: Source, key: str) -> Any:
    """Return the last day of the last complete period of a figure; of cohorts, the Monday of the last one."""
    if key != "week_1":
        return source.last_complete
    latest = source.last_complete - timedelta(days=13)
    return latest - timedelta(days=latest.weekday())


def _periods(source: Source, mart: str, day: str, *columns: str) -> pl.DataFrame:
    """Return sums of columns over periods of seven complete days, the last one last."""
    first = source.last_complete - timedelta(days=_DAYS * _PERIODS - 1)
    there = source.frame(mart, day, *columns).filter(pl.col(day).is_between(first, source.last_complete))
    number = (pl.col(day) - pl.lit(first)).dt.total_days() // _DAYS
    summed = there.group_by(number=number).agg(pl.col(*columns).sum(), began=pl.col(day).min()).collect()
    every = pl.DataFrame({"number": range(_PERIODS)}, schema={"number": pl.Int64})
    joined = every.join(summed.with_columns(pl.col("number").cast(pl.Int64)), on="number", how="left")
    known = joined.filter(pl.any_horizontal(pl.col(*columns).is_not_null()))
    if not len(known):
        return joined.clear()
    number, began = known.select("number", "began").row(0)
    if began > first + timedelta(days=_DAYS * number):  # the first day of all is in the middle of a period
        number += source.frame(mart, day).filter(pl.col(day) < first).head(1).collect().is_empty()
    return joined.filter(pl.col("number") >= number)


def _sum(mart: str, day: str, column: str, per: float = 1) -> Callable[[Source], Values]:
    def read(source: Source) -> Values:
        return [None if one is None else one / per for one in _periods(source, mart, day, column)[column]]

    return read


def _rate(mart: str, day: str, part: str, whole: str) -> Callable[[Source], Values]:
    def read(source: Source) -> Values:
        rows = _periods(source, mart, day, part, whole).select(part, whole).iter_rows()
        return [100 * one / of if of else None for one, of in rows]

    return read


def _at_end(mart: str, day: str, column: str, every: int = _DAYS) -> Callable[[Source], Values]:
    """Return how a stock stood at the end of each period, summed over what else the mart tells apart."""

    def read(source: Source) -> Values:
        days = [source.last_complete - timedelta(days=every * back) for back in reversed(range(_PERIODS))]
        there = source.frame(mart, day, column).filter(pl.col(day).is_in(days))
        known = pl.col(column).count() > 0
        summed = there.group_by(day).agg(pl.when(known).then(pl.col(column).sum())).collect()
        found = dict(summed.iter_rows())
        return [None if found.get(one) is None else float(found[one]) for one in days]

    return read


def _week_one(source: Source) -> Values:
    """Return which part of each cohort came back in its first week, of weeks that are over."""
    there = source.cohorts("retention_pct").filter(pl.col("week_number") == 1)
    found = dict(there.select("cohort_on", "retention_pct").collect().iter_rows())
    last = _last(source, "week_1")
    return [found.get(last - timedelta(weeks=back)) for back in reversed(range(_PERIODS))]


def _genuine(source: Source) -> Values:
    there, months = source.frame("price_drops", "dropped_on", "is_genuine"), 6
    first = source.last_complete - timedelta(days=28 * months - 1)
    kept = there.filter(pl.col("dropped_on").is_between(first, source.last_complete))
    number = (pl.col("dropped_on") - pl.lit(first)).dt.total_days() // 28
    rates = kept.group_by(number=number).agg(rate=100 * (1 - pl.col("is_genuine").mean())).collect()
    found = dict(rates.iter_rows())
    return [found.get(one) for one in range(months)]


# By key: how it is read, whether it is a percentage, and whether more is better (1), worse (-1) or neither (0).
_FIGURES: Mapping[str, tuple[Callable[[Source], Values], bool, int]] = {
    "dau": (_sum("active_users_daily", "active_on", "dau_count", _DAYS), False, 1),
    "mau": (_at_end("active_users_daily", "active_on", "mau_count", 28), False, 1),
    "sessions": (_sum("user_activity_daily", "activity_on", "session_count"), False, 1),
    "week_1": (_week_one, True, 1),
    "tickets": (_sum("support_efficiency_daily", "created_on", "ticket_count"), False, 0),
    "backlog": (_at_end("support_efficiency_daily", "created_on", "backlog_count"), False, -1),
    "sla": (_rate("support_efficiency_daily", "created_on", "sla_met_count", "sla_eligible_count"), True, 1),
    "zero": (_rate("search_quality_daily", "searched_on", "zero_result_count", "search_count"), True, -1),
    "rejected": (_rate("moderation_daily", "submitted_on", "rejected_count", "decided_count"), True, 0),
    "false_drops": (_genuine, True, -1),
    "reach": (_at_end("recommendation_reach_daily", "reached_on", "reach_pct"), True, 1),
    "events": (_sum("event_types_daily", "event_on", "event_count", _DAYS), False, 0),
}
_PERIOD = {"mau": "month", "false_drops": "month", "backlog": "end", "reach": "end", "week_1": "cohort"}
