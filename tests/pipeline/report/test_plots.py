"""What is drawn of marts that have no rows, and how numbers, spans and lines are told; no engine is needed."""

import math
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
from pipeline.control import Verification
from pipeline.control.status import Status
from pipeline.errors import UsageError
from pipeline.report import charts, curves, page, state, theme, todo, todo_copy
from pipeline.report.areas import AREAS, activity, events, moderation, prices, retention, search, support
from pipeline.report.draw import section
from pipeline.report.drawn import Drawing, Fact, Spark
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
    for count in (4_000, 16_000):
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
    took = [*map(float, range(1, 1001)), *[None] * 1_000]
    points = curves.Reached(took, [math.inf] * 2_000).points
    assert len(points) < 100 and points[0] == (1, 0.05) and points[-1] == (1_000, 50)
    assert curves.Reached([2, 2, 2], [math.inf] * 3).points == [(2, 100)]
    assert curves.Reached([None], [math.inf]).points == curves.Reached([], []).points == []


def test_a_share_within_a_time_is_of_those_that_are_as_old() -> None:
    # Of 100 half are an hour old, and half a week; each is answered after two days, if it is old enough.
    old, young = (2 * 86_400.0, 7 * 86_400.0), (None, 3_600.0)
    reached = curves.Reached(*zip(*[old, young] * 50, strict=True))
    assert (reached.whole(60), reached.whole(86_400), reached.whole(8 * 86_400)) == (100, 50, 0)
    assert (reached.share(60), reached.share(86_400), reached.share(3 * 86_400)) == (0, 0, 100)
    assert reached.share(8 * 86_400) is None and reached.points == [(2 * 86_400, 100)]
    assert curves.Reached([5.0], [4.0]).points == []  # by a clock that is ahead


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


def given(now: datetime, *, older: Mapping[str, datetime] | None = None, **frames: pl.DataFrame) -> Given:
    """Return a report's source with some rows, all of one moment but for the marts that are older."""
    nobody: Any = None
    shown = dict.fromkeys(MARTS, now) | dict(older or {})
    return Given(nobody, Language.of("en", "UTC"), MARTS, shown, {}, given=frames)


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
    assert (dau.value, dau.change, dau.change_text) == (100, None, "no period before it")
    assert dau.period.startswith("7 days up to ") and "against" not in dau.period
    tiny = daily(NOW.date() - timedelta(days=3), NOW.date(), "active_on", dau_count=100)
    assert "dau" not in {one.key for one in figures(given(NOW, active_users_daily=tiny))}
    older = daily(NOW.date() - timedelta(days=200), NOW.date(), "active_on", dau_count=100)
    (dau,) = (one for one in figures(given(NOW, active_users_daily=older)) if one.key == "dau")
    assert (dau.value, dau.change) == (100, 0) and dau.period.endswith(", against the 7 before")


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


# --- Marts of different moments

THURSDAY = NOW - timedelta(days=5)


def test_each_mart_ends_with_its_own_day() -> None:
    """One mart is of today, all others are of Thursday, and know nothing of the days since."""
    days = daily(date(2026, 3, 1), THURSDAY.date(), "created_on", ticket_count=10, issue_type="billing")
    submitted = daily(date(2026, 3, 1), THURSDAY.date(), "submitted_on", submitted_count=9, approved_count=9, rating=5)
    sessions = pl.DataFrame({"started_on": days["created_on"]})
    older = dict.fromkeys(("support_efficiency_daily", "moderation_daily", "session_facts"), THURSDAY)
    source = given(
        NOW,
        older=older,
        active_users_daily=daily(date(2026, 3, 1), NOW.date(), "active_on", dau_count=5),
        support_efficiency_daily=days,
        moderation_daily=submitted,
        session_facts=sessions,
    )
    found = {one.key: one for one in figures(source)}
    assert (found["tickets"].value, found["tickets"].change) == (70, 0)
    assert "24 June 2026" in found["tickets"].period and "29 June 2026" in found["dau"].period
    for draw, column in ((moderation.outcomes, "approved"), (activity.sessions_daily, "sessions")):
        drawing = drawn(draw(source))
        assert str(drawing.table.rows[0][0]) == "25 June 2026 (running)"
        assert all(row[1] != "0" for row in drawing.table.rows)
        assert "24 June 2026, the last complete" in drawing.says and column in drawing.says
    assert source.older == older and not source.is_old(NOW) and source.is_old(NOW + timedelta(days=2, seconds=1))


