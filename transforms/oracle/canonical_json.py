"""JSON as the one text that a value has, so that what the stores give can be compared as text."""

import re
from base64 import b64encode
from math import isfinite
from typing import Any

import bson
import orjson
from bson import json_util

from contracts.schema.special_names import SPECIAL_NAMES

_SORTED = orjson.OPT_SORT_KEYS
_EXPONENT, _LONG_INTEGER = orjson.dumps(1e20)[1:-2], re.compile(r"(?<![\d.])\d{20,}(?![\d.])")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_NUL, _NEGATIVE_ZERO = b"\\u0000", b"-0.0"
_MEANS_MORE = re.compile(rf"\$+({'|'.join(SPECIAL_NAMES)})\Z")
_PLAIN = _SORTED | orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME


def canonical_json(value: Any) -> str:
    """Return JSON that is the same text if and only if the values are: keys sorted, doubles as doubles.

    Args:
        value: A decoded BSON value.
    """
    extended = _Extended()
    try:
        text = orjson.dumps(value, default=extended, option=_PLAIN)
        # A dollar that begins a string or a name is of an extended value, or it may mean more than it says.
        if _NUL in text or _NEGATIVE_ZERO in text or text.count(b'"$') != extended.number:
            text = orjson.dumps(_reversible(value), default=extended, option=_PLAIN)
        # orjson would write NaN as null, which is not equal to it when it is read.
        if b"null" not in text or orjson.loads(text) == value or not _holds_nan(value):
            return text.decode()
    except TypeError:
        pass
    relaxed = json_util.dumps(_reversible(value), json_options=json_util.RELAXED_JSON_OPTIONS)
    return orjson.dumps(orjson.loads(relaxed), option=_SORTED).decode()


def canonical_text(text: str | None) -> str | None:
    """Return JSON text as a store gives it in the form of :func:`canonical_json`."""
    if text is None:
        return None
    try:
        canonical = orjson.dumps(orjson.loads(text), option=_SORTED)
    except orjson.JSONDecodeError:  # only a String column can hold this: equal to no JSON, but no reason to stop
        return text
    # orjson reads integers that no 64 bits hold as doubles; MongoDB has none, so the text stays what it is.
    if _EXPONENT in canonical and _LONG_INTEGER.search(_STRING.sub("", text)):  # in a string it is no number
        return text
    return canonical.decode()


class _Extended:
    """Gives values that JSON has no type for as Extended JSON, an object of names with a dollar, and counts these."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, value: Any) -> Any:
        if type(value) is bson.Int64:
            return int(value)
        self.number += 1
        return json_util.default(value, json_util.RELAXED_JSON_OPTIONS)


def _reversible(value: Any) -> Any:
    """Return a value with all in it replaced that JSON would give back as something else, or jsonb not at all."""
    if isinstance(value, dict):
        return {f"${name}" if _MEANS_MORE.match(name) else name: _reversible(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_reversible(item) for item in value]
    if isinstance(value, bson.Code):
        scope = {} if value.scope is None else {"$scope": _reversible(value.scope)}
        return {"$code": _reversible(str(value)), **scope}
    if isinstance(value, str) and "\0" in value:
        return {"$text": {"base64": b64encode(value.encode()).decode()}}
    return {"$numberDouble": "-0.0"} if isinstance(value, float) and value.hex() == "-0x0.0p+0" else value


def _holds_nan(value: Any) -> bool:
    """Return whether a double that is no number, or infinite, is anywhere in a value."""
    if isinstance(value, dict | list):
        return any(map(_holds_nan, value.values() if isinstance(value, dict) else value))
    if isinstance(value, bson.Code):
        return _holds_nan(value.scope)
    return isinstance(value, float) and not isfinite(value)
