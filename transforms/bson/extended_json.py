"""BSON values as relaxed Extended JSON v2 that reads back as the same values from both stores, or not at all."""

import base64
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite, isinf
from typing import Any

import bson
import orjson
from bson import DatetimeMS

from transforms.violations import Location, Violation, json_pointer

_LAST_ISO_YEAR_MS = 253402300799999


class UnrepresentableError(ValueError):
    """A value that a store would change; carries the reason."""

    def __init__(self, reason: Violation) -> None:
        super().__init__(reason.rule)
        self.reason = reason


def to_json_text(value: Any, place: Location = "") -> str:
    """Write one decoded BSON value as JSON, checking each part of it.

    Args:
        value: What :func:`transforms.bson.documents.decode_document` makes of it.
        place: Where it stands, for the reason.

    Raises:
        UnrepresentableError: A store would change it.
    """
    parts: list[str] = []  # by loops: a document may be 180 levels deep, and Python goes no deeper than 1,000
    if isinstance(value, dict):
        for name, item in value.items():
            parts += (_key(name, place), ":", to_json_text(item, (place, name)), ",")
        return "{" + "".join(parts[:-1]) + "}"
    if isinstance(value, list):
        for number, item in enumerate(value):
            parts.append(to_json_text(item, (place, number)))
        return "[" + ",".join(parts) + "]"
    return _scalar_text(value, place)


def find_unrepresentable(value: Any, place: Location) -> Iterator[Violation]:
    """Yield every reason why a decoded BSON value can't be held as JSON; none if it can.

    Args:
        value: What :func:`transforms.bson.documents.decode_document` makes of it.
        place: Where it stands.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _reason_of(_key, name, place)
            yield from find_unrepresentable(item, (place, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from find_unrepresentable(item, (place, number))
    else:
        yield from _reason_of(_scalar_text, value, place)


def _reason_of(write: Callable[[Any, Location], str], value: Any, place: Location) -> Iterator[Violation]:
    try:
        write(value, place)
    except UnrepresentableError as error:
        yield error.reason


def _key(name: str, place: Location) -> str:
    if name.startswith("$"):
        raise UnrepresentableError(
            Violation(json_pointer((place, name)), "a name that begins with $ reads back as another type", name)
        )
    return _string(name, place)


def _scalar_text(value: Any, place: Location) -> str:
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return _double(value, place)
    if isinstance(value, int):
        return str(int(value))
    if type(value) is str:
        return _string(value, place)
    return orjson.dumps(extended(value, place)).decode()


def _string(text: str, place: Location) -> str:
    if "\0" in text:
        raise UnrepresentableError(Violation(json_pointer(place), "NUL character: PostgreSQL can't hold it", text))
    return orjson.dumps(text).decode()


def _double(number: float, place: Location) -> str:
    if not isfinite(number):
        name = ("Infinity" if number > 0 else "-Infinity") if isinf(number) else "NaN"
        return f'{{"$numberDouble":"{name}"}}'
    if number == 0 and str(number).startswith("-"):
        raise UnrepresentableError(Violation(json_pointer(place), "negative zero: jsonb can't hold it", number))
    text = repr(number)
    if "e" not in text:
        return text
    written_out = format(Decimal(text), "f")
    return written_out if "." in written_out else written_out + ".0"


def extended(value: Any, place: Location) -> dict[str, Any]:
    """Return the Extended JSON of a value that JSON has no type for.

    Args:
        value: What :func:`transforms.bson.documents.decode_document` makes of it.
        place: Where it stands, for the reason.

    Raises:
        UnrepresentableError: It has none, or a store would change it.
    """
    match value:
        case DatetimeMS():
            return {"$date": _date(int(value))}
        case bson.ObjectId():
            return {"$oid": str(value)}
        case bson.Decimal128():
            return {"$numberDecimal": str(value)}
        case bson.Code():
            scope = {} if value.scope is None else {"$scope": orjson.Fragment(to_json_text(value.scope, place))}
            return {"$code": _checked(str(value), place), **scope}
        case bytes():
            subtype = getattr(value, "subtype", 0)
            return {"$binary": {"base64": base64.b64encode(value).decode(), "subType": f"{subtype:02x}"}}
        case bson.Regex():
            options = "".join(letter for letter, flag in _REGEX_FLAGS if value.flags & flag)
            return {"$regularExpression": {"pattern": _checked(_pattern(value), place), "options": options}}
        case bson.Timestamp():
            return {"$timestamp": {"t": value.time, "i": value.inc}}
        case bson.MinKey():
            return {"$minKey": 1}
        case bson.MaxKey():
            return {"$maxKey": 1}
    raise UnrepresentableError(
        Violation(json_pointer(place), f"BSON type {type(value).__name__} has no exact JSON form", repr(value))
    )


_REGEX_FLAGS = (("i", re.I), ("l", re.L), ("m", re.M), ("s", re.S), ("u", re.U), ("x", re.X))


def _pattern(value: bson.Regex[Any]) -> str:
    return value.pattern.decode() if isinstance(value.pattern, bytes) else str(value.pattern)


def _checked(text: str, place: Location) -> str:
    _string(text, place)
    return text


def _date(milliseconds: int) -> Any:
    if not 0 <= milliseconds <= _LAST_ISO_YEAR_MS:
        return {"$numberLong": str(milliseconds)}
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat()[:19]
    return f"{moment}.{milliseconds % 1000:03d}Z" if milliseconds % 1000 else f"{moment}Z"
