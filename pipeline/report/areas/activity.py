"""How many people come, how often, when, and how far they get."""

from datetime import timedelta

import polars as pl

from pipeline.report import charts
from pipeline.report.areas.spans import hours, spans
from pipeline.report.drawn import Draw, Drawing
from pipeline.report.language import MINUS, Language
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
    table,
    words,
)

_SESSIONS, _FUNNEL = "session_facts", "funnel_daily"
_DEVICES = 4
_COLUMNS = {"day", "x", "told", "is_running", "is_complete"}  # that rows have beside those of the data
_TRIED = 28  # days of which a rhythm is told


def active_users(source: Source) -> Drawing | None:
    """Draw how many users were active by day, week and month."""
    names = {name: source.language.label(name) for name in ("dau_count", "wau_count", "mau_count")}
    rows = by_day(source.days("active_users_daily", "active_on", *names), source.language)
    if not rows:
        return None
    chart = charts.lines(rows, names, words=words(source.language, "day", "users", "window"))
    told = day_table(rows, source.language, dict.fromkeys(names))
    return Drawing([charts.panel(chart)], told, says(rows, "dau_count", source.language), has_running(rows))


def stickiness(source: Source) -> Drawing | None:
    """Draw which part of a month's users come on a day."""
    rows = by_day(source.days("active_users_daily", "active_on", "stickiness_pct"), source.language)
    if not any(row["stickiness_pct"] for row in rows):
        return None
    label = source.language.label("stickiness_pct")
    chart = charts.lines(rows, {"stickiness_pct": label}, unit="%", words=words(source.language, "day", "share"))
    told = day_table(rows, source.language, {"stickiness_pct": source.language.percent})
    seen = says(rows, "stickiness_pct", source.language, source.language.percent)
    return Drawing([charts.panel(chart)], told, seen, has_running(rows))


def calendar(source: Source) -> Drawing | None:
    """Draw the active users of each day that is over as a calendar."""
    language = source.language
    frame = source.days("active_users_daily", "active_on", "dau_count", last=182).filter("is_complete")
    if not len(frame):
        return None
    cells = frame.select(
        "day",
        v="dau_count",
        week=monday("day"),
        weekday=pl.col("day").dt.weekday(),
    )
    rows = [
        {**row, "x": row["week"].isoformat(), "y": language.weekdays[row["weekday"] - 1]}
        for row in cells.iter_rows(named=True)
    ]
    drawn = [{"x": r["x"], "y": r["y"], "v": r["v"], "told": language.day(r["day"])} for r in rows]
    weeks = sorted({row["x"] for row in drawn})
    chart = charts.heat(
        drawn, xs=weeks, ys=language.weekdays, unit="", words=words(language, "day", "dau_count"), dates=True
    )
    days = by_day(frame, language)
    told = day_table(days, language, {"dau_count": None})
    return Drawing([charts.panel(chart)], told, says(days, "dau_count", language))


def frequency(source: Source) -> Drawing | None:
    """Draw how many users came on how many of the 28 days up to the last one with data."""
    language = source.language
    end = source.end_of("user_activity_daily")
    there = source.frame("user_activity_daily", "user_id", "activity_on").filter(
        pl.col("activity_on").is_between(end - timedelta(days=27), end)
    )
    counted = there.group_by("user_id").agg(days=pl.len()).group_by("days").agg(users=pl.len()).sort("days").collect()
    found = dict(counted.iter_rows())
    if not found:
        return None
    rows = [
        {
            "x": day,
            "told": language.number(day),
            "v": found.get(day, 0),
            "users": found.get(day, 0),
            "is_running": False,
        }
        for day in range(1, max(found) + 1)
    ]
    chart = charts.bars(
        rows, {"users": language.label("users")}, words=words(language, "active_days", "users"), dates=False
    )
    columns: Columns = {
        "told": (language.label("active_days"), str),
        "users": (language.label("users"), language.number),
    }
    return Drawing([charts.panel(chart)], table(rows, columns, newest_first=False), says_most(rows, "users", language))


