"""Whether the data arrive, and unchanged."""

import polars as pl

from contracts.marts.event_types_daily import TRAINING_DAYS, UNUSUAL_Z
from pipeline.report import charts
from pipeline.report.drawn import Draw, Drawing, Panel
from pipeline.report.source import Source
from pipeline.report.telling import Columns, has_running, says_most, table, words
from pipeline.text.printable import visible

_DAILY = "event_types_daily"
_TYPES, _DAYS = 8, 60


def volumes(source: Source) -> Drawing | None:
    """Draw the events of each type by day, within the band in which they are expected."""
    language, frame = source.language, _named(source)
    if not len(frame):
        return None
    panels, told, odd = list[Panel](), [], 0
    for name in _by_volume(frame):
        rows = [
            {**row, "x": row["day"].isoformat(), "told": language.day(row["day"]), "name": name}
            for row in frame.filter(pl.col("event_type") == name).drop("event_type").iter_rows(named=True)
        ]
        drawn = [{key: value for key, value in row.items() if key not in ("day", "name")} for row in rows]
        names = {**words(language, "day", "events"), "s": language.label("judged")}
        panels.append(charts.panel(charts.band(drawn, words=names, flagged=language.label("unusual")), name))
        unusual = [row for row in rows if row["is_unusual"]]
        odd += len(unusual)
        told += unusual or rows[-1:]
    columns: Columns = {
        "name": (language.label("event_type"), str),
        "told": (language.label("day"), str),
        "v": (language.label("events"), language.number),
        "mean": (language.label("mean_14d_count"), lambda value: language.number(value, 1)),
        "z": (language.label("z_score"), lambda value: language.number(value, 1)),
    }
    ordered = sorted(told, key=lambda row: (row["x"], row["name"]))
    numbers = {"types": len(panels), "all": frame["event_type"].n_unique(), "unusual": odd}
    seen = language.say("says.volumes", **{name: language.number(one) for name, one in numbers.items()})
    return Drawing(panels, table(ordered, columns), seen, has_running(frame.select("is_running").to_dicts()))


def types_by_day(source: Source) -> Drawing | None:
    """Draw how each type stands to its own busiest day, of days that are over."""
    language, frame = source.language, _named(source).filter(~pl.col("is_running"))
    if not len(frame):
        return None
    names = _by_volume(frame)
    part = 100 * pl.col("v") / pl.col("v").max().over("event_type")
    shown = frame.with_columns(part=part.fill_nan(0).fill_null(0)).filter(pl.col("event_type").is_in(names))
    cells = [
        {
            "x": row["day"].isoformat(),
            "y": charts.shortened(row["event_type"]),
            "v": row["part"],
            "events": row["v"],
            "told": f"{row['event_type']}, {language.day(row['day'])}",
        }
        for row in shown.iter_rows(named=True)
    ]
    days = sorted({cell["x"] for cell in cells})
    chart = charts.heat(
        cells,
        xs=days,
        ys=[charts.shortened(name) for name in names],
        unit=language.label("of_busiest"),
        words=words(language, "day", "of_busiest"),
        dates=True,
    )
    totals = shown.group_by("event_type").agg(v=pl.col("v").sum(), last=pl.col("v").last()).sort("v", descending=True)
    rows = [{"x": name, "v": total, "last": last} for name, total, last in totals.iter_rows()]
    columns: Columns = {
        "x": (language.label("event_type"), str),
        "v": (language.say("says.events_of", days=language.number(len(days))), language.number),
        "last": (language.label("last_day"), language.number),
    }
    seen = says_most(rows, "events", language, total=float(frame["v"].sum()))
    return Drawing([charts.panel(chart)], table(rows, columns, newest_first=False), seen)


def _named(source: Source) -> pl.DataFrame:
    """Return the last days of each type, with the band of what is usual and whether the day is running."""
    frame = source.days(
        _DAILY, "event_on", "event_type", "event_count", "mean_14d_count", "z_score", "is_unusual", last=_DAYS
    )
    types = {name: visible(str(name)) for name in frame["event_type"].unique()}
    deviation = pl.col("event_count").cast(pl.Float64).rolling_std(TRAINING_DAYS).shift(1).over("event_type")
    mean = pl.col("mean_14d_count")
    return frame.select(
        "day",
        pl.col("event_type").cast(pl.String).replace(types),
        v="event_count",
        mean=mean,
        z="z_score",
        low=pl.max_horizontal(pl.lit(0.0), mean - UNUSUAL_Z * deviation),
        high=mean + UNUSUAL_Z * deviation,
        is_unusual=pl.col("is_unusual").fill_null(False),
        is_running=~pl.col("is_complete"),
    )


def _by_volume(frame: pl.DataFrame) -> list[str]:
    summed = frame.group_by("event_type").agg(pl.col("v").sum()).sort("v", "event_type", descending=[True, False])
    return summed["event_type"].head(_TYPES).to_list()


PLOTS: dict[Draw, str] = {volumes: _DAILY, types_by_day: _DAILY}
