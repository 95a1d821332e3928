"""How several processes share the marts of a run: in groups that read little twice and are about equally large."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.schema.entity import Table
from contracts.schema.registry import all_tables
from pipeline import control
from pipeline.connections import Connections
from pipeline.marts.reading import known_tables, read_of
from pipeline.marts.run import MartRun
from pipeline.marts.sources import with_their_marts
from pipeline.runtime.workers import SHARE_BYTES
from transforms.marts import sources

_VALUE_BYTES = 16  # of a value, about, while a mart is computed


@dataclass
class Group:
    """Marts that one process computes.

    Attributes:
        names: Their names.
        has: Those that it computes and the tables that it reads, by what each costs.
    """

    names: list[str] = field(default_factory=list)
    has: dict[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes that it reads and computes from, about."""
        return sum(self.has.values())


def groups(connections: Connections, run: MartRun, number: int) -> list[Group]:
    """Share the marts of a run out: each goes where least is to be done then.

    Args:
        connections: The open connections.
        run: An open run.
        number: How many groups there are to be, at most; of little there is one.
    """
    if number < 2 or _largest(connections, run) < 2 * SHARE_BYTES:  # to find out what each costs takes a second
        return [Group(list(run.marts))]
    costs = {name: _costs(connections, run, name) for name in run.marts}
    found = [Group() for _ in range(number)]
    for name in sorted(run.marts, key=lambda name: -sum(costs[name].values())):
        group = min(found, key=lambda one: sum((one.has | costs[name]).values()))
        group.names.append(name)
        group.has |= costs[name]
    return [group for group in found if group.names]


def _largest(connections: Connections, run: MartRun) -> int:
    """Return how large all columns of all tables are that marts of a run read."""
    known = all_tables(connections.entities.values())
    read = {name for mart in with_their_marts(connections, run.marts) for name in sources(mart)}
    return sum(_bytes(connections, run, {name: known[name] for name in read & known.keys()}).values())


def _costs(connections: Connections, run: MartRun, name: str) -> dict[str, int]:
    """Return what it costs to read the tables of a mart, and to compute it and the marts that it reads."""
    wanted = with_their_marts(connections, [name])
    read = {
        table: one
        for table, one in read_of(wanted, known_tables(connections, wanted)).items()
        if table not in run.marts
    }
    tables = _bytes(connections, run, read)
    return tables | {mart.name: sum(tables.get(one, 0) for one in sources(mart)) for mart in wanted}


def _bytes(connections: Connections, run: MartRun, read: Mapping[str, Table]) -> dict[str, int]:
    """Return how large the columns of tables are that are read, by the rows that the books know of them."""
    with connections.postgres.transaction():
        shown = [one for one in control.publications(connections.postgres) if one.target == run.source]
    rows = {name: held.rows for one in shown for name, held in one.held.items()}
    return {name: rows.get(name, 0) * len(table.columns) * _VALUE_BYTES for name, table in read.items()}