def sessions_daily(source: Source) -> Drawing | None:
    """Draw sessions by day, with the mean of seven days."""
    language, end = source.language, source.end_of(_SESSIONS)
    there = source.frame(_SESSIONS, "started_on").filter(pl.col("started_on").is_between(end - timedelta(days=95), end))
    counted = there.group_by(day="started_on").agg(sessions=pl.len()).sort("day").collect()
    if not len(counted):
        return None
    frame = source.gapless(_SESSIONS, counted, "sessions").with_columns(
        mean_7d=pl.col("sessions").rolling_mean(7), is_complete=pl.col("day") <= source.complete_to(_SESSIONS)
    )
    frame = frame.with_columns(mean_7d=pl.when("is_complete").then("mean_7d")).tail(90)
    rows = by_day(frame, language)
    chart = charts.bars(
        rows,
        {"sessions": language.label("sessions")},
        words=words(language, "day", "sessions"),
        line=("mean_7d", language.label("mean_7d")),
    )
    told = day_table(rows, language, {"sessions": None, "mean_7d": lambda value: language.number(value, 1)})
    return Drawing([charts.panel(chart)], told, says(rows, "sessions", language), has_running(rows))


def rhythm(source: Source) -> Drawing | None:
    """Draw at which hours of which weekdays sessions begin."""
    last = source.complete_to(_SESSIONS)
    there = source.frame(_SESSIONS, "started_at", "started_on").filter(
        pl.col("started_on").is_between(last - timedelta(days=_TRIED - 1), last)
    )
    return hours(source, there.select(at="started_at"), "sessions")


def durations(source: Source) -> Drawing | None:
    """Draw how long sessions are, in classes that grow by factors."""
    end = source.end_of(_SESSIONS)
    there = source.frame(_SESSIONS, "duration_s", "started_on").filter(
        pl.col("started_on").is_between(end - timedelta(days=89), end)
    )
    return spans(source, there.select(span="duration_s"), "sessions")


def engagement(source: Source) -> Drawing | None:
    """Draw which part of the sessions is engaged, by device and week."""
    there = source.frame(_SESSIONS, "started_on", "device_type", "is_engaged").filter(
        pl.col("started_on").is_between(source.first_monday, source.end_of(_SESSIONS)),
        pl.col("is_engaged").is_not_null(),
    )
    counted = from_a_whole_week(
        there.group_by(day=monday("started_on"), device=pl.col("device_type").cast(pl.String))
        .agg(all=pl.len(), engaged=pl.col("is_engaged").sum(), first=pl.col("started_on").min())
        .collect()
    )
    if not len(counted):
        return None
    devices = counted.group_by("device").agg(pl.col("all").sum()).sort("all", "device", descending=[True, False])
    named = devices["device"].head(_DEVICES).to_list()
    wide = counted.with_columns(v=100 * pl.col("engaged") / pl.col("all")).filter(pl.col("device").is_in(named))
    return _weekly_shares(source, _SESSIONS, wide, "device", named, named[0])


