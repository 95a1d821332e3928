"""The words of the report in its languages, and how each writes numbers, days, moments and spans of time."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

import vl_convert

from contracts.schema.mart import Mart
from pipeline.errors import UsageError

LANGUAGES = ("en", "ru")
_FILE = Path(__file__).with_name("words.toml")
_LOCALES: dict[str, Any] = {"en": "en-US", "ru": "ru-RU"}
_POINT = {"en": ".", "ru": ","}
_COMMA = {"en": ",", "ru": "\N{NO-BREAK SPACE}"}
_PERCENT = {"en": "%", "ru": "\N{NO-BREAK SPACE}%"}
_QUOTES = {
    "en": "\N{LEFT DOUBLE QUOTATION MARK}{}\N{RIGHT DOUBLE QUOTATION MARK}",
    "ru": "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}{}\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}",
}
MINUS, NOTHING = "\N{MINUS SIGN}", "\N{EN DASH}"


@dataclass(frozen=True)
class Language:
    """A language of the report.

    Attributes:
        code: Such as ``en``.
        words: What it says, by section and key.
        zone: The zone in which moments are told.
    """

    code: str
    words: Mapping[str, Any]
    zone: ZoneInfo

    @classmethod
    def of(cls, code: str, zone: str) -> Self:
        """Return a language.

        Raises:
            UsageError: The report doesn't speak it.
        """
        if code not in LANGUAGES:
            raise UsageError(f"the report is written in {' and '.join(LANGUAGES)}, not in {code!r}")
        return cls(code, _words(), ZoneInfo(zone))

    def say(self, key: str, /, **values: object) -> str:
        """Return a sentence or a word, with values in it.

        Args:
            key: Section and key, such as ``page.title``.
            **values: What stands in its braces.
        """
        section, _, name = key.partition(".")
        found = str(self.words[section][name][self.code])
        return found.format(**values) if values else found

    def plot(self, key: str) -> tuple[str, str]:
        """Return the title of a plot or a list, and what it shows."""
        title, note = self.words["plot"][key][self.code]
        return title, note

    def label(self, name: str) -> str:
        """Return the word for a thing that is measured; a name that the data bear stays what it is."""
        found = self.words["label"].get(name)
        return str(found[self.code]) if found else name

    def mart(self, mart: Mart) -> tuple[str, str, list[str]]:
        """Return question, definition and limits of a mart; the contract's own words where there are no others."""
        found = self.words["mart"].get(mart.name, {}).get(self.code)
        return (found[0], found[1], list(found[2:])) if found else (mart.question, mart.definition, [*mart.limits])

    def quoted(self, text: str) -> str:
        """Return a text within quotation marks."""
        return _QUOTES[self.code].format(text)

    def number(self, value: float | None, digits: int = 0) -> str:
        """Return a number as people write it."""
        if value is None:
            return NOTHING
        plain = f"{abs(value):,.{digits}f}".replace(",", "\0").replace(".", _POINT[self.code])
        is_negative = value < 0 and any(one in "123456789" for one in plain)
        return f"{MINUS if is_negative else ''}{plain}".replace("\0", _COMMA[self.code])

    def percent(self, value: float | None, digits: int = 1) -> str:
        """Return a number of hundredths, with its sign of percent."""
        return NOTHING if value is None else f"{self.number(value, digits)}{_PERCENT[self.code]}"

    def part(self, value: float, whole: float) -> str:
        """Return a whole number, and how much of a hundred it is of another one."""
        return f"{self.number(value)} ({self.percent(100 * value / whole)})"

    def day(self, value: date | None) -> str:
        """Return a day, in words."""
        return NOTHING if value is None else f"{value.day} {self._months[value.month - 1]} {value.year}"

    def moment(self, value: datetime | None) -> str:
        """Return a moment in the zone of the report."""
        if value is None:
            return NOTHING
        there = value.astimezone(self.zone)
        return f"{self.day(there.date())}, {there:%H:%M}"

    def span(self, seconds: float | None) -> str:
        """Return a span of time in its two largest units."""
        if seconds is None:
            return NOTHING
        units = (("d", 86_400), ("h", 3_600), ("min", 60))
        for (unit, size), (less, part) in zip(units, (*units[1:], ("s", 1)), strict=True):
            if abs(seconds) >= size:
                rest = int(abs(seconds) % size // part)
                whole = f"{self.number(int(abs(seconds) // size))} {self.label(unit)}"
                return f"{MINUS * (seconds < 0)}{whole}{f' {rest} {self.label(less)}' if rest else ''}"
        return f"{self.number(seconds, 1 if seconds and abs(seconds) < 10 else 0)} {self.label('s')}"

    @property
    def weekdays(self) -> list[str]:
        """The days of the week, Monday first."""
        return list(self.words["calendar"]["weekdays"][self.code])

    @property
    def locales(self) -> dict[str, Any]:
        """How Vega writes numbers and times."""
        name = _LOCALES[self.code]
        return {
            "formatLocale": vl_convert.get_format_locale(name),
            "timeFormatLocale": vl_convert.get_time_format_locale(name),
        }

    @property
    def _months(self) -> list[str]:
        return list(self.words["calendar"]["months"][self.code])


@cache
def _words() -> dict[str, Any]:
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))
