"""Free-form documents as relaxed Extended JSON v2 that reads back as the same values from both stores."""

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite, isinf
from typing import Any

import bson
import orjson
from bson import CodecOptions, DatetimeMS
from bson.codec_options import DatetimeConversion

from transforms.reasons import Reason, escaped

# Far dates must not stop the decoder; a subclass of dict that minds duplicates would be three times slower.
DECODING: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
_ORJSON = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME
# jsonb prints 1e17 as an integer, so a number with an exponent must be written out.
_EXPONENT = re.compile(rb"[:\[,]-?\d[\d.]*e")
_MARKS_OF_EXPONENTS = (orjson.dumps(1e17)[1:-2], b"e-")  # "e+", but just "e" in older versions
# The last two bytes of a NaN or an infinity. Few other bytes look so, and no text does.
_NOT_FINITE = re.compile(rb"[\xf0-\xff][\x7f\xff]")
_LAST_ISO_YEAR_MS = 253402300799999


class UnrepresentableError(ValueError):
    """A value that a store would change; carries the reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.rule)
        self.reason = reason


def json_texts(
    documents: Iterable[bytes], paths: Sequence[tuple[str, ...]]
) -> tuple[list[list[str | None]], dict[int, Reason]]:
    """Write the free-form fields of documents as JSON.

    Args:
        documents: Each document's BSON.
        paths: Where the free-form fields stand.

    Returns:
        One list of texts per path (null where the field is null or missing), and by the document's place in the
        input the first reason why it can't be held exactly.
    """
    columns: list[list[str | None]] = [[] for _ in paths]
    refused: dict[int, Reason] = {}
    for number, raw in enumerate(documents):
        texts: list[str | None] = ["{}"] * len(paths)  # stands in for what is refused
        try:
            document = bson.decode(raw, DECODING)
            if reason := changed_by_decoding(document, raw):
                raise UnrepresentableError(reason)
            texts = [_text_at(document, path, raw) for path in paths]
        except UnrepresentableError as error:
            refused[number] = error.reason
        except bson.errors.BSONError as error:
            refused[number] = Reason("", "undecodable BSON", str(error))
        for column, text in zip(columns, texts, strict=True):
            column.append(text)
    return columns, refused


def changed_by_decoding(document: dict[str, Any], raw: bytes) -> Reason | None:
    """Return why a decoded document is not all of what its bytes say, or None if it is.

    Args:
        document: What :func:`bson.decode` makes of the bytes, with ``DECODING``.
        raw: The bytes.
    """
    encoded = bson.encode({"": document})[6:-1]  # at the top level pymongo would put _id first
    if encoded == raw:
        return None
    if len(encoded) != len(raw):
        return Reason("", "duplicate field names", None)
    # A symbol becomes a string, undefined null, and an array's items get the names that they should have.
    return Reason("", "a BSON type or form that can't be kept, such as symbol or undefined", None)


def json_text(value: Any, pointer: str = "", raw: bytes | None = None) -> str:
    """Write one decoded BSON value as JSON.

    Args:
        value: What :func:`bson.decode` makes of it, with ``DECODING``.
        pointer: Where it stands, for the reason.
        raw: The BSON that it was decoded from, or more; without it, each null is looked at.

    Raises:
        UnrepresentableError: A store would change it.
    """
    marks = 0

    def extended(special: Any) -> Any:
        nonlocal marks
        if type(special) is bson.Int64:
            return int(special)
        marks += 1
        return _WRITTEN_FAST[type(special)](special)

    try:
        fast = orjson.dumps(value, default=extended, option=_ORJSON)
    except TypeError:  # a value that is not written fast: orjson wraps whatever the callback raises
        return _exact(value, pointer)
    return fast.decode() if _is_exact(fast, marks, raw) else _exact(value, pointer)


def unrepresentable(value: Any, pointer: str) -> list[Reason]:
    """Return every reason why a decoded BSON value can't be held as JSON; none if it can.

    Args:
        value: What :func:`bson.decode` makes of it, with ``DECODING``.
        pointer: Where it stands.
    """
    try:
        json_text(value, pointer)
    except UnrepresentableError:
        return list(_reasons_against(value, pointer))
    return []


def _reasons_against(value: Any, at: str) -> Iterator[Reason]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _reason_of(_key, name, at)
            yield from _reasons_against(item, f"{at}/{escaped(name)}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _reasons_against(item, f"{at}/{number}")
    else:
        yield from _reason_of(_exact, value, at)


def _reason_of(write: Callable[[Any, str], str], value: Any, at: str) -> Iterator[Reason]:
    try:
        write(value, at)
    except UnrepresentableError as error:
        yield error.reason


def _is_exact(text: bytes, marks: int, raw: bytes | None) -> bool:
    """Tell whether both stores give back just what was written; what is in doubt is not.

    Plain searches come first: a regular expression over each text would take as long as writing it.
    """
    if text.count(b'"$') != marks or b"\\u0000" in text or b"-0.0" in text:
        return False  # a $ that we did not write may begin a name; jsonb holds neither NUL nor negative zero
    if any(mark in text for mark in _MARKS_OF_EXPONENTS) and _EXPONENT.search(text):
        return False
    # orjson writes NaN and infinities as null.
    return b"null" not in text or (raw is not None and not _NOT_FINITE.search(raw))


def _text_at(document: Any, path: tuple[str, ...], raw: bytes) -> str | None:
    for name in path:
        document = document.get(name) if document is not None else None
    return None if document is None else json_text(document, "".join(f"/{escaped(name)}" for name in path), raw)


def _exact(value: Any, at: str) -> str:
    """Write a value by the book, checking each part of it."""
    if isinstance(value, dict):
        return (
            "{"
            + ",".join(f"{_key(name, at)}:{_exact(item, f'{at}/{escaped(name)}')}" for name, item in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ",".join(_exact(item, f"{at}/{number}") for number, item in enumerate(value)) + "]"
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return _double(value, at)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    if type(value) is str:
        return _string(value, at)
    return orjson.dumps(_extended(value, at)).decode()


def _key(name: str, at: str) -> str:
    if name.startswith("$"):
        raise UnrepresentableError(
            Reason(f"{at}/{escaped(name)}", "a name that begins with $ reads back as another type", name)
        )
    return _string(name, at)


def _string(text: str, at: str) -> str:
    if "\0" in text:
        raise UnrepresentableError(Reason(at, "NUL character: PostgreSQL can't hold it", text))
    return orjson.dumps(text).decode()


def _double(number: float, at: str) -> str:
    if not isfinite(number):
        name = ("Infinity" if number > 0 else "-Infinity") if isinf(number) else "NaN"
        return f'{{"$numberDouble":"{name}"}}'
    if number == 0 and str(number).startswith("-"):
        raise UnrepresentableError(Reason(at, "negative zero: jsonb can't hold it", number))
    text = repr(number)
    if "e" not in text:
        return text
    written_out = format(Decimal(text), "f")
    return written_out if "." in written_out else written_out + ".0"


def _extended(value: Any, at: str) -> dict[str, Any]:
    """Return the Extended JSON of a value that JSON has no type for."""
    match value:
        case DatetimeMS():
            return {"$date": _date(int(value))}
        case bson.ObjectId():
            return {"$oid": str(value)}
        case bson.Decimal128():
            return {"$numberDecimal": str(value)}
        case bson.Code():
            scope = {} if value.scope is None else {"$scope": orjson.Fragment(_exact(value.scope, at))}
            return {"$code": _checked(str(value), at), **scope}
        case bytes():
            subtype = getattr(value, "subtype", 0)
            return {"$binary": {"base64": base64.b64encode(value).decode(), "subType": f"{subtype:02x}"}}
        case bson.Regex():
            options = "".join(letter for letter, flag in _REGEX_FLAGS if value.flags & flag)
            return {"$regularExpression": {"pattern": _checked(_pattern(value), at), "options": options}}
        case bson.Timestamp():
            return {"$timestamp": {"t": value.time, "i": value.inc}}
        case bson.MinKey():
            return {"$minKey": 1}
        case bson.MaxKey():
            return {"$maxKey": 1}
    raise UnrepresentableError(Reason(at, f"BSON type {type(value).__name__} has no exact JSON form", repr(value)))


_REGEX_FLAGS = (("i", re.I), ("l", re.L), ("m", re.M), ("s", re.S), ("u", re.U), ("x", re.X))


def _pattern(value: bson.Regex[Any]) -> str:
    return value.pattern.decode() if isinstance(value.pattern, bytes) else str(value.pattern)


def _checked(text: str, at: str) -> str:
    _string(text, at)
    return text


def _date(milliseconds: int) -> Any:
    if not 0 <= milliseconds <= _LAST_ISO_YEAR_MS:
        return {"$numberLong": str(milliseconds)}
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{milliseconds % 1000:03d}Z" if milliseconds % 1000 else f"{moment}Z"


# What needs no care on the way; a date beyond the years that have an ISO form is no such thing.
_WRITTEN_FAST: dict[type, Callable[[Any], dict[str, Any]]] = {
    DatetimeMS: lambda value: {"$date": _iso(int(value))},
    bson.ObjectId: lambda value: {"$oid": str(value)},
    bson.Decimal128: lambda value: {"$numberDecimal": str(value)},
}


def _iso(milliseconds: int) -> str:
    text = _date(milliseconds)
    if not isinstance(text, str):
        raise TypeError
    return text
