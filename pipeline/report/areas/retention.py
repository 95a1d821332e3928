"""Who came, stayed, came back and went."""

from datetime import date, timedelta
from typing import Any

import polars as pl

from pipeline.report import charts
from pipeline.report.drawn import Draw, Drawing
from pipeline.report.source import Source
from pipeline.report.telling import Columns, by_day, day_table, has_running, says, share, table, words

_LIFECYCLE, _COHORTS_OF = "user_lifecycle_weekly", "user_retention_weekly"
_COHORTS, _WEEKS, _CURVES = 12, 12, 4
_STATUSES = ("new", "returning", "resurrecting", "dormant")


def lifecycle(source: Source) -> Drawing | None:
    """Draw who came, stayed, came back and went by week; who went is drawn below zero."""
    language, frame = source.language, _lifecycle(source)
    if not len(frame):
        return None
    rows = by_day(frame.with_columns(dormant=-pl.col("dormant")), language)
    series = {status: language.label(status) for status in _STATUSES}
    chart = charts.bars(rows, series, words=words(language, "week", "users", "status"))
    told = day_table(by_day(frame, language), language, dict.fromkeys(_STATUSES), "week")
    return Drawing([charts.panel(chart)], told, says(by_day(frame, language), "new", language), has_running(rows))


def net_growth(source: Source) -> Drawing | None:
    """Draw by how many active users each week has more than the one before."""
    language, frame = source.language, _lifecycle(source)
    net = frame.with_columns(net=pl.col("new") + pl.col("resurrecting") - pl.col("dormant"))
    rows = by_day(net.filter("is_complete"), language)
    if not rows:
        return None
    chart = charts.bars(rows, {"net": language.label("net")}, words=words(language, "week", "users"))
    return Drawing([charts.panel(chart)], day_table(rows, language, {"net": None}, "week"), says(rows, "net", language))


def triangle(source: Source) -> Drawing | None:
    """Draw which part of the users of each first week was there in each later one."""
    language, frame = source.language, _cohorts(source)
    cohorts = sorted({row["cohort_on"] for row in frame}, reverse=True)[:_COHORTS]
    cells = [_cell(row, source) for row in frame if row["cohort_on"] in cohorts and 1 <= row["week_number"] <= _WEEKS]
    if not cells:
        return None
    xs = [str(number) for number in range(1, max(int(cell["x"]) for cell in cells) + 1)]
    names = [language.day(one) for one in sorted({date.fromisoformat(cell["cohort"]) for cell in cells})]
    chart = charts.heat(cells, xs=xs, ys=names, unit="%", words=words(language, "cohort", "share"), texts=True)
    columns: Columns = {
        "y": (language.label("cohort"), str),
        "x": (language.label("week_number"), str),
        "size": (language.label("users"), language.number),
        "v": (language.label("retention_pct"), language.percent),
    }
    return Drawing([charts.panel(chart)], table(cells, columns), _says_week_one(frame, source))


def curves(source: Source) -> Drawing | None:
    """Draw how cohorts of four weeks each melt away; the part that is not over for all of them is dashed."""
    language, frame = source.language, _cohorts(source)
    if not frame:
        return None
    data = pl.DataFrame(frame)
    group = (pl.lit(source.complete_to(_COHORTS_OF)) - pl.col("cohort_on")).dt.total_days() // 28
    data = data.with_columns(group=group.clip(0)).filter(pl.col("group") < _CURVES)
    size = pl.col("cohort_on").n_unique().over("group")
    summed = (
        data.with_columns(size=size, first=pl.col("cohort_on").min().over("group"))
        .filter(pl.col("week_number").is_between(1, _WEEKS), pl.col("eligible_user_count") > 0)
        .group_by("group", "first", "week_number")
        .agg(pl.col("retained_user_count", "eligible_user_count").sum(), all=pl.len() == pl.col("size").first())
        .with_columns(v=share("retained_user_count", "eligible_user_count"))
        .sort("group", "week_number")
    )
    firsts = summed.select("group", "first").unique(maintain_order=True).iter_rows()
    labels = {group: language.say("says.from", day=language.day(day)) for group, day in firsts}
    return _curves(source, summed, labels) if labels else None


