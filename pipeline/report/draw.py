"""Each plot and list of the report, or why it is not there."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.report.areas import AREAS
from pipeline.report.drawn import Draw, Panel, Plot
from pipeline.report.source import NotBuiltError, Source
from pipeline.report.todo import LISTS


@dataclass(frozen=True)
class Section:
    """What the page has of an area.

    Attributes:
        key: Its name among the words.
        plots: Its plots and lists.
        not_built: The marts that are not there.
        empty: Keys of the plots of which there is nothing to show.
    """

    key: str
    plots: tuple[Plot, ...]
    not_built: tuple[str, ...]
    empty: tuple[str, ...]


def sections(source: Source) -> list[Section]:
    """Return the areas in order."""
    return [section(source, key, functions) for key, functions in AREAS.items()]


def todo(source: Source) -> Section:
    """Return the lists to act on."""
    return section(source, "todo", LISTS)


def section(source: Source, key: str, functions: Mapping[Draw, str]) -> Section:
    """Draw what there is to be drawn of an area."""
    plots, missing, empty = list[Plot](), list[str](), list[str]()
    for function, mart in functions.items():
        name = str(getattr(function, "__name__", ""))
        try:
            drawing = function(source)
        except NotBuiltError as error:
            missing.append(str(error.args[0]))
            continue
        shown = [one for one in drawing.panels if _has_values(one)] if drawing else []
        if drawing is None or (drawing.panels and not shown):
            empty.append(name)
        else:
            plots.append(Plot(name, mart, drawing.table, drawing.says, shown, drawing.has_running))
    return Section(key, tuple(plots), tuple(dict.fromkeys(missing)), tuple(empty))


def _has_values(panel: Panel) -> bool:
    return any(panel.spec.get("datasets", {}).values())
