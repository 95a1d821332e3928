"""A contract's rules over several columns, looked at in one document: is one broken, how is one broken."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl
from bson import Decimal128
from bson.datetime_ms import DatetimeMS

from contracts.schema.entity import Entity, Rule
from contracts.schema.kinds import TIMESTAMP
from generators.spots import replaced
from generators.world import DAY

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def first_broken(entity: Entity, document: Mapping[str, Any]) -> Rule | None:
    """Return the first rule that a document breaks, if any."""
    return next((rule for rule in entity.rules if not _holds(entity, rule, document)), None)


def about_two_times(entity: Entity) -> list[Rule]:
    """Return the rules that compare two moments: the ones that can be broken without knowing more of them."""
    return [rule for rule in entity.rules if _times(entity, rule)]


def with_rule_broken(entity: Entity, document: dict[str, Any]) -> dict[str, Any] | None:
    """Return a copy that breaks one rule, by moving one moment to a day before or after the other; else ``None``."""
    for rule in about_two_times(entity):
        first, second = _times(entity, rule)
        values = [_value(document, path) for path in (first, second)]
        if None in values:
            continue
        for moved in (_milliseconds(values[1]) - DAY, _milliseconds(values[1]) + DAY):
            broken: dict[str, Any] = replaced(document, first, DatetimeMS(moved))
            if first_broken(entity, broken) is rule:
                return broken
    return None


def _times(entity: Entity, rule: Rule) -> list[tuple[str, ...]]:
    """Return the paths of the two moments that a rule compares; empty for any other rule."""
    columns = [entity.root.column(name) for name in rule.condition.meta.root_names()]
    if len(columns) != 2 or any(column.kind is not TIMESTAMP or column.counts for column in columns):
        return []
    return [column.path for column in columns]


def _holds(entity: Entity, rule: Rule, document: Mapping[str, Any]) -> bool:
    columns = [entity.root.column(name) for name in rule.condition.meta.root_names()]
    frame = pl.DataFrame([_series(column.name, column.kind.frame, _value(document, column.path)) for column in columns])
    return bool(frame.select(rule.condition.fill_null(True).all()).item())


def _series(name: str, dtype: pl.DataType, value: Any) -> pl.Series:
    """Return one value as the column that the rule sees; moments by their milliseconds, which know no last year."""
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    elif isinstance(value, datetime | DatetimeMS):
        value = _milliseconds(value)
    return pl.Series(name, [value]).cast(dtype)


def _value(document: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = document
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _milliseconds(value: datetime | DatetimeMS) -> int:
    if isinstance(value, DatetimeMS):
        return int(value)
    return round((value.replace(tzinfo=UTC) - EPOCH).total_seconds() * 1000)
