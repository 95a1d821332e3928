"""What the plots read: published marts, cut at the last day that has anything, and the moment that they show.

What no mart has is read from the copied tables themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import polars as pl

from contracts.schema.mart import Mart
from pipeline.errors import UsageError
from pipeline.lake.lake import Lake
from pipeline.report.language import Language
from pipeline.runs.published import REPLICA

# Of what the days with data are told; a mart that has a row for each day says which of them have something.
_DAYS = {
    "active_users_daily": ("active_on", "dau_count"),
    "event_types_daily": ("event_on", "event_count"),
    "search_quality_daily": ("searched_on", "search_count"),
    "moderation_daily": ("submitted_on", "submitted_count"),
    "support_efficiency_daily": ("created_on", "ticket_count"),
}
_NEVER = date(2000, 1, 1)  # a day from which others can be reckoned, where there is nothing
DAYS = 90  # that a plot by day shows
OLD = timedelta(days=2)  # before now: what shows an earlier moment is told to be old


class NotBuiltError(Exception):
    """A mart or a copied table is not there, or the latter has other columns; its name is the only argument."""


@dataclass(frozen=True)
class Source:
    """Published marts, and how they are told.

    Attributes:
        lake: Where they are read.
        language: In which they are told.
        marts: The contracts, by name.
        shown: Which moment each of them shows.
        copied: Which moment each copied table shows, by names such as ``replica.event_logs``.
    """

    lake: Lake
    language: Language
    marts: Mapping[str, Mart]
    shown: Mapping[str, datetime]
    copied: Mapping[str, datetime] = field(default_factory=dict)
    _scans: dict[str, pl.LazyFrame] = field(default_factory=dict)

    def frame(self, mart: str, *columns: str) -> pl.LazyFrame:
        """Return columns of a mart; those that it does not have are null.

        Raises:
            NotBuiltError: It is not published, or no contract declares it.
        """
        frame, known = self._scanned(mart), self.marts[mart].table.names
        return frame.select(pl.col(one) if one in known else pl.lit(None).alias(one) for one in columns)

    def copy(self, table: str, **columns: pl.DataType) -> pl.LazyFrame:
        """Return columns of a copied table, which belongs to its contract and may be shaped otherwise elsewhere.

        Args:
            table: Such as ``event_logs``.
            **columns: The columns, and of which types they must be.

        Raises:
            NotBuiltError: It is not published, or has other columns.
        """
        name = f"{REPLICA}.{table}"
        if name not in self.copied:
            raise NotBuiltError(name)
        frame = self._copied(table)
        schema = frame.collect_schema()
        if any(schema.get(column) != kind for column, kind in columns.items()):
            raise NotBuiltError(name)
        return frame.select(*columns)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a question that PostgreSQL answers itself: it would be too much to have them all sent."""
        session = self.lake.books_session()
        with session.snapshot():
            return session.rows(query, *parameters)

    def at(self, table: str) -> datetime | None:
        """Return which moment a mart or a copied table shows."""
        return self.shown.get(table) or self.copied.get(table)

    def has(self, mart: str, column: str) -> bool:
        """Return whether a mart is there and has a column."""
        return mart in self.shown and mart in self.marts and column in self.marts[mart].table.names

    def days(self, mart: str, day: str, *columns: str, last: int = DAYS) -> pl.DataFrame:
        """Return the last days of a mart up to its last one, with ``day`` and ``is_complete``.

        Args:
            mart: The mart.
            day: Its column of the day, which is called ``day`` in what comes.
            *columns: Further columns.
            last: How many days.
        """
        end = self.end_of(mart)
        wanted = pl.col(day).is_between(end - timedelta(days=last - 1), end)
        frame = self.frame(mart, day, *columns, "is_complete").filter(wanted)
        return frame.rename({day: "day"}).sort("day").collect()

    def gapless(self, mart: str, frame: pl.DataFrame, *counts: str, every: str = "1d") -> pl.DataFrame:
        """Return rows for all days, or weeks, from the first one with any to the last one of the mart.

        Args:
            mart: What the rows are of.
            frame: With ``day``, one row for each; not empty.
            *counts: Columns that are 0 where there was no row; all others are null there.
            every: ``1d`` or ``1w``.
        """
        days = pl.DataFrame({"day": pl.date_range(frame["day"].min(), self.end_of(mart), every, eager=True)})  # type: ignore[arg-type]
        filled = days.join(frame, on="day", how="left", maintain_order="left")
        is_over = pl.col("day") <= self.complete_to(mart)
        over = [pl.col("is_complete").fill_null(is_over)] * ("is_complete" in frame.columns)
        return filled.with_columns(pl.col(*counts).fill_null(0), *over)

    def cohorts(self, *columns: str) -> pl.LazyFrame:
        """Return the cohorts of users by week, but for the first: it has whoever was there before the data begin.

        Args:
            *columns: What is wanted beside ``cohort_on`` and ``week_number``.
        """
        there = self.frame("user_retention_weekly", "cohort_on", "week_number", *columns)
        first = pl.col("cohort_on").min()
        return there.with_columns(is_first=pl.col("cohort_on") == first).filter(~pl.col("is_first")).drop("is_first")

    def day_of(self, table: str) -> date | None:
        """Return the day of the moment that a mart or a copied table shows, in the zone of the report."""
        at = self.at(table)
        return None if at is None else at.astimezone(self.language.zone).date()

    def end_of(self, table: str) -> date:
        """Return the last day that a mart or a copied table can tell of: another may show a later moment."""
        return min(self.end, self.day_of(table) or self.end)

    def complete_to(self, table: str) -> date:
        """Return the last day that was over at the moment that a mart or a copied table shows, within the data."""
        day = self.day_of(table)
        return self.last_complete if day is None else min(self.last_complete, day - timedelta(days=1))

    @cached_property
    def as_of(self) -> datetime | None:
        """The newest moment that a mart shows."""
        return max(self.shown.values(), default=None)

    @cached_property
    def today(self) -> date | None:
        """The day of that moment, in the zone of the report."""
        return None if self.as_of is None else self.as_of.astimezone(self.language.zone).date()

    @cached_property
    def end(self) -> date:
        """The last day that has anything, and is not in the future."""
        latest = [found for mart in _DAYS if (found := self._latest(mart)) is not None]
        return max(latest, default=self.today or _NEVER)

    @cached_property
    def first_monday(self) -> date:
        """The first day of the weeks of the last half year: what came before it would be part of a week."""
        since = self.end - timedelta(days=181)
        return since + timedelta(days=-since.weekday() % 7)

    @cached_property
    def last_complete(self) -> date:
        """The last day that is over, and not after the last one that has anything."""
        return min(self.end, self.today - timedelta(days=1)) if self.today else self.end

    @property
    def older(self) -> Mapping[str, datetime]:
        """The marts that show an earlier day than the newest one, and their moments."""
        return {
            name: at for name, at in self.shown.items() if self.today and (self.day_of(name) or self.today) < self.today
        }

    def is_old(self, now: datetime) -> bool:
        """Return whether all of it is older than what one looks at as the present."""
        return self.as_of is not None and now - self.as_of > OLD

    @property
    def is_behind(self) -> bool:
        """Whether the data end before the day on which they were read, and the one before."""
        return self.today is not None and self.end < self.today - timedelta(days=1)

    def _scanned(self, mart: str) -> pl.LazyFrame:
        if mart not in self.marts or mart not in self.shown:
            raise NotBuiltError(mart)
        if mart not in self._scans:  # to ask the store each time whether it is there would take a connection each time
            try:
                self._scans[mart] = self.lake.marts[mart]
            except UsageError as error:
                raise NotBuiltError(mart) from error
        return self._scans[mart]

    def _copied(self, table: str) -> pl.LazyFrame:
        try:
            return self.lake.replica[table]
        except UsageError as error:
            raise NotBuiltError(f"{REPLICA}.{table}") from error

    def _latest(self, mart: str) -> date | None:
        day, count = _DAYS[mart]
        try:
            frame = self.frame(mart, day, count)
        except NotBuiltError:
            return None
        there = frame.filter((pl.col(count) > 0) & (pl.col(day) <= self.day_of(mart)))
        latest: date | None = there.select(pl.col(day).max()).collect().item()
        return latest
