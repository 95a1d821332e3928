"""Documents as Python objects, by pymongo's own decoder, and whether these hold all that the bytes say."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import bson
import bsonjs
from bson import CodecOptions
from bson.codec_options import DatetimeConversion
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument

from transforms.oracle.values import UnexpectedValueError

Document = dict[str, Any]
_OPTIONS: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
_AS_BYTES: CodecOptions[RawBSONDocument] = DEFAULT_RAW_BSON_OPTIONS.with_options(
    datetime_conversion=DatetimeConversion.DATETIME_MS
)
_REFERENCE = b"$ref\0"  # of a document that has this name, the decoder may make a DBRef, which has lost a part of it


def decode_documents(raws: Sequence[bytes]) -> list[Document]:
    """Return documents as Python objects.

    Args:
        raws: The BSON of each.

    Raises:
        UnexpectedValueError: No Python objects hold what the bytes of one say.
        bson.errors.BSONError: Some bytes are no BSON.
    """
    documents = _decoded(raws)
    if not _hold_all(documents, raws):
        raise UnexpectedValueError("bytes that Python objects do not hold")
    return documents


def _decoded(raws: Sequence[bytes]) -> list[Document]:
    together = b"".join(raws)
    if _REFERENCE in together:
        return [_inflated(bson.decode(raw, _AS_BYTES)) for raw in raws]
    return bson.decode_all(together, _OPTIONS)


def _inflated(value: Any) -> Any:
    """Return a value whose documents, at any depth, are left as bytes with dicts in their places."""
    if isinstance(value, RawBSONDocument):
        fields = dict(value)
        del value  # of a deep document the bytes would be there once more at each level
        return {name: _inflated(fields.pop(name)) for name in list(fields)}
    if isinstance(value, list):
        return [_inflated(item) for item in value]
    if isinstance(value, bson.Code) and value.scope is not None:
        return bson.Code(str(value), _inflated(value.scope))
    return value


def _hold_all(documents: Sequence[Document], raws: Sequence[bytes]) -> bool:
    """Return whether decoded documents say what their bytes say, nearly always the same when encoded again."""
    # One array of all takes half of the time that one by one do; a document within another keeps its fields' order.
    if bson.encode({"": documents})[10:-2] == b"".join(chain.from_iterable(zip(_heads(len(raws)), raws, strict=True))):
        return True
    return all(_says_the_same(bson.encode({"": one})[6:-1], raw) for one, raw in zip(documents, raws, strict=True))


@lru_cache(maxsize=8)  # nearly always as many are looked at together
def _heads(number: int) -> list[bytes]:
    """Return the types and names of some documents that are the items of an array."""
    return [b"\x03%d\0" % one for one in range(number)]


def _says_the_same(encoded: bytes, raw: bytes) -> bool:
    """Return whether a document is what was decoded from it: no name stands twice, no type lacks a Python counterpart.

    The names within an array say nothing, and bytes may hold any; libbson, which prints canonical JSON, passes over
    them as all decoders do.
    """
    return encoded == raw or bsonjs.dumps(encoded, mode=bsonjs.CANONICAL) == bsonjs.dumps(raw, mode=bsonjs.CANONICAL)
