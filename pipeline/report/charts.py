"""The kinds of drawings: lines, bars, heat maps, points; what is running is dashed and lighter.

Colours are never alone: series differ in shape as well, cells bear their numbers or stand in a table, and what runs
is dashed.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import altair as alt

from pipeline.report import theme
from pipeline.report.drawn import Panel

Row = Mapping[str, Any]
Rows = Sequence[Row]
Chart = Any  # one of Altair's kinds, whose types don't tell what a call gives

_SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]
_DATES = "utcFormat(toDate(datum.value), '%-d %b')"
_MARKED = 9  # points of a line that bear its shape
_FEW = 160  # pixels in which few bars that lie are spread
_LEGEND, _SYMBOL = 44, 4  # characters of a legend's line, and the room of a symbol in it
_SHORT = 45  # characters of a name on an axis
_HIGH = 0.6  # of the largest value: lines that never fall below it have an axis that does not begin at zero


def lines(
    rows: Rows,
    series: Mapping[str, str],
    *,
    unit: str = "",
    words: Mapping[str, str],
    dates: bool = True,
    height: int = theme.HEIGHT,
    rule: float | None = None,
    top: float | None = None,
) -> Chart:
    """Draw a line for each series.

    Args:
        rows: With ``x``, ``told`` (x in words), ``is_running`` and the series; null where there is nothing.
        series: The labels of the columns to be drawn.
        unit: What the axis is called.
        words: What ``x`` and a value are called where one is pointed at.
        dates: Whether x is a day; else it is a number.
        height: In pixels.
        rule: A value at which a line goes across, such as a target.
        top: The end of the axis, where several drawings have one.
    """
    solid, dashed = (_long(part, series) for part in _parted(rows))
    x = (
        alt.X("x:T", scale=alt.Scale(type="utc"), axis=alt.Axis(format="%-d %b", tickCount=8))
        if dates
        else alt.X("x:Q", axis=alt.Axis(format="d", values=sorted({row["x"] for row in rows})))
    )
    y = alt.Y("v:Q", title=unit, scale=_scale([*solid, *dashed], top))
    color = color_of([*series.values()])
    strokes: list[tuple[Rows, dict[str, Any]]] = [(solid, {}), (dashed, {"strokeDash": [4, 3], "opacity": 0.7})]
    layers: list[Any] = [
        alt.Chart(values_of(drawn)).mark_line(strokeWidth=2, **style).encode(x=x, y=y, color=color)
        for drawn, style in strokes
        if drawn
    ]
    every = [*solid, *(one for one in dashed if one["is_running"])]
    layers += [*shapes_of(every, x, y, series), *pointed_at(every, x, y, color, words)]
    if rule is not None:
        layers.append(_rule(rule))
    return alt.layer(*layers).properties(width="container", height=height)


def bars(
    rows: Rows,
    series: Mapping[str, str],
    *,
    unit: str = "",
    words: Mapping[str, str],
    dates: bool = True,
    line: tuple[str, str] | None = None,
    height: int = theme.HEIGHT,
) -> Chart:
    """Draw bars, stacked if there are several series; what is negative goes down.

    Args:
        rows: With ``x``, ``told``, ``is_running`` and the series.
        series: The labels of the columns to be drawn.
        unit: What the axis is called.
        words: What ``x`` and a value are called where one is pointed at.
        dates: Whether x is a day.
        line: A column that is drawn as a line over the bars, and its label.
        height: In pixels.
    """
    labels = [*series.values(), *([line[1]] if line else [])]
    axis = alt.Axis(labelExpr=_DATES, labelAngle=0) if dates else alt.Axis(labelAngle=0)
    x = alt.X("x:O", axis=axis, scale=alt.Scale(paddingInner=0.15), sort=None)
    color = color_of(labels)
    made = alt.Chart(values_of(_long(rows, series))).mark_bar(strokeWidth=1)
    drawn = made.encode(
        x=x,
        y=alt.Y("v:Q", title=unit),
        color=color,
        order=alt.Order("place:O"),
        opacity=alt.condition("datum.is_running", alt.value(theme.RUNNING), alt.value(1)),
        strokeDash=alt.condition("datum.is_running", alt.value([3, 2]), alt.value([1, 0])),
        stroke=alt.condition("datum.is_running", alt.value(theme.INK), alt.value("transparent")),
        tooltip=tooltip_of(words),
    )
    layers: list[Any] = [drawn]
    over = _long(rows, {line[0]: line[1]}) if line else []
    if over:
        layers.append(alt.Chart(values_of(over)).mark_line(strokeWidth=2).encode(x=x, y="v:Q", color=color))
    return alt.layer(*layers).properties(width="container", height=height)


def ranked(rows: Rows, *, unit: str, words: Mapping[str, str], share: str = "") -> Chart:
    """Draw bars that lie, the first row above; their numbers stand beside them.

    Args:
        rows: With ``x`` (a name), ``v`` and ``text``, which stands at the bar's end.
        unit: What the axis is called.
        words: What ``x`` and a value are called where one is pointed at.
        share: The column of a share by which a bar is filled up to; none if empty.
    """
    values = [{**row, "x": shortened(row["x"]), "told": row["x"], "s": ""} for row in rows]
    y = alt.Y("x:N", sort=None, title=None, axis=alt.Axis(labelLimit=170, domain=False, ticks=False, titleAngle=0))
    most = max((row["v"] for row in rows), default=1) or 1
    room = 1.12 + 0.034 * max((len(row["text"]) for row in rows), default=0)  # for its text, on a phone as well
    x = alt.X("v:Q", title=unit, axis=alt.Axis(grid=True, tickCount=4), scale=alt.Scale(domain=[0, most * room]))
    base = alt.Chart(values_of(values)).encode(y=y, x=x, tooltip=tooltip_of(words))
    layers: list[Any] = [base.mark_bar(color=theme.ACCENT, opacity=0.35 if share else 1)]
    if share:
        layers.append(base.mark_bar(color=theme.ACCENT).encode(x=alt.X(f"{share}:Q")))
    layers.append(base.mark_text(align="left", dx=5).encode(text="text:N"))
    return alt.layer(*layers).properties(width="container", height=max(24 * len(rows), min(_FEW, 40 * len(rows))))


def heat(
    rows: Rows,
    *,
    xs: Sequence[str],
    ys: Sequence[str],
    unit: str,
    words: Mapping[str, str],
    dates: bool = False,
    texts: bool = False,
    row_height: int = 22,
) -> Chart:
    """Draw cells, the darker the more.

    Args:
        rows: With ``x``, ``y``, ``v`` and ``told``; ``text`` if the cells bear texts.
        xs: The columns, in order.
        ys: The rows, in order.
        unit: What the legend is called.
        words: What a cell and its value are called where one is pointed at.
        dates: Whether x is a day.
        texts: Whether the cells bear texts.
        row_height: Of a row, in pixels.
    """
    most = max((row["v"] for row in rows if row["v"] is not None), default=1) or 1
    steps = _steps(most)
    values = [{**row, "s": "", "shade": bisect_right(steps, row["v"] or 0)} for row in rows]
    axis = alt.Axis(labelExpr=_DATES, labelAngle=0) if dates else alt.Axis(labelAngle=0)
    scale = alt.Scale(type="threshold", domain=steps, range=theme.HEAT)
    legend = None if texts else alt.Legend(title=unit or None, gradientLength=220)
    base = alt.Chart(values_of(values)).encode(
        x=alt.X("x:O", sort=[*xs], axis=axis, scale=alt.Scale(domain=[*xs])),
        y=alt.Y("y:O", sort=[*ys], title=None, axis=alt.Axis(titleAngle=0), scale=alt.Scale(domain=[*ys])),
        tooltip=tooltip_of(words),
    )
    cells = base.mark_rect(stroke="var(--paper)", strokeWidth=1).encode(
        color=alt.Color("v:Q", scale=scale, legend=legend)
    )
    layers: list[Any] = [cells]
    if texts:
        on_mid = alt.when(f"datum.shade == {theme.MID}").then(alt.value("var(--on-mid)"))
        on_dark = on_mid.when(f"datum.shade > {theme.MID}").then(alt.value("var(--on-heat)"))
        layers.append(base.mark_text(fontSize=10).encode(text="text:N", color=on_dark.otherwise(alt.value(theme.INK))))
    return alt.layer(*layers).properties(width="container", height=row_height * len(ys))


def points(
    rows: Rows,
    *,
    x: str,
    y: str,
    words: Mapping[str, str],
    logs: bool = True,
) -> Chart:
    """Draw a point for each row.

    Args:
        rows: With ``x``, ``y``, ``told`` and ``v`` in words.
        x: What the axis is called that lies.
        y: What the other one is called.
        words: What a point and its values are called where one is pointed at.
        logs: Whether x grows by factors.
    """
    scale = alt.Scale(type="log", nice=False, padding=8) if logs else alt.Scale(nice=True, padding=8)
    axis = alt.Axis(title=x, grid=True, tickCount=5, format="~s")
    made = alt.Chart(values_of(rows)).mark_circle(size=42, opacity=0.55, color=theme.ACCENT)
    return made.encode(
        x=alt.X("x:Q", scale=scale, axis=axis),
        y=alt.Y("y:Q", title=y, scale=alt.Scale(zero=True, nice=True)),
        tooltip=[alt.Tooltip("told:N", title=words["x"]), alt.Tooltip("v:N", title=words["v"])],
    ).properties(width="container", height=theme.HEIGHT)


def band(rows: Rows, *, words: Mapping[str, str], flagged: str) -> Chart:
    """Draw a line within the band in which it is expected; what is unusual is a larger mark.

    Args:
        rows: With ``x``, ``told``, ``v``, ``low``, ``high``, ``is_unusual`` and ``is_running``.
        words: What ``x`` and a value are called where one is pointed at.
        flagged: What a point outside is called.
    """
    values = [{**row, "s": flagged if row["is_unusual"] else ""} for row in rows]
    x = alt.X("x:T", scale=alt.Scale(type="utc"), axis=alt.Axis(format="%-d %b", tickCount=4))
    base = alt.Chart(values_of(values)).encode(x=x)
    over, odd = [row for row in values if not row["is_running"]], [row for row in values if row["is_unusual"]]
    y = alt.Y("v:Q", title=None, axis=alt.Axis(tickCount=3), scale=alt.Scale(zero=True))
    expected = base.mark_area(color=theme.ACCENT, opacity=0.16).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
    layers: list[Any] = [
        *([expected] if any(row["high"] is not None for row in values) else []),
        *([alt.Chart(values_of(over)).mark_line(strokeWidth=1.5, color=theme.ACCENT).encode(x=x, y=y)] if over else []),
        base.mark_point(opacity=0, size=60).encode(y=y, tooltip=tooltip_of(words)),
    ]
    if odd:
        marked = alt.Chart(values_of(odd)).mark_point(
            shape="diamond", size=90, filled=True, color=theme.SECOND, opacity=1
        )
        layers.append(marked.encode(x=x, y=y, tooltip=tooltip_of(words)))
    return alt.layer(*layers).properties(width="container", height=theme.PANEL_HEIGHT)


def panel(chart: Chart, title: str = "") -> Panel:
    """Return a drawing as Vega-Lite, without the address of its schema: nothing in the page names another place."""
    spec = _rounded(chart.to_dict(validate=False, context={"pre_transform": False}))
    return Panel({key: value for key, value in spec.items() if key not in ("$schema", "config")}, title)


def is_hidden(layer: Mapping[str, Any]) -> bool:
    """Return whether nobody sees the marks of a layer until they are pointed at."""
    return 0 in (layer["mark"].get("opacity"), layer["encoding"].get("opacity", {}).get("value"))


def shortened(name: str) -> str:
    """Return a name that fits an axis."""
    return name if len(name) <= _SHORT else f"{name[: _SHORT - 1]}…"


def _rounded(value: Any) -> Any:
    """Return the same with numbers of so many digits as an eye tells apart."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [*map(_rounded, value)] if isinstance(value, list) else value


