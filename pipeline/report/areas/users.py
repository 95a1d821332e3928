"""Who the users are: how unequal, in which segments, and where they move."""

from datetime import datetime, time, timedelta

import polars as pl

from contracts.marts.user_activity import SEGMENTS
from pipeline.report import charts, curves
from pipeline.report.drawn import Draw, Drawing
from pipeline.report.source import Source
from pipeline.report.telling import Columns, by_day, day_table, says, says_most, table, words
from transforms.marts import Context
from transforms.marts.user_activity import segmented
from transforms.marts.user_recency import user_recency
from transforms.marts.user_score_cuts import user_score_cuts

_DAYS = "user_activity_daily"
_SCORES = range(1, 6)
_STEP_DAYS, _STEPS = 28, 7  # of what segments were: half a year
_DONE = ("session_count", "search_count", "ticket_count", "review_count")


def scores(source: Source) -> Drawing | None:
    """Draw how many users have which scores of recency and frequency."""
    language = source.language
    there = source.frame("user_activity", "r_score", "f_score").drop_nulls()
    found = {
        (r, f): number for r, f, number in there.group_by("r_score", "f_score").agg(pl.len()).collect().iter_rows()
    }
    if not found:
        return None
    recency, often = language.label("recency"), language.label("frequency")
    cells = [
        {
            "x": f"{often} {f}",
            "y": f"{recency} {r}",
            "v": found.get((r, f), 0),
            "text": language.number(found.get((r, f), 0)),
            "told": f"{recency} {r}, {often} {f}",
        }
        for r in reversed(_SCORES)
        for f in _SCORES
    ]
    xs, ys = [f"{often} {f}" for f in _SCORES], [f"{recency} {r}" for r in reversed(_SCORES)]
    chart = charts.heat(
        cells, xs=xs, ys=ys, unit="", words=words(language, "scores", "users"), texts=True, row_height=30
    )
    columns: Columns = {"told": (language.label("scores"), str), "v": (language.label("users"), language.number)}
    return Drawing(
        [charts.panel(chart)], table(cells, columns, newest_first=False), says_most(cells, "users", language)
    )


def segments(source: Source) -> Drawing | None:
    """Draw how many users each segment has."""
    language = source.language
    counted = source.frame("user_activity", "segment").group_by(pl.col("segment").cast(pl.String)).agg(v=pl.len())
    found = counted.sort("v", "segment", descending=[True, False]).collect().to_dicts()
    total = sum(one["v"] for one in found)
    if not total:
        return None
    rows = [
        {
            "x": one["segment"],
            "v": one["v"],
            "text": language.part(one["v"], total),
        }
        for one in found
    ]
    chart = charts.ranked(rows, unit="", words=words(language, "segment", "users"))
    columns: Columns = {"x": (language.label("segment"), str), "v": (language.label("users"), language.number)}
    return Drawing([charts.panel(chart)], table(rows, columns, newest_first=False), says_most(rows, "users", language))


def segment_sizes(source: Source) -> Drawing | None:
    """Draw how many users each segment had, every four weeks."""
    language, known = source.language, _segments(source)
    counted = known.group_by("day", "segment").agg(v=pl.len()).collect() if known is not None else pl.DataFrame()
    if not len(counted):
        return None
    shown = [one for one in SEGMENTS if one in set(counted["segment"])]
    wide = counted.pivot("segment", index="day", values="v").sort("day").with_columns(pl.col(shown).fill_null(0))
    rows = by_day(wide.with_columns(is_complete=pl.lit(True)), language)
    chart = charts.bars(rows, dict(zip(shown, shown, strict=True)), words=words(language, "day", "users", "segment"))
    told = day_table(rows, language, dict.fromkeys(shown))
    return Drawing([charts.panel(chart)], told, says(rows, shown[0], language))


