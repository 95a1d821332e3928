"""What a mart was computed from, and what has become of it since: the code, the settings, the documents."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import polars as pl

from contracts.schema.entity import Entity
from contracts.schema.mart import DAILY, NEVER, Mart
from pipeline import control
from pipeline.connections import Connections
from pipeline.control import Changed, Publication
from pipeline.marts.fingerprint import fingerprint
from pipeline.marts.run import MartRun
from pipeline.marts.sources import owners
from pipeline.runs.published import MARTS, REPLICA
from pipeline.stores.conditions import within
from transforms.marts import sources

_OTHERWISE = {
    "fingerprint": "its contract or the code of marts was changed",
    "settings": "the reporting zone or the promised times were changed",
    "source": "it was read from another store",
    "observed": "former versions are kept since another moment",
}


@dataclass
class Basis:
    """What the marts of a run are computed from, and what those that are published were.

    Attributes:
        connections: The open connections.
        run: The run.
    """

    connections: Connections
    run: MartRun
    _plans: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    _changes: dict[tuple[str, str], Changed | None] = field(default_factory=dict)

    def now(self, mart: Mart) -> dict[str, Any]:
        """Return what a mart is computed from in this run, as plain JSON."""
        read = sorted(self.collections(mart))
        return {
            "fingerprint": fingerprint(mart),
            "settings": [self.run.timezone, dict(self.run.support_sla)],
            "source": self.run.source,
            "observed": {
                table: since
                for table, since in sorted(self.run.observed_since.items())
                if self.owners[table].collection in read
            },
            "shows": {name: self.run.shows[name] for name in read},
        }

    def before(self, mart: Mart) -> dict[str, Any] | None:
        """Return what the published rows of a mart were computed from; None if it is not known any more."""
        run_id = self.run_of(mart)
        if run_id not in self._plans:
            plan = control.plan_of(self.connections.postgres, run_id) or []
            self._plans[run_id] = {one["collection"]: one["basis"] for one in plan if "basis" in one}
        return self._plans[run_id].get(mart.name)

    def run_of(self, mart: Mart) -> str:
        """Return the run that all stores of this one show of a mart; nothing if they don't show one."""
        shown = [self.shown.get((mart.name, target)) for target in self.targets]
        runs = {one.run_id if one and one.finished else "" for one in shown}
        return runs.pop() if len(runs) == 1 else ""

    def changed(self, collection: str, since: str) -> Changed | None:
        """Return which documents of a collection were changed since a run was shown; None if that is not known."""
        key = collection, since
        if key not in self._changes:
            now = self.run.shows[collection]
            self._changes[key] = control.changed_since(self.connections.postgres, collection, now, since)
        return self._changes[key]

    def due(self, mart: Mart, collection: str) -> pl.Series:
        """Return the ``_id``s of a collection's documents that tell of moments which came since a mart was published.

        Each for each such moment: some may be there twice.
        """
        waited = ((self.owners[name], name, column) for name, column in mart.awaits)
        found = [self._due(mart, name, column) for owner, name, column in waited if owner.collection == collection]
        return pl.concat(found) if found else pl.Series(dtype=pl.String())

    def _due(self, mart: Mart, name: str, column: str) -> pl.Series:
        table = next(one for one in self.owners[name].tables if one.name == name)
        ids, upto = table.only([table.columns[0].name]), self.run.context.as_of
        where = within(table.only([column]), self.since(mart), upto)
        batches = self.connections.postgres.read(REPLICA, ids, where=where)
        frames = [pl.DataFrame(pl.from_arrow(batch)).cast(ids.frame_schema) for batch in batches]
        return pl.concat([ids.frame_schema.to_frame(), *frames]).to_series()

    def since(self, mart: Mart) -> datetime:
        """Return the moment that the published rows of a mart show."""
        return self.shown[mart.name, self.targets[0]].cluster_time.as_datetime()

    def is_touched(self, mart: Mart) -> bool:
        """Return whether documents that a mart reads itself were changed since it was published, or may have been."""
        if (before := self.before(mart)) is None:
            return True
        read = {self.owners[name].collection for name in sources(mart) if name in self.owners}
        found = [self.changed(name, before["shows"][name]) for name in read]
        return any(one is None or one.ids for one in found) or any(len(self.due(mart, name)) for name in read)

    def is_aged(self, mart: Mart) -> bool:
        """Return whether the clock may have changed any row of a mart since it was published."""
        return mart.ages is not NEVER and (mart.ages is not DAILY or self.a_day_began(mart))

    def a_day_began(self, mart: Mart) -> bool:
        """Return whether a day of the reporting zone has begun since the moment that the published rows show."""
        return replace(self.run.context, as_of=self.since(mart)).today != self.run.context.today

    def rows(self, mart: Mart) -> int:
        """Return how many rows of a mart are published."""
        return self.shown[mart.name, self.targets[0]].held[mart.name].rows

    def differences(self, mart: Mart) -> Iterator[str]:
        """Yield why the published rows of a mart can't be gone on with, if they can't."""
        if not self.run_of(mart):
            yield "it is not published yet, by one run in each store"
            return
        before, now = self.before(mart), self.now(mart)
        if before is None:
            yield "what it was computed from is not known any more"
            return
        yield from (why for name, why in _OTHERWISE.items() if before[name] != now[name])
        for name in now["shows"]:
            if name not in before["shows"] or self.changed(name, before["shows"][name]) is None:
                yield f"what was changed of {name} is not known: it was copied whole, or very much was changed"
        yield from self._lost(mart)

    def _lost(self, mart: Mart) -> Iterator[str]:
        """Yield what has become of the published rows."""
        for target, sizes in self._sizes.items():
            held = self.shown[mart.name, target].held.get(mart.name)
            if mart.name not in sizes:
                yield f"in {target} it has other columns than its contract"
            elif held is None or sizes[mart.name] != held.rows:
                yield f"in {target} it has other rows than were published"
        if self._told and self._told.get(mart.name) != self.run_of(mart):
            yield "ClickHouse shows another run than the books say"

    @cached_property
    def _sizes(self) -> dict[str, dict[str, int]]:
        """How many rows the marts of the run have, by store; one whose table is another by now is left out."""
        tables = [self.marts[name].table for name in self.run.marts]
        return {target.name: target.sizes(MARTS, tables) for target in self.connections.targets(self.targets)}

    @cached_property
    def _told(self) -> dict[str, str]:
        """The runs that ClickHouse's tables tell, by mart; nothing where it is none of the stores."""
        if self.connections.clickhouse.name not in self.targets:
            return {}
        return self.connections.clickhouse.runs_of(MARTS, [self.marts[name].table for name in self.run.marts])

    def collections(self, mart: Mart) -> set[str]:
        """Return the collections that a mart is computed from, by way of other marts, too."""
        found = set[str]()
        for name in sources(mart):
            if name in self.owners:
                found.add(self.owners[name].collection)
            else:
                found |= self.collections(self.marts[name])
        return found

    @property
    def targets(self) -> tuple[str, ...]:
        """The stores whose published rows are gone on with; what they are completed from is read where the rest is."""
        return self.connections.named({*self.run.targets, self.run.source})

    @cached_property
    def marts(self) -> dict[str, Mart]:
        """All marts, by name."""
        return self.connections.marts

    @cached_property
    def owners(self) -> Mapping[str, Entity]:
        """The collections that tables belong to, by the tables' names."""
        return owners(self.connections)

    @cached_property
    def shown(self) -> dict[tuple[str, str], Publication]:
        """What is published, by name and store."""
        return {(one.name, one.target): one for one in control.publications(self.connections.postgres)}
