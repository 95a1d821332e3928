"""What is drawn of marts that have no rows, and how numbers, spans and lines are told; no engine is needed."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from contracts.schema.registry import entities, marts
from pipeline.errors import UsageError
from pipeline.report.areas import AREAS
from pipeline.report.draw import section
from pipeline.report.drawn import Spark
from pipeline.report.headline import figures
from pipeline.report.language import Language, _words
from pipeline.report.source import Source
from pipeline.report.sparkline import sparkline
from pipeline.report.todo import LISTS
from pipeline.report.vega import as_json
from transforms.marts import marts_of

MARTS = marts_of(entities().values(), marts())
NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)


@dataclass(frozen=True)
class WithoutRows(Source):
    """Marts that are published and have no rows."""

    def _scanned(self, mart: str) -> pl.LazyFrame:
        return self.marts[mart].table.frame_schema.to_frame().lazy()


def test_marts_without_rows_give_sentences_and_no_plot() -> None:
    nobody: Any = None
    source = WithoutRows(nobody, Language.of("en", "UTC"), MARTS, dict.fromkeys(MARTS, NOW))
    for key, functions in {**AREAS, "todo": LISTS}.items():
        found = section(source, key, functions)
        assert (found.plots, found.not_built) == ((), ())
        assert set(found.empty) == {function.__name__ for function in functions}
    assert figures(source) == []


def test_every_word_is_there_in_both_languages() -> None:
    words = _words()
    for section_of, entries in words.items():
        for key, texts in entries.items():
            assert {"en", "ru"} - texts.keys() <= ({"en"} if section_of == "mart" else set()), key
    functions = {one for functions in (*AREAS.values(), LISTS) for one in functions}
    assert {function.__name__ for function in functions} <= words["plot"].keys()
    drawn = {mart for functions in (*AREAS.values(), LISTS) for mart in functions.values()}
    assert drawn <= words["mart"].keys(), "the Russian report would have English definitions"
    for name in drawn:
        limits = Language.of("ru", "UTC").mart(MARTS[name])[2]
        assert len(limits) <= len(MARTS[name].limits)


@pytest.mark.parametrize(
    ("code", "number", "small", "percent", "day", "moment", "span"),
    [
        ("en", "1,234,567", "\u22120.5", "12.3%", "1 March 2026", "30 June 2026, 14:00", "1 d 2 h"),
        ("ru", "1\u00a0234\u00a0567", "\u22120,5", "12,3\u00a0%", "1 марта 2026", "30 июня 2026, 14:00", "1 дн. 2 ч"),
    ],
)
def test_numbers_and_days_are_told_as_the_language_does(
    code: str, number: str, small: str, percent: str, day: str, moment: str, span: str
) -> None:
    language = Language.of(code, "Europe/Berlin")
    assert language.number(1_234_567) == number
    assert (language.number(-0.5, 1), language.number(-0.01, 1)[0]) == (small, "0")
    assert (language.percent(12.34), language.day(date(2026, 3, 1))) == (percent, day)
    assert (language.moment(NOW), language.span(93_700)) == (moment, span)
    assert language.number(None) == language.day(None) == language.span(None) == "\N{EN DASH}"
    with pytest.raises(UsageError, match="en and ru"):
        Language.of("de", "UTC")


def test_a_sparkline_needs_two_points_and_stays_within_its_box() -> None:
    assert sparkline(Spark()) == sparkline(Spark([1.0])) == sparkline(Spark([None, 3.0])) == ""
    places = sparkline(Spark([5.0, None, 5.0])).partition('points="')[2].partition('"')[0].split()
    assert places == ["3.0,14.0", "117.0,14.0"]


def test_json_in_the_page_ends_no_script() -> None:
    told = as_json({"x": "</script><!-- & \u2028"})
    assert not {"<", ">", "&", "\u2028"} & set(told)
