"""BSON values as relaxed Extended JSON v2 that both stores give back as it was written, and the way back.

Three things are not that format's. A name of the document that would be taken for one of the format's has one more
``$``, so ``{"$oid": 1}`` is written ``{"$$oid": 1}``; a text with NUL, and -0.0, which jsonb can't hold, are written as
``{"$text": {"base64": ...}}`` and ``{"$numberDouble": "-0.0"}``. ``contracts.schema.special_names`` has the names.
"""

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import copysign, isfinite, isinf
from typing import Any

import bson
import orjson
from bson import DatetimeMS

from contracts.schema.special_names import is_special

_LAST_ISO_YEAR_MS = 253402300799999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REGEX_FLAGS = (("i", re.I), ("l", re.L), ("m", re.M), ("s", re.S), ("u", re.U), ("x", re.X))


def to_json_text(value: Any) -> str:
    """Write one decoded BSON value as JSON.

    Args:
        value: What :func:`transforms.bson.documents.decode_document` makes of it.
    """
    parts: list[str] = []  # by loops: a document may be 180 levels deep, and Python goes no deeper than 1,000
    if isinstance(value, dict):
        for name, item in value.items():
            parts += (_dumped(f"${name}" if is_special(name) else name), ":", to_json_text(item), ",")
        return "{" + "".join(parts[:-1]) + "}"
    if isinstance(value, list):
        for item in value:
            parts.append(to_json_text(item))
        return "[" + ",".join(parts) + "]"
    return _scalar_text(value)


def from_json_text(text: str | bytes) -> Any:
    """Return the BSON values of which a JSON text was made, also as ``jsonb`` gives it back.

    Args:
        text: JSON of a free-form column, or of ``_extra``.

    Returns:
        Python values as ``bson.encode`` takes them. Moments are ``bson.DatetimeMS``, for there are some that no
        ``datetime`` holds; ``int`` stands for 32 and 64 bits, which the JSON does not tell apart.
    """
    return _read(orjson.loads(text))


def extended(value: Any) -> dict[str, Any]:
    """Return the Extended JSON of a value that JSON has no type for.

    Args:
        value: What :func:`transforms.bson.documents.decode_document` makes of it.

    Raises:
        TypeError: It is no BSON value.
    """
    match value:
        case DatetimeMS():
            return {"$date": _date(int(value))}
        case bson.ObjectId():
            return {"$oid": str(value)}
        case bson.Decimal128():
            return {"$numberDecimal": str(value)}
        case bson.Code():
            scope = {} if value.scope is None else {"$scope": orjson.Fragment(to_json_text(value.scope))}
            return {"$code": orjson.Fragment(_string(str(value))), **scope}
        case bytes():
            subtype = getattr(value, "subtype", 0)
            return {"$binary": {"base64": base64.b64encode(value).decode(), "subType": f"{subtype:02x}"}}
        case bson.Regex():
            options = "".join(letter for letter, flag in _REGEX_FLAGS if value.flags & flag)
            return {"$regularExpression": {"pattern": _pattern(value), "options": options}}
        case bson.Timestamp():
            return {"$timestamp": {"t": value.time, "i": value.inc}}
        case bson.MinKey():
            return {"$minKey": 1}
        case bson.MaxKey():
            return {"$maxKey": 1}
    raise TypeError(f"BSON type {type(value).__name__} has no exact JSON form")


def _scalar_text(value: Any) -> str:
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, int):
        return str(int(value))
    if type(value) is str:
        return _string(value)
    return _dumped(extended(value))


def _dumped(value: Any) -> str:
    return orjson.dumps(value).decode()


def _string(text: str) -> str:
    if "\0" in text:  # PostgreSQL has no such text
        return _dumped({"$text": {"base64": base64.b64encode(text.encode()).decode()}})
    return _dumped(text)


def _double(number: float) -> str:
    if not isfinite(number):
        name = ("Infinity" if number > 0 else "-Infinity") if isinf(number) else "NaN"
        return f'{{"$numberDouble":"{name}"}}'
    if number == 0 and copysign(1, number) < 0:  # jsonb would make 0.0 of it
        return '{"$numberDouble":"-0.0"}'
    text = repr(number)
    if "e" not in text:
        return text
    written_out = format(Decimal(text), "f")
    return written_out if "." in written_out else written_out + ".0"


def _pattern(value: bson.Regex[Any]) -> str:
    return value.pattern.decode() if isinstance(value.pattern, bytes) else str(value.pattern)


def _date(milliseconds: int) -> Any:
    if not 0 <= milliseconds <= _LAST_ISO_YEAR_MS:
        return {"$numberLong": str(milliseconds)}
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat()[:19]
    return f"{moment}.{milliseconds % 1000:03d}Z" if milliseconds % 1000 else f"{moment}Z"


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_read, value))
    if not isinstance(value, dict):
        return value
    if special := [name for name in value if name in _READERS]:
        return _READERS[special[0]](value)
    return {name[1:] if is_special(name) else name: _read(item) for name, item in value.items()}


def _read_date(value: Any) -> DatetimeMS:
    if isinstance(value, dict):
        return DatetimeMS(int(value["$numberLong"]))
    return DatetimeMS((datetime.fromisoformat(value) - _EPOCH) // timedelta(milliseconds=1))


def _read_code(value: dict[str, Any]) -> bson.Code:
    return bson.Code(_read(value["$code"]), _read(value["$scope"]) if "$scope" in value else None)


def _read_binary(value: dict[str, str]) -> bytes:
    data, subtype = base64.b64decode(value["base64"]), int(value["subType"], 16)
    return bson.Binary(data, subtype) if subtype else data


_READERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "$oid": lambda value: bson.ObjectId(value["$oid"]),
    "$date": lambda value: _read_date(value["$date"]),
    "$numberDecimal": lambda value: bson.Decimal128(value["$numberDecimal"]),
    "$numberDouble": lambda value: float(value["$numberDouble"]),
    "$text": lambda value: base64.b64decode(value["$text"]["base64"]).decode(),
    "$binary": lambda value: _read_binary(value["$binary"]),
    "$regularExpression": lambda value: bson.Regex(*map(value["$regularExpression"].get, ("pattern", "options"))),
    "$code": _read_code,
    "$timestamp": lambda value: bson.Timestamp(value["$timestamp"]["t"], value["$timestamp"]["i"]),
    "$minKey": lambda _: bson.MinKey(),
    "$maxKey": lambda _: bson.MaxKey(),
}
