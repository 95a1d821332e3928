"""Curves over a number, and the steps of a price: what share is reached when, how unequal something is."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from pipeline.report import theme
from pipeline.report.charts import Chart, Rows, color_of, pointed_at, shapes_of, tooltip_of, values_of

_POINTS = 80  # of a curve: no eye tells more apart
_FEW = 10  # of fewer no share is told, where there are more


def reached(rows: Rows, series: Mapping[str, str], ticks: Mapping[float, str], *, words: Mapping[str, str]) -> Chart:
    """Draw which share is reached up to which span of time; time grows by factors.

    Args:
        rows: With ``x`` (seconds), ``v`` (a share in percent), ``s`` (the label of a series) and ``told``.
        series: The labels of the series.
        ticks: What stands at the axis, by seconds.
        words: What ``x``, a value and a series are called where one is pointed at.
    """
    labels = f"({json.dumps({f'{at:.0f}': text for at, text in ticks.items()})})[format(datum.value, 'd')]"
    low, high = min(row["x"] for row in rows), max(row["x"] for row in rows)
    ends = [max((at for at in ticks if at <= low), default=low), min((at for at in ticks if at >= high), default=high)]
    axis = alt.Axis(values=[at for at in ticks if ends[0] <= at <= ends[1]], labelExpr=labels, grid=True)
    x = alt.X("x:Q", scale=alt.Scale(type="log", nice=False, domain=ends), axis=axis)
    y = alt.Y("v:Q", title="%", scale=alt.Scale(domain=[0, 100]))
    return alt.layer(*_curve(rows, series, x, y, words)).properties(width="container", height=theme.HEIGHT)


def lorenz(rows: Rows, label: str, *, x: str, words: Mapping[str, str]) -> Chart:
    """Draw which share of something belongs to which share of its owners, the least first; equality is the diagonal.

    Args:
        rows: With ``x`` and ``v``, shares in percent, and ``told``.
        label: What the curve is called.
        x: What the axis is called that lies.
        words: What ``x`` and a value are called where one is pointed at.
    """
    scale = alt.Scale(domain=[0, 100])
    axis = alt.X("x:Q", scale=scale, axis=alt.Axis(title=x, tickCount=5, grid=True))
    drawn = [{**row, "s": label} for row in rows]
    curve = _curve(drawn, {"v": label}, axis, alt.Y("v:Q", title="%", scale=scale), words)
    equal = alt.Chart(values_of([{"x": 0, "v": 0}, {"x": 100, "v": 100}])).mark_line(
        strokeDash=[1, 3], strokeWidth=1.5, color=theme.INK
    )
    return alt.layer(equal.encode(x=axis, y="v:Q"), *curve).properties(width="container", height=theme.HEIGHT)


def steps(
    prices: Rows, drops: Rows, series: Mapping[str, str], kinds: Sequence[str], words: Mapping[str, str]
) -> Chart:
    """Draw a price as steps, with the lowest of the days before, and its drops.

    Args:
        prices: With ``x`` (a day), ``told`` and the series.
        drops: With ``x``, ``told``, ``v`` and ``s``, one of the kinds.
        series: The labels of the price and of the lowest, in this order.
        kinds: What drops are called: genuine and doubtful ones.
        words: What ``x``, a value and a kind are called where one is pointed at.
    """
    x = alt.X("x:T", scale=alt.Scale(type="utc"), axis=alt.Axis(format="%-d %b", tickCount=4))
    y = alt.Y("v:Q", title=None, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=4))
    styles: list[dict[str, Any]] = [{"color": theme.ACCENT, "strokeWidth": 2}]
    styles.append({"color": theme.SOFT, "strokeWidth": 1.5, "strokeDash": [4, 3]})
    layers: list[Any] = []
    for (column, label), style in zip(series.items(), styles, strict=True):
        rows = [
            {"x": row["x"], "told": row["told"], "v": row[column], "s": label}
            for row in prices
            if row[column] is not None
        ]
        if not rows:
            continue
        base = alt.Chart(values_of(rows)).encode(x=x, y=y)
        layers.append(base.mark_line(interpolate="step-after", **style))
        layers.append(base.mark_point(opacity=0, size=60).encode(tooltip=tooltip_of(words)))
    if drops:
        shape = alt.Shape("s:N", legend=None, scale=alt.Scale(domain=[*kinds], range=["circle", "diamond"]))
        color = alt.Color("s:N", legend=None, scale=alt.Scale(domain=[*kinds], range=[theme.ACCENT, theme.SECOND]))
        marked = alt.Chart(values_of(drops)).mark_point(filled=True, size=70, opacity=1)
        layers.append(marked.encode(x=x, y=y, shape=shape, color=color, tooltip=tooltip_of(words)))
    return alt.layer(*layers).properties(width="container", height=theme.PANEL_HEIGHT + 30)


class Reached:
    """Which share came to something within which time: within each, of those alone that are as old.

    Who is younger may still come to it in that time, and would be counted as if that had not happened.

    Args:
        spans: The seconds that it took; None where it never came to it.
        ages: The seconds since it could have come to it, of each.
    """

    def __init__(self, spans: Sequence[float | None], ages: Sequence[float]) -> None:
        came = [(took, age) for took, age in zip(spans, ages, strict=True) if took is not None and took <= age]
        self._ages = sorted(ages)
        self._took = sorted(max(1.0, took) for took, _ in came)
        self._ages_of_those = sorted(age for _, age in came)

    def whole(self, at: float) -> int:
        """Return how many are as old as that."""
        return len(self._ages) - bisect_left(self._ages, at)

    def share(self, at: float) -> float | None:
        """Return which of a hundred of them came to it within that time; None where they are too few to tell."""
        whole = self.whole(at)
        if whole < max(1, min(_FEW, len(self._ages))):
            return None
        return 100 * (bisect_right(self._took, at) - bisect_left(self._ages_of_those, at)) / whole

    @property
    def half(self) -> float:
        """Within which time half of those that came to it did."""
        return self._took[(len(self._took) - 1) // 2]

    @property
    def points(self) -> list[tuple[float, float]]:
        """Up to which time which share came to it, in few points."""
        last = len(self._took) - 1
        places = sorted({round(step * last / _POINTS) for step in range(_POINTS + 1)}) if last >= 0 else []
        shares = {self._took[place]: self.share(self._took[place]) for place in places}
        return [(at, share) for at, share in shares.items() if share is not None]


def shares(owners: Mapping[float, int]) -> tuple[list[tuple[float, float]], float]:
    """Return the points of a Lorenz curve in percent, and the Gini coefficient.

    Args:
        owners: How many own how much, by how much; something is owned.
    """
    people = sum(owners.values())
    total = sum(much * many for much, many in owners.items())
    points, area = [(0.0, 0.0)], 0.0
    for much, many in sorted(owners.items()):
        (x, y), wide = points[-1], 100 * many / people
        points.append((x + wide, y + 100 * much * many / total))
        area += wide * (y + points[-1][1]) / 2
    every = max(1, len(points) // _POINTS)
    return [*points[:-1:every], points[-1]], 1 - area / 5_000


def top_share(points: Sequence[tuple[float, float]], of: float = 10) -> float:
    """Return the share that the uppermost of a Lorenz curve own, in percent."""
    place = bisect_right([x for x, _ in points], 100 - of)
    (x0, y0), (x1, y1) = points[place - 1], points[min(place, len(points) - 1)]
    return 100 - (y0 if x1 == x0 else y0 + (y1 - y0) * (100 - of - x0) / (x1 - x0))


def _curve(rows: Rows, series: Mapping[str, str], x: alt.X, y: alt.Y, words: Mapping[str, str]) -> list[Chart]:
    color = color_of([*series.values()])
    line = alt.Chart(values_of(rows)).mark_line(strokeWidth=2).encode(x=x, y=y, color=color)
    return [line, *shapes_of(rows, x, y, series), *pointed_at(rows, x, y, color, words)]
