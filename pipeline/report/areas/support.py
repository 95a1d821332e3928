"""How support keeps up, and on what."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import polars as pl

from pipeline.report import charts
from pipeline.report.areas.spans import durations, hours, spans
from pipeline.report.drawn import Draw, Drawing
from pipeline.report.source import Source
from pipeline.report.telling import (
    Columns,
    by_day,
    by_week,
    day_table,
    from_a_whole_week,
    has_running,
    monday,
    says,
    says_most,
    share,
    table,
    words,
)

_AGES = ("under_1d", "1d_to_3d", "3d_to_7d", "over_7d")
_DAILY, _TICKETS, _CHANGES = "support_efficiency_daily", "ticket_resolution", "ticket_changes"
_HOUR = 3_600
_OPEN, _TYPES = 400, 12  # tickets and types that are drawn
_YOUNGEST = 0.01  # days: an axis that grows by factors has no 0
_FACTOR = 10  # between the ages of the oldest and the youngest, from which on the axis grows by factors


def opened_and_solved(source: Source) -> Drawing | None:
    """Draw tickets opened and solved by day, with what is open at the day's end."""
    language, names = source.language, ("created_count", "solved_count", "backlog_count")
    frame = _summed(source, *names)
    if not len(frame):
        return None
    rows = by_day(frame.with_columns(solved_down=-pl.col("solved_count")), language)
    series = {"created_count": language.label("created_count"), "solved_down": language.label("solved_count")}
    flow = charts.bars(rows, series, words=words(language, "day", "tickets", "status"), height=150)
    stock = {"backlog_count": language.label("backlog_count")}
    backlog = charts.lines(rows, stock, words=words(language, "day", "tickets"), height=130)
    told = day_table(rows, language, dict.fromkeys(names))
    panels = [
        charts.panel(flow, language.label("opened_and_solved")),
        charts.panel(backlog, language.label("backlog_count")),
    ]
    return Drawing(panels, told, says(rows, "backlog_count", language), has_running(rows))


def backlog_age(source: Source) -> Drawing | None:
    """Draw how old the tickets are that are open at each day's end."""
    language = source.language
    names = {f"backlog_{age}_count": language.label(f"age_{age}") for age in _AGES}
    frame = _summed(source, *names)
    if not len(frame):
        return None
    rows = by_day(frame, language)
    chart = charts.bars(rows, names, words=words(language, "day", "tickets", "age"))
    told = day_table(rows, language, dict.fromkeys(names))
    return Drawing([charts.panel(chart)], told, says(rows, "backlog_over_7d_count", language), has_running(rows))


def first_reply(source: Source) -> Drawing | None:
    """Draw how long the first reply took, in classes that grow by factors."""
    there = _recent_tickets(source, "first_response_s")
    return spans(source, there.select(span="first_response_s"), "tickets")


def reply_quantiles(source: Source) -> Drawing | None:
    """Draw half and nine tenths of the times to the first reply by week, with the promised time."""
    language = source.language
    frame = _weekly_replies(source)
    if not frame["answered_count"].sum():
        return None
    rows = by_week(frame, source.complete_to(_TICKETS), language)
    series = {name: language.label(name) for name in ("reply_p50", "reply_p90")}
    target, longest = _target(source), max(row["reply_p90"] for row in rows if row["reply_p90"] is not None)
    rule = target / _HOUR if target and target / _HOUR <= 3 * longest else None
    chart = charts.lines(
        rows, series, unit=language.label("h"), words=words(language, "week", "hours", "quantile"), rule=rule
    )
    of = {name: language.label(name) for name in ("answered_count", "unanswered_count")}
    counts = charts.bars(rows, of, words=words(language, "week", "tickets", "status"), height=110)

    def spelled(value: float) -> str:
        return language.span(None if value is None else value * _HOUR)

    told = day_table(rows, language, {**dict.fromkeys(series, spelled), **dict.fromkeys(of)}, "week")
    panels = [charts.panel(chart, language.label("first_reply_h")), charts.panel(counts, language.label("tickets"))]
    last = [row for row in rows if row["reply_p50"] is not None and not row["is_running"]][-1:]
    seen = [says(rows, "reply_p50", language, spelled), *(_says_unanswered(source, row) for row in last)]
    return Drawing(panels, told, " ".join(seen), has_running(rows))