def test_a_page_says_at_its_top_that_it_is_old_or_some_of_it() -> None:
    source = given(NOW, older={"price_drops": THURSDAY})
    assert page._old(source, NOW + timedelta(days=2)) == page._apart(given(NOW)) == ""
    assert "30 June 2026, 12:00, 3 d before this page was made" in page._old(source, NOW + timedelta(days=3))
    assert "25 June 2026, 12:00" in page._apart(source) and page._apart(source).endswith(": price_drops.")


def drawn(drawing: Drawing | None) -> Drawing:
    assert drawing is not None
    return drawing


# --- Headline figures


def test_a_figure_that_was_zero_is_told_to_come_from_zero() -> None:
    start, last = date(2026, 3, 1), NOW.date()
    backlog = daily(start, last, "created_on", issue_type="billing").with_columns(
        backlog_count=pl.when(pl.col("created_on") >= last - timedelta(days=1)).then(5).otherwise(0)
    )
    (found,) = (one for one in figures(given(NOW, support_efficiency_daily=backlog)) if one.key == "backlog")
    assert (found.value, found.change, found.change_text, found.tone) == (5, None, "from 0", "bad")
    none = backlog.with_columns(backlog_count=pl.lit(0))
    (found,) = (one for one in figures(given(NOW, support_efficiency_daily=none)) if one.key == "backlog")
    assert (found.value, found.change, found.tone) == (0, 0, "even")


@pytest.mark.parametrize(("last", "change"), [(date(2026, 6, 20), -100), (date(2026, 6, 15), 0), (date(2026, 3, 9), 0)])
def test_what_no_longer_happens_is_zero_and_does_not_vanish(last: date, change: float) -> None:
    rows = daily(date(2026, 3, 1), last, "activity_on", user_id="u", session_count=3).drop("is_complete")
    active = daily(date(2026, 3, 1), NOW.date(), "active_on", dau_count=5)
    source = given(NOW, active_users_daily=active, user_activity_daily=rows)
    (found,) = (one for one in figures(source) if one.key == "sessions")
    assert (found.value, found.change, len(found.points.points)) == (0, change, 12)


@pytest.mark.parametrize(("whole", "tone"), [(14, "even"), (15, "bad")])
def test_shares_tell_of_how_many_they_are_and_few_are_not_judged(whole: int, tone: str) -> None:
    frame = daily(date(2026, 3, 1), NOW.date(), "searched_on", search_count=whole, zero_result_count=0)
    lately = pl.col("searched_on") > NOW.date() - timedelta(days=8)
    frame = frame.with_columns(zero_result_count=pl.when(lately).then(1).otherwise(0))
    (found,) = (one for one in figures(given(NOW, search_quality_daily=frame)) if one.key == "zero")
    assert (found.value, found.tone, found.of) == (100 / whole, tone, 7 * whole)
    assert f"of {7 * whole} searches" in found.period and ("too few" in found.period) == (tone == "even")


def test_rejections_are_told_beside_the_share_that_is_decided() -> None:
    counts = {"submitted_count": 10, "decided_count": 4, "rejected_count": 1}
    frame = daily(date(2026, 3, 1), NOW.date(), "submitted_on", rating=5, **counts)
    (found,) = (one for one in figures(given(NOW, moderation_daily=frame)) if one.key == "rejected")
    assert (found.value, found.of) == (25, 28) and "of 28 decided, which are 40.0% of those submitted" in found.period


# --- Support


def resolution(**columns: Any) -> pl.DataFrame:
    """Return unresolved tickets that were opened by users."""
    made = pl.DataFrame(columns)
    every = {"is_resolved": False, "is_opened_by_agent": False, "message_count": 1, "issue_type": "billing"}
    return made.with_columns(pl.lit(value).alias(name) for name, value in every.items() if name not in made.columns)