def funnel(source: Source) -> Drawing | None:
    """Draw how many sessions of 28 days reach each step, and how many are lost before it."""
    language, last = source.language, source.complete_to(_FUNNEL)
    there = source.frame(_FUNNEL, "entered_on", "step", "step_number", "entered_count", "reached_count")
    wanted = there.filter(pl.col("entered_on").is_between(last - timedelta(days=_TRIED - 1), last))
    steps = wanted.group_by("step_number", "step").agg(pl.col("entered_count", "reached_count").sum())
    found = steps.sort("step_number").collect().to_dicts()
    if not found or not found[0]["entered_count"]:
        return None
    entered = found[0]["entered_count"]
    rows = [
        {
            "x": str(one["step"]),
            "v": one["reached_count"],
            "share": 100 * one["reached_count"] / entered,
            "lost": before - one["reached_count"],
            "text": _step(language, one["reached_count"], before, entered),
        }
        for one, before in zip(found, [entered, *(one["reached_count"] for one in found)], strict=False)
    ]
    chart = charts.ranked(rows, unit="", words=words(language, "step", "sessions"))
    columns: Columns = {
        "x": (language.label("step"), str),
        "v": (language.label("sessions"), language.number),
        "share": (language.label("share"), language.percent),
        "lost": (language.label("lost"), language.number),
    }
    through = language.part(rows[-1]["v"], entered)
    seen = language.say("says.funnel", entered=language.number(entered), last=through, step=rows[-1]["x"])
    return Drawing([charts.panel(chart)], table(rows, columns, newest_first=False), seen)


def _step(language: Language, reached: int, before: int, entered: int) -> str:
    told, lost = language.part(reached, entered), before - reached
    return f"{told}, {MINUS}{language.number(lost)}" if lost else told


def conversion(source: Source) -> Drawing | None:
    """Draw which part of the sessions with a view reaches each step, by week."""
    there = source.frame(_FUNNEL, "entered_on", "step", "step_number", "entered_count", "reached_count")
    is_told = pl.col("entered_on").is_between(source.first_monday, source.end_of(_FUNNEL))
    first = pl.col("entered_on").min()
    weekly = from_a_whole_week(
        there.filter(is_told, pl.col("step_number") > 1)
        .group_by(day=monday("entered_on"), step=pl.col("step").cast(pl.String))
        .agg(pl.col("entered_count", "reached_count").sum(), number=pl.col("step_number").first(), first=first)
        .with_columns(v=100 * pl.col("reached_count") / pl.col("entered_count"))
        .sort("number", "day")
        .collect()
    )
    if not len(weekly):
        return None
    steps = weekly["step"].unique(maintain_order=True).to_list()
    return _weekly_shares(source, _FUNNEL, weekly, "step", steps, steps[-1])


def _weekly_shares(source: Source, mart: str, weekly: pl.DataFrame, by: str, names: list[str], said: str) -> Drawing:
    """Draw a line of shares (``v``) for each of some names, which the column ``by`` has, and say the last of one."""
    language = source.language
    # Values become columns here: one that is called as a column of ours gets a blank that nobody sees.
    called = {name: f"{name}\N{NO-BREAK SPACE}" if name in _COLUMNS else name for name in names}
    wide = weekly.with_columns(pl.col(by).replace(called)).pivot(by, index="day", values="v").sort("day")
    rows, names = by_week(wide, source.complete_to(mart), language), [*called.values()]
    chart = charts.lines(
        rows, dict(zip(names, names, strict=True)), unit="%", words=words(language, "week", "share", by)
    )
    told = day_table(rows, language, dict.fromkeys(names, language.percent), "week")
    return Drawing([charts.panel(chart)], told, says(rows, called[said], language, language.percent), has_running(rows))


def time_to_buy(source: Source) -> Drawing | None:
    """Draw how long it takes from the first view to the purchase."""
    there = source.frame(_SESSIONS, "viewed_at", "purchased_at").filter(pl.col("purchased_at").is_not_null())
    took = (pl.col("purchased_at") - pl.col("viewed_at")).dt.total_milliseconds() / 1_000
    return spans(source, there.select(span=took), "sessions")


PLOTS: dict[Draw, str] = {
    active_users: "active_users_daily",
    stickiness: "active_users_daily",
    frequency: "user_activity_daily",
    calendar: "active_users_daily",
    sessions_daily: _SESSIONS,
    rhythm: _SESSIONS,
    durations: _SESSIONS,
    engagement: _SESSIONS,
    funnel: _FUNNEL,
    time_to_buy: _SESSIONS,
    conversion: _FUNNEL,
}