def _weekly_replies(source: Source) -> pl.DataFrame:
    """Return the quantiles of the times to the first reply by week, with how many tickets have one and have none."""
    hours_of = pl.col("first_response_s") / _HOUR
    local = pl.col("created_at").dt.convert_time_zone(str(source.language.zone)).dt.date()
    return from_a_whole_week(
        _asked(source)
        .filter(local.is_between(source.first_monday, source.end_of(_TICKETS)))
        .group_by(day=monday(local))
        .agg(
            reply_p50=hours_of.median(),
            reply_p90=hours_of.quantile(0.9, "linear"),
            answered_count=hours_of.count(),
            unanswered_count=hours_of.null_count(),
            first=local.min(),
        )
        .sort("day")
        .collect()
    )


def _says_unanswered(source: Source, row: Mapping[str, Any]) -> str:
    language, number = source.language, row["unanswered_count"]
    of = language.number(row["answered_count"] + number)
    return language.say("says.unanswered", number=language.number(number), of=of, day=row["told"])


def in_time(source: Source) -> Drawing | None:
    """Draw which part of the tickets was answered in the promised time, by week of opening."""
    language = source.language
    frame = _summed(source, "sla_met_count", "sla_eligible_count", last=182)
    weekly = from_a_whole_week(
        frame.filter(pl.col("day") >= source.first_monday)
        .group_by(week=monday("day"))
        .agg(pl.col("sla_met_count", "sla_eligible_count").sum(), first=pl.col("day").min())
        .rename({"week": "day"})
        .with_columns(sla_met_pct=share("sla_met_count", "sla_eligible_count"))
        .sort("day")
    )
    rows = by_week(weekly, source.complete_to(_DAILY), language)
    if not any(row["sla_eligible_count"] for row in rows):
        return None
    label = {"sla_met_pct": language.label("sla_met_pct")}
    chart = charts.lines(rows, label, unit="%", words=words(language, "week", "share"))
    told = day_table(rows, language, {"sla_met_pct": language.percent, "sla_eligible_count": None}, "week")
    return Drawing(
        [charts.panel(chart)], told, says(rows, "sla_met_pct", language, language.percent), has_running(rows)
    )


def helped_within(source: Source) -> Drawing | None:
    """Draw which share of the tickets had a first reply, and was resolved, within which time."""
    age = (pl.lit(source.at(_TICKETS)) - pl.col("created_at")).dt.total_milliseconds() / 1_000
    asked, every = _asked(source), _recent_tickets(source, "resolution_s")
    taken = {
        "replied": asked.select(span="first_response_s", age=age).collect(),
        "resolved": every.select(span="resolution_s", age=age).collect(),
    }
    return durations(source, taken, "tickets")


def reopened(source: Source) -> Drawing | None:
    """Draw how many tickets were solved in each week, how that is known, and how many were opened again."""
    language = source.language
    there = source.frame(_CHANGES, "changed_on", "change", "basis").filter(
        pl.col("changed_on").is_between(source.first_monday, source.end_of(_CHANGES))
    )
    solved, basis = pl.col("change") == "solved", pl.col("basis")
    weekly = from_a_whole_week(
        there.group_by(day=monday("changed_on"))
        .agg(
            solved_observed=(solved & (basis == "observed")).sum(),
            solved_proxy=(solved & (basis == "proxy")).sum(),
            reopened=(pl.col("change") == "reopened").sum(),
            first=pl.col("changed_on").min(),
        )
        .sort("day")
        .collect()
    )
    names = ("solved_proxy", "solved_observed", "reopened")
    if not len(weekly) or not weekly.select(pl.sum_horizontal(pl.col(names).sum())).item():
        return None
    every = source.gapless(_CHANGES, weekly, *names, every="1w").with_columns(down=-pl.col("reopened").cast(pl.Int64))
    rows = by_week(every, source.complete_to(_CHANGES), language)
    series = {"solved_proxy": language.label("solved_proxy"), "solved_observed": language.label("solved_observed")}
    chart = charts.bars(
        rows, {**series, "down": language.label("reopened")}, words=words(language, "week", "tickets", "kind")
    )
    told = day_table(rows, language, dict.fromkeys(names), "week")
    return Drawing([charts.panel(chart)], told, says(rows, "reopened", language), has_running(rows))


def arrivals(source: Source) -> Drawing | None:
    """Draw at which hours of which weekdays tickets are opened."""
    return hours(source, _recent_tickets(source).select(at="created_at"), "tickets")


