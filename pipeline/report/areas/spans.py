"""What several areas draw of times: at which hours, how long, and within what time."""

from collections.abc import Mapping

import polars as pl

from pipeline.report import charts, curves
from pipeline.report.drawn import Drawing
from pipeline.report.source import Source
from pipeline.report.telling import Columns, says_most, table, words

_DURATIONS = (
    1,
    3,
    10,
    30,
    60,
    180,
    600,
    1_800,
    3_600,
    10_800,
    86_400,
)  # seconds; each at most about three times the one before
_TICKS = (1, 10, 60, 600, 3_600, 21_600, 86_400, 259_200, 604_800, 1_209_600, 2_419_200, 7_776_000, 31_536_000)  # s
_DAY = 86_400
_TOLD = (60, 600, 3_600, 21_600, 86_400, 259_200, 604_800, 2_419_200)


def hours(source: Source, moments: pl.LazyFrame, what: str) -> Drawing | None:
    """Draw moments (``at``) by hour and weekday, in the zone of the report."""
    language = source.language
    local = pl.col("at").dt.convert_time_zone(str(language.zone))
    counted = moments.group_by(hour=local.dt.hour(), weekday=local.dt.weekday()).agg(v=pl.len()).collect().iter_rows()
    found = {(hour, weekday): number for hour, weekday, number in counted}
    if not found:
        return None
    cells = [
        {
            "x": f"{hour:02}",
            "y": name,
            "v": found.get((hour, place), 0),
            "told": f"{name}, {hour:02}:00\N{EN DASH}{hour + 1:02}:00",
        }
        for place, name in enumerate(language.weekdays, 1)
        for hour in range(24)
    ]
    chart = charts.heat(
        cells,
        xs=[f"{hour:02}" for hour in range(24)],
        ys=language.weekdays,
        unit=language.label(what),
        words=words(language, "hour", what),
    )
    most = sorted(cells, key=lambda cell: -cell["v"])
    columns: Columns = {"told": (language.label("hour"), str), "v": (language.label(what), language.number)}
    return Drawing([charts.panel(chart)], table(most, columns, newest_first=False), says_most(cells, what, language))


def spans(source: Source, seconds: pl.LazyFrame, what: str) -> Drawing | None:
    """Draw spans of time (``span``, in seconds), in classes that grow by factors."""
    language = source.language
    labels = [language.span(limit) for limit in _DURATIONS]
    names = [f"< {labels[0]}", *(f"\N{GREATER-THAN OR EQUAL TO} {one}" for one in labels)]
    place = pl.sum_horizontal([(pl.col("span") >= limit).cast(pl.Int32) for limit in _DURATIONS])
    counted = seconds.drop_nulls().group_by(place=place).agg(v=pl.len()).collect()
    found = dict(counted.iter_rows())
    if not found:
        return None
    rows = [
        {"x": names[one], "told": names[one], "v": found.get(one, 0), what: found.get(one, 0), "is_running": False}
        for one in range(min(found), max(found) + 1)
    ]
    chart = charts.bars(rows, {what: language.label(what)}, words=words(language, "class", what), dates=False)
    columns: Columns = {"told": (language.label("class"), str), "v": (language.label(what), language.number)}
    return Drawing([charts.panel(chart)], table(rows, columns, newest_first=False), says_most(rows, what, language))


def durations(source: Source, taken: Mapping[str, pl.DataFrame], what: str) -> Drawing | None:
    """Draw which share is reached within which time, each time of those that are as old.

    Args:
        source: What is drawn from.
        taken: With ``span``, the seconds that it took, null where it never came to it, and ``age``, the seconds since
            it could have; by the label of what took so long.
        what: What is counted, among the labels.
    """
    language = source.language
    known = {name: curves.Reached(*(frame[one].to_list() for one in ("span", "age"))) for name, frame in taken.items()}
    series = {name: language.label(name) for name, found in known.items() if found.points}
    if not series:
        return None
    rows = [
        {"x": round(at, 1), "v": share, "s": label, "told": language.span(at), "name": name}
        for name, label in series.items()
        for at, share in known[name].points
    ]
    chart = curves.reached(
        rows, series, {at: language.span(at) for at in _TICKS}, words=words(language, "within", "share", "kind")
    )
    told = [{"told": language.span(at)} | {name: known[name].share(at) for name in series} for at in _TOLD]
    columns: Columns = {"told": (language.label("within"), str)} | {
        name: (label, language.percent) for name, label in series.items()
    }
    name, label = next(iter(series.items()))
    seen = language.say(
        "says.within",
        what=label,
        day=language.percent(known[name].share(_DAY)),
        half=language.span(known[name].half),
        whole=language.number(known[name].whole(_DAY)),
        of=language.label(what),
    )
    return Drawing([charts.panel(chart)], table(told, columns, newest_first=False), seen)
