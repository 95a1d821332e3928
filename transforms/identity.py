"""Which document it is, told from its bytes, whatever else they hold."""

import hashlib
from collections.abc import Callable
from typing import Any

import bson
import bsonjs
import orjson

from transforms.documents import DECODING

_START = 4  # a document begins with its length
_NAME = b"_id\0"
_SIZES = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}


def identity(raw: bytes) -> tuple[bytes, str]:
    """Return a hash of the bytes of a document's ``_id``, and the ``_id`` as canonical Extended JSON.

    MongoDB keeps ``_id`` in front, so it is found even where the rest of a document can't be decoded.

    Args:
        raw: The document's BSON.

    Returns:
        SHA-256 of the BSON document ``{"_id": ...}``, and the text; ``{"$bson": hex}`` if not even the ``_id`` can be
        decoded.
    """
    alone = only_id(raw)
    try:
        decoded: bytes = orjson.dumps(orjson.loads(bsonjs.dumps(alone, mode=bsonjs.CANONICAL))["_id"])
        text = decoded.decode()
    except Exception:  # an _id that can't be decoded is still one that a person must find again
        text = orjson.dumps({"$bson": alone.hex()}).decode()
    return hashlib.sha256(alone).digest(), text


def only_id(raw: bytes) -> bytes:
    """Return the BSON of ``{"_id": ...}`` of a document; the whole document if it does not begin with its ``_id``."""
    value = _START + 1 + len(_NAME)
    kind = raw[_START]
    if raw[_START + 1 : value] != _NAME or kind not in _LENGTHS:
        return raw
    end = value + _LENGTHS[kind](raw, value)
    return (end - _START + 5).to_bytes(4, "little") + raw[_START:end] + b"\0"


def decoded_id(raw: bytes) -> list[Any]:
    """Return the ``_id`` of a document, decoded, in a list that is empty where it can't be."""
    try:
        return [bson.decode(only_id(raw), DECODING)["_id"]]
    except bson.errors.BSONError:
        return []


def _fixed(size: int) -> Callable[[bytes, int], int]:
    return lambda raw, at: size


def _int32(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "little")


def _regex(raw: bytes, at: int) -> int:
    return raw.index(b"\0", raw.index(b"\0", at) + 1) + 1 - at


# The length of a value by its BSON type: fixed, or told by the value itself.
_LENGTHS: dict[int, Callable[[bytes, int], int]] = {kind: _fixed(size) for kind, size in _SIZES.items()} | {
    0x02: lambda raw, at: 4 + _int32(raw, at),
    0x03: _int32,
    0x04: _int32,
    0x05: lambda raw, at: 5 + _int32(raw, at),
    0x0B: _regex,
    0x0C: lambda raw, at: 4 + _int32(raw, at) + 12,
    0x0D: lambda raw, at: 4 + _int32(raw, at),
    0x0E: lambda raw, at: 4 + _int32(raw, at),
    0x0F: _int32,
}