def segment_flow(source: Source) -> Drawing | None:
    """Draw to which segment users went within four weeks; who is new was in none."""
    language, known = source.language, _segments(source, steps=2)
    if known is None:
        return None
    last = source.complete_to(_DAYS)
    before = last - timedelta(days=_STEP_DAYS)
    now, then = (known.filter(pl.col("day") == day).select("user_id", "segment") for day in (last, before))
    moved = now.join(then, on="user_id", how="left", suffix="_before")
    counted = moved.group_by("segment_before", "segment").agg(v=pl.len()).collect()
    if not counted["segment_before"].count():
        return None  # nobody was there four weeks before
    new, arrow = language.label("not_there"), "\N{RIGHTWARDS ARROW}"
    found = {(one or new, to): number for one, to, number in counted.iter_rows()}
    xs, ys = [one for one in SEGMENTS if any(to == one for _, to in found)], [*SEGMENTS, new]
    cells = [
        {
            "x": to,
            "y": one,
            "v": found.get((one, to), 0),
            "text": language.number(found.get((one, to), 0)),
            "told": f"{one} {arrow} {to}",
        }
        for one in ys
        for to in xs
        if any((one, other) in found for other in xs)
    ]
    shown = [one for one in ys if any(cell["y"] == one for cell in cells)]
    chart = charts.heat(
        cells, xs=xs, ys=shown, unit="", words=words(language, "segment", "users"), texts=True, row_height=30
    )
    columns: Columns = {"told": (language.label("segment"), str), "v": (language.label("users"), language.number)}
    most = sorted((cell for cell in cells if cell["v"]), key=lambda cell: -cell["v"])
    moves = [cell for cell in most if cell["x"] != cell["y"]] or most
    return Drawing([charts.panel(chart)], table(most, columns, newest_first=False), says_most(moves, "users", language))


def concentration(source: Source) -> Drawing | None:
    """Draw which share of all activity is that of which share of the users."""
    done = pl.sum_horizontal(_DONE)
    counted = source.frame("user_activity", *_DONE).group_by(much=done).agg(many=pl.len()).collect()
    return inequality(source, dict(counted.iter_rows()), "users", "activity")


def inequality(source: Source, owners: dict[float, int], whose: str, what: str) -> Drawing | None:
    """Draw a Lorenz curve.

    Args:
        source: What is drawn from.
        owners: How many own how much, by how much.
        whose: What the owners are called, among the labels.
        what: What is owned is called.
    """
    language, people = source.language, sum(owners.values())
    if not any(owners):
        return None
    points, gini = curves.shares(owners)
    names = {"whose": language.label(whose), "what": language.label(what)}
    rows = [{"x": x, "v": y, "told": language.say("says.least", share=language.percent(x), **names)} for x, y in points]
    called = {"x": names["whose"], "v": language.say("says.share_of", what=names["what"]), "s": ""}
    chart = curves.lorenz(rows, names["what"], x=language.say("says.share_of_in", what=names["whose"]), words=called)
    columns: Columns = {"told": (names["whose"], str), "v": (called["v"], language.percent)}
    tenths = [min(rows, key=lambda row, at=at: abs(row["x"] - at)) for at in range(10, 101, 10)]  # type: ignore[misc]
    seen = language.say(
        "says.unequal",
        number=language.number(people),
        top=language.percent(curves.top_share(points)),
        gini=language.number(gini, 2),
        **names,
    )
    shown = [row for place, row in enumerate(tenths) if row not in tenths[:place]]
    return Drawing([charts.panel(chart)], table(shown, columns, newest_first=False), seen)


def _segments(source: Source, steps: int = _STEPS) -> pl.LazyFrame | None:
    """Return the segment of each user as it was on days that lie four weeks apart, by what is known of them now."""
    zone, last, frames = source.language.zone, source.complete_to(_DAYS), []
    names = ("user_id", "activity_on", "session_count", "action_count")
    days = source.frame(_DAYS, *names).filter(pl.col("activity_on") <= last).collect()
    for back in range(steps):
        day = last - timedelta(days=_STEP_DAYS * back)
        known = days.lazy().filter(pl.col("activity_on") <= day)
        context = Context(as_of=datetime.combine(day, time(12), zone), timezone=str(zone))
        users = user_recency(known, context=context)
        of = segmented(users, user_score_cuts(users, context=context))
        frames.append(of.select("user_id", pl.col("segment").cast(pl.String), day=pl.lit(day)))
    return pl.concat(frames) if len(days) else None


PLOTS: dict[Draw, str] = {
    scores: "user_activity",
    segments: "user_activity",
    segment_sizes: _DAYS,
    segment_flow: _DAYS,
    concentration: "user_activity",
}
