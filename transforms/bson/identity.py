"""Which document it is, told from its bytes, whatever else they hold.

The BSON element of an ``_id`` is its type, its name and its value: what a stored document has behind its length.
"""

import hashlib
from decimal import Decimal
from math import nan
from typing import Any

import bson
import bsonjs
import orjson

from transforms.bson.documents import decode_document, make_document
from transforms.bson.elements import LENGTHS

_START = 4  # a document begins with its length
_NAME = b"_id\0"
_UNEQUAL_BYTES = {0x01, 0x03, 0x10, 0x12, 0x13}  # types of which equal values may have other bytes: numbers, documents


def identify(raw: bytes) -> tuple[bytes, str]:
    """Return a hash of the bytes of a document's ``_id``, and the ``_id`` as canonical Extended JSON.

    MongoDB keeps ``_id`` in front, so it is found even where the rest of a document can't be decoded.

    Args:
        raw: The document's BSON.

    Returns:
        SHA-256 of the BSON document ``{"_id": ...}``, and the text; ``{"$bson": hex}`` if not even the ``_id`` can be
        decoded.
    """
    only = cut_id(raw)
    try:
        decoded: bytes = orjson.dumps(orjson.loads(bsonjs.dumps(only, mode=bsonjs.CANONICAL))["_id"])
        text = decoded.decode()
    except Exception:  # an _id that can't be decoded is still one that a person must find again
        text = orjson.dumps({"$bson": only.hex()}).decode()
    return hash_id(only), text


def cut_id(raw: bytes) -> bytes:
    """Return the BSON of ``{"_id": ...}`` of a document; the whole document if it does not begin with its ``_id``."""
    value = _START + 1 + len(_NAME)
    kind = raw[_START]
    if raw[_START + 1 : value] != _NAME or kind not in LENGTHS:
        return raw
    return make_document(raw[_START : value + LENGTHS[kind](raw, value)])


def hash_id(only: bytes) -> bytes:
    """Return what the books know an ``_id`` by, whatever it is and however long.

    Args:
        only: The BSON of ``{"_id": ...}``.
    """
    return hashlib.sha256(only).digest()


def id_equality_hash(element: bytes) -> int:
    """Return a number of 63 bits that is the same for all ``_id``s which MongoDB takes for equal, such as 1 and 1.0.

    Args:
        element: The BSON element of an ``_id``.
    """
    value = element[1 + len(_NAME) :]
    if element[0] in _UNEQUAL_BYTES:
        value = repr([_comparable(one) for one in decode_id(make_document(element))]).encode()
    return int.from_bytes(hashlib.sha256(value).digest()[:8], "big") >> 1


def decode_id(raw: bytes) -> list[Any]:
    """Return the ``_id`` of a document, decoded, in a list that is empty where it can't be."""
    try:
        return [decode_document(cut_id(raw))["_id"]]
    except bson.errors.BSONError:
        return []


def _comparable(value: Any) -> Any:
    """Return numbers as doubles, at any depth: equal ones become the same one."""
    if isinstance(value, dict):
        return [(name, _comparable(inner)) for name, inner in value.items()]
    if isinstance(value, list):
        return [_comparable(inner) for inner in value]
    if isinstance(value, bson.Decimal128):
        value = value.to_decimal()
        if value.is_snan():  # which Python refuses to make a double of
            return nan
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return float(value) + 0.0 if is_number else value  # 0.0 is added to make one zero of both
