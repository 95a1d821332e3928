"""What is drawn of marts that have no rows, and how numbers, spans and lines are told; no engine is needed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contracts.schema.registry import entities, marts
from pipeline import report
from pipeline.errors import UsageError
from pipeline.report import charts, curves, theme
from pipeline.report.areas import AREAS, prices, retention, search, support
from pipeline.report.draw import section
from pipeline.report.drawn import Spark
from pipeline.report.headline import figures
from pipeline.report.language import Language, _words
from pipeline.report.source import Source
from pipeline.report.sparkline import sparkline
from pipeline.report.todo import LISTS
from pipeline.report.vega import as_json, spec_of, svg
from pipeline.text.printable import visible
from transforms.marts import marts_of

MARTS = marts_of(entities().values(), marts())
TABLES = {table.name: table for entity in entities().values() for table in entity.tables}
NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)


@dataclass(frozen=True)
class WithoutRows(Source):
    """Marts that are published and have no rows."""

    def _scanned(self, mart: str) -> pl.LazyFrame:
        return self.marts[mart].table.frame_schema.to_frame().lazy()

    def _copied(self, table: str) -> pl.LazyFrame:
        return TABLES[table].frame_schema.to_frame().lazy()

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return []


def test_marts_without_rows_give_sentences_and_no_plot() -> None:
    nobody: Any = None
    copied = {f"replica.{name}": NOW for name in TABLES}
    source = WithoutRows(nobody, Language.of("en", "UTC"), MARTS, dict.fromkeys(MARTS, NOW), copied)
    for key, functions in {**AREAS, "todo": LISTS}.items():
        found = section(source, key, functions)
        assert (found.plots, found.not_built) == ((), ())
        assert set(found.empty) == {function.__name__ for function in functions}
    assert figures(source) == []


@dataclass(frozen=True)
class WithMany(WithoutRows):
    """Marts and copies of as many rows, with as many users, terms, types, products and texts, as one likes."""

    count: int = 0

    def _scanned(self, mart: str) -> pl.LazyFrame:
        contract = self.marts[mart]
        closed = {field.name: field.vocabulary for field in contract.fields if field.closed}
        return self._made(contract.table.frame_schema.to_frame(), closed).unique(contract.key, maintain_order=True)

    def _copied(self, table: str) -> pl.LazyFrame:
        return self._made(TABLES[table].frame_schema.to_frame())

    def _made(self, empty: pl.DataFrame, closed: Mapping[str, Sequence[str]] | None = None) -> pl.LazyFrame:
        numbers = pl.LazyFrame({"i": range(self.count)})
        return numbers.select(_varied(name, kind, (closed or {}).get(name)) for name, kind in empty.schema.items())


def _varied(name: str, kind: pl.DataType, known: Sequence[str] | None = None) -> pl.Expr:
    """Return values of half a year, and of texts as many as there are rows, or all that the contract knows."""
    i = pl.col("i")
    if known:
        made = pl.lit(pl.Series([[*known]])).list.get(i % len(known))
    elif name == "step_number":
        made = 1 + i % 3
    elif kind == pl.Boolean:
        made = i % 3 == 0
    elif kind == pl.String:
        made = pl.lit(f"{name} ") + i.cast(pl.String)
    elif kind == pl.Date or isinstance(kind, pl.Datetime):
        made = pl.lit(NOW) - pl.duration(hours=i % 4_380)
    elif isinstance(kind, pl.List):
        made = pl.concat_list(_varied(name, pl.DataType.from_python(str)))
    else:
        made = 1 + i % 97
    return made.cast(kind).alias(name)


def test_the_page_does_not_grow_with_the_rows() -> None:
    nobody: Any = None
    sizes = []
    for count in (10_000, 40_000):
        copied = {f"replica.{name}": NOW for name in TABLES}
        source = WithMany(nobody, Language.of("en", "UTC"), MARTS, dict.fromkeys(MARTS, NOW), copied, count=count)
        drawn = [one for key, plots in {**AREAS, "todo": LISTS}.items() for one in section(source, key, plots).plots]
        sizes.append({one.key: len(repr([one.table, *(panel.spec for panel in one.panels)])) for one in drawn})
        assert len(drawn) > 40
    few, many = sizes
    assert {key: many[key] for key in many if many[key] > 1.3 * few[key] + 2_000} == {}
    assert sum(many.values()) < 1_000_000  # and as much again as pictures, beside a script of 0.9 MB


def test_every_word_is_there_in_both_languages() -> None:
    words = _words()
    for section_of, entries in words.items():
        for key, texts in entries.items():
            assert {"en", "ru"} - texts.keys() <= ({"en"} if section_of == "mart" else set()), key
            said = " ".join(one if isinstance(one, str) else " ".join(one) for one in texts.values())
            assert visible(said) == said, key  # or the page would show an escape
    functions = {one for functions in (*AREAS.values(), LISTS) for one in functions}
    assert {function.__name__ for function in functions} <= words["plot"].keys()
    # Of each mart its question, its definition and its limits: one that is new in the contract is to be told here too.
    told = {name: len(texts["ru"]) - 2 for name, texts in words["mart"].items()}
    assert told == {name: len(mart.limits) for name, mart in marts().items()}
    drawn = {one for functions in (*AREAS.values(), LISTS) for one in functions.values() if one in MARTS}
    others = {one for functions in (*AREAS.values(), LISTS) for one in functions.values()} - drawn
    assert others <= {f"replica.{name}" for name in TABLES}
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


def test_a_lorenz_curve_of_equals_is_the_diagonal_and_of_one_owner_a_corner() -> None:
    points, gini = curves.shares({5: 10})
    assert (points, gini, curves.top_share(points)) == ([(0, 0), (100, 100)], 0, 10)
    points, gini = curves.shares({0: 9, 7: 1})
    assert points == [(0, 0), (90, 0), (100, 100)] and gini == pytest.approx(0.9)
    assert curves.top_share(points) == 100
    points, gini = curves.shares(dict.fromkeys(range(1, 1001), 1))
    assert len(points) < 100 and points[-1] == pytest.approx((100, 100)) and gini == pytest.approx(1 / 3, abs=0.001)


def test_what_is_reached_ends_with_the_share_that_came_to_it() -> None:
    points = curves.reached_by([float(number) for number in range(1, 1001)], whole=2_000)
    assert len(points) < 100 and points[0] == (1, 0.05) and points[-1] == (1_000, 50)
    assert curves.reached_by([2, 2, 2], whole=3) == [(2, 100)] and curves.reached_by([], whole=3) == []


def test_the_lowest_price_before_a_day_is_of_all_that_were_asked_in_thirty_days() -> None:
    day = date(2026, 6, 1)
    changes = [(-90, 10.0), (-31, 4.0), (-31, 9.0), (-30, 7.0), (-30, 8.0), (0, 5.0), (1, 6.0)]
    periods = [(day + timedelta(days=at), price) for at, price in changes]
    rows = prices._by_day(periods, day, day + timedelta(days=1), Language.of("en", "UTC"))
    # 4 was asked on the 31st day before alone; with 9 the 30th began, and 5 of the day itself is no price before it.
    assert [(row["price"], row["lowest"]) for row in rows] == [(5, 7), (6, 5)]
    assert prices._by_day([(day + timedelta(days=9), 1.0)], day, day, Language.of("en", "UTC")) == []


def test_numbers_on_every_shade_can_be_read() -> None:
    style = (Path(report.__file__).parent / "page" / "page.css").read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(themes) == 3  # light, dark, print
    for colors in themes:
        for shade in range(len(theme.HEAT)):
            ink = "ink" if shade < theme.MID else ("on-mid" if shade == theme.MID else "on-heat")
            low, high = sorted((_luminance(colors[f"h{shade}"]), _luminance(colors[ink])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (shade, colors)


def _luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(digit * 2 for digit in color[1:])
    parts = (int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_json_in_the_page_ends_no_script() -> None:
    told = as_json({"x": "</script><!-- & \u2028"})
    assert not {"<", ">", "&", "\u2028"} & set(told)


@dataclass(frozen=True)
class Given(WithoutRows):
    """Marts with the rows that are given, and none in all others."""

    given: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    def _scanned(self, mart: str) -> pl.LazyFrame:
        empty = self.marts[mart].table.frame_schema.to_frame()
        return pl.concat([empty, self.given.get(mart, empty)], how="diagonal_relaxed").lazy()


def given(now: datetime, **frames: pl.DataFrame) -> Given:
    nobody: Any = None
    return Given(nobody, Language.of("en", "UTC"), MARTS, dict.fromkeys(MARTS, now), {}, given=frames)


def daily(first: date, last: date, column: str, **values: Any) -> pl.DataFrame:
    """Return a row for each day, with the same values, and whether the day was over at noon of the last one."""
    days = pl.DataFrame({column: pl.date_range(first, last, eager=True)})
    return days.with_columns(is_complete=pl.col(column) < last, **{key: pl.lit(one) for key, one in values.items()})


def test_days_on_which_nothing_was_are_drawn_as_none() -> None:
    frame = daily(date(2026, 6, 1), date(2026, 6, 30), "searched_on", search_count=900, user_count=90)
    frame = frame.filter(~pl.col("searched_on").is_between(date(2026, 6, 10), date(2026, 6, 12)))
    drawing = search.searches(given(NOW, search_quality_daily=frame))
    assert drawing is not None
    counted = {row[0]: row[1] for row in drawing.table.rows}
    assert [counted[f"{day} June 2026"] for day in (9, 10, 11, 12, 13)] == ["900", "0", "0", "0", "900"]
    assert "lowest 0" in drawing.says


def test_a_week_whose_sunday_is_running_is_not_over() -> None:
    sunday = datetime(2026, 6, 28, 12, tzinfo=UTC)
    frame = daily(date(2026, 6, 1), sunday.date(), "created_on", sla_met_count=1, sla_eligible_count=2)
    drawing = support.in_time(given(sunday, support_efficiency_daily=frame))
    assert drawing is not None and drawing.has_running
    assert "running" in str(drawing.table.rows[0][0])
    assert "running" not in str(drawing.table.rows[1][0])


def test_weeks_begin_with_a_whole_one() -> None:
    drops = daily(date(2025, 10, 1), NOW.date(), "dropped_on", is_genuine=True, reduction_pct=10.0)
    drawing = prices.drops(given(NOW, price_drops=drops.drop("is_complete")))
    assert drawing is not None
    assert {row[1] for row in drawing.table.rows if "running" not in str(row[0])} == {"7"}


def test_only_doubtful_drops_are_shown_as_such() -> None:
    frame = pl.DataFrame(
        {"product_id": ["p"], "dropped_on": [date(2026, 6, 20)], "price": [8], "lowest_price_30d": [10]}
    ).with_columns(is_genuine=pl.lit(True), is_new_arrival=pl.lit(False), reduction_pct=pl.lit(20.0))
    assert prices.price_steps(given(NOW, price_drops=frame)) is None


def test_headline_figures_are_of_the_period_that_they_name() -> None:
    drops = pl.DataFrame({"dropped_on": [date(2026, 5, 20)] * 4, "is_genuine": [True, False, False, False]})
    found = {one.key for one in figures(given(NOW, price_drops=drops))}
    assert "false_drops" not in found
    young = daily(NOW.date() - timedelta(days=10), NOW.date(), "active_on", dau_count=100)
    (dau,) = (one for one in figures(given(NOW, active_users_daily=young)) if one.key == "dau")
    assert (dau.value, dau.change) == (100, None)
    tiny = daily(NOW.date() - timedelta(days=3), NOW.date(), "active_on", dau_count=100)
    assert "dau" not in {one.key for one in figures(given(NOW, active_users_daily=tiny))}
    older = daily(NOW.date() - timedelta(days=200), NOW.date(), "active_on", dau_count=100)
    (dau,) = (one for one in figures(given(NOW, active_users_daily=older)) if one.key == "dau")
    assert (dau.value, dau.change) == (100, 0)


def test_the_first_cohort_of_all_is_no_cohort_of_new_users() -> None:
    mondays = [date(2026, 6, 1) + timedelta(weeks=week) for week in range(3)]
    frame = pl.DataFrame(
        {
            "cohort_on": mondays,
            "week_number": [1, 1, 1],
            "cohort_user_count": [1_000, 10, 10],
            "eligible_user_count": [1_000, 10, 10],
            "retained_user_count": [600, 2, 3],
            "retention_pct": [60.0, 20.0, 30.0],
        }
    )
    source = given(NOW, user_retention_weekly=frame, active_users_daily=daily(mondays[0], NOW.date(), "active_on"))
    (week_1,) = (one for one in figures(source) if one.key == "week_1")
    assert (week_1.value, week_1.change) == (30.0, 10.0)
    drawing = retention.week_one(source)
    assert drawing is not None
    assert "60" not in drawing.says and "30" in drawing.says


def test_numbers_and_names_in_still_pictures_are_whole() -> None:
    row = {"x": "3.75 mm", "text": "1.05", "v": 2, "told": "3.75 mm"}
    spec = spec_of(charts.panel(charts.ranked([row], unit="", words={"x": "x", "v": "v", "s": ""})))
    drawn = svg(spec, 600, Language.of("en", "UTC").locales)
    assert "3.75 mm" in drawn and "1.05" in drawn
    assert not re.search(r"<[^>]*\d\.\d\d", drawn)
