"""What a run of marts is, as a task of Airflow hands it to the next one, and what came of it."""

from dataclasses import dataclass, field

from bson import Timestamp

from contracts.schema.history import valid_at
from pipeline.connections import Connections
from pipeline.control import as_number
from pipeline.runs.published import MARTS
from pipeline.runs.run import ClusterTime, Portable
from pipeline.stores.staging import Staging
from transforms.marts import Context


@dataclass(frozen=True)
class Plan:
    """How a mart is computed in a run.

    Attributes:
        why: Why it is computed whole or, of one that is computed in part, how much of it.
        column: By whose values it is computed in part; nothing if it is computed whole, or not at all.
        base: The run whose rows stay as they are, but for those that come out otherwise; nothing if all are written.
        keys: How many values there are.
        stays: Whether nothing is computed, for no row can have changed.
        follows: Whether nothing is computed if what it reads of other marts comes out as it was: nothing else changed.
    """

    why: str
    column: str = ""
    base: str = ""
    keys: int = 0
    stays: bool = False
    follows: bool = False


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
        plans: How each mart is computed; whole if nothing is said.
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
    plans: dict[str, Plan] = field(default_factory=dict)

    def plan(self, name: str) -> Plan:
        """Return how a mart is computed."""
        return self.plans.get(name, Plan(""))

    def column(self, name: str) -> str:
        """Return by whose values a mart is computed in part; nothing if it is computed whole."""
        return self.plan(name).column

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
        written_rows: How many of them were written; the others stay as they were.
        plan: How, and why so.
    """

    name: str
    rows: int
    seconds: float
    cluster_time: Timestamp
    written_rows: int = 0
    plan: Plan = Plan("")


def staging_of(connections: Connections, run: MartRun) -> Staging:
    """Return the staging area of a run."""
    known, plans = connections.marts, {name: run.plan(name) for name in run.marts}
    return Staging(
        run.id,
        MARTS,
        tuple(known[name].table for name, one in plans.items() if not one.stays),
        as_number(run.cluster_time),
        parts=frozenset(name for name, one in plans.items() if one.base and not one.stays),
        staying=tuple(known[name].table for name, one in plans.items() if one.stays),
    )
