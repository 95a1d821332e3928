"""The use case: read marts and books, and write the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from altair.utils.schemapi import debug_mode

from pipeline.lake.lake import Lake
from pipeline.report import state
from pipeline.report.draw import sections, todo
from pipeline.report.drawn import Figure
from pipeline.report.headline import figures
from pipeline.report.language import Language
from pipeline.report.page import Content, page
from pipeline.report.source import Source
from pipeline.runs.published import REPLICA


@dataclass(frozen=True)
class Report:
    """The report.

    Attributes:
        html: The page.
        figures: Its headline figures.
        as_of: The moment that it shows; None if no mart is there.
    """

    html: str
    figures: Sequence[Figure]
    as_of: datetime | None


def make_report(lake: Lake, zone: str, language: str = "en", now: datetime | None = None) -> Report:
    """Return the report of what is published.

    Args:
        lake: Where marts and books are read.
        zone: IANA name of the zone of the marts' days.
        language: ``en`` or ``ru``.
        now: The moment against which the lag is told; the present one by default.

    Raises:
        UsageError: The report doesn't speak the language.
        ServerError: A server can't be reached or refuses.
    """
    spoken, now = Language.of(language, zone), now or datetime.now(UTC)
    books = state.read_books(lake.books_session())
    shown = {name: at for name, at in books.shown.items() if name in lake.mart_contracts}
    source = Source(lake, spoken, lake.mart_contracts, shown, _copied(lake, books.shown))
    found = figures(source)
    with debug_mode(False):  # to hold each part of a drawing against Vega-Lite's schema is what tests do
        content = Content(
            figures=found,
            todo=todo(source),
            sections=sections(source),
            facts=state.facts(books, spoken, now, [*shown]),
            state=state.plots(books, spoken, now),
            made_at=now,
            version=_version(),
        )
    return Report(page(content, source), found, source.as_of)


def _copied(lake: Lake, moments: Mapping[str, datetime]) -> dict[str, datetime]:
    """Return which moment each copied table shows, of moments by collection."""
    published = {name: entity for name, entity in lake.entities.items() if name in moments}
    return {f"{REPLICA}.{table.name}": moments[name] for name, entity in published.items() for table in entity.tables}


def _version() -> str:
    try:
        return version("mongo-marts")
    except PackageNotFoundError:
        return "?"