def _steps(most: float) -> list[float]:
    """Return round bounds between the shades of a heat map."""
    shades = len(theme.HEAT)
    exact = most / shades
    size = 10 ** math.floor(math.log10(exact))
    step = next(size * factor for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if size * factor >= exact)
    step = step if most < shades else math.ceil(step)
    return [round(step * number, 4) for number in range(1, shades)]


def values_of(rows: Rows) -> alt.InlineData:
    """Return rows as the data of a drawing."""
    return alt.InlineData(values=[dict(row) for row in rows])


def _scale(rows: Rows, top: float | None) -> alt.Scale:
    """Return the scale of lines: from zero, unless all that happens is far above it, and would look flat."""
    values = [row["v"] for row in rows]
    is_high = bool(values) and min(values) > _HIGH * max(values)
    return alt.Scale(zero=not is_high, nice=True) if top is None else alt.Scale(domain=[0, top], nice=True)


def _long(rows: Rows, series: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a row for each value of each series."""
    return [
        {"x": row["x"], "told": row["told"], "v": row[column], "s": label, "place": place} | _flag(row)
        for place, (column, label) in enumerate(series.items())
        for row in rows
        if row[column] is not None
    ]


def _flag(row: Row) -> dict[str, Any]:
    return {"is_running": bool(row["is_running"])}


def _parted(rows: Rows) -> tuple[Rows, Rows]:
    """Return the rows up to the last one that is over, and those that run after it, with that one to join them."""
    over = len(rows) - sum(1 for _ in takewhile(lambda row: row["is_running"], reversed(rows)))
    return rows[:over], rows[max(0, over - 1) :] if over < len(rows) else ()


def color_of(labels: Sequence[str]) -> alt.Color:
    """Return the colours of series by their labels, with a legend if there are several."""
    legend = alt.Legend(symbolType="square", columns=_columns(labels)) if len(labels) > 1 else None
    return alt.Color(
        "s:N", scale=alt.Scale(domain=[*labels], range=theme.SERIES[: len(labels)]), legend=legend, sort=None
    )


def _columns(labels: Sequence[str]) -> int:
    """Return how many labels of a legend stand beside each other, on a phone as well."""
    most = 2 if len(labels) > 3 else 3
    return max(1, min(most, _LEGEND // (max(map(len, labels)) + _SYMBOL)))


def shapes_of(rows: Rows, x: Any, y: Any, series: Mapping[str, str]) -> list[Any]:
    """Return marks that tell the lines apart without their colours, if there are several."""
    labels = [*series.values()]
    if len(labels) < 2 or not rows:
        return []
    by_label = [[row for row in rows if row["s"] == label] for label in labels]
    marked = [row for own in by_label for row in own[:: -max(1, len(own) // _MARKED)]]
    scale = alt.Scale(domain=labels, range=_SHAPES[: len(labels)])
    shape = alt.Shape("s:N", scale=scale, legend=alt.Legend(columns=_columns(labels)))
    made = alt.Chart(values_of(marked)).mark_point(filled=True, size=46, opacity=1)
    return [made.encode(x=x, y=y, shape=shape, color=color_of(labels))]


def pointed_at(rows: Rows, x: Any, y: Any, color: Any, words: Mapping[str, str]) -> list[Chart]:
    """Return the marks that appear, and tell their values, where one points at the lines."""
    if not rows:
        return []
    near = alt.selection_point(on="pointerover", nearest=True, empty=False, fields=["x", "s"], clear="pointerout")
    made = alt.Chart(values_of(rows)).mark_point(filled=True, size=60)
    opacity = alt.condition(near, alt.value(1), alt.value(0))
    return [made.encode(x=x, y=y, color=color, opacity=opacity, tooltip=tooltip_of(words)).add_params(near)]


def _rule(value: float) -> Chart:
    made = alt.Chart(values_of([{"v": value}])).mark_rule(strokeDash=[1, 3], strokeWidth=1.5, color=theme.INK)
    return made.encode(y=alt.Y("v:Q"))


def tooltip_of(words: Mapping[str, str]) -> list[alt.Tooltip]:
    """Return what a mark tells where one points at it."""
    of = [alt.Tooltip("s:N", title=words["s"])] if words.get("s") else []
    return [alt.Tooltip("told:N", title=words["x"]), *of, alt.Tooltip("v:Q", title=words["v"], format=",.2~f")]
