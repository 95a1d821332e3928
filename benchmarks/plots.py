"""Plots of the results as SVG, in a light and a dark version."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil
from pathlib import Path
from typing import Any

from benchmarks.memory import LIMIT_MIB, STEPS
from benchmarks.record import contenders
from benchmarks.speed import middle

IMAGES = Path(__file__).parents[1] / "docs" / "images"
# Only what does the same work: reading alone or verifying is no copy into PostgreSQL.
COPIES = ("postgres", "handwritten", "ingestr", "sling", "dlt_arrow", "dlt_objects")
WIDTH, ROW, LEFT, RIGHT = 760, 30, 220, 110


@dataclass(frozen=True)
class Theme:
    """Colours: of the text, of its quieter kind, of lines, and of what is drawn."""

    text: str
    quiet: str
    line: str
    ours: str
    others: str
    third: str
    fourth: str
    fifth: str


THEMES = {
    "light": Theme("#1f2328", "#59636e", "#d1d9e0", "#0969da", "#9aa4af", "#bc4c00", "#1a7f37", "#8250df"),
    "dark": Theme("#f0f6fc", "#9198a1", "#3d444d", "#4493f8", "#656c76", "#f0883e", "#3fb950", "#ab7df8"),
}


def chosen(speeds: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the session of each collection that is drawn: of the largest size, the one with the most copies.

    Args:
        speeds: Results of speed, the largest size first.
    """
    found: dict[str, dict[str, Any]] = {}
    for speed in speeds:
        for name, sessions in speed["collections"].items():
            best = max(reversed(sessions), key=_copies)
            if _copies(best) > 1:  # one bar alone shows nothing
                found.setdefault(name, best)
    return found


def _copies(result: dict[str, Any]) -> int:
    return len(contenders(result) & set(COPIES))


def draw(collections: Mapping[str, dict[str, Any]], memory: dict[str, Any] | None) -> None:
    """Write the plots of what was measured.

    Args:
        collections: A session of speed for each.
        memory: Results of memory; a single size makes no plot.
    """
    IMAGES.mkdir(parents=True, exist_ok=True)
    for kind, theme in THEMES.items():
        for name, result in collections.items():
            _write(f"speed-{name.lower()}-{kind}", _bars(name, result, theme))
        if memory and len(memory["sizes"]) > 1:
            _write(f"memory-{kind}", _lines(memory, theme))


def _write(name: str, svg: str) -> None:
    (IMAGES / f"{name}.svg").write_text(svg)


def _bars(name: str, result: dict[str, Any], theme: Theme) -> str:
    """Return documents per second into PostgreSQL, one bar per contender."""
    rates = []
    for who in COPIES:
        one = result["contenders"].get(who)
        if one and (wall := middle(result, who, "wall_s")):
            title = "etl replicate" if who == "postgres" else one["title"]
            rates.append((title, one["runs"][0]["documents"] / wall, who == "postgres"))
    most, parts = max(rate for _, rate, _ in rates), []
    for place, (title, rate, ours) in enumerate(rates):
        top, width = 56 + place * ROW, (WIDTH - LEFT - RIGHT) * rate / most
        parts += [
            _text(LEFT - 10, top + 15, title, theme.text, "end", bold=ours),
            f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="20" rx="2" '
            f'fill="{theme.ours if ours else theme.others}"/>',
            _text(LEFT + width + 8, top + 15, f"{rate / 1000:.1f}k", theme.text, bold=ours),
        ]
    title = f"{name} into PostgreSQL, documents per second ({result['documents']:,} documents)"
    return _picture(title, 56 + len(rates) * ROW + 10, parts, theme)


def _lines(memory: dict[str, Any], theme: Theme) -> str:
    """Return peak memory against the size of the collection, both on linear scales from zero."""
    colours = dict(zip(STEPS, (theme.ours, theme.others, theme.third, theme.fourth, theme.fifth), strict=True))
    bottom, top, most_x = 330, 60, max(one["documents"] for one in memory["sizes"])
    highest = max(step["peak_rss_mib"] for one in memory["sizes"] for step in one["steps"].values())
    left, right, most_y = 70, WIDTH - 170, max(800, 200 * ceil(highest / 200))

    def x(documents: float) -> float:
        return left + (right - left) * documents / most_x

    def y(mib: float) -> float:
        return bottom - (bottom - top) * mib / most_y

    parts = [part for mib in range(0, most_y + 1, 200) for part in _level(mib, left, right, y, theme)]
    parts.append(
        f'<line x1="{left}" x2="{right}" y1="{y(LIMIT_MIB):.1f}" y2="{y(LIMIT_MIB):.1f}" stroke="{theme.quiet}" '
        'stroke-dasharray="5 4"/>'
    )
    parts.append(_text(right + 8, y(LIMIT_MIB) + 4, f"limit {LIMIT_MIB}", theme.quiet))
    sizes = [one["documents"] for one in memory["sizes"]]
    parts += [_text(x(size), bottom + 20, _short(size), theme.quiet, "middle") for size in sizes]
    for step in STEPS:
        sized = [(one["documents"], one["steps"][step]) for one in memory["sizes"] if step in one["steps"]]
        parts += _line([(x(size), y(found["peak_rss_mib"])) for size, found in sized], colours[step])
    for place, (step, title) in enumerate(STEPS.items()):
        parts.append(
            f'<rect x="{right + 8}" y="{bottom - 114 + place * 22}" width="12" height="12" fill="{colours[step]}"/>'
        )
        parts.append(_text(right + 26, bottom - 104 + place * 22, title, theme.text))
    title = f"Peak memory in MiB against documents, ETL_MEMORY={memory['memory']} ({memory['collection']})"
    return _picture(title, bottom + 40, parts, theme)


def _level(mib: int, left: float, right: float, y: Callable[[float], float], theme: Theme) -> list[str]:
    line = f'<line x1="{left}" x2="{right}" y1="{y(mib):.1f}" y2="{y(mib):.1f}" stroke="{theme.line}"/>'
    return [line, _text(left - 8, y(mib) + 4, str(mib), theme.quiet, "end")]


def _line(points: Sequence[tuple[float, float]], colour: str) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in points]
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots]


def _short(number: int) -> str:
    return f"{number / 1e6:g}M" if number >= 1_000_000 else f"{number / 1e3:g}k"


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start", *, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _picture(title: str, height: float, parts: Sequence[str], theme: Theme) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" font-family="system-ui, sans-serif" font-size="13" role="img">\n'
        f"<title>{escape(title)}</title>\n{_text(20, 28, title, theme.text, bold=True)}\n{body}\n</svg>\n"
    )
