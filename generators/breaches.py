"""A document for each rule of a contract that breaks it: whoever checks contracts must refuse them all.

A check that never runs looks just like a check that all documents pass; these documents tell them apart.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

import numpy as np
import polars as pl
from bson import Decimal128, Int64
from bson.datetime_ms import DatetimeMS

from contracts.schema.entity import Column, ContractError, Entity, Field, Rule, Table
from contracts.schema.frame import FIRST_MOMENT, LAST_MOMENT, conditions
from contracts.schema.kinds import INT64_MAX, INT64_MIN, OBJECT_ID
from contracts.schema.stores import KEY_BYTES
from generators.batches import generate
from generators.defects import Defect, altered, fitting
from generators.rules import EPOCH, first_broken
from generators.spots import Spot, replaced, steps, value_at
from generators.world import World, stream

Document = Mapping[str, Any]
ROWS = 2_000  # lawful documents to choose from: enough that each optional field and each kind of item is among them
TRIES = 500  # at breaking a rule over several columns with the values of other documents
OF_STORES = ("_has_no_nul_for_postgres", "_in_clickhouse_range")  # the rules of stores, not of authors
_WIDE = Context(prec=40)  # a limit of 34 digits and one step beyond it


@dataclass(frozen=True)
class Breach:
    """A document of which one value, at least, breaks its contract; a rule over several may then be broken as well.

    Attributes:
        name: What is broken, for people.
        document: Ready for pymongo.
        rule: The name that a reason against it must bear; ``None`` for a defect, whose reasons are in words.
        mended: Whether it is to be loaded all the same, with its undeclared fields kept aside.
    """

    name: str
    document: Document
    rule: str | None = None
    mended: bool = False


def breaches(entity: Entity, seed: int = 1) -> Iterator[Breach]:
    """Yield a document for each defect at each place where it fits, for each condition on a column and for each rule.

    Left out are conditions that no document can break, such as one on the text of an ObjectId.

    Args:
        entity: The contract.
        seed: Decides which documents are broken.

    Raises:
        ContractError: Nothing breaks a condition or a rule: it says nothing, or never runs.
    """
    rng = stream(seed, entity.collection, "breaches")
    world = World.sized({entity.collection: entity}, {entity.collection: ROWS}, seed)
    pool = [dict(one) for batch in generate(entity, ROWS, world=world) for one in batch.documents]
    yield from _defects(entity, pool, rng)
    for table in entity.tables:
        for column in table.columns:
            if breakable(table, column):
                yield from _conditions(entity, table, column, pool, rng)
    yield from (_rule(entity, rule, pool, rng) for rule in entity.rules)


def breakable(table: Table, column: Column) -> bool:
    """Return whether a document can break a condition on a column: what we write ourselves always keeps them.

    An item's row has the ``_id`` of its document, whose own row breaks them first, and the names of BSON are fit.
    """
    return not (column.kind.is_json or column.kind is OBJECT_ID) and not (
        table.parent is not None and column.name in table.key
    )


def _defects(entity: Entity, pool: list[dict[str, Any]], rng: np.random.Generator) -> Iterator[Breach]:
    for defect, places in fitting(entity).items():
        for spot in places:
            document = _first(pool, lambda one, d=defect, s=spot: altered(d, s, one, rng))
            if document is not None:
                yield Breach(_title(defect, spot), document, mended=defect.outcome == "mended")


def _title(defect: Defect, spot: Spot) -> str:
    return f"{defect.name} at {'.'.join(spot.path) or 'the document'}{'[]' * spot.is_item}"


def _conditions(
    entity: Entity, table: Table, column: Column, pool: list[dict[str, Any]], rng: np.random.Generator
) -> Iterator[Breach]:
    spot = _spot(entity, table, column)
    for name, condition in conditions(column).items():
        if column.field is not None and column.field.misfits == "extra" and name.endswith(OF_STORES):
            continue  # then the value goes aside
        for value in _offending(column):
            if not _breaks(condition, column, value):
                continue
            document = _first(pool, lambda one, v=value: _with_value(spot, one, v, rng))
            if document is not None:
                yield Breach(f"{table.name}.{name}", document, name)
                break
        else:
            raise ContractError(f"{entity.collection}: nothing breaks {name} of the table {table.name}")


def _rule(entity: Entity, rule: Rule, pool: list[dict[str, Any]], rng: np.random.Generator) -> Breach:
    """Break a rule over several columns with lawful values, each from another document."""
    spots = [_spot(entity, entity.root, entity.root.column(name)) for name in rule.condition.meta.root_names()]
    for _ in range(TRIES):
        place = int(rng.integers(len(pool)))
        broken: Document = pool[place]
        for spot in spots:
            way, other = steps(spot, broken, rng), pool[int(rng.integers(len(pool)))]  # type: ignore[arg-type]
            theirs = steps(spot, other, rng)
            if way is not None and theirs is not None:
                broken = replaced(broken, way, value_at(other, theirs))
        if first_broken(entity, broken) is rule:
            del pool[place]
            return Breach(f"{entity.table}.{rule.name}", broken, rule.name)
    raise ContractError(f"{entity.collection}: nothing breaks the rule {rule.name}")


def _spot(entity: Entity, table: Table, column: Column) -> Spot:
    field = column.field or Field(column.name, column.kind, column.description)
    path: tuple[str, ...] = ()
    entered: list[int] = []
    for level in table.levels:
        path = (*path, *level.path)
        entered.append(len(path) - 1)
    return Spot(entity, field, (*path, *column.path), tuple(entered))


def _first(pool: list[dict[str, Any]], broken: Any) -> Document | None:
    """Break the first document that can be broken so; it is taken from the pool, so that each ``_id`` occurs once."""
    for place, document in enumerate(pool):
        found: Document | None = broken(document)
        if found is not None:
            del pool[place]
            return found
    return None


def _with_value(spot: Spot, document: dict[str, Any], value: Any, rng: np.random.Generator) -> Document | None:
    way = steps(spot, document, rng)
    if way is None:
        return None
    is_array = spot.field.kind is not None and spot.field.kind.is_array
    return replaced(document, way, [*value_at(document, way), value] if is_array else value)  # type: ignore[no-any-return]


def _offending(column: Column) -> Iterator[Any]:
    """Yield BSON values of the right type (of items, for an array) that break something a column can demand."""
    field, frame = column.field, (column.kind.item or column.kind).frame
    limits = [limit for limit in (field.minimum, field.maximum) if limit is not None] if field else []
    if frame == pl.String():
        yield from ("", "a\0b", "unheard-of", "x" * (KEY_BYTES + 1))
        if field is not None and field.max_length is not None:
            yield "x" * (field.max_length + 1)
    elif isinstance(frame, pl.Datetime):
        for moment, step in ((FIRST_MOMENT, -1), (LAST_MOMENT, 1)):
            yield DatetimeMS(round((moment - EPOCH).total_seconds() * 1000) + step)
    elif isinstance(frame, pl.Decimal):
        unit = Decimal(1).scaleb(-frame.scale)
        beyond = (_WIDE.add(Decimal(limit), step) for limit in limits for step in (-unit, unit))
        yield from (Decimal128(one) for one in beyond if len(one.as_tuple().digits) <= (frame.precision or 0))
    elif frame == pl.Int64():
        beyond_int = (limit + step for limit in limits for step in (-1, 1))
        yield from (Int64(one) for one in beyond_int if INT64_MIN <= one <= INT64_MAX)
    elif frame == pl.Float64():
        yield from (float(limit) + step for limit in limits for step in (-1.0, 1.0))


def _breaks(condition: pl.Expr, column: Column, value: Any) -> bool:
    plain = value.to_decimal() if isinstance(value, Decimal128) else value
    plain = int(plain) if isinstance(plain, DatetimeMS) else plain
    series = pl.Series(column.name, [[plain] if column.kind.is_array else plain]).cast(column.kind.frame)
    return series.to_frame().select(condition).item() is False
