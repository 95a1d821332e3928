"""How each mart of a run is computed: whole, in part (what changed documents and the clock can change), or not at all.

What a row depends on is told by the mart's contract: if it can be computed apart by a column (``by``), on the documents
alone that have its value there. So the rows to compute are those of the values that changed documents have by now, of
those that they had when the mart was published, and the rows that the clock may change (``ages``). All marts that are
computed apart by one column are computed for the same values, so that each finds what it reads of the others.
What is computed is held against what is published, and only what differs is written; very large marts that are computed
whole are written whole.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from contracts.schema.entity import ID, Column, Entity, Table
from contracts.schema.mart import AS_OF, DAILY, NEVER, Mart
from pipeline.connections import Connections
from pipeline.marts.basis import Basis
from pipeline.marts.run import MartRun, Plan, staging_of
from pipeline.marts.sources import versions
from pipeline.runs.published import MARTS, REPLICA
from pipeline.stores.conditions import Among, Condition
from transforms.marts import refreshes, sources

_MOST = 0.5  # of a mart's rows: with more, to compute all is no more work
_COMPARED = 200_000  # rows of a mart that is computed whole: of more, it is no more work to write them all
_TOLD = (pl.String(), pl.Int64())  # _ids that are the same when they were written down as text


def plan(connections: Connections, run: MartRun, *, full: bool = False) -> dict[str, Plan]:
    """Decide how each mart of a run is computed; the values by which some are, its staging areas hold from then on.

    Args:
        connections: The open connections.
        run: A run that was just opened, with its staging areas.
        full: Whether all are computed whole, whatever was changed.
    """
    if full:
        return dict.fromkeys(run.marts, Plan("that was asked for"))
    with connections.postgres.transaction():
        basis, found = Basis(connections, run), dict[str, Plan]()
        for name in run.marts:
            found[name] = _without_keys(basis, basis.marts[name], found)
        families: dict[str, list[Mart]] = defaultdict(list)
        for name, one in found.items():
            if one.column:
                families[one.column].append(basis.marts[name])
        for column, marts in families.items():
            keys = _Keys(basis, column).of(marts)
            for mart in marts:
                found[mart.name] = _by_keys(basis, mart, keys, found)
        return found


def _without_keys(basis: Basis, mart: Mart, found: Mapping[str, Plan]) -> Plan:
    """Return how a mart is computed, as far as that is known before the values by which it is computed in part."""
    if basis.run.source != basis.connections.postgres.name:
        return Plan(f"it is read from {basis.run.source}, of which nobody notes what is changed")
    if why := next(basis.differences(mart), ""):
        return Plan(why)
    base = basis.run_of(mart)
    read = [found[name] for name in sources(mart) if name in found]
    # If neither documents nor the clock can have changed a row, it is for the marts that it reads to tell.
    follows = not basis.is_aged(mart) and not basis.is_touched(mart) and all(one.base == base for one in read)
    if follows and all(one.stays for one in read):
        return Plan("nothing was changed that it depends on", base=base, stays=True)
    if why := next(_obstacles(basis, mart, found), ""):
        return Plan(why, base=base if follows or basis.rows(mart) <= _COMPARED else "", follows=follows)
    return Plan("", str(mart.key_column), base, follows=follows)


def _obstacles(basis: Basis, mart: Mart, found: Mapping[str, Plan]) -> Iterator[str]:
    """Yield why a mart has to be computed whole, before it is known by which values it would not be."""
    if mart.by is None:
        yield "which of its rows depend on what was changed, its contract does not say (by)"
    elif mart.whole and not refreshes(mart):
        yield f"each of its rows depends on all of {', '.join(mart.whole)}"
    elif mart.ages is None:
        yield "the clock may change any of its rows (ages, in its contract)"
    elif mart.ages is DAILY and basis.a_day_began(mart):
        yield "a day has begun since, which may change any of its rows"
    elif (column := mart.key_column) is None:
        yield f"it is computed apart by {mart.by}, which is no column"
    else:
        for name in sources(mart):
            if name in found and name not in mart.whole:
                yield from _unlike(basis.marts[name], found[name], column, basis.run_of(mart))
            elif name not in mart.whole:
                yield from _lacking(basis, name, column)


def _unlike(read: Mart, one: Plan, column: str, base: str) -> Iterator[str]:
    if one.stays and column not in read.table.names:
        yield f"{read.name} does not have the column {column}, by which it is computed apart"
    elif not one.stays and (not one.column or read.whole):
        yield f"{read.name} is computed whole"
    elif not one.stays and one.column != column:
        yield f"{read.name} is computed by {one.column}"
    elif one.base != base:
        yield f"{read.name} was published by another run"


def _lacking(basis: Basis, name: str, column: str) -> Iterator[str]:
    root = basis.owners[name].root
    past = versions(basis.connections).get(name)
    if column not in (past or root).names:
        yield f"{name} does not have the column {column}, by which it is computed apart"
    if root.columns[0].kind.frame not in _TOLD:
        yield f"the _id of {basis.owners[name].collection} is no text and no integer"


def _by_keys(basis: Basis, mart: Mart, keys: pl.Series | None, found: Mapping[str, Plan]) -> Plan:
    """Return how a mart is computed, by how many of its rows have some values."""
    one = found[mart.name]
    if keys is None:
        return Plan(f"a changed document has no {one.column}, by which it is computed apart")
    moving = [name for name in sources(mart) if name in found and name not in mart.whole and not found[name].stays]
    if whole := [name for name in moving if not found[name].column]:
        return Plan(f"{whole[0]} is computed whole")
    among = Among(staging_of(basis.connections, basis.run), one.column, one.column)
    only, postgres = mart.table.only([one.column]), basis.connections.postgres
    rows = sum(batch.num_rows for batch in postgres.read(MARTS, only, among=among)) if len(keys) else 0
    total = basis.rows(mart)
    why = f"{rows:,} of {total:,} rows depend on what was changed"
    return Plan(why) if rows > total * _MOST else replace(one, why=why, keys=len(keys))


class _Keys:
    """The values of a column whose rows are computed anew.

    Args:
        basis: What marts are computed from.
        column: The column.
    """

    def __init__(self, basis: Basis, column: str) -> None:
        self._basis, self._column, self._postgres = basis, column, basis.connections.postgres
        self._staging = staging_of(basis.connections, basis.run)
        self._held: set[str] = set()

    def of(self, marts: list[Mart]) -> pl.Series | None:
        """Return them, and let the staging areas hold them; None if there are documents without a value."""
        key, *others = (_column(mart.table, self._column) for mart in marts)
        dtype = key.kind.frame
        if any(one.kind != key.kind for one in others):
            return None
        found = [part for mart in marts for part in (*self._changed(mart), self._aged(mart))]
        keys = pl.concat([pl.Series(dtype=dtype), *(one.cast(dtype) for one in found)]).unique().sort()
        if keys.null_count():
            return None
        for target in self._basis.connections.targets(self._basis.targets):
            target.hold_keys(self._staging, self._column, key, keys)
        return keys

    def _changed(self, mart: Mart) -> Iterator[pl.Series]:
        """Yield the values that changed documents had, and those that they have."""
        before = self._basis.before(mart)
        assert before is not None
        owners = self._basis.owners
        of_documents = [name for name in sources(mart) if name in owners and name not in mart.whole]
        read = {owners[name].collection: owners[name] for name in of_documents}
        for collection, entity in read.items():
            changed = self._basis.changed(collection, since := before["shows"][collection])
            assert changed is not None
            ids = pl.Series(changed.ids, dtype=pl.String())
            yield from self._of(entity, f"{collection} since {since}", ids, changed.former)
            yield from self._of(entity, f"{collection} for {mart.name}", self._basis.due(mart, collection))

    def _of(
        self, entity: Entity, called: str, ids: pl.Series, former: Iterable[Mapping[str, Any]] = ()
    ) -> Iterator[pl.Series]:
        """Yield the values that some documents have, and those that they had."""
        if self._column == ID:
            yield ids
        elif len(ids) and called not in self._held:
            self._held.add(called)  # and are not asked for again, by another mart
            yield pl.Series([one[self._column] for one in former], dtype=entity.root.frame_schema[self._column])
            yield self._now(entity, called, ids)

    def _now(self, entity: Entity, called: str, ids: pl.Series) -> pl.Series:
        key = entity.root.columns[0]
        held = ids.cast(key.kind.frame).unique()
        self._postgres.hold_keys(self._staging, f"{called} by {self._column}", key, held)
        among = Among(self._staging, f"{called} by {self._column}", ID)
        return self._values(REPLICA, entity.root, among=among)

    def _aged(self, mart: Mart) -> pl.Series:
        """Return the values of the rows that the clock may have changed: those bear the moment. None by the day."""
        if mart.ages is NEVER or mart.ages is DAILY:
            return pl.Series(dtype=mart.table.frame_schema[self._column])
        return self._values(MARTS, mart.table, where=[Condition(_column(mart.table, AS_OF), "IS NOT NULL")])

    def _values(self, schema: str, table: Table, **chosen: Any) -> pl.Series:
        only = table.only([self._column])
        batches = self._postgres.read(schema, only, **chosen)
        frames = [pl.DataFrame(pl.from_arrow(batch)).cast(only.frame_schema) for batch in batches]
        return pl.concat([only.frame_schema.to_frame(), *frames])[self._column].unique()


def _column(table: Table, name: str) -> Column:
    return next(one for one in table.columns if one.name == name)