def test_tickets_that_were_just_opened_are_drawn_beside_old_ones() -> None:
    tickets = resolution(ticket_id=["old", "new"], age_s=[90 * 86_400.0, 30.0])
    (panel,) = drawn(support.open_tickets(given(NOW, ticket_resolution=tickets))).panels
    assert panel.spec["encoding"]["x"]["scale"]["type"] == "log"
    ((rows,)) = panel.spec["datasets"].values()
    assert min(row["x"] for row in rows) > 0


def test_a_first_week_that_began_within_it_is_no_running_one() -> None:
    wednesday = date(2026, 5, 6)
    days = daily(wednesday, NOW.date(), "created_on", sla_met_count=1, sla_eligible_count=2, issue_type="billing")
    drawing = drawn(support.in_time(given(NOW, support_efficiency_daily=days)))
    told = [str(row[0]) for row in drawing.table.rows]
    assert told[-1] == "11 May 2026" and [one for one in told if "running" in one] == ["29 June 2026 (running)"]
    only = daily(NOW.date() - timedelta(days=1), NOW.date(), "created_on", sla_met_count=1, sla_eligible_count=2)
    assert len(drawn(support.in_time(given(NOW, support_efficiency_daily=only))).table.rows) == 1  # there is no other


def test_a_line_is_dashed_from_the_last_period_that_is_over_on() -> None:
    rows = [{"x": str(n), "is_running": n in (0, 4, 5)} for n in range(6)]
    solid, dashed = charts._parted(rows)
    assert ([row["x"] for row in solid], [row["x"] for row in dashed]) == (["0", "1", "2", "3"], ["3", "4", "5"])
    assert charts._parted(rows[:4]) == (rows[:4], ()) and charts._parted(rows[4:]) == ([], rows[4:])


def test_the_median_stands_beside_how_many_are_not_answered() -> None:
    opened = [NOW - timedelta(days=10, minutes=number) for number in range(50)]
    tickets = resolution(
        created_at=[*opened, *opened],
        first_response_s=[60.0] * 50 + [None] * 50,
        is_opened_by_agent=[False] * 90 + [True] * 10,
    )
    drawing = drawn(support.reply_quantiles(given(NOW, ticket_resolution=tickets)))
    (row,) = drawing.table.rows
    assert row[-2:] == ["50", "40"] and "Of 90 tickets in the week of 15 June 2026, 40 have no reply" in drawing.says


def test_who_is_too_young_to_be_answered_in_a_day_does_not_count_for_a_day() -> None:
    ages = [timedelta(minutes=5)] * 60 + [timedelta(days=20)] * 40
    tickets = resolution(
        created_at=[NOW - age for age in ages], first_response_s=[None] * 60 + [3_600.0] * 40, resolution_s=[None] * 100
    ).with_columns(pl.col("resolution_s").cast(pl.Float64))
    drawing = drawn(support.helped_within(given(NOW, ticket_resolution=tickets)))
    told = {row[0]: row[1] for row in drawing.table.rows}
    assert (told["1 min"], told["6 h"], told["1 d"], told["28 d"]) == ("0.0%", "100.0%", "100.0%", "\N{EN DASH}")
    assert "100.0% (40 tickets old enough to tell)" in drawing.says


def test_of_more_types_than_are_drawn_all_are_in_the_total() -> None:
    kinds = [f"kind {number:02}" for number in range(20)]
    tickets = resolution(created_at=[NOW - timedelta(days=1)] * 20, issue_type=kinds)
    assert "1 of 20" in drawn(support.issue_types(given(NOW, ticket_resolution=tickets))).says


# --- Events


def test_unusual_days_are_counted_of_the_types_that_are_drawn() -> None:
    kinds = [
        daily(date(2026, 6, 1), NOW.date(), "event_on", event_type=f"kind {number:02}", event_count=100 - number)
        for number in range(12)
    ]
    frame = pl.concat(kinds).with_columns(is_unusual=pl.col("event_on") == date(2026, 6, 20), z_score=pl.lit(4.0))
    drawing = drawn(events.volumes(given(NOW, event_types_daily=frame)))
    assert drawing.says == "8 of 12 types of events; 8 unusual days of them."


