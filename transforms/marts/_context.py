"""What a mart is computed by, beside the tables: the moment that they show, the reporting zone and what is promised."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

DEFAULT_SLA_S = 24 * 3600.0


@dataclass(frozen=True)
class Context:
    """The clock and the settings of a computation; no mart looks at any other clock.

    Attributes:
        as_of: The moment that the sources show.
        timezone: IANA name of the one zone whose days and weeks are reported.
        support_sla: Seconds within which a ticket is to be answered, by type of issue; ``""`` is any other.
        observed_since: Since when the former versions of tables are kept, by name; of others they are not.
    """

    as_of: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    timezone: str = "UTC"
    support_sla: Mapping[str, float] = field(default_factory=lambda: {"": DEFAULT_SLA_S})
    observed_since: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def today(self) -> date:
        """The day that is running at the moment, in the reporting zone."""
        return self.as_of.astimezone(ZoneInfo(self.timezone)).date()

    def observed_on(self, table: str) -> date | None:
        """Return the day from which on the former versions of a table are kept, in the reporting zone."""
        since = self.observed_since.get(table)
        return None if since is None else since.astimezone(ZoneInfo(self.timezone)).date()
