"""Sparklines as SVG, made here: they need no script."""

from collections.abc import Sequence

from markupsafe import Markup

from pipeline.report.drawn import Spark

_WIDTH, _HEIGHT, _EDGE = 120, 28, 3
_WIDER = 1.6  # beside a figure there is more room than in a cell of a table


def sparkline(spark: Spark, *, is_wide: bool = False) -> Markup:
    """Return a sparkline as SVG; nothing if there are not two points. What it shows is told beside it."""
    known = [(place, value) for place, value in enumerate(spark.points) if value is not None]
    if len(known) < 2:
        return Markup("")
    width = round(_WIDTH * _WIDER) if is_wide else _WIDTH
    places = _placed(known, len(spark.points), width)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x, y = places[-1]
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="xMinYMid" aria-hidden="true" focusable="false">'
        '<polyline points="{}"/><circle cx="{:.1f}" cy="{:.1f}" r="2.5"/></svg>'
    ).format(width, _HEIGHT, line, x, y)


def _placed(known: Sequence[tuple[int, float]], points: int, width: int) -> list[tuple[float, float]]:
    low, high = min(value for _, value in known), max(value for _, value in known)
    wide, tall = (width - 2 * _EDGE) / max(1, points - 1), _HEIGHT - 2 * _EDGE
    return [
        (_EDGE + place * wide, _HEIGHT - _EDGE - tall * ((value - low) / (high - low) if high > low else 0.5))
        for place, value in known
    ]
