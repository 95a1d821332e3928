"""What a run of marts is, as a task of Airflow hands it to the next one, and what came of it."""

from dataclasses import dataclass, field

from bson import Timestamp

from contracts.schema.history import valid_at
from pipeline.connections import Connections
from pipeline.control import as_number
from pipeline.runs.published import MARTS
from pipeline.runs.run import ClusterTime, Portable
from pipeline.stores.base import Staging
from transforms.marts import Context


@dataclass(frozen=True)
class MartRun(Portable):
    """Some marts, from the moment that they show to their publish.

    Attributes:
        id: Its name in the books.
        cluster_time: The moment of the replica that they show.
        source: Name of the store that the replica is read from.
        shows: The run that each collection shows there, of those that the marts read.
        marts: Their names, each after those that it reads.
        targets: Names of the stores that they are written to.
        timezone: The zone whose days they report.
        support_sla: Seconds within which a ticket is to be answered, by type of issue.
        observed_since: The moments, as numbers, since which the store keeps former versions of what the marts read the
            versions of, by table.
    """

    id: str
    cluster_time: ClusterTime
    source: str
    shows: dict[str, str]
    marts: tuple[str, ...]
    targets: tuple[str, ...]
    timezone: str = "UTC"
    support_sla: dict[str, float] = field(default_factory=lambda: dict(Context().support_sla))
    observed_since: dict[str, int] = field(default_factory=dict)

    @property
    def context(self) -> Context:
        """What the marts are computed by, whichever process does it."""
        since = {table: valid_at(number) for table, number in self.observed_since.items()}
        return Context(self.cluster_time.as_datetime(), self.timezone, self.support_sla, since)


@dataclass(frozen=True)
class BuiltMart:
    """A mart that was published.

    Attributes:
        name: Its name.
        rows: How many rows it has.
        seconds: How long it took to read its sources, to compute and to load it.
        cluster_time: The moment that it shows.
    """

    name: str
    rows: int
    seconds: float
    cluster_time: Timestamp


def staging_of(connections: Connections, run: MartRun) -> Staging:
    """Return the staging area of a run."""
    known = connections.marts
    return Staging(run.id, MARTS, tuple(known[name].table for name in run.marts), as_number(run.cluster_time))