def _curves(source: Source, shown: pl.DataFrame, labels: dict[int, str]) -> Drawing:
    language = source.language
    panels, told = [], []
    top = float(shown["v"].max())  # type: ignore[arg-type]
    for group, label in labels.items():
        own = shown.filter(pl.col("group") == group)
        rows = [
            {"x": number, "told": f"{language.label('week_number')} {number}", "v": value, "is_running": not over}
            for number, over, value in own.select("week_number", "all", "v").iter_rows()
        ]
        told += [{"cohort": label, "x": str(row["x"]), "v": row["v"]} for row in rows]
        chart = charts.lines(
            rows,
            {"v": label},
            unit="%",
            words=words(language, "week_number", "share"),
            dates=False,
            height=110,
            top=top,
        )
        panels.append(charts.panel(chart, label))
    columns: Columns = {
        "cohort": (language.label("cohort"), str),
        "x": (language.label("week_number"), str),
        "v": (language.label("retention_pct"), language.percent),
    }
    return Drawing(
        panels,
        table(told, columns, newest_first=False),
        _says_week_one(_cohorts(source), source),
        not shown["all"].all(),
    )


def week_one(source: Source) -> Drawing | None:
    """Draw which part came back in the first week and in the fourth, over the weeks in which they first came."""
    language, frame = source.language, _cohorts(source)
    if not frame:
        return None
    data = pl.DataFrame(frame).filter(pl.col("week_number").is_in([1, 4]), pl.col("eligible_user_count") > 0)
    if not len(data):
        return None
    names = pl.concat_str(pl.lit("week_"), pl.col("week_number").cast(pl.String))
    wide = data.with_columns(name=names).pivot("name", index="cohort_on", values="retention_pct").sort("cohort_on")
    series: dict[str, str] = {name: language.label(name) for name in ("week_1", "week_4") if name in wide.columns}
    rows = by_day(wide.rename({"cohort_on": "day"}).with_columns(is_complete=pl.lit(True)).tail(26), language)
    chart = charts.lines(rows, series, unit="%", words=words(language, "cohort", "share", "week"))
    told = day_table(rows, language, dict.fromkeys(series, language.percent), "cohort")
    return Drawing([charts.panel(chart)], told, says(rows, next(iter(series)), language, language.percent))


def _lifecycle(source: Source) -> pl.DataFrame:
    there = source.frame(_LIFECYCLE, "week_on", "status", "user_count", "is_complete", "is_left_censored")
    is_told = pl.col("week_on").is_between(source.first_monday, source.end_of(_LIFECYCLE))
    wanted = there.filter(is_told, ~pl.col("is_left_censored")).collect()
    wide = wanted.with_columns(pl.col("status").cast(pl.String)).pivot(
        "status", index=["week_on", "is_complete"], values="user_count"
    )
    missing = [pl.lit(0).alias(one) for one in _STATUSES if one not in wide.columns]
    over = pl.col("is_complete") & (pl.col("day") + timedelta(days=6) <= source.complete_to(_LIFECYCLE))
    return (
        wide.rename({"week_on": "day"})
        .with_columns(*missing, is_complete=over)
        .with_columns(pl.col(*_STATUSES).fill_null(0))
        .sort("day")
    )


def _cohorts(source: Source) -> list[dict[str, Any]]:
    """Return cohorts as far as the data go: weeks after the last one with data are not over for this purpose."""
    names = ("cohort_user_count", "eligible_user_count", "retained_user_count", "retention_pct")
    week = pl.col("cohort_on") + pl.duration(days=7 * pl.col("week_number"))
    is_over = week.dt.offset_by("6d") <= source.complete_to(_COHORTS_OF)
    shown = source.cohorts(*names).filter(pl.col("cohort_on") >= source.first_monday, is_over)
    return shown.sort("cohort_on", "week_number").collect().to_dicts()


def _cell(row: dict[str, Any], source: Source) -> dict[str, Any]:
    language, value = source.language, row["retention_pct"]
    name = language.day(row["cohort_on"])
    return {
        "x": str(row["week_number"]),
        "y": name,
        "v": value,
        "size": row["cohort_user_count"],
        "cohort": row["cohort_on"].isoformat(),
        "text": language.number(value),
        "told": f"{name}, {language.label('week_number')} {row['week_number']}",
    }


def _says_week_one(frame: list[dict[str, Any]], source: Source) -> str:
    known = [row for row in frame if row["week_number"] == 1 and row["retention_pct"] is not None]
    if not known:
        return source.language.say("says.nothing")
    rows = [
        {"told": source.language.day(row["cohort_on"]), "week_1": row["retention_pct"], "is_running": False}
        for row in known
    ]
    return says(rows, "week_1", source.language, source.language.percent)


PLOTS: dict[Draw, str] = {
    lifecycle: _LIFECYCLE,
    net_growth: _LIFECYCLE,
    week_one: _COHORTS_OF,
    triangle: _COHORTS_OF,
    curves: _COHORTS_OF,
}