def open_tickets(source: Source) -> Drawing | None:
    """Draw the age and the messages of tickets that are not resolved."""
    language = source.language
    there = source.frame(_TICKETS, "ticket_id", "age_s", "message_count", "issue_type", "is_resolved")
    found = there.filter(~pl.col("is_resolved"), pl.col("age_s") > 0).sort("age_s", descending=True).collect()
    if not len(found):
        return None
    rows = [
        {
            "x": max(_YOUNGEST, round(one["age_s"] / 86_400, 2)),
            "y": one["message_count"],
            "told": one["ticket_id"],
            "issue": str(one["issue_type"]),
            "age": language.span(one["age_s"]),
            "v": f"{language.span(one['age_s'])}; {language.number(one['message_count'])}",
        }
        for one in found.head(_OPEN).iter_rows(named=True)
    ]
    names = {"x": language.label("ticket"), "v": language.label("age_and_messages")}
    chart = charts.points(
        rows,
        x=language.label("age_days"),
        y=language.label("messages"),
        words=names,
        logs=rows[0]["x"] > _FACTOR * rows[-1]["x"],
    )
    columns: Columns = {
        "told": (language.label("ticket"), str),
        "issue": (language.label("issue_type"), str),
        "age": (language.label("age"), str),
        "y": (language.label("messages"), language.number),
    }
    seen = language.say(
        "says.open_tickets", tickets=language.number(len(found)), age=rows[0]["age"], ticket=rows[0]["told"]
    )
    return Drawing([charts.panel(chart)], table(rows, columns, newest_first=False), seen)


def issue_types(source: Source) -> Drawing | None:
    """Draw what tickets are about, the most frequent first, and which part of all it makes with those before it."""
    language = source.language
    counted = _recent_tickets(source, "issue_type").group_by(x=pl.col("issue_type").cast(pl.String)).agg(v=pl.len())
    found = counted.sort("v", "x", descending=[True, False]).collect()
    if not len(found):
        return None
    found = found.with_columns(together=100 * pl.col("v").cum_sum() / pl.col("v").sum())
    rows = [
        {
            **row,
            "text": f"{language.number(row['v'])} (Σ {language.percent(row['together'], 0)})",
        }
        for row in found.head(_TYPES).iter_rows(named=True)
    ]
    chart = charts.ranked(rows, unit="", words=words(language, "issue_type", "tickets"))
    columns: Columns = {
        "x": (language.label("issue_type"), str),
        "v": (language.label("tickets"), language.number),
        "together": (language.label("together"), language.percent),
    }
    return Drawing(
        [charts.panel(chart)],
        table(rows, columns, newest_first=False),
        says_most(rows, "tickets", language, total=float(found["v"].sum())),
    )


def _summed(source: Source, *columns: str, last: int = 90) -> pl.DataFrame:
    """Return columns of the support's days, summed over the types of issue."""
    frame = source.days(_DAILY, "created_on", *columns, last=last)
    summed = frame.group_by("day").agg(pl.col(*columns).sum(), pl.col("is_complete").all()).sort("day")
    return summed.with_columns(is_complete=pl.col("is_complete") & (pl.col("day") <= source.complete_to(_DAILY)))


def _recent_tickets(source: Source, *columns: str) -> pl.LazyFrame:
    """Return the tickets of the last half year, with when they were opened."""
    since = pl.lit(source.end_of(_TICKETS) - timedelta(days=181)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return source.frame(_TICKETS, "created_at", *columns).filter(pl.col("created_at") >= since)


def _asked(source: Source) -> pl.LazyFrame:
    """Return the tickets of the last half year whose users are owed a reply, with what it took."""
    there = _recent_tickets(source, "first_response_s", "is_opened_by_agent")
    return there.filter(~pl.col("is_opened_by_agent").fill_null(False))


def _target(source: Source) -> float | None:
    """Return the promised time, if it is one for all tickets."""
    targets = source.frame(_DAILY, "sla_target_s").select(pl.col("sla_target_s").unique()).collect()
    return float(targets.item()) if len(targets) == 1 and targets.item() is not None else None


PLOTS: dict[Draw, str] = {
    opened_and_solved: _DAILY,
    backlog_age: _DAILY,
    in_time: _DAILY,
    first_reply: _TICKETS,
    reply_quantiles: _TICKETS,
    helped_within: _TICKETS,
    reopened: _CHANGES,
    arrivals: _TICKETS,
    open_tickets: _TICKETS,
    issue_types: _TICKETS,
}
