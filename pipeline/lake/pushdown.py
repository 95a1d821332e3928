"""From a filter of Polars to conditions that a store may judge, so that it sends only rows that count.

What is handed over is part of a conjunction, never more: Polars judges the rows that come by the whole filter again.
So whatever is not understood here, such as a future version's way of writing expressions, costs time and nothing else.
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from contracts.schema.entity import Column, Table
from pipeline.stores.conditions import Condition

_OPERATORS = {"Eq": "=", "NotEq": "<>", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">="}
_TURNED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NULLS = {"IsNull": "IS NULL", "IsNotNull": "IS NOT NULL"}
_BOUNDS = {"Both": (">=", "<="), "Left": (">=", "<"), "Right": (">", "<="), "None": (">", "<")}
_UNITS = {"Milliseconds": 1_000, "Microseconds": 1, "Nanoseconds": None}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_VALUES = 500  # of one IN

Node = Any  # one part of an expression, as Polars writes it in JSON


def find_conditions(predicate: pl.Expr, table: Table) -> list[Condition]:
    """Return what of a filter a store may judge.

    Args:
        predicate: The filter, as Polars hands it to a source.
        table: The table that is filtered.
    """
    try:
        tree = json.loads(predicate.meta.serialize(format="json"))
    except (pl.exceptions.PolarsError, ValueError):
        return []
    columns = {column.name: column for column in table.columns}
    return [condition for part in _conjuncts(tree) for condition in _understood(part, columns)]


def _understood(node: Node, columns: dict[str, Column]) -> list[Condition]:
    try:
        return list(_conditions(node, columns))
    except (KeyError, TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return []


def _conjuncts(node: Node) -> Iterator[Node]:
    binary = node.get("BinaryExpr") if isinstance(node, dict) else None
    if binary and binary["op"] in ("And", "LogicalAnd"):
        yield from _conjuncts(binary["left"])
        yield from _conjuncts(binary["right"])
    else:
        yield node


def _conditions(node: Node, columns: dict[str, Column]) -> Iterator[Condition]:
    """Yield the conditions that one part of a conjunction is; it is passed over if it is of another kind."""
    (kind, inner), *_ = node.items()
    if kind == "Column":
        yield _on(columns[inner], "=", True)
    elif kind == "BinaryExpr":
        yield _comparison(_OPERATORS[inner["op"]], inner["left"], inner["right"], columns)
    elif kind == "Function":
        function = inner["function"]["Boolean"]
        yield from _of_function(function, [_unnamed(one) for one in inner["input"]], columns)


def _of_function(function: Node, inputs: list[Node], columns: dict[str, Column]) -> Iterator[Condition]:
    column = columns[inputs[0]["Column"]]
    name, options = (function, {}) if isinstance(function, str) else next(iter(function.items()))
    if name in _NULLS and not column.kind.is_array:  # of which ClickHouse has no nulls
        yield Condition(column, _NULLS[name])
    elif name == "Not":
        yield _on(column, "=", False)
    elif name == "IsBetween":
        for operator, bound in zip(_BOUNDS[options["closed"]], inputs[1:], strict=True):
            yield _on(column, operator, _value(bound))
    elif name == "IsIn" and not options["nulls_equal"]:
        values = _values(inputs[1])
        if 0 < len(values) <= _MOST_VALUES:
            yield _on(column, "IN", *values)


def _comparison(operator: str, left: Node, right: Node, columns: dict[str, Column]) -> Condition:
    left, right = _unnamed(left), _unnamed(right)
    if "Column" in left:
        return _on(columns[left["Column"]], operator, _value(right))
    return _on(columns[right["Column"]], _TURNED[operator], _value(left))


def _on(column: Column, operator: str, *values: Any) -> Condition:
    """Return a condition on a column whose values the stores compare as Polars does.

    Raises:
        ValueError: It is none: of doubles each places NaN elsewhere, and some texts are no text in PostgreSQL.
    """
    frame = column.kind.frame
    if frame == pl.String() and not column.kind.postgres.startswith("text"):
        raise ValueError(column.name)
    wanted: dict[pl.DataType, type] = {pl.String(): str, pl.Int64(): int, pl.Boolean(): bool, pl.Date(): date}
    expected = datetime if isinstance(frame, pl.Datetime) else wanted.get(frame)
    if column.kind.is_array or expected is None or any(type(value) is not expected for value in values):
        raise ValueError(column.name)
    if expected is str and any("\0" in value for value in values):  # which PostgreSQL refuses, also in a question
        raise ValueError(column.name)
    if expected is int and any(not -(2**63) <= value < 2**63 for value in values):
        raise ValueError(column.name)
    return Condition(column, operator, tuple(values))


def _unnamed(node: Node) -> Node:
    while isinstance(node, dict) and "Alias" in node:
        node = node["Alias"][0]
    return node


def _value(node: Node) -> Any:
    """Return the value of a literal."""
    (kind, inner), *_ = _unnamed(node)["Literal"].items()
    if kind == "Dyn":
        ((kind, inner),) = inner.items()
        return int(inner) if kind == "Int" else _refused(kind)
    ((kind, inner),) = inner.items()
    if kind == "String":
        return str(inner)
    if kind == "Boolean":
        return bool(inner)
    if kind.startswith(("Int", "UInt")):
        return int(inner)
    if kind == "Date":
        return (_EPOCH + timedelta(days=inner)).date()
    if kind == "Datetime":
        return _moment(*inner)
    return _refused(kind)


def _moment(ticks: int, unit: str, zone: Node) -> datetime:
    if (microseconds := _UNITS[unit]) is None or zone is None:
        return _refused(unit)  # type: ignore[no-any-return]
    return _EPOCH + timedelta(microseconds=ticks * microseconds)


def _values(node: Node) -> list[Any]:
    """Return the values of a literal list; Polars writes it as an Arrow stream."""
    ((_, scalar),) = node["Literal"].items()
    frame = pl.read_ipc_stream(bytes(scalar["List"]))
    return [value for value in frame.to_series(0).to_list() if value is not None]


def _refused(what: str) -> Any:
    raise ValueError(what)
