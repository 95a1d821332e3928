"""Ways to break a contract: each is one row of a table and breaks exactly one thing in one document.

Which ways fit a collection follows from its contract's fields. Three parts of the pipeline see them: the ``gate``
(MongoDB's ``$jsonSchema``), the ``checks`` on values, and whoever reads the ``bytes``, for what both of these miss.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import cache
from typing import Any, Literal

import bson
import numpy as np
import polars as pl
from bson import Binary, Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument

from contracts.schema.entity import Entity
from contracts.schema.kinds import (
    ANY_ID,
    CATEGORY,
    DECIMAL_DIGITS,
    INTEGER,
    JSON,
    KEY_TEXT,
    NUMBER,
    TEXT,
    TIMESTAMP,
    Kind,
)
from generators import rules
from generators.spots import REMOVED, Spot, replaced, spots, steps, value_at

Outcome = Literal["mended", "quarantined"]
SeenBy = Literal["gate", "checks", "bytes"]

YEAR_20000 = 568_971_820_800_000  # milliseconds since 1970: past what Python and ClickHouse can say
UNFIT = object()  # this value can't be broken this way: an empty array, say
UNDECLARED = {"undeclared": {"note": "no contract knows this", "counts": [1, 2.5, None]}}
_EXACT = Context(prec=DECIMAL_DIGITS)  # what Decimal128 holds
STAND_IN, INVALID = "\uf8ff\uf8ff", b"\xff\xfe\xc3\x28\xa0\xff"  # a private character twice, and as many bytes


@dataclass(frozen=True)
class Defect:
    """One way to break a contract.

    Attributes:
        name: What reports call it.
        outcome: Where such a document must end: with its undeclared fields in ``_extra``, or whole in quarantine.
        seen_by: Which part of the pipeline can notice it.
        fits: Whether a spot can be broken this way.
        alter: The broken value for a spot and its lawful value, or ``UNFIT``; where only bytes can say it, a
            ``RawBSONDocument``, or a text with ``STAND_IN`` for bytes that are no UTF-8.
    """

    name: str
    outcome: Outcome
    seen_by: SeenBy
    fits: Callable[[Spot], bool]
    alter: Callable[[Spot, Any], Any]


def break_document(
    entity: Entity, document: dict[str, Any], turn: int, rng: np.random.Generator
) -> tuple[Mapping[str, Any], Defect]:
    """Return a broken copy of a lawful document, and how it is broken.

    Args:
        entity: The contract.
        document: A lawful document; not changed.
        turn: Number of the defect: all kinds that fit take turns, so that even a few documents show many of them.
        rng: Draws the place.

    Raises:
        ValueError: No kind of defect fits this document.
    """
    kinds = list(fitting(entity).items())
    for number in range(turn, turn + len(kinds)):
        defect, places = kinds[number % len(kinds)]
        for place in rng.permutation(len(places)).tolist():
            broken = altered(defect, places[place], document, rng)
            if broken is not None:
                return broken, defect
    raise ValueError(f"{entity.collection}: no defect fits the document {document['_id']!r}")


def _goes_aside(defect: Defect, spot: Spot) -> bool:
    """Return whether a defect is a misfit that its field keeps aside, so that nothing is refused."""
    is_misfit = defect.seen_by == "gate" and defect.outcome == "quarantined"
    return spot.field.misfits == "extra" and (is_misfit or defect.name in ("far_date", "nul_in_text"))


@cache
def fitting(entity: Entity) -> dict[Defect, list[Spot]]:
    """Return the defects that the documents of a contract can have, and where."""
    places = {
        defect: [spot for spot in spots(entity) if defect.fits(spot) and not _goes_aside(defect, spot)]
        for defect in DEFECTS.values()
    }
    return {defect: found for defect, found in places.items() if found}


def altered(defect: Defect, spot: Spot, document: dict[str, Any], rng: np.random.Generator) -> Mapping[str, Any] | None:
    """Return a copy of a lawful document that is broken in one way at one spot.

    Args:
        defect: How to break it.
        spot: Where to break it.
        document: The document; not changed.
        rng: Draws the item, where the spot is in an array.

    Returns:
        The broken copy, or ``None`` where that would break nothing or more than one thing.
    """
    way = steps(spot, document, rng)
    value = UNFIT if way is None else defect.alter(spot, value_at(document, way))
    if way is None or value is UNFIT:
        return None
    broken: Mapping[str, Any] = replaced(document, way, value)
    if defect.seen_by == "checks" and defect is not RULE_BROKEN and rules.first_broken(spot.entity, broken):
        return None
    return _with_invalid_bytes(broken) if defect.name.startswith("invalid_utf8") else broken


def _with_invalid_bytes(document: Mapping[str, Any]) -> RawBSONDocument:
    return RawBSONDocument(bson.encode(document).replace(STAND_IN.encode(), INVALID))


def _with_element_twice(document: Mapping[str, Any], name: str, value: Any) -> RawBSONDocument:
    """Return a document to which a field is appended that it already has: no dictionary can say that."""
    elements = bson.encode(document)[4:-1] + bson.encode({name: value})[4:-1]
    return RawBSONDocument((len(elements) + 5).to_bytes(4, "little") + elements + b"\0")


# --- Where a defect fits


def _kind(spot: Spot) -> Kind | None:
    return None if spot.is_item else spot.field.kind


def _is_text(spot: Spot) -> bool:
    """Return whether texts are declared here, one or an array of them."""
    kind = _kind(spot)
    return kind is not None and (kind.item or kind) in (TEXT, KEY_TEXT, CATEGORY)


def _is_open_text(spot: Spot) -> bool:
    return _is_text(spot) and not spot.field.closed and not _is_id(spot)


def _is_integer(spot: Spot) -> bool:
    return _kind(spot) is INTEGER


def _is_timestamp(spot: Spot) -> bool:
    return _kind(spot) is TIMESTAMP


def _is_binary(spot: Spot) -> bool:
    kind = _kind(spot)
    return kind is not None and kind.subtype is not None


def _is_decimal(spot: Spot) -> bool:
    kind = _kind(spot)
    return kind is not None and isinstance(kind.frame, pl.Decimal)


def _is_free_form(spot: Spot) -> bool:
    return _kind(spot) is JSON


def _is_array(spot: Spot) -> bool:
    kind = _kind(spot)
    is_array = spot.field.repeated and not spot.field.keyed
    return not spot.is_item and (is_array or (kind is not None and kind.is_array))


def _is_array_without_nulls(spot: Spot) -> bool:
    return _is_array(spot) and not (spot.field.kind is not None and spot.field.kind.null_items)


def _is_subdocument(spot: Spot) -> bool:
    """Return whether declared fields are inside: a subdocument or an item of an array, not the whole document."""
    return bool(spot.field.fields) and not spot.is_document and (spot.is_item or not spot.field.repeated)


def _is_id(spot: Spot) -> bool:
    return spot.field is spot.entity.id_field


def _is_typed_id(spot: Spot) -> bool:
    return _is_id(spot) and spot.field.kind is not ANY_ID


def _is_required(spot: Spot) -> bool:
    return not (spot.is_document or spot.is_item or spot.field.nullable or _is_id(spot))


def _has_limits(spot: Spot) -> bool:
    limited = spot.field.minimum is not None or spot.field.maximum is not None
    return limited and (_is_integer(spot) or _is_decimal(spot) or _kind(spot) is NUMBER)


# --- What a defect does


def _in_first(value: Any, change: Callable[[Any], Any]) -> Any:
    """Change a value, or the first item of an array."""
    if not isinstance(value, list):
        return change(value)
    return [change(value[0]), *value[1:]] if value and value[0] is not None else UNFIT


def _beyond_limits(spot: Spot, value: Any) -> Any:
    if spot.field.maximum is not None:
        beyond = spot.field.maximum + 2
    else:
        assert spot.field.minimum is not None
        beyond = spot.field.minimum - 1
    if isinstance(value, Decimal128):
        return Decimal128(_EXACT.quantize(Decimal(beyond), _unit(spot)))
    return float(beyond) if isinstance(value, float) else beyond


def _unit(spot: Spot) -> Decimal:
    """Return one unit of the last digit that a decimal field keeps."""
    assert spot.field.kind is not None and isinstance(spot.field.kind.frame, pl.Decimal)
    return Decimal(1).scaleb(-spot.field.kind.frame.scale)


def _with_digit_more(spot: Spot, value: Decimal128) -> Decimal128:
    return Decimal128(_EXACT.add(value.to_decimal(), _unit(spot) / 10))


def _second_key(spot: Spot, document: dict[str, Any]) -> RawBSONDocument:
    name = spot.entity.fields[0].name
    value = document[name]
    return _with_element_twice(document, name, f"{value}2" if isinstance(value, str) else value)


def _rule_broken(spot: Spot, document: dict[str, Any]) -> Any:
    return rules.with_rule_broken(spot.entity, document) or UNFIT


def _foreign_id(spot: Spot, value: Any) -> Any:
    return str(value) if isinstance(value, ObjectId) else {"number": value}


RULE_BROKEN = Defect(
    "rule_broken",
    "quarantined",
    "checks",
    lambda spot: spot.is_document and bool(rules.about_two_times(spot.entity)),
    _rule_broken,
)
DEFECTS: Mapping[str, Defect] = {
    defect.name: defect
    for defect in (
        # Undeclared fields vanish in the typed reader, but nothing else is wrong with the document.
        Defect("undeclared_field", "mended", "gate", lambda s: s.is_document, lambda s, v: v | UNDECLARED),
        Defect("undeclared_nested_field", "mended", "gate", _is_subdocument, lambda s, v: v | UNDECLARED),
        # Values of another type, most of which the typed reader bends without a word.
        Defect("number_in_text", "quarantined", "gate", _is_text, lambda s, v: _in_first(v, lambda _: 7)),
        Defect("fraction_in_integer", "quarantined", "gate", _is_integer, lambda s, v: v + 0.5),
        Defect("infinity_in_integer", "quarantined", "gate", _is_integer, lambda s, v: float("inf")),
        Defect("boolean_in_integer", "quarantined", "gate", _is_integer, lambda s, v: True),
        Defect("long_in_number", "quarantined", "gate", lambda s: _kind(s) is NUMBER, lambda s, v: Int64(2**53 + 1)),
        Defect("text_in_timestamp", "quarantined", "gate", _is_timestamp, lambda s, v: v.isoformat()),
        Defect("double_in_decimal", "quarantined", "gate", _is_decimal, lambda s, v: float(v.to_decimal())),
        Defect("digit_too_many", "quarantined", "gate", _is_decimal, _with_digit_more),
        Defect("scalar_for_array", "quarantined", "gate", _is_array, lambda s, v: "scalar"),
        Defect("scalar_for_subdocument", "quarantined", "gate", _is_subdocument, lambda s, v: "scalar"),
        Defect("scalar_for_free_form", "quarantined", "gate", _is_free_form, lambda s, v: "scalar"),
        Defect("null_item", "quarantined", "gate", _is_array_without_nulls, lambda s, v: [*v, None]),
        Defect("null_in_required", "quarantined", "gate", _is_required, lambda s, v: None),
        Defect("missing_field", "quarantined", "gate", _is_required, lambda s, v: REMOVED),
        Defect("foreign_id", "quarantined", "gate", _is_typed_id, _foreign_id),
        # Values of the right type that the contract or a store does not allow.
        RULE_BROKEN,
        Defect("far_date", "quarantined", "checks", _is_timestamp, lambda s, v: DatetimeMS(YEAR_20000)),
        Defect("out_of_range", "quarantined", "checks", _has_limits, _beyond_limits),
        Defect("unknown_value", "quarantined", "checks", lambda s: s.field.closed, lambda s, v: "unheard-of"),
        Defect(
            "empty_text",
            "quarantined",
            "checks",
            lambda s: _is_open_text(s) and not _is_array(s) and bool(s.field.min_length),
            lambda s, v: "",
        ),
        Defect(
            "text_too_long",
            "quarantined",
            "checks",
            lambda s: _is_open_text(s) and not _is_array(s) and s.field.max_length is not None,
            lambda s, v: v.ljust((s.field.max_length or 0) + 1, "x"),
        ),
        Defect(
            "nul_in_text",
            "quarantined",
            "checks",
            _is_open_text,
            lambda s, v: _in_first(v, lambda text: f"{text[:1]}\0{text[2:]}"),  # as long as it was
        ),
        # What neither the gate nor a typed column can show.
        Defect("duplicate_field", "quarantined", "bytes", lambda s: s.is_document, _second_key),
        Defect("another_subtype", "quarantined", "bytes", _is_binary, lambda s, v: Binary(v, 128)),
        Defect(
            "invalid_utf8",
            "quarantined",
            "bytes",
            _is_open_text,
            lambda s, v: _in_first(v, lambda text: f"{text[:1]}{STAND_IN}{text[1:]}"),
        ),
        # Free-form documents that no JSON can hold.
        Defect(
            "duplicate_in_free_form",
            "quarantined",
            "bytes",
            _is_free_form,
            lambda s, v: _with_element_twice(v | {"twice": 1}, "twice", 2),
        ),
        Defect("invalid_utf8_in_free_form", "quarantined", "bytes", _is_free_form, lambda s, v: v | {"note": STAND_IN}),
    )
}
