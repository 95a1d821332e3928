"""The page: everything that was drawn, as one HTML file that needs nothing from elsewhere."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from contracts.schema.mart import Mart
from pipeline.report import theme, vega
from pipeline.report.draw import Section
from pipeline.report.drawn import Fact, Figure, Panel, Plot, Spark
from pipeline.report.language import Language
from pipeline.report.source import Source
from pipeline.report.sparkline import sparkline
from pipeline.text.printable import visible

_FOLDER = Path(__file__).parent / "page"
_WIDE = (
    "active_users",
    "calendar",
    "sessions_daily",
    "lifecycle",
    "conversion",
    "triangle",
    "reach",
    "segment_sizes",
    "types_by_day",
    "rhythm",
    "arrivals",
)


@dataclass(frozen=True)
class Content:
    """What a page shows.

    Attributes:
        figures: The headline figures.
        todo: The lists to act on.
        sections: The areas.
        facts: What is to be known of the copy at a glance.
        state: The tables of the state of the copy.
        made_at: When the page is made.
        version: Of the program.
    """

    figures: Sequence[Figure]
    todo: Section
    sections: Sequence[Section]
    facts: Sequence[Fact]
    state: Sequence[Plot]
    made_at: datetime
    version: str


def page(content: Content, source: Source) -> str:
    """Return the page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["spark"] = lambda value: isinstance(value, Spark)
    return environment.get_template("page.html.j2").render(_values(content, source))


def _values(content: Content, source: Source) -> dict[str, Any]:
    language, script = source.language, vega.script()
    return {
        **vars(content),
        **_words(language, source),
        **_drawing(language),
        "contents": [
            ("figures", language.say("area.figures")),
            ("todo", language.say("area.todo")),
            *((section.key, language.say(f"area.{section.key}")) for section in content.sections),
            ("copy", language.say("area.copy")),
        ],
        "as_of": language.moment(source.as_of) if source.as_of else "",
        "notices": [one for one in (_old(source, content.made_at), _end(source), _apart(source)) if one],
        "made_at": language.moment(content.made_at),
        "zone": str(language.zone),
        "wide": _WIDE,
        "css": Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "fingerprint": Markup(vega.fingerprint(script)),
        "drawing": vega.as_json({**language.locales, "config": theme.CONFIG}),
    }


def _words(language: Language, source: Source) -> dict[str, Any]:
    return {
        "code": language.code,
        "say": language.say,
        "number": language.number,
        "plot_words": language.plot,
        "figure_words": lambda key: language.say(f"figure.{key}"),
        "titles": lambda keys: ", ".join(language.quoted(language.plot(one)[0]) for one in keys),
        "absent": _absent,
        "shown": lambda table: language.moment(source.at(table)),
        "definitions": lambda section: _definitions(section, source.marts, language),
    }


def _drawing(language: Language) -> dict[str, Callable[..., Markup]]:
    locales = language.locales

    def still(panel: Panel, plot: Plot) -> Markup:
        wide = plot.key in _WIDE and len(plot.panels) == 1
        width = theme.WIDE if wide else (theme.PANEL_WIDTH if len(plot.panels) > 2 else theme.WIDTH)
        return vega.svg(vega.spec_of(panel), width, locales)

    return {
        "still": still,
        "spec": lambda panel: vega.as_json(vega.spec_of(panel)),
        "sparkline": sparkline,
    }


def _definitions(
    section: Section, marts: Mapping[str, Mart], language: Language
) -> list[tuple[str, str, str, list[str]]]:
    """Return question, definition and limits of the marts that a section is drawn from."""
    names: Iterable[str] = dict.fromkeys(plot.mart for plot in section.plots if plot.mart in marts)
    return [(name, *language.mart(marts[name])) for name in names]


def _absent(section: Section) -> list[tuple[str, str]]:
    """Return which sentence tells what marts and what copied tables an area lacks."""
    copied = [name for name in section.not_built if "." in name]
    marts = [name for name in section.not_built if "." not in name]
    told = (("page.not_built", marts), ("page.not_copied", copied))
    return [(key, ", ".join(names)) for key, names in told if names]


def _old(source: Source, now: datetime) -> str:
    """Say that what is shown was long before the page is made, if it was."""
    if source.as_of is None or not source.is_old(now):
        return ""
    language = source.language
    span = language.span((now - source.as_of).total_seconds())
    return language.say("page.old", at=language.moment(source.as_of), span=span)


def _apart(source: Source) -> str:
    """Say which marts show an earlier day than the others, if any do."""
    if not source.older:
        return ""
    language, oldest = source.language, min(source.older.values())
    return language.say("page.apart", marts=", ".join(sorted(source.older)), at=language.moment(oldest))


def _end(source: Source) -> str:
    """Say that the data end long before they were read, if they do."""
    if not source.is_behind or source.today is None:
        return ""
    language, days = source.language, (source.today - source.end).days
    return language.say("page.behind", end=language.day(source.end), days=language.number(days))


def _visible(value: Any) -> Any:
    """Make visible what a text hides, such as marks of writing direction; what is made here is as it is."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