# --- Lists


def test_searches_that_find_nothing_are_those_of_late() -> None:
    def searches(term: str, ago: int, times: int, *, zero: bool = True) -> pl.DataFrame:
        about = {"search_term": term, "is_zero_result": zero, "is_final": True, "user_id": "u", "next_term": "boots"}
        searched = {"searched_on": NOW.date() - timedelta(days=ago)}
        return pl.DataFrame({name: [value] * times for name, value in {**about, **searched}.items()})

    found = [searches("mended", 40, 100), searches("mended", 3, 50, zero=False), searches("new", 5, 2)]
    active = daily(date(2026, 1, 1), NOW.date(), "active_on", dau_count=1)
    drawing = drawn(todo.missing_terms(given(NOW, search_facts=pl.concat(found), active_users_daily=active)))
    (row,) = drawing.table.rows
    assert (row[0], row[1], row[2], row[3], row[5]) == ("new", "2", "100.0%", "1", "boots")


@dataclass(frozen=True)
class Copies(Given):
    """Copied tables with the rows that are given as well."""

    copies: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    def _copied(self, table: str) -> pl.LazyFrame:
        empty = TABLES[table].frame_schema.to_frame()
        return pl.concat([empty, self.copies.get(table, empty)], how="diagonal_relaxed").lazy()


@pytest.mark.parametrize(("target", "listed"), [("/cart", []), ("p9", ["p1", "p2"]), ("p1", ["p2"])])
def test_where_no_action_names_a_product_none_is_never_touched(target: str, listed: list[str]) -> None:
    nobody: Any = None
    copies = {
        "user_recommendations": pl.DataFrame({"user_id": ["u"], "recommended_products": [["p1", "p2"]]}),
        "user_sessions_actions": pl.DataFrame({"target": [target]}),
        "product_price_history": pl.DataFrame({"product_id": ["p9"]}),
    }
    copied = {f"replica.{name}": NOW for name in TABLES}
    source = Copies(nobody, Language.of("en", "UTC"), MARTS, dict.fromkeys(MARTS, NOW), copied, copies=copies)
    drawing = todo_copy.never_touched(source)
    assert [row[0] for row in drawing.table.rows] == listed if listed else drawing is None


# --- The state of the copy


def verified(
    ago: int, sample: str = "", *, proven: bool = True, collection: str = "Events", since: int = 0
) -> Verification:
    at = NOW - timedelta(days=ago)
    return Verification(collection, "postgres", at, at, "run", sample, proven, 9, 9, 9, 0, 0, 0, 0, since)


@pytest.mark.parametrize(
    ("found", "text", "tone"),
    [
        ([verified(150), verified(1, "1%", proven=False)], "NOT proven", "bad"),
        ([verified(1), verified(150, "1%", proven=False)], "proven", "good"),
        ([verified(150, proven=False), verified(1, "1%")], "NOT proven", "bad"),
        ([verified(1), verified(1, "1%", collection="Users")], "proven", "even"),
        ([verified(1, "1%")], "proven", "even"),
    ],
)
def test_a_sample_that_failed_is_not_hidden_by_an_older_proof(found: list[Verification], text: str, tone: str) -> None:
    fact = state._proven(state.Books(Status(), found), Language.of("en", "UTC"))
    assert (fact.text, fact.tone) == (text, tone)


def test_what_could_not_be_compared_is_told() -> None:
    english, books = Language.of("en", "UTC"), state.Books(Status(), [verified(1, since=7)])
    assert "every value of 1 of 1 collections" in state._proven(books, english).detail
    assert "but for 7 documents" in state._proven(books, english).detail
    (table,) = (one.table for one in state.plots(books, english, NOW) if one.key == "verification")
    assert table.rows[0][table.headings.index("changed since")] == "7"


@pytest.mark.parametrize(("days", "tone"), [(1, "even"), (3, "bad")])
def test_a_copy_of_days_ago_is_told_to_be_old(days: int, tone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state.Books, "shown", {"Events": NOW - timedelta(days=days)})
    fact: Fact = state._lag(state.Books(Status()), Language.of("en", "UTC"), NOW, [])
    assert fact.tone == tone
