"""The use case: read marts and books, and write the report."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import NamedTemporaryFile

from altair.utils.schemapi import debug_mode

from pipeline.errors import UsageError
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
    books = state.read_books(lake.keeper)
    shown = {name: at for name, at in books.shown.items() if name in lake.contracts}
    source = Source(lake, spoken, lake.contracts, shown, _copied(lake, books.shown))
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


def write(html: str, to: Path) -> int:
    """Write the page, all of it or nothing, and return its size in bytes.

    Raises:
        UsageError: The file can't be written there.
    """
    data = html.encode("utf-8", "backslashreplace")
    with _refusing(to), NamedTemporaryFile(dir=to.parent, prefix=f".{to.name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o666 & ~_umask())
            os.replace(file.name, to)
        except BaseException:
            with suppress(OSError):
                os.unlink(file.name)
            raise
    return len(data)


def check_writable(to: Path) -> None:
    """Refuse a place where the page can't be written, before it is made.

    Raises:
        UsageError: There can be no file.
    """
    if to.is_dir():
        raise UsageError(f"{to} is a folder; name a file, such as {to / 'report.html'}")
    with _refusing(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        NamedTemporaryFile(dir=to.parent, prefix=f".{to.name}.").close()


@contextmanager
def _refusing(to: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"the report can't be written to {to}: {error.strerror or error}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _version() -> str:
    try:
        return version("mongo-marts")
    except PackageNotFoundError:
        return "?"
