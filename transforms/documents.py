"""BSON documents: cut from a batch, decoded to Python values, and held against what those values hold of them."""

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import Any

import bson
from bson import CodecOptions
from bson.codec_options import DatetimeConversion

from transforms.collector import uncollected
from transforms.reasons import Reason

Document = dict[str, Any]
# Far dates must not stop the decoder; a subclass of dict that minds duplicates would be three times slower.
DECODING: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
# Decoded in one call, which saves half of the time; more at once would only take memory.
TOGETHER = 2_000
_ITEMS = [b"\x03%d\0" % number for number in range(TOGETHER)]


def documents(batch: bytes) -> list[bytes]:
    """Cut a batch into its documents; each begins with its length."""
    return [batch[start:end] for start, end in pairwise([*starts(batch), len(batch)])]


def starts(batch: bytes) -> list[int]:
    """Return where the documents of a batch begin."""
    found, start = [], 0
    while start < len(batch):
        found.append(start)
        start += int.from_bytes(batch[start : start + 4], "little")
    return found


def pieces(batch: bytes, size: int) -> Iterator[bytes]:
    """Cut a batch between documents into pieces of at most some bytes; a larger document is a piece of its own.

    Args:
        batch: BSON documents, one after the other.
        size: Bytes of a piece.
    """
    if len(batch) <= size:
        yield batch
        return
    begin = 0
    for start, end in pairwise([*starts(batch), len(batch)]):
        if end - begin > size and start > begin:
            yield batch[begin:start]
            begin = start
    yield batch[begin:]


def decoded(raws: Sequence[bytes]) -> Iterator[Document | Reason]:
    """Yield each document as Python values or, where these don't hold all of it, the reason.

    Args:
        raws: Each document's BSON.
    """
    for start in range(0, len(raws), TOGETHER):
        some = raws[start : start + TOGETHER]
        yield from _decoded_together(some) or map(_decoded_alone, some)


def changed_by_decoding(document: Document, raw: bytes) -> Reason | None:
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


def _decoded_together(raws: Sequence[bytes]) -> list[Document] | None:
    """Decode documents as the items of one array; None if the decoding fails or changes one of them."""
    items = b"".join(chain.from_iterable(zip(_ITEMS, raws, strict=False)))
    inner, outer = len(items) + 5, len(items) + 12
    array = b"".join((outer.to_bytes(4, "little"), b"\x04\0", inner.to_bytes(4, "little"), items, b"\0\0"))
    try:
        with uncollected():
            values: list[Document] = bson.decode(array, DECODING)[""]
            return values if bson.encode({"": values}) == array else None
    except Exception:  # whatever the decoder makes of damaged bytes: each is then looked at alone
        return None


def _decoded_alone(raw: bytes) -> Document | Reason:
    try:
        document = bson.decode(raw, DECODING)
    except Exception as error:
        return Reason("", "undecodable BSON", str(error))
    return changed_by_decoding(document, raw) or document
